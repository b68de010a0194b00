"""The whole comparison: the coupling by arm and, beside it, what the urine tests say."""

from datetime import datetime
from typing import Any

from analytics.comparison import compare
from analytics.models import AnalysisPlan
from analytics.outcomes import outcomes_or_why
from analytics.safety import safety
from ema.models import Study


def compare_whole(
    study: Study, now: datetime, stored: AnalysisPlan | None = None, **asked: bool
) -> dict[str, Any]:
    """As `compare` makes it, with `abstinence`, the outcomes by the same plan, or why none.

    And `safety`, the adverse events by arm. Raises ComparisonImpossible in words.
    """
    return compare(study, stored, **asked) | {
        "abstinence": outcomes_or_why(study, now, stored),
        "safety": safety(study),
    }
