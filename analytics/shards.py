"""Share out what there is to couple: shards of participants, as rows that workers take.

Of a large study several workers sum a shard each at the same time; whoever finds them all summed
writes the couplings, with the pooled model over everybody. Nothing is remembered but in
PostgreSQL: a shard is claimed by the lock on its row, which a worker loses when it dies.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import connection, transaction
from django.utils import timezone

from analytics import sums
from analytics.models import CouplingShard

SHARD = 500  # participants summed in one transaction


@transaction.atomic
def share_out(now: datetime, size: int = SHARD) -> Mapping[int, Sequence[int]]:
    """Put whoever has new responses into shards; who that is, by study. One worker at a time."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtext('fourbeat.coupling.shards'))")
        (alone,) = cursor.fetchone()
    if not alone:
        return {}
    stale = sums.stale_participants()
    CouplingShard.objects.bulk_create(
        CouplingShard(study_id=study, participants=list(part), planned_at=now)
        for study, participants in stale.items()
        for part in _parts(participants, size)
    )
    sums.cover(now)
    return stale


def waiting() -> int:
    """How many shards nobody has summed yet."""
    return CouplingShard.objects.filter(summed_at=None).count()


@transaction.atomic
def sum_next() -> bool:
    """Sum a shard that nobody else sums right now; whether there was one."""
    free = CouplingShard.objects.select_for_update(skip_locked=True).filter(summed_at=None)
    shard = free.order_by("pk").first()
    if shard is None:
        return False
    sums.sum_responses(shard.participants, now=shard.planned_at)
    CouplingShard.objects.filter(pk=shard.pk).update(summed_at=timezone.now())
    return True


class Summed(NamedTuple):
    """Shards (primary keys), and up to when each of their participants is summed."""

    shards: list[int]
    until: dict[int, datetime]


def summed(study: int) -> Summed | None:
    """All shards of a study; None while one of them is not summed. Within a transaction.

    Waits for workers that are at it.
    """
    found = Summed([], {})
    for shard in CouplingShard.objects.select_for_update().filter(study=study).order_by("pk"):
        if shard.summed_at is None:
            return None
        found.shards.append(shard.pk)
        for participant in shard.participants:
            known = found.until.get(participant, shard.planned_at)
            found.until[participant] = max(known, shard.planned_at)
    return found


def studies() -> list[int]:
    """Studies with shards, in order; primary keys."""
    of = CouplingShard.objects.order_by("study").values_list("study", flat=True)
    return list(of.distinct())


def clear(summed: Summed) -> None:
    """Their couplings are written."""
    CouplingShard.objects.filter(pk__in=summed.shards).delete()


def _parts(participants: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(participants), size):
        yield participants[start : start + size]
