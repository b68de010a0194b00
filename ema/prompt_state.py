"""What became of a prompt: one word, derived from the instants of its ledger.

The first that holds: `answered`, `answered_late`, `cancelled`; after expiry `missed` (a phone had
it) or `not_delivered`; before expiry `not_delivered` when somebody wrote down why, else how far
it got: `opened`, `shown`, `sent`, `armed`, `released`, `planned`.
"""

from datetime import datetime

from django.db.models import Case, CharField, F, Q, QuerySet, Value, When

from ema.models import Prompt
from ema.models.prompt import Undelivered

ENDS = ("answered", "answered_late", "cancelled", "missed", "not_delivered")
STAGES = ("opened", "shown", "sent", "armed", "released", "planned")  # the furthest first

REACHED_A_PHONE = (
    Q(armed_at__isnull=False)
    | Q(sent_at__isnull=False)
    | Q(shown_at__isnull=False)
    | Q(opened_at__isnull=False)
)


def state_expression(now: datetime) -> Case:
    """The state of a prompt at `now`, to annotate a queryset of prompts with."""
    reached = [When(**{f"{stage}_at__isnull": False}, then=Value(stage)) for stage in STAGES[:-1]]
    return Case(
        When(answered_at__lte=F("expires_at"), then=Value("answered")),
        When(answered_at__isnull=False, then=Value("answered_late")),
        When(cancelled_at__isnull=False, then=Value("cancelled")),
        When(REACHED_A_PHONE & Q(expires_at__lte=now), then=Value("missed")),
        When(
            ~REACHED_A_PHONE & (Q(expires_at__lte=now) | ~Q(undelivered="")),
            then=Value("not_delivered"),
        ),
        *reached,
        default=Value("planned"),
        output_field=CharField(),
    )


def reason_expression() -> Case:
    """Why a prompt has no answer, on a queryset annotated with `state`; null where none is due.

    A cancelled prompt's reason, or why none was delivered (`system` when nobody wrote it down).
    """
    return Case(
        When(state="cancelled", then=F("cancel_reason")),
        When(state="not_delivered", undelivered="", then=Value(Undelivered.SYSTEM.value)),
        When(state="not_delivered", then=F("undelivered")),
        default=Value(None),
        output_field=CharField(),
    )


def with_state(prompts: QuerySet[Prompt], *, now: datetime) -> QuerySet[Prompt]:
    """The prompts with `state` and `state_reason`."""
    return prompts.annotate(state=state_expression(now)).annotate(state_reason=reason_expression())
