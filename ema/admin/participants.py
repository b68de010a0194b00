"""Enrolling participants and handing them their codes; their prompts, answers and urine tests."""

from datetime import date
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Max, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe

from ema import access, enrolment, hours, pauses, travel, urine, withdrawal
from ema.admin.participant_forms import EnrolForm, ParticipantForm
from ema.admin.site import COORDINATORS, ParticipantRecordAdmin, RecordAdmin, actor
from ema.models import Participant, Prompt, Response, Site, UrineTest
from ema.prompt_state import state_expression
from ema.questionnaires.answers import contradictions

OWN = [(name, admin.RelatedOnlyFieldListFilter) for name in ("study", "site")]
SHOWN = ["site", "code", "language", "enrolled_at", "enrolled_on"]
CHANGING = ["because"]
LEAVING = ["withdraws", "why", "data_may_be_kept"]
LEFT = ["withdrawn_at", "withdrawal_reason", "keep_data"]
OWN_PARTICIPANTS = [(f"participant__{name}", kind) for name, kind in OWN]


@admin.register(Participant)
class ParticipantAdmin(RecordAdmin):
    """Add one to enrol a participant; the one-time code for the phone is shown once."""

    writers = COORDINATORS
    list_display = ["code", "study", "site", "enrolled_on", "zone", "last_contact", "withdrawn_at"]
    list_filter = [*OWN, ("withdrawn_at", admin.EmptyFieldListFilter)]
    search_fields = ["code"]
    actions = ["issue_codes", "pause", "resume"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Participant]:
        mine = access.participants_for(request.user).select_related("study", "site")
        return mine.annotate(heard_at=Max("devices__schedule_at")).order_by("study", "code")

    @admin.display(description="last contact", ordering="heard_at")
    def last_contact(self, participant: Any) -> Any:
        return participant.heard_at

    @admin.display(description="waking hours")
    def waking_hours(self, participant: Participant) -> str:
        lines = ((line,) for line in hours.in_words(participant.windows).splitlines())
        return format_html_join(mark_safe("<br>"), "{}", lines)

    @admin.display(description="waking hours")
    def hours_to_change(self, participant: Participant) -> str:
        """With the way to their page, for whoever may change them there."""
        address = reverse("console:waking-hours", args=[participant.study.slug, participant.code])
        words = self.waking_hours(participant)
        return format_html('{}<br><a href="{}">Change the waking hours</a>', words, address)

    def get_form(
        self, request: HttpRequest, obj: Any | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        kwargs["form"] = ParticipantForm if change else EnrolForm
        return super().get_form(request, obj, change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any | None = None) -> list[Any]:
        if obj is None:
            return ["site", "code", "zone", "language"]
        may = self.has_change_permission(request, obj)
        if may:
            return [*SHOWN, "hours_to_change", "zone", *CHANGING, *LEAVING]
        return [*SHOWN, "waking_hours", "zone", *LEFT]

    def get_readonly_fields(self, request: HttpRequest, obj: Any | None = None) -> list[Any]:
        return [*SHOWN, "waking_hours", "hours_to_change", *LEFT] if obj else []

    def has_change_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        is_in = obj is None or obj.withdrawn_at is None
        return is_in and super().has_change_permission(request, obj)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "site":
            kwargs["queryset"] = access.sites_for(request.user, "coordinator")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(
        self, request: HttpRequest, obj: Participant, form: ModelForm[Any], change: bool
    ) -> None:
        if change:
            self._change(request, obj, form.cleaned_data)
            return
        site: Site = obj.site
        enrolled = enrolment.enrol(
            site=site,
            code=obj.code,
            zone=obj.zone,
            language=obj.language,
            now=timezone.now(),
            actor=actor(request),
        )
        obj.pk = enrolled.pk
        self._show_code(request, enrolled)

    def _change(self, request: HttpRequest, obj: Participant, said: dict[str, Any]) -> None:
        """Another zone holds from a day that no phone has yet; leaving, at once."""
        by: Any = {"participant": obj, "now": timezone.now(), "actor": actor(request)}
        if change := travel.move(zone=said["zone"], reason=said["because"], **by):
            text = (
                f"It holds from {change.effective_on:%Y-%m-%d} at the earliest: days that a "
                "phone has already keep their times."
            )
            self.message_user(request, text, messages.SUCCESS)
        if said["withdraws"]:
            reason, keep = said["why"], said["data_may_be_kept"]
            withdrawal.withdraw(reason=reason, keep_data=keep, **by)

    @admin.action(description="Issue a one-time code for a phone", permissions=["change"])
    def issue_codes(self, request: HttpRequest, queryset: QuerySet[Participant]) -> None:
        own = self.changeable(request, queryset)
        for participant in queryset.exclude(pk__in=own.values("pk")):
            text = f"No code for {participant.code}: you do not coordinate its site."
            self.message_user(request, text, messages.ERROR)
        for participant in own:
            try:
                self._show_code(request, participant)
            except enrolment.EnrolmentRefused as error:
                self.message_user(request, str(error), messages.ERROR)

    @admin.action(description="Pause: no prompts until resumed", permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Participant]) -> None:
        self._each(request, queryset, pauses.pause, "paused")

    @admin.action(description="Resume: prompts come again", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Participant]) -> None:
        self._each(request, queryset, pauses.resume, "asked again")

    def _each(
        self, request: HttpRequest, chosen: QuerySet[Participant], step: Any, becomes: str
    ) -> None:
        for participant in chosen.filter(site__in=access.sites_for(request.user, "coordinator")):
            try:
                step(participant=participant, now=timezone.now(), actor=actor(request))
            except pauses.PauseRefused as error:
                self.message_user(request, str(error), messages.ERROR)
            else:
                said = f"Participant {participant} is {becomes}."
                self.message_user(request, said, messages.SUCCESS)

    def _show_code(self, request: HttpRequest, participant: Participant) -> None:
        code = enrolment.issue_code(
            participant=participant, now=timezone.now(), actor=actor(request)
        )
        hours = int(enrolment.CODE_LIFETIME.total_seconds() // 3600)
        shown = f"{code[:4]}-{code[4:8]}-{code[8:]}"
        text = f"Code for {participant.code}: {shown} (shown once, valid {hours} hours)"
        self.message_user(request, text, messages.SUCCESS)


@admin.register(Prompt)
class PromptAdmin(ParticipantRecordAdmin):
    list_display = ["participant", "study_on", "ordinal", "due_at", "state", "sent_at"]
    list_filter = [*OWN_PARTICIPANTS, ("phase", admin.RelatedOnlyFieldListFilter)]
    date_hierarchy = "due_at"
    search_fields = ["participant__code"]

    def get_queryset(self, request: HttpRequest) -> Any:
        found = super().get_queryset(request).select_related("participant")
        return found.annotate(state_now=state_expression(timezone.now()))

    @admin.display(ordering="state_now")
    def state(self, prompt: Any) -> Any:
        return prompt.state_now


@admin.register(Response)
class ResponseAdmin(ParticipantRecordAdmin):
    list_display = ["participant", "completed_at_corrected", "trigger", "flags", "received_at"]
    list_filter = [*OWN_PARTICIPANTS, "trigger"]
    list_select_related = ["participant"]
    search_fields = ["participant__code"]
    readonly_fields = ["contradicts"]

    @admin.display(description="contradicts the questionnaire")
    def contradicts(self, response: Response) -> str:
        """What a phone following the questionnaire would not have sent."""
        found = contradictions(response.questionnaire.content(), response.answers)
        return "\n".join(f"{each.item}: {each.detail} ({each.code})" for each in found)


class UrineForm(forms.ModelForm[UrineTest]):
    reason = forms.CharField(
        max_length=500,
        required=False,
        label="Reason for a correction",
        help_text="Needed where a result is recorded already; what it was is kept.",
    )

    def clean(self) -> dict[str, Any]:
        """Refuse here what correcting would refuse; the old result is still in place."""
        cleaned = super().clean() or {}
        if {"result", "collected_on"} <= cleaned.keys():
            names = ("result", "collected_on", "reason")
            asked: dict[str, Any] = {name: cleaned.get(name) for name in names}
            try:
                urine.refuse_locked(self.instance.participant.study)
                if asked["result"]:
                    urine.refuse_one_entry(self.instance)
                urine.refuse_wrong_correction(test=self.instance, **asked)
            except urine.UrineRefused as error:
                self.add_error("reason", str(error))
        return cleaned

    def clean_collected_on(self) -> date | None:
        """Refuse here what recording would refuse, beside the field."""
        collected_on: date | None = self.cleaned_data["collected_on"]
        try:
            urine.refuse_wrong_date(
                test=self.instance, collected_on=collected_on, now=timezone.now()
            )
        except urine.UrineRefused as error:
            raise forms.ValidationError(str(error)) from error
        return collected_on


@admin.register(UrineTest)
class UrineTestAdmin(ParticipantRecordAdmin):
    """Scheduled tests: choose one to enter its result."""

    form = UrineForm
    writers = COORDINATORS
    list_display = ["participant", "due_on", "result", "collected_on", "recorded_at"]
    list_filter = [*OWN_PARTICIPANTS, "result"]
    list_select_related = ["participant"]
    search_fields = ["participant__code"]
    fields = ["participant", "due_on", "result", "collected_on", "recorded_at"]
    readonly_fields = ["participant", "due_on", "recorded_at"]

    def get_fields(self, request: HttpRequest, obj: Any | None = None) -> list[Any]:
        shown = list(self.fields or ())
        return [*shown, "reason"] if self.has_change_permission(request, obj) else shown

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def save_model(
        self, request: HttpRequest, obj: UrineTest, form: ModelForm[Any], change: bool
    ) -> None:
        urine.record_result(
            test=obj,
            result=obj.result,
            collected_on=obj.collected_on,
            now=timezone.now(),
            actor=actor(request),
            reason=form.cleaned_data["reason"],
        )
