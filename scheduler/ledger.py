"""The ledger: every prompt has exactly one end, or is still open, and the sum shows it."""

from collections import Counter
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Count

from ema.models import Prompt, Study
from ema.prompt_state import STAGES, state_expression, with_state

__all__ = ["Ledger", "ledger", "state_expression"]


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
        return reached + sum(self.cancelled.values()) + sum(self.not_delivered.values())

    @property
    def balances(self) -> bool:
        """Whether what was planned is the sum of all ends and what is still open."""
        return self.planned == self.ended + sum(self.open.values())

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


def ledger(study: Study, now: datetime) -> Ledger:
    """Count a study's prompts by their state at `now`, in one query."""
    prompts = Prompt.objects.filter(participant__study=study).order_by()
    states_and_reasons: Any = with_state(prompts, now=now)
    states: Counter[str] = Counter()
    reasons: dict[str, dict[str, int]] = {"cancelled": {}, "not_delivered": {}}
    groups = states_and_reasons.values_list("state", "state_reason").annotate(Count("pk"))
    for state, reason, count in groups:
        states[state] += count
        if state in reasons:
            reasons[state][reason] = count
    return Ledger(
        planned=states.total(),
        answered=states["answered"],
        answered_late=states["answered_late"],
        missed=states["missed"],
        cancelled=dict(sorted(reasons["cancelled"].items())),
        not_delivered=dict(sorted(reasons["not_delivered"].items())),
        open={stage: states[stage] for stage in reversed(STAGES) if states[stage]},
    )
