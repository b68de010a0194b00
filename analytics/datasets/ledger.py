"""The ledger of a package: every scheduled prompt has one end or is open, and none is lost.

Counted by the database from the prompts alone, in the transaction that the tables come from, so it
is not made from the file that it is held to. How many prompts there must be is recomputed from the
study's seed by whoever knows how they are drawn.
"""

from collections import Counter
from typing import Any

from django.db.models import Count

from analytics.datasets.columns import Scope
from ema.models import Prompt
from ema.prompt_state import ENDS, with_state
from ema.schedule_checks import Recomputed, recomputed

NO_SEED = "nothing was drawn here: the study has not started"
OFF = (
    "The table of prompts has {rows:,} rows, and the schedule recomputed from the study's seed "
    "{expected:,}: {missing:,} are missing and {extra:,} are not drawn by it. manage.py "
    "verify_schedule {study} lists them, and what may explain them."
)
OTHER_SEED = (
    "The study's seed is not the one that was committed to when it started, so the recomputed "
    "schedule proves nothing."
)


class LedgerUnbalanced(Exception):
    """Prompts were lost or doubled on the way to the file; the message says how many."""


def ledger(scope: Scope, rows: int) -> dict[str, Any]:
    """Ends and open prompts by their words. Raises LedgerUnbalanced unless they are the rows."""
    prompts = Prompt.objects.filter(participant__study=scope.study).order_by()
    judged: Any = with_state(prompts, now=scope.moment)
    ends, still_open = Counter[str](), Counter[str]()
    for state, reason, count in judged.values_list("state", "state_reason").annotate(Count("pk")):
        counts = ends if state in ENDS else still_open
        counts[f"{state}: {reason}" if reason else state] += count
    hold_to(rows, ended=ends.total(), still_open=still_open.total())
    return {
        "scheduled": rows,
        "ends": dict(sorted(ends.items())),
        "open": dict(sorted(still_open.items())),
        "balances": True,
    }


def hold_to(rows: int, *, ended: int, still_open: int) -> None:
    """Raise LedgerUnbalanced unless the rows are all that have ended or are open."""
    if rows != ended + still_open:
        raise LedgerUnbalanced(
            f"The ledger does not balance: {ended:,} prompts have ended and {still_open:,} are "
            f"open, but the table has {rows:,} rows. Nothing was published; report this as an "
            "error of the software."
        )


def schedule(scope: Scope, rows: int) -> tuple[dict[str, Any], list[str]]:
    """The rows beside the schedule recomputed from the seed, and sentences where they differ."""
    found = recomputed(scope.study)
    if found is None:
        return {"recomputed": False, "because": NO_SEED}, []
    told = found._asdict()
    content = {"recomputed": True, **told, "expected": found.expected, "rows": rows}
    return content, _warnings(scope, found, rows)


def _warnings(scope: Scope, found: Recomputed, rows: int) -> list[str]:
    if not found.seed_is_the_committed_one:
        return [OTHER_SEED]
    if rows == found.expected and not found.missing and not found.extra:
        return []
    told = found._asdict() | {"expected": found.expected, "rows": rows}
    return [OFF.format(study=scope.study, **told)]
