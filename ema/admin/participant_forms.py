"""The forms of participants: enrolling one, and what changes while they take part."""

from typing import Any

from django import forms

from ema import hard_lock
from ema.models import Participant


class EnrolForm(forms.ModelForm[Participant]):
    class Meta:
        model = Participant
        fields = ["site", "code", "zone", "language"]

    def clean(self) -> dict[str, Any]:
        """Refuse here what enrolment would refuse, beside the field."""
        cleaned = super().clean() or {}
        site, code = cleaned.get("site"), cleaned.get("code")
        if site and (locked := hard_lock.refusal(site.study)):
            self.add_error("site", locked)
        elif site and Participant.objects.filter(study=site.study, code=code).exists():
            self.add_error("code", f"Code {code!r} is taken in study {site.study}.")
        return cleaned


class ParticipantForm(forms.ModelForm[Participant]):
    """Where a participant lives, and leaving the study. Waking hours have a page of their own."""

    because = forms.CharField(
        max_length=500,
        required=False,
        label="Reason for the change",
        help_text="Needed where the zone changes; what it was is kept.",
    )
    withdraws = forms.BooleanField(
        required=False,
        label="This participant withdraws now",
        help_text="Prompts to come are cancelled at once. It cannot be undone.",
    )
    why = forms.CharField(max_length=200, required=False, label="Reason for withdrawing")
    data_may_be_kept = forms.NullBooleanField(
        required=False, help_text="What the participant says of the data, if anything."
    )

    class Meta:
        model = Participant
        fields = ["zone"]

    def clean(self) -> dict[str, Any]:
        """Refuse here what the steps would refuse, beside the field."""
        cleaned = super().clean() or {}
        if "zone" in self.changed_data and not cleaned.get("because", "").strip():
            self.add_error("because", "Say why the zone changes.")
        if cleaned.get("withdraws") and not cleaned.get("why", "").strip():
            self.add_error("why", "Say why the participant withdraws.")
        if cleaned.get("why") and not cleaned.get("withdraws"):
            self.add_error("withdraws", "Tick this if the participant withdraws.")
        return cleaned
