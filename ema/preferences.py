"""What participants decide by themselves: waking hours, language, a pause."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.db import transaction

from ema import audit, pauses, travel
from ema.audit import Actor
from ema.languages import languages_of
from ema.models import Participant, Pause, ScheduleChange
from ema.models.pause import PauseKind


class Fault(NamedTuple):
    """What is wrong, and where: a JSON pointer and a sentence."""

    pointer: str
    detail: str


class PreferencesRefused(ValueError):
    """Nothing was changed; every fault is told."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(" ".join(fault.detail for fault in faults))
        self.faults = faults


class Preferences(NamedTuple):
    """As they stand. `effective_on`: from when the hours and the zone hold, if not yet."""

    waking_windows: list[dict[str, Any]] | None
    language: str
    pause: Pause | None
    zone: str
    effective_on: date | None


def preferences_of(participant: Participant, now: datetime) -> Preferences:
    """The preferences of a participant, as the database has them now."""
    person = Participant.objects.get(pk=participant.pk)
    change = ScheduleChange.objects.filter(participant=person).order_by("reported_at").last()
    begins = change and (change.holds_from or change.effective_on)
    today = now.astimezone(ZoneInfo(person.zone)).date()
    return Preferences(
        waking_windows=person.windows,
        language=person.language,
        pause=_pauses(person, now).order_by("begins_at").last(),
        zone=person.zone,
        effective_on=begins if begins and begins > today else None,
    )


@transaction.atomic
def change(
    *, participant: Participant, asked: Mapping[str, Any], now: datetime, actor: Actor
) -> Preferences:
    """Take up what was asked, all or nothing: `waking_windows`, `language`, `pause`.

    None as waking windows are the phase's, None as a pause resumes. Raises PreferencesRefused.
    """
    person = Participant.objects.select_for_update(no_key=True).get(pk=participant.pk)
    if person.withdrawn_at:
        raise PreferencesRefused([Fault("", "You have withdrawn: there is nothing to change.")])
    steps: dict[str, Callable[..., None]] = {
        "waking_windows": _change_hours,
        "language": _change_language,
        "pause": _change_pause,
    }
    faults: list[Fault] = []
    for name in steps.keys() & asked.keys():
        with _noting(faults, f"/{name}"):
            steps[name](person, asked[name], now=now, actor=actor)
    if faults:
        raise PreferencesRefused(sorted(faults))
    return preferences_of(person, now)


@contextmanager
def _noting(faults: list[Fault], pointer: str) -> Iterator[None]:
    """Go on with the other preferences, so that every fault is told at once."""
    try:
        yield
    except PreferencesRefused as error:
        faults += error.faults
    except (travel.ChangeRefused, pauses.PauseRefused) as error:
        faults.append(Fault(pointer, str(error)))


def _change_hours(person: Participant, windows: Any, **by: Any) -> None:
    travel.change_hours(participant=person, windows=windows, **by)


def _change_language(person: Participant, language: str, *, now: datetime, actor: Actor) -> None:
    known, before = languages_of(person.study), person.language
    if language == before:
        return
    if language not in known:
        there = ", ".join(known) or "none"
        detail = f"There is no {language!r} in this study. Its languages: {there}."
        raise PreferencesRefused([Fault("/language", detail)])
    Participant.objects.filter(pk=person.pk).update(language=language)
    audit.record_about(
        participant=person,
        actor=actor,
        action="participant.language_changed",
        before={"language": before},
        after={"language": language},
    )


def _change_pause(
    person: Participant, asked: Mapping[str, Any] | None, *, now: datetime, actor: Actor
) -> None:
    """Pause until then instead of as it stands; a stay in hospital is the site's to end."""
    standing = list(_pauses(person, now))
    if any(pause.kind == PauseKind.HOSPITAL for pause in standing):
        detail = "Your site wrote down a stay in hospital: ask there to end it."
        raise PreferencesRefused([Fault("/pause", detail)])
    until = asked.get("until") if asked is not None else None
    if asked is not None and [pause.ends_at for pause in standing] == [until]:
        return
    if until and until <= now:
        detail = f"A pause ends in the future, not at {until.isoformat()}."
        raise PreferencesRefused([Fault("/pause/until", detail)])
    if standing:
        pauses.resume(participant=person, now=now, actor=actor)
    if asked is not None:
        pauses.pause(participant=person, now=now, actor=actor, ends_at=until)


def _pauses(person: Participant, now: datetime) -> Any:
    return Pause.objects.open(now).filter(participant=person, begins_at__lte=now)
