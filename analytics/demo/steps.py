"""The demo's steps: wait for what the periodic tasks do, and judge what came out of it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import hypot
from typing import Any, NamedTuple

import numpy as np
from django.core.management import call_command
from django.core.management.base import CommandError, OutputWrapper
from django.db import connection
from django.db.models import F, Max

from analytics import exclusions, simulation, sums
from analytics.demo.study import CONTROL, TREATED, Cast, Wanted
from analytics.mixed_model import fit_mixed_model
from analytics.models import Coupling
from analytics.moments import Moments
from analytics.progress import progress
from ema.models import Participant, Prompt, Study
from ema.stack import Part

LARGE_SAMPLE = 4000  # simulated participants that stand for "very many"
MOST_STANDARD_ERRORS = 4.0
FEWEST = 8  # participants of an arm; from fewer a standard error can be anything
POLL_EVERY_S = 0.5
DIFFERENCE = "difference"


class DemoFailed(Exception):
    """Something did not come out as it must; the message says what, and where to look."""


class Truth(NamedTuple):
    """A coupling as it was put in (`drawn`), and as a very large sample would show it.

    `drawn` is before rounding and clipping. `expected` is what this analysis finds in
    LARGE_SAMPLE simulated participants, with its own standard error.
    """

    drawn: float
    expected: float
    standard_error: float


def truths(wanted: Wanted) -> dict[str, Truth]:
    """The true couplings by arm, and their difference, for the effect that was asked for."""
    treated = np.arange(LARGE_SAMPLE) % 2 == 1
    rng = wanted.rng(4)
    people = simulation.draw_people(rng, [bool(each) for each in treated], wanted.effect)
    hours = np.sort(rng.uniform(8, 22, (wanted.days, 4)), axis=1).ravel()
    ratings = simulation.draw_ratings(
        rng, people, np.repeat(np.arange(1, wanted.days + 1), 4), hours
    )
    who, when = np.nonzero(ratings.answered)
    names = np.array([f"{i:05d}" for i in range(LARGE_SAMPLE)])
    moments = Moments.from_rows(
        names[who].tolist(), ratings.stress[who, when], ratings.craving[who, when]
    )
    arms = {str(name): TREATED if t else CONTROL for name, t in zip(names, treated, strict=True)}
    arms = {name: arms[name] for name in map(str, moments.participants)}
    model = fit_mixed_model(moments, arms, CONTROL)
    drawn = {
        CONTROL: simulation.SLOPE,
        TREATED: simulation.SLOPE * (1 - wanted.effect.attenuation),
    }
    found = {
        arm: Truth(drawn[arm], coupling.estimate, coupling.standard_error)
        for arm, _, coupling in model.couplings()
        if arm is not None and coupling is not None
    }
    ((_, _, difference),) = model.contrasts()
    found[DIFFERENCE] = Truth(
        drawn[TREATED] - drawn[CONTROL], difference.estimate, difference.standard_error
    )
    return found


# --- waiting for the periodic tasks -------------------------------------------------------


@dataclass(frozen=True)
class Deadline:
    """How long to wait for a part, and whose log to show when it does not deliver."""

    seconds: float
    parts: Sequence[Part]

    def wait(self, title: str, total: int, done: Callable[[], int], missing: str) -> None:
        """Until `done()` reaches `total`; DemoFailed names what is missing and the log file."""
        until = time.monotonic() + self.seconds
        with progress(title, total) as step:
            while (reached := done()) < total:
                step.upto(reached)
                for part in self.parts:
                    if part.process.poll() is not None:
                        raise DemoFailed(f"{part.name} ended ({part.log}):\n{part.last_words()}")
                if time.monotonic() > until:
                    log = self.parts[0]
                    raise DemoFailed(
                        f"After {self.seconds:.0f} s {missing}: {reached} of {total}. "
                        f"The log is {log.log}:\n{log.last_words()}"
                    )
                time.sleep(POLL_EVERY_S)
            step.upto(total)


def planned(study: Study, wanted: Wanted, now: datetime) -> int:
    """Participants whose prompts are there up to today, or to the end of the trial."""
    reached = (
        Prompt.objects.filter(participant__study=study)
        .values("participant")
        .annotate(last=Max("study_day"))
        .values_list("participant", "last")
    )
    enrolled = dict(Participant.objects.filter(study=study).values_list("pk", "enrolled_on"))
    return sum(last >= min(wanted.days, (now.date() - enrolled[key]).days) for key, last in reached)


def cancelled_after_withdrawal(study: Study) -> bool:
    """Whether no prompt is left that was due after its participant had stopped."""
    left = Prompt.objects.standing().filter(
        participant__study=study, due_at__gt=F("participant__withdrawn_at"), answered_at=None
    )
    return not left.exists()


def gather_statistics() -> None:
    """Let PostgreSQL look at what was loaded; by itself it would, a minute later."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def coupled(study: Study) -> int:
    """Participants whose coupling rests on every answer they uploaded."""
    waiting = exclusions.excluded_responses(
        study, by_arm=True, summed=int(sums.moments_of(study).n.sum())
    )
    if "not_yet_estimated" in waiting:
        return 0
    return Coupling.objects.filter(participant__study=study).count()


# --- judging ------------------------------------------------------------------------------


def show_ledger(study: Study, out: OutputWrapper) -> list[str]:
    """Print the ledger of `manage.py ledger`; a fault when it does not balance."""
    try:
        call_command("ledger", study.slug, stdout=out)
    except CommandError as error:
        return [str(error)]
    return []


class Line(NamedTuple):
    """One coupling, or the difference, beside its truth; `distance` is in standard errors.

    `people` are those of the arm, or of the smaller one.
    """

    name: str
    truth: Truth
    estimate: float
    standard_error: float
    people: int

    @property
    def distance(self) -> float:
        return (self.estimate - self.truth.expected) / hypot(
            self.standard_error, self.truth.standard_error
        )

    @property
    def is_off(self) -> bool:
        """Whether chance does not explain the distance, where its size can be told at all."""
        return self.people >= FEWEST and abs(self.distance) > MOST_STANDARD_ERRORS


def lines_of(report: dict[str, Any], truth: dict[str, Truth]) -> list[Line]:
    """The report's couplings and difference, each beside its true value."""
    found = [
        Line(arm["arm"], truth[arm["arm"]], arm["coupling"], arm["standard_error"], arm["n"])
        for arm in report["arms"]
    ]
    contrast, fewer = report["contrasts"][0], min(line.people for line in found)
    difference = contrast["difference"], contrast["standard_error"], fewer
    return [*found, Line(f"{TREATED} - {CONTROL}", truth[DIFFERENCE], *difference)]


def table(lines: Sequence[Line]) -> list[str]:
    """True values beside the estimates."""
    rows = [["coupling", "put in", "expected", "estimated", "SE", "off by"]]
    for line in lines:
        values = [line.truth.drawn, line.truth.expected, line.estimate, line.standard_error]
        rows.append([line.name, *(f"{value:.4f}" for value in values), f"{line.distance:+.1f} SE"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]


def faults(lines: Sequence[Line], cast: Cast, study: Study) -> list[str]:
    """What is off, each in a sentence; empty when the demo came out as it must."""
    found = [
        f"The coupling of {line.name} is {abs(line.distance):.1f} standard errors from the truth."
        for line in lines
        if line.is_off
    ]
    missing = len(cast.participants) - Coupling.objects.filter(participant__study=study).count()
    silent = Participant.objects.filter(study=study, responses=None).count()
    if missing > silent:
        found.append(f"{missing - silent} participants who answered have no coupling.")
    return found
