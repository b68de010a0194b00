"""What could not be stored, for the coordinator to release or to discard."""

from typing import Any

from django import forms
from django.contrib import admin
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils import timezone

from ema import quarantine
from ema.admin.participants import OWN_PARTICIPANTS
from ema.admin.site import COORDINATORS, ParticipantRecordAdmin, actor
from ema.models import Quarantine


class QuarantineForm(forms.ModelForm[Quarantine]):
    item = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 18, "spellcheck": "false"}),
        help_text="The item as it was sent. What you correct is stored; what was sent is kept.",
    )
    decision = forms.ChoiceField(
        choices=[
            ("release", "Release: store this as a response"),
            ("discard", "Discard: it is no answer, or is there already"),
        ],
        widget=forms.RadioSelect,
    )
    why = forms.CharField(max_length=200, help_text="Kept with it and in the audit trail.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "item" in self.fields:
            self.fields["item"].initial = quarantine.text_of(self.instance)

    def clean(self) -> dict[str, Any]:
        """Refuse here what releasing would refuse, beside the field."""
        cleaned = super().clean() or {}
        if cleaned.get("decision") == "release" and "item" in cleaned:
            try:
                quarantine.refuse_locked(self.instance)
                quarantine.read_item(self.instance, cleaned["item"])
            except quarantine.QuarantineRefused as error:
                self.add_error("item", str(error))
        return cleaned


@admin.register(Quarantine)
class QuarantineAdmin(ParticipantRecordAdmin):
    """What could not be stored: choose one to release it, corrected or not, or to discard it."""

    form = QuarantineForm
    writers = COORDINATORS
    list_display = ["received_at", "participant", "reason", "errors", "resolved_at"]
    list_filter = [*OWN_PARTICIPANTS, "reason", ("resolved_at", admin.EmptyFieldListFilter)]
    list_select_related = ["participant"]
    search_fields = ["participant__code"]
    shown = ["participant", "device", "received_at", "reason", "errors"]
    end = ["as_sent", "resolved_at", "resolution", "response"]

    @admin.display(description="as sent")
    def as_sent(self, entry: Quarantine) -> str:
        return quarantine.text_of(entry)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        is_open = obj is None or obj.resolved_at is None
        return is_open and super().has_change_permission(request, obj)

    def get_fields(self, request: HttpRequest, obj: Any | None = None) -> list[Any]:
        may = self.has_change_permission(request, obj)
        return [*self.shown, *(("item", "decision", "why") if may else self.end)]

    def get_readonly_fields(self, request: HttpRequest, obj: Any | None = None) -> list[Any]:
        return [*self.shown, *self.end]

    def save_model(
        self, request: HttpRequest, obj: Quarantine, form: ModelForm[Any], change: bool
    ) -> None:
        said = form.cleaned_data
        about = {"entry": obj, "reason": said["why"], "now": timezone.now()}
        if said["decision"] == "release":
            quarantine.release(**about, actor=actor(request), text=said["item"])
        else:
            quarantine.discard(**about, actor=actor(request))
