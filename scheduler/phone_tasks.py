"""Phones to look after: what a coordinator has to do so that prompts reach everybody.

Read off the rows each time, so a task is gone as soon as its phone has registered or synced.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, NamedTuple

from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest

from ema.models import Device, Participant, Pause, Prompt, Response
from ema.models.push import PushKind

BY_LINK = (PushKind.EMAIL, PushKind.SMS)
FROM_CODE = "Issue a one-time code and let the participant enrol a phone with it."
OPEN_APP = "Ask the participant to open the app: the phone then registers anew by itself."
NEW_ADDRESS = "Ask the participant whether the address is right, and to enter it in the app again."
WAKE_UP = (
    "Ask the participant whether the phone is on, has a network and still has the app; "
    "opening the app is enough."
)


class PhoneTask(NamedTuple):
    """What is wrong with a participant's phone since when, and what to do about it."""

    participant: Participant
    since: datetime
    trouble: str
    todo: str

    def content(self) -> dict[str, str]:
        """As JSON shows it."""
        return {
            "participant": self.participant.code,
            "site": self.participant.site.code,
            "since": self.since.isoformat(),
            "trouble": self.trouble,
            "todo": self.todo,
        }


def phone_tasks(
    participants: QuerySet[Participant], *, now: datetime, quiet_after: timedelta
) -> list[PhoneTask]:
    """Of these participants, those whose phone needs somebody; the longest first."""
    asked = asked_now(participants, now)
    found = chain(_without_phone(asked), _unreachable(asked), _quiet(asked, now - quiet_after))
    return sorted(found, key=lambda task: (task.since, task.participant.code))


def asked_now(participants: QuerySet[Participant], now: datetime) -> QuerySet[Participant]:
    """Those of a running study who have prompts to come and are not paused."""
    of_participant = {"participant": OuterRef("pk")}
    coming = Prompt.objects.standing().filter(**of_participant, due_at__gt=now)
    paused = Pause.objects.open(now).filter(**of_participant, begins_at__lte=now)
    return participants.active().filter(  # type: ignore[attr-defined, no-any-return]
        Exists(coming),
        ~Exists(paused),
        study__started_at__isnull=False,
        study__locked_at=None,
    )


def _without_phone(asked: QuerySet[Participant]) -> Iterator[PhoneTask]:
    active = Device.objects.active().filter(participant=OuterRef("pk"))
    left = Greatest(Max("devices__revoked_at"), Max("devices__replaced_at"))
    alone: Any = asked.filter(~Exists(active)).annotate(since=Coalesce(left, F("enrolled_at")))
    for participant in alone.select_related("site"):
        yield PhoneTask(participant, participant.since, "No phone is enrolled.", FROM_CODE)


def _unreachable(asked: QuerySet[Participant]) -> Iterator[PhoneTask]:
    """Phones whose registration is dead: nothing can be sent to them."""
    dead = Device.objects.active().filter(participant__in=asked, push__died_at__isnull=False)
    for phone in dead.select_related("push", "participant__site"):
        registration = phone.push
        assert registration.died_at  # noqa: S101 - asked for
        trouble = f"No way to it by {registration.get_kind_display()}: {registration.death}."
        todo = NEW_ADDRESS if registration.kind in BY_LINK else OPEN_APP
        yield PhoneTask(phone.participant, registration.died_at, trouble, todo)


def _quiet(asked: QuerySet[Participant], before: datetime) -> Iterator[PhoneTask]:
    """Phones that since then neither loaded their schedule nor registered nor sent an answer."""
    answers = Response.objects.filter(participant=OuterRef("participant"), device=OuterRef("pk"))
    last_answer = answers.order_by("-received_at").values("received_at")[:1]
    phones: Any = Device.objects.active().filter(participant__in=asked)
    phones = phones.annotate(heard_at=Greatest("enrolled_at", "schedule_at", "push__registered_at"))
    silent = phones.filter(Q(heard_at__lte=before), ~Exists(answers.filter(received_at__gt=before)))
    silent = silent.annotate(answered_at=Subquery(last_answer))  # of the few that are left
    for phone in silent.select_related("participant__site"):
        trouble = "Nothing heard of it: no schedule loaded, no registration, no answer."
        since = max(filter(None, (phone.heard_at, phone.answered_at)))
        yield PhoneTask(phone.participant, since, trouble, WAKE_UP)
