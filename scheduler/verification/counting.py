"""How many prompts there must be: what a snapshot holds its table of prompts to."""

from ema.models import Prompt, Study
from ema.models.prompt import CancelReason
from ema.models.study import Design
from ema.schedule_checks import Recomputed
from scheduler.verification import verify_schedule
from scheduler.verification.result import EXTRA, MISSING


def recompute(study: Study) -> Recomputed | None:
    """Every prompt of the study drawn again, and counted; None before the study starts."""
    if study.started_at is None:
        return None
    verified = verify_schedule(study, limit=0)
    kinds = verified.kinds
    missing, extra = kinds[MISSING], kinds[EXTRA]
    superseded = Prompt.objects.filter(
        participant__study=study, cancel_reason=CancelReason.SUPERSEDED
    ).exclude(phase__design=Design.IMPORTED)
    return Recomputed(
        drawn=verified.prompts - extra + missing,
        superseded=superseded.count(),
        imported=verified.not_drawn,
        missing=missing,
        extra=extra,
        otherwise=kinds.total() - missing - extra,
        seed_is_the_committed_one=verified.seed.is_the_committed_one,
    )
