"""The screening log: one entry, or a file of them, all or nothing."""

import csv
import io
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import NamedTuple

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from ema import audit, hard_lock
from ema.audit import Actor
from ema.models import Screening, Site, Study
from ema.models.participant import valid_code
from ema.models.screening import Outcome

COLUMNS = ("number", "site", "screened_on", "outcome", "reason")
LONGEST = {"number": 40, "reason": 100}


class ScreeningRefused(ValueError):
    """Nothing was entered; each fault is a sentence."""

    def __init__(self, *faults: str) -> None:
        super().__init__(" ".join(faults))
        self.faults = faults


class Screened(NamedTuple):
    """Somebody who was screened; a reason for those who are not eligible."""

    number: str
    site: Site
    screened_on: date
    outcome: str
    reason: str = ""


@transaction.atomic
def enter(*, study: Study, entries: Iterable[Screened], now: datetime, actor: Actor) -> int:
    """Enter them in the log, all or none; how many. Raises ScreeningRefused with every fault."""
    if why := hard_lock.refusal(study):
        raise ScreeningRefused(why)
    entries = list(entries)
    if faults := [*_faults(study, entries, now)]:
        raise ScreeningRefused(*faults)
    try:
        with transaction.atomic():
            Screening.objects.bulk_create(
                Screening(
                    study=study,
                    **entry._asdict(),
                    recorded_at=now,
                    recorded_by_id=actor.user.pk if actor.user else None,
                )
                for entry in entries
            )
    except IntegrityError as error:
        if "screening_number_is_unique_in_its_study" not in str(error):
            raise
        raise ScreeningRefused("Somebody entered one of these numbers just now.") from error
    for entry in entries:
        audit.record(
            actor=actor,
            action="screening.entered",
            subject=f"screening {entry.number}",
            study=study,
            site=entry.site,
            after={"outcome": entry.outcome, "reason": entry.reason},
        )
    return len(entries)


def _faults(study: Study, entries: list[Screened], now: datetime) -> Iterable[str]:
    numbers = [entry.number for entry in entries]
    taken = Screening.objects.filter(study=study, number__in=numbers)
    known = set(taken.values_list("number", flat=True))
    for entry in entries:
        if entry.number in known:
            yield f"Number {entry.number} is in the log already."
        known.add(entry.number)
        yield from (f"{entry.number or 'An entry'}: {fault}" for fault in _wrong(entry, now))


def _wrong(entry: Screened, now: datetime) -> Iterable[str]:
    try:
        valid_code(entry.number)
    except ValidationError as error:
        yield f"as a number, {error.message[0].lower()}{error.message[1:]}"
    for name, most in LONGEST.items():
        if len(getattr(entry, name)) > most:
            yield f"keep the {name} to {most} characters."
    if entry.outcome not in Outcome.values:
        yield f"the outcome is one of {', '.join(Outcome.values)}."
    elif (entry.outcome == Outcome.ELIGIBLE) == bool(entry.reason):
        yield "give a reason to whoever is excluded, and none to the eligible."
    if entry.screened_on > now.date():
        yield f"{entry.screened_on} is to come."


def read_csv(text: str, sites: Mapping[str, Site]) -> list[Screened]:
    """Entries of a file with a header: number, site, screened_on, outcome, reason."""
    lines = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    if missing := set(COLUMNS) - set(lines.fieldnames or ()):
        wanted = ",".join(COLUMNS)
        raise ScreeningRefused(
            f"The first line is {wanted}; missing: {', '.join(sorted(missing))}."
        )
    entries, faults = list[Screened](), list[str]()
    for line in lines:
        try:
            entries.append(_entry(line, sites))
        except ValueError as error:
            faults.append(f"Line {lines.line_num}: {error}")
    if faults or not entries:
        raise ScreeningRefused(*(faults or ["The file has no entries."]))
    return entries


def _entry(line: Mapping[str, str | None], sites: Mapping[str, Site]) -> Screened:
    said = {name: (line[name] or "").strip() for name in COLUMNS}
    if said["site"] not in sites:
        raise ValueError(f"site {said['site']!r} is none of {', '.join(sorted(sites))}.")
    try:
        screened_on = date.fromisoformat(said["screened_on"])
    except ValueError as error:
        raise ValueError(f"write the date as 2026-03-31, not {said['screened_on']!r}.") from error
    site = sites[said["site"]]
    return Screened(said["number"], site, screened_on, said["outcome"], said["reason"])
