"""What `manage.py check` and `migrate` look at: where the rules of time zones come from."""

import zoneinfo
from collections.abc import Sequence
from typing import Any

from django.core import checks
from django.core.checks import CheckMessage
from django.db import connection
from django.db.models import Max
from django.utils import timezone

from ema.models import Prompt
from scheduler.renewal import of_other_zone_data, renewable
from scheduler.zones import TZDATA_VERSION


@checks.register()
def zones_are_the_wheels(**kwargs: Any) -> list[CheckMessage]:
    """The schedule must not depend on the machine that it is drawn on."""
    if not zoneinfo.TZPATH:
        return []
    return [
        checks.Error(
            f"Time zones are read from {', '.join(zoneinfo.TZPATH)} and not from the tzdata "
            "package: prompts would come at other times than their tzdata says.",
            hint="Leave zoneinfo.reset_tzpath(to=()) in ema/settings.py, and call it nowhere else.",
            id="scheduler.E001",
        )
    ]


@checks.register(checks.Tags.database)
def prompts_are_of_the_installed_zone_data(
    databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Prompts to come that another release drew: those to renew, and those on phones."""
    if "default" not in (databases or ()) or not _has_prompts():
        return []
    now = timezone.now()
    standing = of_other_zone_data(now).filter(cancelled_at=None)
    to_renew = renewable(now).filter(cancelled_at=None).count()
    kept = standing.count() - to_renew
    releases = ", ".join(sorted(standing.order_by().values_list("tzdata", flat=True).distinct()))
    drawn = f"drawn by tzdata {releases}; installed is {TZDATA_VERSION}"
    found: list[CheckMessage] = []
    if to_renew:
        found.append(
            checks.Warning(
                f"{to_renew:,} prompts to come, which no phone has yet, were {drawn}.",
                hint="Run manage.py plan --renew-zones: with the same draws, it plans anew the "
                "days that the new rules move, and notes the release on the others.",
                id="scheduler.W001",
            )
        )
    if kept:
        last = standing.aggregate(at=Max("due_at"))["at"]
        found.append(
            checks.Info(
                f"{kept:,} prompts that phones have, or of a day that has begun, were {drawn}. "
                f"They keep their times; the last prompt of another release is due {last:%Y-%m-%d}"
                " (UTC).",
                hint="Nothing to do: what a phone has is never moved. Where the clocks of a zone "
                "change by then, coordinators may tell its participants.",
                id="scheduler.I001",
            )
        )
    return found


def _has_prompts() -> bool:
    """Not before the first migration."""
    return Prompt._meta.db_table in connection.introspection.table_names()
