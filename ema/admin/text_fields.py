"""Form fields for texts by language, choices and lists of codes: lines that people can write."""

import json
import re
from typing import Any

from django import forms
from django.core.validators import ProhibitNullCharactersValidator

from ema.questionnaires.checks import WHOLE

LINE = re.compile(r"\s*([a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*)\s*:(.*)")
INDENT = "    "
END_OF_LINE = re.compile(r"\r\n|\r|\n")
# In the middle of a text these are more likely slips, or labels of a number, than languages.
NO_LANGUAGE = re.compile(r"(?:[A-Z]{2}|tel|fax|mob|web)\s*:.*")
refuse_null = ProhibitNullCharactersValidator()
NEXT_LABEL = re.compile(r"\s\|\s+(?=[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*\s*:)")


class LinesField(forms.CharField):
    """JSON that is written as lines. `read` and `written` are each other's opposites."""

    rows = 2

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.Textarea(attrs={"rows": self.rows, "class": "vLargeTextField"})
        super().__init__(**{"required": False, "widget": widget, **kwargs})

    def to_python(self, value: Any) -> Any:
        return self.read([line for line in self.text_of(value).splitlines() if line.strip()])

    def text_of(self, value: Any) -> str:
        text: str = super().to_python(value) or ""
        refuse_null(text)
        return text

    def prepare_value(self, value: Any) -> Any:
        if value is None or isinstance(value, str):
            return value
        try:
            return "\n".join(self.written(value))
        except (AttributeError, LookupError, TypeError, ValueError):
            return json.dumps(value)  # a draft of another shape: to be seen, and put right

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether something else was sent than was shown: words may say less than what is stored.

        An empty field is compared by what it means.
        """
        if data and _as_sent(data) == _as_sent(self.prepare_value(initial) or ""):
            return False
        try:
            return (self.to_python(data) or None) != (initial or None)
        except forms.ValidationError:
            return True

    def validate(self, value: Any) -> None:
        if self.required and not value:
            raise forms.ValidationError(self.error_messages["required"], code="required")

    def run_validators(self, value: Any) -> None:
        """Meaning is checked with the whole questionnaire."""

    def read(self, lines: list[str]) -> Any:
        raise NotImplementedError

    def written(self, value: Any) -> list[str]:
        raise NotImplementedError


def _as_sent(text: str) -> str:
    """Browsers send ends of lines of their own."""
    return END_OF_LINE.sub("\n", text).strip()


def _texts(parts: list[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for part in parts:
        found = LINE.fullmatch(part)
        if not found:
            raise forms.ValidationError(
                f"“{part.strip()}” names no language: write en: and the text after it."
            )
        if found[1] in texts:
            raise forms.ValidationError(f"Language {found[1]} is there twice.")
        texts[found[1]] = found[2].strip()
    return texts


class TextsField(LinesField):
    """{"en": "…", "de": "…"}, a line each: `en: …`."""

    def read(self, lines: list[str]) -> dict[str, str]:
        return _texts(lines)

    def written(self, value: Any) -> list[str]:
        return [f"{language}: {text}" for language, text in dict(value).items()]


class ParagraphsField(LinesField):
    """{"en": "…\\n…"}: `en: …`, and what goes on below, also after an empty line."""

    rows = 4

    def to_python(self, value: Any) -> Any:
        return self.read(END_OF_LINE.split(self.text_of(value)))

    def read(self, lines: list[str]) -> dict[str, str]:
        parts: list[list[str]] = []
        for line in lines:
            if parts and NO_LANGUAGE.fullmatch(line):
                raise forms.ValidationError(
                    f"“{line}” begins as a language does: write it in small letters, de:, or put "
                    "four blanks before the line where it goes on with the text."
                )
            if LINE.fullmatch(line) and not line.startswith(" "):
                parts.append([line])
            elif parts:
                parts[-1].append(line.removeprefix(INDENT))
            elif line.strip():
                parts.append([line])  # names no language, and is refused for that
        first_lines = _texts([first for first, *_ in parts])
        rest = [more for _, *more in parts]
        return {
            language: "\n".join([text, *more]).strip()
            for (language, text), more in zip(first_lines.items(), rest, strict=True)
        }

    def written(self, value: Any) -> list[str]:
        return [
            f"{language}: {text}".replace("\n", f"\n{INDENT}")
            for language, text in dict(value).items()
        ]


class OptionsField(LinesField):
    """Choices, a line each: `home | en: At home | de: Zu Hause`; `nobody!` excludes the others."""

    rows = 6

    def read(self, lines: list[str]) -> list[dict[str, Any]]:
        return [self._option(line) for line in lines]

    def _option(self, line: str) -> dict[str, Any]:
        code, *labels = NEXT_LABEL.split(line)
        code = code.strip()
        exclusive = {"exclusive": True} if code.endswith("!") else {}
        code = code.removesuffix("!").strip()
        value = int(code) if WHOLE.fullmatch(code) else code
        return {"value": value, "label": _texts(labels), **exclusive}

    def written(self, value: Any) -> list[str]:
        return [
            " | ".join(
                [f"{each['value']}{'!' if each.get('exclusive') else ''}"]
                + [f"{language}: {text}" for language, text in each["label"].items()]
            )
            for each in value
        ]


class CodesField(LinesField):
    """A list of words or numbers with spaces between them."""

    rows = 1

    def read(self, lines: list[str]) -> list[Any]:
        words = " ".join(lines).replace(",", " ").split()
        return [int(word) if WHOLE.fullmatch(word) else word for word in words]

    def written(self, value: Any) -> list[str]:
        return [" ".join(map(str, value))]


class ConditionField(forms.JSONField):
    """A condition as JSON; none is an empty field."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.Textarea(attrs={"rows": 2, "class": "vLargeTextField"})
        super().__init__(**{"required": False, "widget": widget, **kwargs})

    def prepare_value(self, value: Any) -> Any:
        return super().prepare_value(value) if value else ""

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(initial or None, data)
