"""The forms of enrolling: a participant, and when a participant is awake."""

from collections.abc import Callable
from datetime import datetime, time
from typing import Any

from django import forms
from django.db.models import QuerySet

from ema import enrolment, hours
from ema.consents import Agreed, ConsentRefused, refuse_wrong_consent
from ema.hours import Stretch
from ema.languages import languages_of
from ema.models import Participant, Site, Study
from ema.zone_names import zone_names

STRETCHES = ("working_days", "weekend")
Starts = Callable[[], dict[str, Any]]


def _time(label: str) -> forms.TimeField:
    widget = forms.TimeInput(attrs={"type": "time"}, format=hours.WRITTEN)
    return forms.TimeField(label=label, required=False, widget=widget)


class HoursForm(forms.Form):
    """Waking hours in plain times; all empty are the phase's."""

    working_days_start = _time("Monday to Friday: awake from")
    working_days_end = _time("Monday to Friday: until")
    weekend_start = _time("Saturday and Sunday: awake from")
    weekend_end = _time("Saturday and Sunday: until")

    def clean(self) -> dict[str, Any]:
        """`windows` as they are stored, or None; a weekend left empty is as working days are."""
        cleaned = super().clean() or {}
        found = [self._stretch(cleaned, name) for name in STRETCHES]
        if found[1] and not found[0]:
            self.add_error("working_days_start", "Say it of Monday to Friday as well.")
        elif found[0] and not self.errors:
            cleaned["windows"] = hours.windows_of(found[0], found[1] or found[0])
            for problem in hours.hours_problems(cleaned["windows"]):
                self.add_error("working_days_start", problem)
        return cleaned

    def _stretch(self, cleaned: dict[str, Any], name: str) -> Stretch | None:
        start, end = cleaned.get(f"{name}_start"), cleaned.get(f"{name}_end")
        if start is None and end is None:
            return None
        if start is None or end is None:
            self.add_error(f"{name}_{'end' if end is None else 'start'}", "Say this as well.")
            return None
        return Stretch(start, end)

    @staticmethod
    def said_of(windows: object) -> dict[str, time]:
        """The fields as they are filled in for stored hours; none where they do not fit."""
        stretches = hours.stretches_of(windows)
        return {
            f"{name}_{end}": getattr(stretch, end)
            for name, stretch in zip(STRETCHES, stretches or (), strict=False)
            for end in ("start", "end")
        }


class ChangeHoursForm(HoursForm):
    reason = forms.CharField(max_length=200, label="Why they change")


class EnrolForm(HoursForm):
    site = forms.ModelChoiceField(Site.objects.none(), empty_label=None)
    code = forms.CharField(max_length=40, required=False)
    consent_version = forms.CharField(max_length=40, label="Version of the consent form")
    consented_on = forms.DateField(
        label="Consent given on",
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    zone = forms.ChoiceField(required=False, label="Time zone")
    language = forms.ChoiceField(label="Language of the app")

    field_order = ["site", "code", "consent_version", "consented_on", "zone", "language"]

    def __init__(self, data: Any, *, study: Study, sites: QuerySet[Site], now: datetime) -> None:
        known = languages_of(study) or ["en"]
        super().__init__(data, initial={"consented_on": now.date(), "language": known[0]})
        self.study, self.now = study, now
        self.fields["site"].queryset = sites  # type: ignore[attr-defined]
        named = ", ".join(enrolment.next_code(site) for site in sites)
        self.fields["code"].help_text = f"Empty: the next of the site, {named}."
        languages = [(name, name) for name in known]
        self.fields["language"].choices = languages  # type: ignore[attr-defined]
        zones = [("", "the site's"), *((name, name) for name in sorted(zone_names()))]
        self.fields["zone"].choices = zones  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """Refuse here what enrolling would refuse, beside the field."""
        cleaned = super().clean()
        if site := cleaned.get("site"):
            cleaned["zone"] = cleaned.get("zone") or site.zone
            cleaned["code"] = cleaned.get("code") or enrolment.next_code(site)
            self._refuse_code(cleaned["code"])
            if cleaned.get("consented_on") and cleaned.get("consent_version"):
                self._refuse_consent(cleaned)
        return cleaned

    def _refuse_code(self, code: str) -> None:
        try:
            enrolment.refuse_wrong_code(code)
        except enrolment.EnrolmentRefused as error:
            self.add_error("code", str(error))
        if Participant.objects.filter(study=self.study, code=code).exists():
            self.add_error("code", f"Code {code!r} is taken in study {self.study}.")

    def _refuse_consent(self, cleaned: dict[str, Any]) -> None:
        agreed = Agreed(cleaned["consent_version"], cleaned["consented_on"])
        try:
            refuse_wrong_consent(agreed=agreed, zone=cleaned["zone"], now=self.now)
        except ConsentRefused as error:
            self.add_error("consented_on", str(error))
        cleaned["agreed"] = agreed
