"""The short forms of setting up; everything else of a record is in its admin screen."""

from datetime import time, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from ema import arms, hours, phases
from ema.hours import Stretch
from ema.models import Arm, Phase, QuestionnaireVersion, Site, Study
from ema.zone_names import zone_names

CLOCK = forms.TimeInput(attrs={"type": "time"}, format=hours.WRITTEN)


def zone_field(label: str) -> forms.ChoiceField:
    names = [(name, name) for name in sorted(zone_names())]
    return forms.ChoiceField(label=label, choices=names, initial="UTC")


class StudyForm(forms.ModelForm[Study]):
    zone = zone_field("Time zone of the team")

    class Meta:
        model = Study
        fields = ["title", "slug", "masking", "zone", "double_entry"]


class PartForm(forms.ModelForm[Any]):
    """A part of a study, which is new."""

    def __init__(self, data: Any, *, study: Study) -> None:
        super().__init__(data, auto_id=f"{self._meta.model._meta.model_name}-%s")
        self.instance.study = study

    def _get_validation_exclusions(self) -> set[str]:
        """Its study is known: so what is unique in the study is checked here."""
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded - {"study"}


class ArmForm(PartForm):
    class Meta:
        model = Arm
        fields = ["key", "title", "is_reference"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        said = {name: cleaned.get(name) or "" for name in ("key", "title")}
        new = Arm(study=self.instance.study, is_reference=bool(cleaned.get("is_reference")), **said)
        for problem in arms.problems(new):
            self.add_error(None, problem)
        return cleaned


class SiteForm(PartForm):
    zone = zone_field("Time zone")

    class Meta:
        model = Site
        fields = ["code", "title", "zone"]


class PhaseForm(PartForm):
    gap_minutes = forms.IntegerField(
        label="Minutes between prompts, at least", initial=60, min_value=0, max_value=1440
    )
    expiry_minutes = forms.IntegerField(
        label="Minutes until a prompt expires", initial=30, min_value=1, max_value=1440
    )
    awake_from = forms.TimeField(label="Prompts from", initial=time(8), widget=CLOCK)
    awake_until = forms.TimeField(label="Prompts until", initial=time(22), widget=CLOCK)

    class Meta:
        model = Phase
        fields = ["key", "days", "questionnaire", "prompts_per_day"]

    def __init__(self, data: Any, *, study: Study) -> None:
        super().__init__(data, study=study)
        versions = QuestionnaireVersion.objects.filter(questionnaire__study=study)
        self.fields["questionnaire"].queryset = versions  # type: ignore[attr-defined]
        last = study.phases.order_by("position").last()
        self.instance.position = last.position + 1 if last else 1

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors:
            stretch = Stretch(cleaned["awake_from"], cleaned["awake_until"])
            self.instance.windows = hours.windows_of(stretch, stretch)
            self.instance.minimum_gap = timedelta(minutes=cleaned["gap_minutes"])
            self.instance.expires_after = timedelta(minutes=cleaned["expiry_minutes"])
        return cleaned

    def _post_clean(self) -> None:
        """Say why the phase cannot work, once its fields have been read into it."""
        super()._post_clean()  # type: ignore[misc]
        if not self.errors:
            for problem in phases.problems(self.instance, timezone.now()):
                self.add_error(None, problem)


PART_FORMS: dict[str, type[PartForm]] = {"arms": ArmForm, "phases": PhaseForm, "sites": SiteForm}
"""By step; the other steps are taken elsewhere."""
