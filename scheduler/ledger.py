"""The ledger: every prompt has exactly one end, or is still open, and the sum shows it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Count, QuerySet

from ema.models import Prompt, Study
from ema.prompt_state import STAGES, state_expression, with_state

__all__ = ["Ledger", "Ledgers", "ledger", "ledgers", "state_expression"]


class Ledger(NamedTuple):
    """A study's prompts, counted by what became of them; reasons and stages that occur."""

    planned: int
    answered: int
    answered_late: int
    missed: int
    cancelled: dict[str, int]
    not_delivered: dict[str, int]
    open: dict[str, int]

    @property
    def ended(self) -> int:
        """How many have an end."""
        reached = self.answered + self.answered_late + self.missed
        return reached + self.all_cancelled + self.all_not_delivered

    @property
    def all_cancelled(self) -> int:
        return sum(self.cancelled.values())

    @property
    def all_not_delivered(self) -> int:
        return sum(self.not_delivered.values())

    @property
    def still_open(self) -> int:
        """How many have none yet."""
        return sum(self.open.values())

    @property
    def balances(self) -> bool:
        """Whether what was planned is the sum of all ends and what is still open."""
        return self.planned == self.ended + self.still_open

    def content(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {**self._asdict(), "balances": self.balances}

    def lines(self) -> list[tuple[str, int]]:
        """Every end and every stage with its count; together they are what was planned."""
        return [
            ("answered", self.answered),
            ("answered late", self.answered_late),
            ("missed", self.missed),
            *((f"not delivered: {reason}", n) for reason, n in self.not_delivered.items()),
            *((f"cancelled: {reason}", n) for reason, n in self.cancelled.items()),
            *((f"open: {stage}", n) for stage, n in self.open.items()),
        ]


class Ledgers(NamedTuple):
    """One ledger of all prompts, one of each site by its code, one of each phase by its key."""

    whole: Ledger
    by_site: dict[str, Ledger]
    by_phase: dict[str, Ledger]


class Kind(NamedTuple):
    """What prompts are counted by."""

    site: str
    position: int
    phase: str
    state: str
    reason: str | None


def ledger(study: Study, now: datetime) -> Ledger:
    """Count a study's prompts by their state at `now`, in one query."""
    return ledgers(Prompt.objects.filter(participant__study=study), now).whole


def ledgers(prompts: QuerySet[Prompt], now: datetime) -> Ledgers:
    """Count prompts of one study by their state at `now`, in one query."""
    judged: Any = with_state(prompts.order_by(), now=now)
    names = ("participant__site__code", "phase__position", "phase__key", "state", "state_reason")
    counted = {
        Kind(*kind): count for *kind, count in judged.values_list(*names).annotate(Count("pk"))
    }
    return Ledgers(
        whole=_folded(counted),
        by_site=_split(counted, lambda kind: (kind.site,)),
        by_phase=_split(counted, lambda kind: (kind.position, kind.phase)),
    )


def _split(counted: Mapping[Kind, int], of: Callable[[Kind], tuple[Any, ...]]) -> dict[str, Ledger]:
    """A ledger of each part, in the order of what `of` gives; the last of that is its name."""
    parts: defaultdict[tuple[Any, ...], dict[Kind, int]] = defaultdict(dict)
    for kind, count in counted.items():
        parts[of(kind)][kind] = count
    return {part[-1]: _folded(parts[part]) for part in sorted(parts)}


def _folded(counted: Mapping[Kind, int]) -> Ledger:
    states: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {"cancelled": Counter(), "not_delivered": Counter()}
    for kind, count in counted.items():
        states[kind.state] += count
        if kind.state in reasons:
            reasons[kind.state][str(kind.reason)] += count
    return Ledger(
        planned=states.total(),
        answered=states["answered"],
        answered_late=states["answered_late"],
        missed=states["missed"],
        cancelled=dict(sorted(reasons["cancelled"].items())),
        not_delivered=dict(sorted(reasons["not_delivered"].items())),
        open={stage: states[stage] for stage in reversed(STAGES) if states[stage]},
    )
