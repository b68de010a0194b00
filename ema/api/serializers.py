"""The shapes of the phone's API: they check what comes in and describe what goes out."""

from datetime import datetime

from rest_framework import serializers

from ema.models.push import PushKind
from ema.submissions import refuse_impossible


class RedeemRequest(serializers.Serializer[None]):
    code = serializers.CharField(max_length=40, help_text="As typed or scanned: 7KQ2-M9XT-4D.")
    installation_id = serializers.UUIDField(help_text="Made once when the app is installed.")
    app = serializers.CharField(max_length=60, required=False, default="", allow_blank=True)
    app_version = serializers.CharField(max_length=40, required=False, default="", allow_blank=True)
    platform = serializers.CharField(max_length=40, required=False, default="", allow_blank=True)


class RefreshRequest(serializers.Serializer[None]):
    refresh_token = serializers.CharField(max_length=200)


class Tokens(serializers.Serializer[None]):
    access_token = serializers.CharField()
    refresh_token = serializers.CharField()
    access_expires_at = serializers.DateTimeField()


class Admitted(Tokens):
    participant = serializers.CharField(help_text="The participant's code in the study.")
    study = serializers.CharField()
    zone = serializers.CharField()
    language = serializers.CharField()


class Time(serializers.Serializer[None]):
    server_time = serializers.DateTimeField()


class QuestionnaireContent(serializers.Serializer[None]):
    format = serializers.CharField(required=False, help_text="Of versions that have one.")
    key = serializers.CharField()
    version = serializers.IntegerField()
    sha256 = serializers.CharField()
    languages = serializers.ListField(child=serializers.CharField(), required=False)
    title = serializers.DictField(child=serializers.CharField(), required=False)
    skip_reasons = serializers.ListField(child=serializers.DictField(), required=False)
    items = serializers.ListField(child=serializers.DictField())


class PromptQuestionnaire(serializers.Serializer[None]):
    key = serializers.CharField()
    version = serializers.IntegerField()
    sha256 = serializers.CharField()


class PromptEntry(serializers.Serializer[None]):
    id = serializers.UUIDField(help_text="Also the tag of its notification: a double never shows.")
    kind = serializers.ChoiceField(choices=["random", "fixed"])
    study_on = serializers.DateField()
    ordinal = serializers.IntegerField()
    questionnaire = PromptQuestionnaire()
    due_at = serializers.DateTimeField()
    due_local = serializers.CharField()
    remind_at = serializers.ListField(child=serializers.DateTimeField())
    expires_at = serializers.DateTimeField()


class ScheduleQuery(serializers.Serializer[None]):
    since = serializers.DateTimeField(required=False, help_text="Default: now.")
    horizon = serializers.RegexField(
        r"^(?:[1-9]|1[0-4])d$",
        required=False,
        default="7d",
        help_text="1d to 14d.",
        error_messages={"invalid": "Write a number of days from 1d to 14d."},
    )

    def validate_since(self, since: datetime) -> datetime:
        try:
            refuse_impossible(since)
        except ValueError as error:
            raise serializers.ValidationError(f"{error}.") from error
        return since


class ScheduleContent(serializers.Serializer[None]):
    schedule_rev = serializers.CharField()
    generated_at = serializers.DateTimeField()
    tz = serializers.CharField()
    tzdata = serializers.CharField()
    algorithm = serializers.CharField()
    valid_until = serializers.DateTimeField()
    next_sync_before = serializers.DateTimeField()
    prompts = PromptEntry(many=True)
    cancelled = serializers.ListField(child=serializers.UUIDField())


class ClientContent(serializers.Serializer[None]):
    sent_at = serializers.DateTimeField(required=False, help_text="The phone's clock, on sending.")
    app = serializers.CharField(required=False)
    app_version = serializers.CharField(required=False)
    platform = serializers.CharField(required=False)
    os = serializers.CharField(required=False)
    boot_id = serializers.CharField(required=False)
    monotonic_ms = serializers.IntegerField(required=False)


class AnswerContent(serializers.Serializer[None]):
    item = serializers.CharField()
    value = serializers.JSONField(required=False, allow_null=True)
    rt_ms = serializers.IntegerField(required=False)
    skip = serializers.CharField(required=False, help_text="Why there is no value.")


class QuestionnaireName(serializers.Serializer[None]):
    key = serializers.CharField()
    version = serializers.IntegerField()


class SubmissionContent(serializers.Serializer[None]):
    id = serializers.UUIDField(help_text="Made by the phone, kept over retries.")
    prompt_id = serializers.UUIDField(required=False, allow_null=True)
    trigger = serializers.ChoiceField(choices=["random", "self_initiated"], required=False)
    questionnaire = QuestionnaireName()
    shown_at = serializers.DateTimeField(required=False)
    started_at = serializers.DateTimeField(required=False)
    completed_at = serializers.DateTimeField()
    tz = serializers.CharField(required=False)
    utc_offset_min = serializers.IntegerField(required=False)
    monotonic_ms = serializers.IntegerField(
        required=False, help_text="Milliseconds since the phone started, on completing."
    )
    boot_id = serializers.CharField(
        required=False, help_text="The start that monotonic_ms counts from, as in client."
    )
    seq = serializers.IntegerField(required=False)
    answers = AnswerContent(many=True)
    language = serializers.CharField(required=False)
    schedule_rev = serializers.CharField(required=False)


class SubmissionBatch(serializers.Serializer[None]):
    client = ClientContent(required=False)
    items = SubmissionContent(many=True, help_text="At most 100.")


class ItemFault(serializers.Serializer[None]):
    pointer = serializers.CharField(help_text="JSON pointer into the item.")
    detail = serializers.CharField()


class SubmissionStatus(serializers.Serializer[None]):
    id = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=["created", "duplicate", "conflict", "quarantined"])
    errors = ItemFault(many=True, required=False)  # type: ignore[assignment]


class SubmissionStatuses(serializers.Serializer[None]):
    server_time = serializers.DateTimeField()
    items = SubmissionStatus(many=True)


class EventContent(serializers.Serializer[None]):
    id = serializers.UUIDField()
    kind = serializers.ChoiceField(
        choices=[
            *["armed", "shown", "opened", "dismissed", "snoozed"],
            *["zone_changed", "clock_changed", "notifications_changed"],
        ]
    )
    at = serializers.DateTimeField()
    prompt_id = serializers.UUIDField(
        required=False, allow_null=True, help_text="Of what happened to a prompt."
    )
    tz = serializers.CharField(required=False, help_text="zone_changed: the new IANA zone.")
    allowed = serializers.BooleanField(
        required=False, allow_null=True, help_text="notifications_changed: whether they may show."
    )
    seq = serializers.IntegerField(required=False)


class EventBatch(serializers.Serializer[None]):
    client = ClientContent(required=False)
    items = EventContent(many=True, help_text="At most 100.")


class EventStatus(serializers.Serializer[None]):
    id = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=["stored", "ignored"])


class EventStatuses(serializers.Serializer[None]):
    server_time = serializers.DateTimeField()
    items = EventStatus(many=True)


class PushRegistrationRequest(serializers.Serializer[None]):
    kind = serializers.ChoiceField(choices=PushKind.choices)
    address = serializers.CharField(
        max_length=2000, help_text="An endpoint, a token, an e-mail address or a phone number."
    )
    keys = serializers.DictField(
        child=serializers.CharField(max_length=200),
        required=False,
        default=dict,
        help_text="Web Push: p256dh and auth of the subscription.",
    )


class ProblemContent(serializers.Serializer[None]):
    type = serializers.CharField()
    title = serializers.CharField(help_text="One sentence for people.")
    status = serializers.IntegerField()
    code = serializers.CharField(help_text="Stable, for programs.")
    errors = ItemFault(many=True, required=False)  # type: ignore[assignment]
