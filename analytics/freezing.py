"""Freeze: a comparison kept as it is, with the SHA-256 of what it says."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from analytics.models import AnalysisPlan, Comparison
from analytics.whole_comparison import compare_whole
from ema import audit
from ema.audit import Actor
from ema.models import Study


def freeze(
    study: Study, actor: Actor, now: datetime, stored: AnalysisPlan | None = None
) -> Comparison:
    """Keep the comparison as it is now, with its SHA-256, and say so in the audit trail.

    With it, as `abstinence`, what the urine tests say by the same plan.
    """
    report = _as_stored(compare_whole(study, now, stored))
    with transaction.atomic():
        comparison = Comparison.objects.create(
            study=study,
            report=report,
            sha256=digest(report),
            made_at=now,
            made_by_id=actor.user.pk if actor.user else None,
        )
        audit.record(
            actor=actor,
            action="comparison.frozen",
            subject=f"comparison {comparison.sha256[:8]}",
            study=study,
            is_closed=True,
            after={"sha256": comparison.sha256},
        )
    return comparison


def digest(report: Mapping[str, Any]) -> str:
    """SHA-256 of the report as JSON with sorted keys and no spaces."""
    text = json.dumps(report, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _as_stored(report: Mapping[str, Any]) -> Any:
    """The report as PostgreSQL gives it back: what is hashed is what can be read again."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb::text", [json.dumps(report, allow_nan=False)])
        (text,) = cursor.fetchone()
    return json.loads(text)
