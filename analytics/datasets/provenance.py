"""What a package was made from: software, schema, protocol, plans, filters, the audit trail."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from django.db import connection

from analytics.datasets.columns import Scope
from analytics.datasets.reading import Written
from analytics.models import AnalysisPlan
from analytics.software import software
from ema import studies
from ema.models import Arm, AuditEvent, Phase, QuestionnaireVersion

FILTERS = (
    "every scheduled prompt, whatever became of it, judged at the moment",
    "of a prompt's answers the first; others and own reports are in the table responses",
    "no answers that were given after withdrawal",
    "no answers in a participant's own words, unless as codes of a choice",
    "no adverse events that were struck out, and no descriptions of those that stand",
)
PROTOCOL = (
    *["key", "position", "starts", "offset_days", "days", "design", "prompts_per_day"],
    *["minimum_gap", "windows", "fixed_times", "expires_after", "expires_by_window_end"],
)


def provenance(scope: Scope, identity: str, tables: Sequence[Written]) -> dict[str, Any]:
    """Asked inside the transaction that the tables come from.

    What depends on arms stays out of masked packages: the audit trail's head is that of its open
    events alone, and no plan is named, as a plan may name arms.
    """
    study = scope.study
    forms = QuestionnaireVersion.objects.published().filter(questionnaire__study=study)
    found: dict[str, Any] = {
        "software": software(),
        "schema": _schema(),
        "study": study.slug,
        "snapshot": identity,
        "masking": scope.masking,
        "deidentified": scope.deidentify or None,
        "moment": scope.moment.isoformat(),
        "decimals": dict(sorted(studies.decimals_of(study).items())),
        "questionnaires": {str(form): form.sha256 for form in forms.order_by("pk")},
        "protocol": _protocol(scope),
        "filters": list(FILTERS),
        "audit": _audit_head(scope),
        "rows": {table.name: table.rows for table in tables},
    }
    if scope.with_arms:
        plans = AnalysisPlan.objects.filter(study=study).order_by("key", "version")
        found["plans"] = {f"{plan.key}@{plan.version}": plan.sha256 for plan in plans}
        found["reference_arm"] = reference_arm(scope)
    return found


def reference_arm(scope: Scope) -> str | None:
    """The arm that others are compared with, where arms are shown."""
    if not scope.with_arms:
        return None
    return (
        Arm.objects.filter(study=scope.study, is_reference=True)
        .values_list("key", flat=True)
        .first()
    )


def _schema() -> dict[str, str]:
    """The last migration of each package of ours."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT app, max(name) FROM django_migrations "
            "WHERE app IN ('ema', 'scheduler', 'analytics') GROUP BY app ORDER BY app"
        )
        return dict(cursor.fetchall())


def _protocol(scope: Scope) -> dict[str, str]:
    """SHA-256 of each phase's sampling protocol, by the phase's key."""
    phases = Phase.objects.filter(study=scope.study).order_by("position").values(*PROTOCOL)
    return {
        phase["key"]: hashlib.sha256(
            json.dumps(phase, sort_keys=True, default=str).encode()
        ).hexdigest()
        for phase in phases
    }


def _audit_head(scope: Scope) -> dict[str, Any]:
    """The last event before the moment that everybody who may read the package may read."""
    events = AuditEvent.objects.filter(study=scope.study, at__lte=scope.moment, is_closed=False)
    last = events.order_by("-id").first()
    if last is None:
        return {"events": 0}
    return {
        "events": events.count(),
        "last_at": last.at.isoformat(),
        "last_sha256": hashlib.sha256(
            json.dumps(
                [last.action, last.subject, last.before, last.after, last.reason], sort_keys=True
            ).encode()
        ).hexdigest(),
    }
