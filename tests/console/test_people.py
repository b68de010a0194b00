"""Today, participants, a participant's timeline and the compliance map, through their pages."""

import html
import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ema import audit, pauses, studies, withdrawal
from ema.models import (
    AuditEvent,
    Device,
    Participant,
    Pause,
    PhaseStart,
    Prompt,
    Site,
    Study,
    UrineTest,
)
from tests import trial
from tests.analytics.test_pages import words
from tests.ema.test_admin import page, sign_in

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
TODAY, PEOPLE, MAP = (f"/studies/demo/{name}/" for name in ("today", "participants", "compliance"))


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def study(now: datetime) -> Study:
    study = trial.make_study()
    Study.objects.update(zone="UTC")
    for number in range(1, 4):
        asked(study, f"S1-00{number}", now)
    return study


@pytest.fixture
def cora(study: Study) -> Client:
    return sign_in("cora", study, "coordinator")


def shown_by(answer: Any) -> str:
    return words(page(answer))


def asked(study: Study, code: str, now: datetime, site: Site | None = None) -> Participant:
    """A participant of ten days with a phone, three prompts a day, the last two hours ago."""
    person = trial.enrol(study, code, "UTC", now - 10 * DAY)
    if site:
        Participant.objects.filter(pk=person.pk).update(site=site)
    trial.redeem(person)
    phase = study.phases.get()
    PhaseStart.objects.create(
        participant=person, phase=phase, begins_on=person.enrolled_on, known_at=now - 10 * DAY
    )
    for day in range(10):
        for ordinal in range(1, 4):
            due_at = now - (9 - day) * DAY - (5 - ordinal) * HOUR
            Prompt.objects.create(
                participant=person,
                phase=phase,
                questionnaire=phase.questionnaire,
                study_on=person.enrolled_on + day * DAY,
                study_day=day + 1,
                ordinal=ordinal,
                due_at=due_at,
                expires_at=due_at + HOUR,
                zone="UTC",
                tzdata="",
                planned_at=now - 10 * DAY,
                sent_at=due_at,
            )
    return person


def answer(person: str, **which: Any) -> None:
    for prompt in Prompt.objects.filter(participant__code=person, **which):
        Prompt.objects.filter(pk=prompt.pk).update(answered_at=prompt.due_at + 5 * HOUR / 60)


def silence(code: str, since: datetime) -> None:
    Device.objects.filter(participant__code=code).update(enrolled_at=since, schedule_at=since)


def codes_in_order(shown: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"S\d-00\d", shown)))


def test_participants_come_worst_first(study: Study, cora: Client, now: datetime) -> None:
    answer("S1-001")
    answer("S1-002", ordinal=1)
    silence("S1-003", now - 50 * HOUR)
    left = asked(study, "S1-000", now)
    withdrawal.withdraw(participant=left, reason="moved", now=now, actor=audit.COMMAND)
    shown = shown_by(cora.get(PEOPLE))
    assert codes_in_order(shown) == ["S1-003", "S1-002", "S1-001", "S1-000"]
    assert "silent for 48 h" in shown
    assert "100 %" in shown
    assert "33 %" in shown
    assert codes_in_order(shown_by(cora.get(f"{PEOPLE}?order=code"))) == [
        "S1-000",
        "S1-001",
        "S1-002",
        "S1-003",
    ]


def test_a_status_says_where_a_participant_stands(
    study: Study, cora: Client, now: datetime
) -> None:
    people = {person.code: person for person in Participant.objects.all()}
    pauses.pause(participant=people["S1-001"], now=now, actor=audit.COMMAND)
    Device.objects.filter(participant=people["S1-002"]).update(revoked_at=now)
    PhaseStart.objects.filter(participant=people["S1-003"]).update(begins_on=now.date() - 99 * DAY)
    for status, code in (("paused", "S1-001"), ("no phone", "S1-002"), ("finished", "S1-003")):
        assert codes_in_order(shown_by(cora.get(f"{PEOPLE}?status={status}"))) == [code]
    assert "Nobody fits" in shown_by(cora.get(f"{PEOPLE}?status=withdrawn&q=S1"))


def test_the_roster_is_a_file_as_well(study: Study, cora: Client) -> None:
    answer("S1-001")
    lines = cora.get(f"{PEOPLE}participants.csv?q=001").content.decode().splitlines()
    assert lines[0].startswith("participant,site,status,study_day,of_days,due_7_days,")
    assert lines[1].startswith("S1-001,S1,active,11,98,21,21,21,")
    assert len(lines) == 2


def test_today_counts_what_was_asked_since_midnight(
    study: Study, cora: Client, now: datetime
) -> None:
    due = Prompt.objects.filter(due_at__date=now.date(), due_at__lte=now)
    numbers = due.count(), due.filter(participant__code="S1-001").count()
    answer("S1-001")
    shown = shown_by(cora.get(TODAY))
    assert f"{numbers[1]} answered of {numbers[0]} that reached a phone" in shown
    assert "active 3" in shown
    assert "under half in 7 days" not in shown
    silence("S1-002", now - 80 * HOUR)
    answer("S1-003", ordinal=1)
    person = Participant.objects.get(code="S1-001")
    UrineTest.objects.create(participant=person, due_on=now.date())
    shown = shown_by(cora.get(TODAY))
    assert "silent for 72 h S1-002" in shown
    assert "under half in 7 days S1-003 (33 %)" in shown
    assert "1 urine test due today" in shown
    assert "No prompt waits to be sent" in shown
    assert "0 safety alerts open" in shown


def test_today_of_an_empty_study_says_so() -> None:
    study = trial.make_study()
    cora = sign_in("cora", study, "coordinator")
    assert "Nobody is enrolled yet" in shown_by(cora.get(TODAY))
    assert "Nobody is enrolled yet" in shown_by(cora.get(PEOPLE))
    assert "No prompt was due yet" in shown_by(cora.get(MAP))


def test_the_map_shows_each_day_and_its_files_the_same(study: Study, cora: Client) -> None:
    answer("S1-001")
    answer("S1-002", study_day=1)
    drawing = cora.get(f"{MAP}days.svg").content.decode()
    assert drawing.count("<path") == 2  # all, and none
    rows = cora.get(f"{MAP}days.csv").content.decode().splitlines()
    assert rows[0] == "participant,site,study_day,due,delivered,answered"
    assert "S1-001,S1,10,3,3,3" in rows
    assert "S1-002,S1,2,3,3,0" in rows
    assert len(rows) == 31
    shown = shown_by(cora.get(MAP))
    assert "1 63 63 24 38 %" in shown
    assert "2 27 27 9 33 %" in shown
    assert cora.get(f"{MAP}days.png").status_code == 404


def test_a_timeline_tells_of_prompts_events_and_notes(
    study: Study, cora: Client, now: datetime
) -> None:
    answer("S1-001", study_day=10)
    path = f"{PEOPLE}of/S1-001/"
    assert "The note is in" in shown_by(cora.post(path, {"note": "Has a new job."}, follow=True))
    shown = shown_by(cora.get(path))
    for told in ("note Has a new job. — cora", "phone enrolled", "participant enrolled", "missed"):
        assert told in shown
    assert AuditEvent.objects.get(action="participant.note").reason == "Has a new job."
    assert "Write a note of 1 to 500" in shown_by(cora.post(path, {"note": " "}, follow=True))
    ines = sign_in("ines", study, "investigator")
    assert "Add the note" not in shown_by(ines.get(path))
    assert ines.post(path, {"note": "mine"}).status_code == 404
    assert cora.get(f"{PEOPLE}of/nobody/").status_code == 404


def lock(person: Participant, **by: Any) -> None:
    studies.lock(study=person.study, reason="last visit done", **by)
    person.study.refresh_from_db()


def withdraw(person: Participant, **by: Any) -> None:
    withdrawal.withdraw(participant=person, reason="moved", **by)


def pause(person: Participant, **by: Any) -> None:
    pauses.pause(participant=person, **by)


def announce(person: Participant, **by: Any) -> None:
    pauses.pause(participant=person, begins_at=by["now"] + DAY, **by)


def shut_out(person: Participant, **by: Any) -> None:
    person.devices.update(revoked_at=by["now"])


def not_started(person: Participant, **by: Any) -> None:
    with trial.triggers_off():
        Study.objects.update(started_at=None)


def pause_and(then: Any) -> Any:
    def both(person: Participant, **by: Any) -> None:
        pause(person, **by)
        then(person, **by)

    return both


ALWAYS = ["New code", "Waking hours", "Change zone, withdraw"]
OFFERED: dict[str, tuple[Any, list[str]]] = {
    "as usual": (lambda person, **by: None, [*ALWAYS, "Pause"]),
    "paused": (pause, [*ALWAYS, "Resume"]),
    "a pause is announced": (announce, ALWAYS),
    "phone shut out": (shut_out, [*ALWAYS, "Pause"]),
    "study not started": (not_started, [*ALWAYS, "Pause"]),
    "study locked": (lock, ALWAYS),
    "paused, then locked": (pause_and(lock), [*ALWAYS, "Resume"]),
    "withdrawn": (withdraw, ["The record"]),
    "paused, then withdrawn": (pause_and(withdraw), ["The record"]),
}


@pytest.mark.parametrize(("become", "offered"), OFFERED.values(), ids=OFFERED)
def test_a_timeline_offers_what_can_be_done(
    study: Study, cora: Client, now: datetime, become: Any, offered: list[str]
) -> None:
    person = Participant.objects.get(code="S1-001")
    become(person, now=now, actor=audit.COMMAND)
    actions = actions_of(page(cora.get(f"{PEOPLE}of/S1-001/")))
    assert list(actions) == offered
    for address in actions.values():
        assert "S1-001" in page(cora.get(address))
    if "New code" in offered:
        assert "shown this once" in page(cora.post(actions["New code"]))
    record = page(cora.get(f"/admin/ema/participant/{person.pk}/change/"))
    assert ('name="withdraws"' in record) == ("Change zone, withdraw" in offered)
    if "Resume" in offered:
        chosen = {"action": "resume", "_selected_action": person.pk}
        assert "is asked again" in page(cora.post(actions["Resume"], chosen, follow=True))
    if "Pause" in offered:
        form = {"participant": person.pk, "kind": "pause"}
        form |= {"begins_at_0": f"{now:%Y-%m-%d}", "begins_at_1": f"{now:%H:%M:%S}"}
        cora.post(actions["Pause"], form)
        assert Pause.objects.open(now).filter(participant=person).exists()


def actions_of(shown: str) -> dict[str, str]:
    """What stands beside the way to all participants: addresses by their words."""
    [line] = [line for line in shown.splitlines() if ">All participants</a>" in line]
    links = re.findall(r'<a href="([^"]*)">([^<]*)</a>', line)[1:]
    return {words: html.unescape(address) for address, words in links}


@pytest.mark.parametrize("action", ["issue_codes", "pause", "resume"])
def test_the_list_of_records_says_why_nothing_was_done_for_who_left(
    study: Study, cora: Client, now: datetime, action: str
) -> None:
    person = Participant.objects.get(code="S1-001")
    pause_and(withdraw)(person, now=now, actor=audit.COMMAND)
    chosen = {"action": action, "_selected_action": person.pk}
    said = page(cora.post("/admin/ema/participant/", chosen, follow=True))
    assert "S1-001 has withdrawn" in said
    assert "Code for" not in said


def test_a_timeline_says_when_a_phone_was_shut_out(
    study: Study, cora: Client, now: datetime
) -> None:
    shut_out(Participant.objects.get(code="S1-001"), now=now)
    assert "phone shut out" in shown_by(cora.get(f"{PEOPLE}of/S1-001/"))
    assert "phone shut out" not in shown_by(cora.get(f"{PEOPLE}of/S1-002/"))


def test_whoever_is_kept_to_a_site_sees_that_site(study: Study, now: datetime) -> None:
    second = Site.objects.create(study=study, code="S2", title="Second site")
    Participant.objects.filter(code="S1-003").update(code="S2-003", site=second)
    here = sign_in("carl", study, "coordinator", site=study.sites.get(code="S1"))
    for path in (TODAY, PEOPLE, MAP):
        shown = shown_by(here.get(path))
        assert "Only participants of your site: S1." in shown
        assert "S2-003" not in shown
    assert "S2-003" not in here.get(f"{MAP}days.csv").content.decode()
    assert here.get(f"{PEOPLE}of/S2-003/").status_code == 404
    root, stan = sign_in("root"), sign_in("stan", study, "statistician")
    for path in (TODAY, PEOPLE, MAP, f"{PEOPLE}of/S1-001/"):
        assert root.get(path).status_code == 404
        assert page(stan.get(path))


def test_as_many_statements_for_many_participants(
    study: Study, cora: Client, now: datetime
) -> None:
    few = {path: statements(cora, path) for path in (TODAY, PEOPLE, MAP)}
    for number in range(4, 9):
        asked(study, f"S1-00{number}", now)
    for path, number in few.items():
        assert 5 < number < 40
        assert statements(cora, path) <= number, path


def statements(client: Client, path: str) -> int:
    with CaptureQueriesContext(connection) as asked_for:
        page(client.get(path))
    return len(asked_for)
