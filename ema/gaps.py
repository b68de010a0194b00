"""What a phone numbered and never brought: derived from the running numbers of all that arrived."""

from typing import NamedTuple

from django.db import connection
from django.db.models import IntegerField, QuerySet
from django.db.models.expressions import RawSQL

from ema.models import Device

ARRIVED = """
SELECT seq FROM ema_response AS here
WHERE here.participant_id = {participant} AND here.device_id = {device} AND seq IS NOT NULL
UNION SELECT seq FROM ema_phoneevent AS here
WHERE here.device_id = {device} AND seq IS NOT NULL
UNION SELECT (raw->>'seq')::bigint FROM ema_quarantine AS here
WHERE here.device_id = {device} AND raw->>'seq' ~ '^[0-9]{{1,18}}$'
"""
MISSING = f"""
(SELECT coalesce(max(seq) - min(seq) + 1 - count(*), 0) FROM (
{ARRIVED.format(participant="ema_device.participant_id", device="ema_device.id")}) AS arrived)
"""  # noqa: S608 - built from the constants above
GAPS = f"""
SELECT before + 1, seq - 1
FROM (SELECT seq, lag(seq) OVER (ORDER BY seq) AS before FROM (
{ARRIVED.format(participant="%(participant)s", device="%(device)s")}) AS arrived) AS pairs
WHERE seq > before + 1 ORDER BY seq
"""  # noqa: S608 - built from the constants above


class Gap(NamedTuple):
    """Running numbers that are missing, both ends included."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}–{self.last}"


def with_missing(devices: QuerySet[Device]) -> QuerySet[Device]:
    """Each phone with `missing`: how many numbers between its first and its last did not arrive."""
    return devices.annotate(missing=RawSQL(MISSING, [], output_field=IntegerField()))  # noqa: S611


def gaps_of(device: Device) -> list[Gap]:
    """The numbers that did not arrive, in order."""
    with connection.cursor() as cursor:
        cursor.execute(GAPS, {"participant": device.participant_id, "device": device.pk})
        return [Gap(*row) for row in cursor.fetchall()]
