"""The shapes of what participants decide, ask for and are told about the study."""

from datetime import datetime
from typing import Any

from rest_framework import serializers

from ema.api.serializers import PromptQuestionnaire
from ema.models.push import PushKind
from ema.models.study import Travel
from ema.submissions import refuse_impossible

LOCAL_TIME = r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]$"


class WakingWindow(serializers.Serializer[None]):
    weekdays = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=7),
        min_length=1,
        max_length=7,
        help_text="On which the window begins; 1 is Monday.",
    )
    start = serializers.RegexField(
        LOCAL_TIME, error_messages={"invalid": "Write a local time such as 08:00."}
    )
    end = serializers.RegexField(
        LOCAL_TIME,
        error_messages={"invalid": "Write a local time such as 22:00."},
        help_text="At or before the start: on the next day.",
    )


class PauseChange(serializers.Serializer[None]):
    until = serializers.DateTimeField(
        required=False, allow_null=True, help_text="Null: until the pause is taken back."
    )

    def validate_until(self, until: datetime | None) -> datetime | None:
        try:
            refuse_impossible(until)
        except ValueError as error:
            raise serializers.ValidationError(f"{error}.") from error
        return until


class PreferencesChange(serializers.Serializer[None]):
    waking_windows = serializers.ListField(
        child=WakingWindow(),
        required=False,
        allow_null=True,
        max_length=21,
        help_text="Null: the study's own hours.",
    )
    language = serializers.CharField(max_length=20, required=False)
    pause = PauseChange(required=False, allow_null=True, help_text="Null: ask me again.")

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(self.initial_data) - set(self.fields))
        if unknown:
            known = ", ".join(self.fields)
            raise serializers.ValidationError(
                {name: f"There is no preference {name!r}: write {known}." for name in unknown}
            )
        return asked


class StandingPause(serializers.Serializer[None]):
    kind = serializers.ChoiceField(choices=["pause", "hospital"])
    since = serializers.DateTimeField(source="begins_at")
    until = serializers.DateTimeField(source="ends_at", allow_null=True)


class Preferences(serializers.Serializer[Any]):
    waking_windows = serializers.ListField(child=WakingWindow(), allow_null=True)
    language = serializers.CharField()
    pause = StandingPause(allow_null=True)
    zone = serializers.CharField()
    effective_on = serializers.DateField(
        allow_null=True, help_text="The first study day of these hours and this zone, if to come."
    )


class WithdrawRequest(serializers.Serializer[None]):
    reason = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
    keep_data = serializers.BooleanField(
        required=False, allow_null=True, default=None, help_text="Null: not said."
    )


class Withdrawal(serializers.Serializer[Any]):
    withdrawn_at = serializers.DateTimeField()
    keep_data = serializers.BooleanField(allow_null=True)


class OwnData(serializers.Serializer[None]):
    generated_at = serializers.DateTimeField()
    participant = serializers.DictField()
    prompts = serializers.ListField(child=serializers.DictField())
    responses = serializers.ListField(child=serializers.DictField())
    events = serializers.ListField(child=serializers.DictField())
    not_readable = serializers.ListField(child=serializers.DictField())
    pauses = serializers.ListField(child=serializers.DictField())
    schedule_changes = serializers.ListField(child=serializers.DictField())
    visits = serializers.ListField(child=serializers.DictField())
    phases = serializers.ListField(child=serializers.DictField())
    urine_tests = serializers.ListField(child=serializers.DictField())
    phones = serializers.ListField(child=serializers.DictField())


class StudyTexts(serializers.Serializer[None]):
    slug = serializers.CharField()
    title = serializers.CharField()
    contact = serializers.DictField(child=serializers.CharField(), help_text="By language.")
    instructions = serializers.DictField(child=serializers.CharField(), help_text="By language.")


class ConfigPhase(serializers.Serializer[None]):
    begins_on = serializers.DateField()
    days = serializers.IntegerField()
    questionnaire = PromptQuestionnaire()
    reminders_after_min = serializers.ListField(child=serializers.IntegerField())
    self_initiated_daily_cap = serializers.IntegerField(
        allow_null=True, help_text="Own reports to offer a day; null: as many as one likes."
    )


class ConfigPush(serializers.Serializer[None]):
    kinds = serializers.ListField(child=serializers.ChoiceField(choices=PushKind.choices))
    vapid_public_key = serializers.CharField(
        allow_null=True, help_text="The applicationServerKey of web apps."
    )


class ConfigLimits(serializers.Serializer[None]):
    batch_items = serializers.IntegerField()
    body_bytes = serializers.IntegerField()
    schedule_days = serializers.IntegerField()


class Config(serializers.Serializer[None]):
    study = StudyTexts()
    languages = serializers.ListField(child=serializers.CharField())
    minimum_app_version = serializers.CharField(allow_null=True)
    travel = serializers.ChoiceField(choices=Travel.choices)
    phases = ConfigPhase(many=True)
    push = ConfigPush()
    limits = ConfigLimits()
