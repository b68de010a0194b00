"""Compare: the coupling in each arm and its difference from the reference arm.

The one step of the analysis that reads the allocation. Everything it says goes to the closed role
only, while arms are hidden (`ema.access.access_comparison`).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from analytics import sums
from analytics.fixed_effects import within_arm_term
from analytics.mixed_model import MixedModel, fit_mixed_model
from analytics.models import Comparison
from analytics.moments import Moments
from analytics.personal import personal_couplings
from analytics.report import comparison_report
from analytics.sums import Scales
from ema import audit
from ema.audit import Actor
from ema.models import Allocation, Arm, Study

EXPLORATORY = "Exploratory: no analysis plan was locked before this comparison was made."
ONE_GROUP = "There is nothing to compare: the study has {}, so this is the coupling of one group."

# Each response of a study falls under the first reason that holds; '' is a usable one.
EXCLUDED = f"""
SELECT reason, count(*) FROM (
    SELECT CASE
        WHEN r.trigger <> 'random' THEN 'self_initiated'
        WHEN p.id IS NULL THEN 'unknown_prompt'
        WHEN 'duplicate_prompt' = ANY(r.flags) THEN 'duplicate'
        WHEN 'after_withdrawal' = ANY(r.flags) THEN 'after_withdrawal'
        WHEN r.completed_at_corrected > p.expires_at THEN 'late'
        WHEN r.stress IS NULL AND r.craving IS NULL THEN 'missing_stress_and_craving'
        WHEN r.stress IS NULL THEN 'missing_stress'
        WHEN r.craving IS NULL THEN 'missing_craving'
        WHEN NOT ({sums.SUMMABLE}) THEN 'too_large'
        WHEN %(by_arm)s AND NOT EXISTS (
            SELECT FROM ema_allocation a WHERE a.participant_id = r.participant_id
        ) THEN 'not_allocated'
        ELSE ''
    END AS reason
    FROM ema_response r
    JOIN ema_participant participant ON participant.id = r.participant_id
    LEFT JOIN ema_prompt p ON p.id = r.prompt_id
    WHERE participant.study_id = %(study)s
) AS judged
GROUP BY reason ORDER BY reason
"""  # noqa: S608 - built from constants


class ComparisonImpossible(ValueError):
    """The arms of this study cannot be compared (yet); the message says what is missing."""


def compare(study: Study, participants: bool = False) -> dict[str, Any]:
    """The report of `analytics.report`, with the study, its reference arm and what to know of it.

    A study with one arm or none is one group: its coupling, no contrasts. Everything is in the
    items' own units: craving points per stress point. Raises ComparisonImpossible in words.
    """
    moments = sums.moments_of(study)
    if not moments.n.sum():
        raise ComparisonImpossible(
            f"No answers yet: study {study} has no answered random prompt with stress and craving."
        )
    arms = list(Arm.objects.filter(study=study).order_by("key"))
    scales = Scales.of(study)
    if len(arms) < 2:
        model, reference = _fit(moments, scales), None
    else:
        reference = _reference_of(study, arms)
        moments, arm_of = _allocated(study, moments, arms)
        model = _fit(moments, scales, arm_of, reference)
        _refuse_dropped(model, arms)
    excluded = excluded_responses(study, by_arm=len(arms) > 1, summed=model.n_pairs)
    personal = (
        personal_couplings(moments, x_scale=scales.stress, y_scale=scales.craving)
        if participants
        else None
    )
    report = comparison_report(model, excluded=excluded, personal=personal)
    return _heading(study, arms, reference) | report


def freeze(study: Study, actor: Actor, now: datetime) -> Comparison:
    """Keep the comparison as it is now, with its SHA-256, and say so in the audit trail."""
    report = _as_stored(compare(study))
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


def excluded_responses(study: Study, *, by_arm: bool, summed: int) -> dict[str, int]:
    """Responses outside the analysis by the first reason that holds, only those that occur.

    `summed` pairs are in the model; usable ones beyond them arrived since the last estimate.
    """
    with connection.cursor() as cursor:
        cursor.execute(EXCLUDED, {"study": study.pk, "by_arm": by_arm})
        counts = dict(cursor.fetchall())
    waiting = counts.pop("", 0) - summed
    return counts | ({"not_yet_estimated": waiting} if waiting > 0 else {})


def _heading(study: Study, arms: Sequence[Arm], reference: str | None) -> dict[str, Any]:
    """What stands above the numbers."""
    notes = [EXPLORATORY]
    if len(arms) < 2:
        notes.append(ONE_GROUP.format(f"one arm ({arms[0].key})" if arms else "no arms"))
    return {"study": study.slug, "reference": reference, "exploratory": True, "notes": notes}


def _reference_of(study: Study, arms: Sequence[Arm]) -> str:
    reference = next((arm.key for arm in arms if arm.is_reference), None)
    if reference is None:
        named = ", ".join(arm.key for arm in arms)
        raise ComparisonImpossible(
            f"Study {study} has no reference arm: mark one of {named} as the one to compare with."
        )
    return reference


def _allocated(
    study: Study, moments: Moments, arms: Sequence[Arm]
) -> tuple[Moments, dict[str, str]]:
    """The moments of allocated participants, and everybody's arm."""
    spent = Allocation.objects.filter(study=study, participant__isnull=False)
    arm_of = dict(spent.values_list("participant__code", "arm__key"))
    if not arm_of:
        raise ComparisonImpossible(f"No participant of study {study} is allocated to an arm yet.")
    pairs = zip(moments.participants, moments.n, strict=True)
    usable = [code for code, n in pairs if n and code in arm_of]
    filled = {arm_of[str(code)] for code in usable}
    if empty := [arm.key for arm in arms if arm.key not in filled]:
        raise ComparisonImpossible(
            f"No answers yet in {_arms_named(empty)}: no allocated participant has an answered "
            "random prompt with stress and craving there."
        )
    return moments.select(usable), arm_of


def _fit(
    moments: Moments,
    scales: Scales,
    arm_of: Mapping[str, str] | None = None,
    reference: str | None = None,
) -> MixedModel:
    try:
        return fit_mixed_model(
            moments, arm_of, reference, x_scale=scales.stress, y_scale=scales.craving
        )
    except ValueError as error:
        sentence = str(error)
        raise ComparisonImpossible(f"{sentence[0].upper()}{sentence[1:]}.") from error


def _refuse_dropped(model: MixedModel, arms: Sequence[Arm]) -> None:
    if still := [arm.key for arm in arms if within_arm_term(arm.key) in model.dropped]:
        raise ComparisonImpossible(
            f"Stress never varies within any participant of {_arms_named(still)}, so there is no "
            "coupling to compare."
        )


def _arms_named(keys: Sequence[str]) -> str:
    return f"arm{'s' if len(keys) > 1 else ''} {', '.join(keys)}"


def _as_stored(report: Mapping[str, Any]) -> Any:
    """The report as PostgreSQL gives it back: what is hashed is what can be read again."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb::text", [json.dumps(report, allow_nan=False)])
        (text,) = cursor.fetchone()
    return json.loads(text)
