"""What a comparison's card asks of usable answers: from the responses, or from rows that are kept.

For the standard analysis the estimate keeps every participant's analysis rows beside their sums
(`analytics.sums`), and how many responses were left out and why. For every other plan the
responses are asked. Blind.
"""

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np

from analytics import card_sums, plan_sums, sums
from analytics.companion import Counts
from analytics.kept_rows import KeptRows
from analytics.plan_sums import Counted, Sources, rows_of
from analytics.residuals import RowSums
from ema import prepared
from ema.models import Study

ROWS = """
SELECT participant.code, m.n, m.stress, m.craving, m.follows
FROM analytics_moments m JOIN ema_participant participant ON participant.id = m.participant_id
WHERE participant.study_id = %(study)s AND m.phase_id = ANY(%(phases)s)
"""
REASONS = """
SELECT participant.code, CASE WHEN reason NOT IN (
        'after_lock', 'self_initiated', 'unknown_prompt', 'duplicate', 'after_withdrawal', 'late'
    ) AND phase_id <> ALL(%(phases)s) THEN 'other_phase' ELSE reason END, n
FROM analytics_leftout JOIN ema_participant participant ON participant.id = participant_id
WHERE participant.study_id = %(study)s
UNION ALL
SELECT participant.code, 'other_phase', n
FROM analytics_moments m JOIN ema_participant participant ON participant.id = m.participant_id
WHERE participant.study_id = %(study)s AND m.phase_id <> ALL(%(phases)s)
"""


class Usable:
    """Asked of the responses, one scan each."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources

    @cached_property
    def counted(self) -> Counted:
        return plan_sums.count(self.sources)

    @cached_property
    def answered(self) -> dict[str, tuple[int, int]]:
        """How many prompts reached each participant, and how many of those they answered."""
        with plan_sums.answered_prompts(self.sources) as found:
            return found()

    @contextmanager
    def counting_prompts(self) -> Iterator[None]:
        """Have the prompts counted while the block computes; it asks nothing of the database."""
        _ = self.counted  # asked now, it does not wait for the count
        with plan_sums.answered_prompts(self.sources) as found:
            yield
            self.answered = found()

    @property
    def compliance(self) -> dict[str, float]:
        """Each participant's answered share of the prompts that reached them."""
        return {code: given / sent for code, (sent, given) in self.answered.items()}

    def row_sums(self, starts: Sequence[int]) -> RowSums:
        return card_sums.row_sums_of(self.sources, starts)

    def counts(self, participants: Container[str] | None) -> Counts:
        """The companion's table, of these participants (None: all)."""
        levels = plan_sums.levels_of(self.sources)
        return card_sums.counts_of(
            each for each in levels if participants is None or each.participant in participants
        )


class Kept(Usable):
    """As of the last estimate, without a look at the responses that it summed."""

    def __init__(self, study: Study, sources: Sources) -> None:
        super().__init__(sources)
        self.study = study

    @cached_property
    def rows(self) -> KeptRows:
        params = self.sources.params
        return read_rows(prepared.rows(ROWS, {name: params[name] for name in ("study", "phases")}))

    @cached_property
    def counted(self) -> Counted:
        rows, params = self.rows, self.sources.params
        by_reason: dict[str, Counter[str]] = {"": rows.number(np.ones_like(rows.follows))}
        for code, reason, n in rows_of(REASONS, params):
            by_reason.setdefault(reason, Counter())[code] += n
        if waiting := sums.waiting_responses(self.study):
            by_reason["not_yet_estimated"] = Counter(waiting)
        at_floor, at_ceiling = rows.y <= params["floor"], rows.y >= params["ceiling"]
        return Counted(by_reason, rows.number(at_floor), rows.number(at_ceiling))

    def row_sums(self, starts: Sequence[int]) -> RowSums:
        if not self.rows.fits:
            return super().row_sums(starts)
        return self.rows.row_sums((self.sources.predictor, self.sources.outcome), starts)

    def counts(self, participants: Container[str] | None) -> Counts:
        rows = self.rows if participants is None else self.rows.of(participants)
        return rows.counts(self.sources.params["floor"])


def usable_of(study: Study, sources: Sources) -> Usable:
    return Kept(study, sources) if sources.plan.is_of_moments else Usable(sources)


def read_rows(kept: Sequence[tuple[Any, ...]]) -> KeptRows:
    """Of (participant, n, stress, craving, follows), numbers as PostgreSQL sends them."""
    kept = sorted(kept, key=lambda row: row[0])
    codes = tuple(dict.fromkeys(row[0] for row in kept))
    number = {code: place for place, code in enumerate(codes)}
    owners = np.array([number[row[0]] for row in kept], dtype=np.intp)
    person = np.repeat(owners, np.array([row[1] for row in kept], dtype=np.intp))
    x, y, follows = (
        np.frombuffer(b"".join(row[place] for row in kept), dtype)
        for place, dtype in ((2, ">i4"), (3, ">i4"), (4, "u1"))
    )
    return KeptRows(codes, person, x.astype(np.int64), y.astype(np.int64), follows == 1)
