"""Form fields for a protocol's times and treatments: stored as JSON, written in words."""

import re
from calendar import day_name
from typing import Any

from django import forms

from ema import hours
from ema.admin.text_fields import LinesField
from ema.models.study import valid_key

WHOLE_MINUTES = re.compile(r"[1-9][0-9]{0,5}")


class HoursField(LinesField):
    """Windows, a line each: `Monday to Friday: 08:00 to 22:00`."""

    def read(self, lines: list[str]) -> list[dict[str, Any]]:
        try:
            return hours.from_words("\n".join(lines))
        except hours.HoursUnreadable as error:
            raise forms.ValidationError(str(error)) from error

    def written(self, value: Any) -> list[str]:
        if not isinstance(value, list):
            raise TypeError  # what is said in words of these is of a participant
        return hours.in_words(value).splitlines()


class ListField(LinesField):
    """A list on one line, with commas between."""

    rows = 1

    def read(self, lines: list[str]) -> list[Any]:
        parts = [part.strip() for line in lines for part in line.split(",")]
        return [self.read_one(part) for part in parts if part]

    def written(self, value: Any) -> list[str]:
        return [", ".join(map(str, value))]

    def read_one(self, text: str) -> Any:
        raise NotImplementedError


class TimesField(ListField):
    """Local times: `09:00, 21:30`."""

    def read_one(self, text: str) -> str:
        try:
            return hours.clock(text)
        except ValueError as error:
            message = f"{text!r} is not a time of the day: write 09:00, 21:30."
            raise forms.ValidationError(message) from error


class MinutesField(ListField):
    """Whole minutes: `10, 20`."""

    def read_one(self, text: str) -> int:
        if not WHOLE_MINUTES.fullmatch(text):
            raise forms.ValidationError(f"{text!r} is not a number of minutes: write 10, 20.")
        return int(text)


class TreatmentsField(LinesField):
    """What a sequence receives, a phase a line: `first: placebo`."""

    def read(self, lines: list[str]) -> dict[str, str]:
        treatments: dict[str, str] = {}
        for line in lines:
            phase, _, treatment = (part.strip() for part in line.partition(":"))
            if not (valid_key.fullmatch(phase) and valid_key.fullmatch(treatment)):
                raise forms.ValidationError(
                    f"{line!r} is not a phase and its treatment: write first: placebo, a line for "
                    "each; keys are 1 to 40 letters, digits, - and _."
                )
            if phase in treatments:
                raise forms.ValidationError(f"Phase {phase} is there twice.")
            treatments[phase] = treatment
        return treatments

    def written(self, value: Any) -> list[str]:
        return [f"{phase}: {treatment}" for phase, treatment in dict(value).items()]


class WeekdaysField(forms.TypedMultipleChoiceField):
    """Days of the week to tick; 1 is Monday."""

    widget = forms.CheckboxSelectMultiple

    def __init__(self, **options: Any) -> None:
        days = list(enumerate(day_name, start=1))
        super().__init__(**{"required": False, "choices": days, "coerce": int, **options})
