"""Pauses and hospital stays: nobody is asked meanwhile, and nothing is drawn anew."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError
from django.test import Client
from django.utils import timezone

from ema import audit, pauses, studies, withdrawal
from ema.models import AuditEvent, Participant, Pause, Prompt
from ema.models.prompt import PromptQuerySet
from scheduler.delivery import dispatch_due
from scheduler.ledger import ledger
from scheduler.planning import plan_prompts
from tests import trial

pytestmark = pytest.mark.django_db

MIDNIGHT = datetime(2026, 6, 15, tzinfo=UTC)
NOON = MIDNIGHT + timedelta(hours=12)
DAY = timedelta(days=1)


@pytest.fixture
def someone() -> Participant:
    study = trial.make_study()
    trial.enrol(study, "S2", "UTC", MIDNIGHT)
    someone = trial.enrol(study, "S1", "UTC", MIDNIGHT)
    plan_prompts(NOON)
    return someone


def pause(someone: Participant, now: datetime, **fields: Any) -> Pause:
    return pauses.pause(participant=someone, now=now, actor=audit.COMMAND, **fields)


def resume(someone: Participant, now: datetime) -> None:
    pauses.resume(participant=someone, now=now, actor=audit.COMMAND)


def paused() -> PromptQuerySet:
    return Prompt.objects.filter(cancel_reason="paused")


def test_a_pause_with_an_end_cancels_exactly_what_is_due_in_it(someone: Participant) -> None:
    begins_at, ends_at = NOON + 2 * DAY, NOON + 9 * DAY
    within = Prompt.objects.filter(due_at__gte=begins_at, due_at__lt=ends_at, participant=someone)
    Prompt.objects.filter(due_at__lt=NOON + 5 * DAY).update(released_at=NOON)
    pause(someone, NOON, kind="hospital", begins_at=begins_at, ends_at=ends_at)
    assert paused().count() == within.count() > 20
    assert set(paused()) == set(within)
    assert ledger(someone.study, NOON).balances


def test_an_open_pause_cancels_as_it_goes_on_and_no_longer(someone: Participant) -> None:
    pause(someone, NOON)
    first = set(paused())
    assert {p.due_at >= NOON and p.due_at < NOON + 2 * DAY for p in first} == {True}
    more = plan_prompts(NOON + DAY).paused
    assert more
    assert plan_prompts(NOON + DAY).paused == 0
    resume(someone, NOON + DAY)
    plan_prompts(NOON + 5 * DAY)
    assert paused().count() == len(first) + more  # and these are not revived
    coming = Prompt.objects.standing().filter(participant=someone, due_at__gte=NOON + 3 * DAY)
    assert coming.first().due_at < NOON + 4 * DAY  # type: ignore[union-attr]


def test_a_paused_participant_is_not_asked_even_if_the_planner_is_late(
    someone: Participant,
) -> None:
    trial.redeem(someone)
    pause(someone, MIDNIGHT)
    at = MIDNIGHT + DAY + timedelta(hours=21)
    sent: list[Any] = []
    dispatch_due(at, send=sent.append, clock=lambda: at)
    due = Prompt.objects.filter(participant=someone, due_at__lte=at)
    assert due.exists()
    assert not sent
    assert not due.filter(cancelled_at=None)


def test_days_planned_during_a_pause_are_thinned_and_equal_the_draws(someone: Participant) -> None:
    pause(someone, NOON, ends_at=NOON + 30 * DAY)
    plan_prompts(NOON + 10 * DAY)
    other = Prompt.objects.filter(participant__code="S2")
    mine = Prompt.objects.filter(participant=someone)
    assert mine.count() == other.count() == 25 * 4
    assert not mine.standing().filter(due_at__gte=NOON)


def test_a_stay_recorded_afterwards_takes_what_was_missed_but_no_answers(
    someone: Participant,
) -> None:
    today = Prompt.objects.filter(participant=someone, due_at__lt=NOON + DAY).order_by("due_at")
    answered = today[1]
    Prompt.objects.filter(pk=answered.pk).update(answered_at=answered.due_at)
    pause(someone, NOON + 2 * DAY, begins_at=MIDNIGHT, ends_at=NOON + DAY, kind="hospital")
    assert paused().count() == today.count() - 1
    assert answered not in paused()


def test_pausing_and_resuming_are_written_down(someone: Participant) -> None:
    pause(someone, NOON, reason="travels")
    resume(someone, NOON + DAY)
    resumed, began = AuditEvent.objects.filter(action__startswith="participant.")[:2]
    assert (began.action, began.reason) == ("participant.paused", "travels")
    assert resumed.action == "participant.resumed"
    assert resumed.after == {"ends_at": (NOON + DAY).isoformat()}


def test_what_makes_no_sense_is_refused_in_words(someone: Participant) -> None:
    with pytest.raises(pauses.PauseRefused, match="Participant S1 is not paused"):
        resume(someone, NOON)
    with pytest.raises(pauses.PauseRefused, match="ends after it begins"):
        pause(someone, NOON, ends_at=NOON)
    with pytest.raises(pauses.PauseRefused, match="before enrolment"):
        pause(someone, NOON, begins_at=MIDNIGHT - DAY)
    pause(someone, NOON)
    with pytest.raises(pauses.PauseRefused, match="paused already: resume first"):
        pause(someone, NOON)
    withdrawal.withdraw(participant=someone, reason="", now=NOON, actor=audit.COMMAND)
    with pytest.raises(pauses.PauseRefused, match="has withdrawn"):
        pause(Participant.objects.get(pk=someone.pk), NOON)
    with pytest.raises(IntegrityError, match="a_pause_ends_after_it_begins"):
        Pause.objects.create(participant=someone, begins_at=NOON, ends_at=MIDNIGHT)


def test_a_coordinator_pauses_and_resumes(someone: Participant) -> None:
    user = User.objects.create_user("cora")
    study = someone.study
    studies.grant(user=user, role="coordinator", study=study, site=None, actor=audit.COMMAND)
    client = Client()
    client.force_login(user)
    chosen = {"_selected_action": [someone.pk]}

    def act(action: str) -> str:
        path, form = "/admin/ema/participant/", {"action": action, **chosen}
        return str(client.post(path, form, follow=True).content.decode())

    assert "Participant S1 is paused." in act("pause")
    assert "is paused already" in act("pause")
    assert "Participant S1 is asked again." in act("resume")
    stay = {
        "participant": someone.pk,
        "kind": "hospital",
        "begins_at_0": timezone.now().date().isoformat(),
        "begins_at_1": "00:00",
        "ends_at_0": "2020-01-01",
        "ends_at_1": "00:00",
    }
    said = client.post("/admin/ema/pause/add/", stay).content.decode()
    assert "A pause ends after it begins." in said
    assert (
        client.post("/admin/ema/pause/add/", stay | {"ends_at_0": "2100-01-01"}).status_code == 302
    )
    assert Pause.objects.get(kind="hospital").participant == someone
