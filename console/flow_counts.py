"""How many were screened, excluded, enrolled, randomised, lost and analysed."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Max, QuerySet

from analytics.models import Coupling
from ema.models import Allocation, Participant, Prompt, Response, Screening
from ema.models.screening import Outcome

SILENT_AFTER = timedelta(days=28)


class Reason(NamedTuple):
    outcome: str
    reason: str
    n: int


class Group(NamedTuple):
    """Participants after randomisation; of one arm, or of all."""

    name: str
    randomised: int
    withdrew: int
    silent: int
    analysed: int


class Flow(NamedTuple):
    screened: int
    excluded: list[Reason]
    eligible: int
    enrolled: int
    not_randomised: int
    groups: list[Group]
    """All of them or, for whoever may compare, each arm."""

    @property
    def n_excluded(self) -> int:
        return sum(each.n for each in self.excluded)


def count(
    *,
    screenings: QuerySet[Screening],
    people: QuerySet[Participant],
    now: datetime,
    arms: Mapping[str, str] | None,
) -> Flow:
    """The flow of these people. Arms are read only where `arms` says what they are called."""
    outcomes = Counter(screenings.values_list("outcome", "reason"))
    eligible = outcomes.pop((Outcome.ELIGIBLE, ""), 0)
    members = dict(people.values_list("pk", "withdrawn_at"))
    withdrew = {key for key, at in members.items() if at}
    allocated = Allocation.objects.filter(participant__in=people)
    keys = allocated.values_list("participant_id", "arm__key") if arms else ()
    names = {person: arms[key] for person, key in keys} if arms else {}
    randomised = set(allocated.values_list("participant_id", flat=True))
    silent = _silent(people, now) - withdrew
    estimated = Coupling.objects.filter(participant__in=people, slope__isnull=False)
    analysed = set(estimated.values_list("participant_id", flat=True))
    called = sorted(set(names.values()))
    groups = {arm: {key for key in randomised if names[key] == arm} for arm in called}
    return Flow(
        screened=eligible + outcomes.total(),
        excluded=_reasons(outcomes),
        eligible=eligible,
        enrolled=len(members),
        not_randomised=len(members) - len(randomised),
        groups=[
            Group(name, *(len(each & one) for each in (randomised, withdrew, silent, analysed)))
            for name, one in (groups or {"everybody": randomised}).items()
        ],
    )


def _reasons(outcomes: Counter[tuple[str, str]]) -> list[Reason]:
    """By outcome in their order, the most frequent first."""
    order = {outcome: place for place, outcome in enumerate(Outcome.values)}
    ranked = sorted(outcomes.items(), key=lambda one: (order[one[0][0]], -one[1], one[0][1]))
    return [Reason(Outcome(outcome).label, reason, n) for (outcome, reason), n in ranked]


def _silent(people: QuerySet[Participant], now: datetime) -> set[int]:
    """Whoever answered nothing in the last four weeks in which they were asked."""
    asked = Prompt.objects.filter(participant__in=people, due_at__lt=now)
    last_asked = dict(asked.values_list("participant").annotate(at=Max("due_at")))
    first = asked.filter(due_at__lt=now - SILENT_AFTER).values_list("participant", flat=True)
    answered = Response.objects.filter(participant__in=people)
    last = dict(answered.values_list("participant").annotate(at=Max("completed_at_corrected")))
    return {
        key for key in set(first) if key not in last or last[key] < last_asked[key] - SILENT_AFTER
    }


def rows(flow: Flow) -> Iterable[tuple[str, str, int]]:
    """Stage, of whom or why, and the number: the table beside the figure, and the file."""
    yield "screened", "", flow.screened
    for each in flow.excluded:
        yield "excluded", f"{each.outcome}: {each.reason}", each.n
    yield "eligible", "", flow.eligible
    yield "enrolled", "", flow.enrolled
    yield "not randomised", "", flow.not_randomised
    for group in flow.groups:
        for stage, n in zip(STAGES, group[1:], strict=True):
            yield stage, group.name, n


STAGES = ("randomised", "withdrew", "no answer for 28 days", "analysed")
