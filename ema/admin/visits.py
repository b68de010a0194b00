"""Visits: added when they have taken place; a wrong date is corrected with a reason."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils import timezone

from ema import access, visits
from ema.admin.participants import OWN_PARTICIPANTS
from ema.admin.site import COORDINATORS, ParticipantRecordAdmin, actor
from ema.models import Participant, PhaseStart, Visit


class VisitForm(forms.ModelForm[Visit]):
    class Meta:
        model = Visit
        fields = ["participant", "key", "on_date"]

    def clean(self) -> dict[str, Any]:
        """Refuse here what the step would refuse."""
        cleaned = super().clean() or {}
        if all(cleaned.get(name) for name in ("participant", "key", "on_date")):
            try:
                visits.refuse_wrong_visit(**cleaned, now=timezone.now())
            except visits.VisitRefused as error:
                self.add_error(None, str(error))
        return cleaned


class CorrectionForm(forms.ModelForm[Visit]):
    reason = forms.CharField(
        max_length=500,
        label="Reason for the correction",
        help_text="The date that was recorded before is kept beside it.",
    )

    class Meta:
        model = Visit
        fields = ["on_date"]

    def clean(self) -> dict[str, Any]:
        """Refuse here what the step would refuse; the old date is still in place."""
        cleaned = super().clean() or {}
        if {"on_date", "reason"} <= cleaned.keys():
            try:
                visits.refuse_wrong_correction(visit=self.instance, **cleaned, now=timezone.now())
            except visits.VisitRefused as error:
                self.add_error("on_date", str(error))
        return cleaned


@admin.register(Visit)
class VisitAdmin(ParticipantRecordAdmin):
    """Visits at which phases start: add one when it has taken place."""

    writers = COORDINATORS
    list_display = ["participant", "key", "on_date", "recorded_at"]
    list_filter = [*OWN_PARTICIPANTS, "key"]
    list_select_related = ["participant"]
    search_fields = ["participant__code"]

    def get_form(
        self, request: HttpRequest, obj: Any | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        kwargs["form"] = CorrectionForm if change else VisitForm
        return super().get_form(request, obj, change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any | None = None) -> list[Any]:
        shown = ["participant", "key", "on_date"]
        if obj is None:
            return shown
        may = self.has_change_permission(request, obj)
        return [*shown, "recorded_at", *(["reason"] if may else [])]

    def get_readonly_fields(self, request: HttpRequest, obj: Any | None = None) -> list[Any]:
        return ["participant", "key", "recorded_at"] if obj else []

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        sites = access.sites_for(request.user, "coordinator")
        kwargs["queryset"] = Participant.objects.active().filter(site__in=sites)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(
        self, request: HttpRequest, obj: Visit, form: ModelForm[Any], change: bool
    ) -> None:
        by: Any = {"on_date": obj.on_date, "now": timezone.now(), "actor": actor(request)}
        if change:
            reason = form.cleaned_data["reason"]
            self._tell(request, visits.correct_visit(visit=obj, reason=reason, **by))
        else:
            obj.pk = visits.record_visit(participant=obj.participant, key=obj.key, **by).pk

    def _tell(self, request: HttpRequest, standing: list[PhaseStart]) -> None:
        for start in standing:
            text = (
                f"Phase {start.phase} was planned from {start.begins_on} by the date before, and "
                "stays so: prompts that are drawn keep their times."
            )
            self.message_user(request, text, messages.WARNING)
