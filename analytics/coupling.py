"""Couple: each participant's own slope of craving on stress, kept current and kept blind.

The periodic task finds the participants with responses newer than their coupling, shares them out
(`analytics/shards.py`), sums their analysis rows (`analytics/sums.py`) and writes one `Coupling`
each. Allocation and arms are never read: the shrunken slope leans on the whole study.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import connection, transaction

from analytics import shards, sums
from analytics.mixed_model import fit_mixed_model
from analytics.moments import Label, Moments
from analytics.personal import PersonalCoupling, personal_couplings
from analytics.sums import Scales
from ema.models import Participant, Study

MOST_HELPERS = 7


class Estimated(NamedTuple):
    """How many studies and participants a run has brought up to date."""

    studies: int
    participants: int


class Shrunken(NamedTuple):
    """A participant's slope in the pooled model, in craving points per stress point."""

    slope: float | None
    reliability: float | None


def estimate_couplings(now: datetime, call: Callable[[], object] | None = None) -> Estimated:
    """Bring moments and couplings up to date with every response that has arrived.

    Idempotent, and harmless when workers run it at once. After a crash the next run finds whatever
    this one left. `call` asks another worker to help; it is called once for every further shard.
    """
    stale = shards.share_out(now)
    if call is not None:
        for _ in range(min(shards.waiting() - 1, MOST_HELPERS)):
            call()
    work_off()
    return Estimated(len(stale), sum(map(len, stale.values())))


def work_off() -> None:
    """Sum shards as long as there are any, then write the couplings of their studies."""
    while True:
        while shards.sum_next():
            pass
        studies = Study.objects.filter(pk__in=shards.studies()).order_by("pk")
        if all(finish(study) for study in studies):
            return


@transaction.atomic
def finish(study: Study) -> bool:
    """Write the couplings of a study whose shards are summed; False where a worker left one."""
    _alone(study)
    summed = shards.summed(study.pk)
    if summed is None:
        return False
    if summed.shards:
        write_couplings(study, summed.until)
        shards.clear(summed)
    return True


def _alone(study: Study) -> None:
    """The last worker through this lock saw all moments."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtext('fourbeat.coupling'), %s)", [study.pk]
        )


@transaction.atomic
def write_couplings(study: Study, until: Mapping[int, datetime]) -> None:
    """Couplings of these participants, whose responses are summed until then; everybody's shrunken
    slope, as the pooled model moved."""
    _alone(study)
    keys = dict(Participant.objects.filter(study=study).values_list("code", "pk"))
    moments = sums.moments_of(study, also=[code for code, pk in keys.items() if pk in until])
    scales = Scales.of(study)
    shrunken = pooled_slopes(moments, scales)
    rows = [
        _row(keys[str(own.participant)], own, shrunken.get(own.participant))
        for own in personal_couplings(moments, x_scale=scales.stress, y_scale=scales.craving)
    ]
    _store([row for row in rows if row[0] in until], until)
    _reshrink([row for row in rows if row[0] not in until])


def pooled_slopes(moments: Moments, scales: Scales) -> Mapping[Label, Shrunken]:
    """Shrunken slopes of the model without arms; empty while the study is too small for one."""
    try:
        model = fit_mixed_model(moments, x_scale=scales.stress, y_scale=scales.craving)
    except ValueError:
        return {}
    personal = model.personal
    values = zip(personal.shrunken_slope, personal.reliability, strict=True)
    return {
        participant: Shrunken(float(slope), float(reliability))
        for participant, (slope, reliability) in zip(model.participants, values, strict=True)
    }


COLUMNS = {  # of analytics_coupling, with the type of each array that carries them
    "participant_id": "bigint",
    "n_pairs": "integer",
    "slope": "double precision",
    "standard_error": "double precision",
    "interval_low": "double precision",
    "interval_high": "double precision",
    "not_estimable": "text",
    "shrunken_slope": "double precision",
    "reliability": "double precision",
}
_names = ", ".join(COLUMNS)
_given = f"unnest({', '.join(f'%s::{kind}[]' for kind in COLUMNS.values())}) AS given ({_names})"
_changes = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name != "participant_id")
STORE = f"""
INSERT INTO analytics_coupling ({_names}, estimated_at)
SELECT {_names}, estimated_at
FROM {_given} JOIN unnest(%s::bigint[], %s::timestamptz[]) AS summed (participant_id, estimated_at)
    USING (participant_id) ORDER BY participant_id
ON CONFLICT (participant_id) DO UPDATE SET {_changes},
    estimated_at = greatest(analytics_coupling.estimated_at, excluded.estimated_at)
"""  # noqa: S608 - built from the constant names above
RESHRINK = f"""
UPDATE analytics_coupling SET
    shrunken_slope = given.shrunken_slope, reliability = given.reliability
FROM {_given}
WHERE analytics_coupling.participant_id = given.participant_id
AND (analytics_coupling.shrunken_slope, analytics_coupling.reliability)
    IS DISTINCT FROM (given.shrunken_slope, given.reliability)
"""  # noqa: S608 - built from the constant names above

Row = tuple[int | float | str | None, ...]


def _row(participant: int, own: PersonalCoupling, shrunken: Shrunken | None) -> Row:
    """One coupling, in the order of COLUMNS."""
    low, high = own.interval or (None, None)
    return (
        participant,
        own.n,
        own.slope,
        own.standard_error,
        low,
        high,
        own.reason or "",
        *(shrunken or Shrunken(None, None)),
    )


def _store(rows: Sequence[Row], until: Mapping[int, datetime]) -> None:
    if rows:
        columns = [*map(list, zip(*rows, strict=True)), list(until), list(until.values())]
        with connection.cursor() as cursor:
            cursor.execute(STORE, columns)


def _reshrink(rows: Sequence[Row]) -> None:
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(RESHRINK, [list(column) for column in zip(*rows, strict=True)])
