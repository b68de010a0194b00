"""Pauses of participants: add one to pause; resume from the list of participants."""

from typing import Any

from django import forms
from django.contrib import admin
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils import timezone

from ema import access, pauses
from ema.admin.participants import OWN_PARTICIPANTS
from ema.admin.site import COORDINATORS, ParticipantRecordAdmin, actor
from ema.models import Participant, Pause


class PauseForm(forms.ModelForm[Pause]):
    class Meta:
        model = Pause
        fields = ["participant", "kind", "begins_at", "ends_at", "reason"]

    def clean(self) -> dict[str, Any]:
        """Refuse here what the step would refuse."""
        cleaned = super().clean() or {}
        names = ("participant", "begins_at", "ends_at")
        asked: dict[str, Any] = {name: cleaned.get(name) for name in names}
        if asked["participant"] and asked["begins_at"]:
            try:
                pauses.refuse_wrong_pause(**asked)
            except pauses.PauseRefused as error:
                self.add_error(None, str(error))
        return cleaned


@admin.register(Pause)
class PauseAdmin(ParticipantRecordAdmin):
    form = PauseForm
    writers = COORDINATORS
    list_display = ["participant", "kind", "begins_at", "ends_at", "reason"]
    list_filter = [*OWN_PARTICIPANTS, "kind", ("ends_at", admin.EmptyFieldListFilter)]
    list_select_related = ["participant"]
    search_fields = ["participant__code"]

    def has_change_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return False

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        sites = access.sites_for(request.user, "coordinator")
        kwargs["queryset"] = Participant.objects.active().filter(site__in=sites)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(
        self, request: HttpRequest, obj: Pause, form: ModelForm[Any], change: bool
    ) -> None:
        fields = {name: getattr(obj, name) for name in PauseForm.Meta.fields}
        obj.pk = pauses.pause(**fields, now=timezone.now(), actor=actor(request)).pk
