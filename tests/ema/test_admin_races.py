"""Whoever comes second in the admin is told why, and keeps what they typed."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from time import monotonic, sleep
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import Error, IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone

from ema import audit, enrolment, pauses, quarantine, studies, urine, visits, withdrawal
from ema.admin import refusals
from ema.models import (
    Participant,
    Pause,
    Phase,
    Quarantine,
    Questionnaire,
    Site,
    UrineTest,
    Visit,
)
from ema.questionnaires import drafts
from tests import trial
from tests.ema.test_admin import page, sign_in
from tests.ema.test_questionnaire_admin import form_of
from tests.ema.uploading import item, make_prompt, submit

pytestmark = pytest.mark.django_db(transaction=True)
DAY = timedelta(days=1)


@pytest.fixture
def person() -> Participant:
    person = trial.enrol(trial.make_study(), "S1-001", "UTC", timezone.now() - 9 * DAY)
    Phase.objects.update(starts="visit", visit="discharge")
    return person


@pytest.fixture
def cora(person: Participant) -> Client:
    return sign_in("cora", person.study, "coordinator")


@pytest.fixture
def root() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def post_meanwhile(client: Client, path: str, form: Any, first: Callable[[], object]) -> Any:
    """Post while `first` is done and not committed: the answer, once it was."""

    def post() -> Any:
        try:
            return client.post(f"/admin/{path}/", form, follow=True)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            first()
            answer = pool.submit(post)
            wait_until_somebody_waits()
        return answer.result(30)


def wait_until_somebody_waits() -> None:
    ends = monotonic() + 20
    with connection.cursor() as cursor:
        while monotonic() < ends:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
            sleep(0.02)
    pytest.fail("the second did not meet the first")


def now_by() -> Any:
    return {"now": timezone.now(), "actor": audit.COMMAND}


def test_a_second_pause_is_refused_on_the_form(person: Participant, cora: Client) -> None:
    form = {"participant": person.pk, "kind": "pause", "reason": "holidays"}
    form |= {"begins_at_0": f"{timezone.now():%Y-%m-%d}", "begins_at_1": "00:00"}
    answer = post_meanwhile(
        cora, "ema/pause/add", form, lambda: pauses.pause(participant=person, **now_by())
    )
    assert "is paused already: resume first" in page(answer)
    assert "holidays" in page(answer)  # what was typed is still there
    assert Pause.objects.count() == 1


def test_a_visit_is_recorded_once(person: Participant, cora: Client) -> None:
    today = timezone.now().date()
    form = {"participant": person.pk, "key": "discharge", "on_date": today.isoformat()}
    visit: Any = {"participant": person, "key": "discharge", "on_date": today}
    answer = post_meanwhile(
        cora, "ema/visit/add", form, lambda: visits.record_visit(**visit, **now_by())
    )
    assert "is recorded already" in page(answer)
    assert Visit.objects.count() == 1


def test_a_code_is_given_once(person: Participant, cora: Client) -> None:
    site = Site.objects.get()
    form = {"site": site.pk, "code": "S1-002", "zone": "UTC", "language": "en"}
    answer = post_meanwhile(
        cora,
        "ema/participant/add",
        form,
        lambda: enrolment.enrol(site=site, code="S1-002", zone="UTC", **now_by()),
    )
    assert "is taken in study demo" in page(answer)
    assert "shown once" not in page(answer)
    assert Participant.objects.count() == 2


def test_who_withdraws_meanwhile_keeps_their_zone(person: Participant, cora: Client) -> None:
    form = {"zone": "Europe/Brussels", "because": "moved"}
    answer = post_meanwhile(
        cora,
        f"ema/participant/{person.pk}/change",
        form,
        lambda: withdrawal.withdraw(participant=person, reason="asked", **now_by()),
    )
    assert answer.status_code == 200
    assert "Nothing was changed. Participant S1-001 has withdrawn." in page(answer)
    person.refresh_from_db()
    assert person.zone == "UTC"


def test_a_result_that_came_meanwhile_is_not_written_over(
    person: Participant, cora: Client
) -> None:
    due_on = timezone.now().date() - DAY
    test = UrineTest.objects.create(participant=person, due_on=due_on)
    form = {"result": "positive", "collected_on": due_on.isoformat()}
    said: Any = {"result": "negative", "collected_on": due_on}
    answer = post_meanwhile(
        cora,
        f"ema/urinetest/{test.pk}/change",
        form,
        lambda: urine.record_result(test=test, **said, **now_by()),
    )
    assert "say why it is corrected" in page(answer)
    assert UrineTest.objects.get().result == "negative"


def test_of_two_who_decide_the_second_is_told(person: Participant, cora: Client) -> None:
    broken = {**item(make_prompt(person)), "questionnaire": {"key": "hourly", "version": 7}}
    submit(trial.redeem(person), [broken])
    entry = Quarantine.objects.get()
    form = {"item": quarantine.text_of(entry), "decision": "discard", "why": "mine"}
    answer = post_meanwhile(
        cora,
        f"ema/quarantine/{entry.pk}/change",
        form,
        lambda: quarantine.discard(entry=entry, reason="first", **now_by()),
    )
    assert answer.status_code == 200
    assert "Nothing was changed." in page(answer)
    assert Quarantine.objects.get().resolution.endswith("first")


def test_a_draft_that_was_published_meanwhile_stays(person: Participant, root: Client) -> None:
    version = drafts.start_from_default(study=person.study, actor=audit.COMMAND)
    form = form_of(root, version) | {"title": "de: Später\nen: Later"}
    answer = post_meanwhile(
        root,
        f"ema/questionnaireversion/{version.pk}/change",
        form,
        lambda: studies.publish(version=version, **now_by()),
    )
    assert answer.status_code == 200
    assert "A published questionnaire never changes: UPDATE refused. Make a new version." in page(
        answer
    )
    version.refresh_from_db()
    assert version.title["en"] == "The past hour"


def test_the_key_of_a_questionnaire_is_given_once(person: Participant, root: Client) -> None:
    form = {"study": person.study.pk, "key": "daily", "title": "Daily"}
    answer = post_meanwhile(
        root,
        "ema/questionnaire/add",
        form,
        lambda: Questionnaire.objects.create(study=person.study, key="daily", title="First"),
    )
    assert answer.status_code == 200
    assert "already exists" in page(answer)
    assert Questionnaire.objects.get(key="daily").title == "First"


def test_a_user_name_is_given_once(root: Client) -> None:
    form = {"username": "cora", "password1": "a-long-word-9", "password2": "a-long-word-9"}
    form |= {"usable_password": "true"}
    form |= {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    answer = post_meanwhile(root, "auth/user/add", form, lambda: User.objects.create_user("cora"))
    assert "already exists" in page(answer)
    assert User.objects.filter(username="cora").count() == 1


def test_a_defect_is_no_refusal() -> None:
    assert refusals.in_words(IntegrityError("by whom?")) == ""
    with pytest.raises(Error) as raised, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM nowhere")
    assert refusals.in_words(raised.value) == ""


def test_every_constraint_has_its_sentence(person: Participant) -> None:
    Pause.objects.create(participant=person, begins_at=timezone.now())
    with pytest.raises(IntegrityError) as raised:
        Pause.objects.create(participant=person, begins_at=timezone.now())
    assert refusals.in_words(raised.value) == "This participant is paused already: resume first."
    assert all(said.endswith((".", ")")) for said in refusals._constraints().values())
