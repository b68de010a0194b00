"""The operators' screens, by role, through HTTP."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from ema import access, audit, studies
from ema.models import (
    Arm,
    AuditEvent,
    Item,
    Participant,
    Phase,
    Questionnaire,
    Site,
    Study,
    UrineTest,
)
from tests import trial

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    study = trial.make_study()
    for number in (1, 2):
        trial.enrol(study, f"S1-00{number}", "Europe/Brussels", timezone.now())
    return study


def sign_in(
    name: str, study: Study | None = None, role: str = "", site: Site | None = None
) -> Client:
    user = User.objects.create_user(name, is_superuser=study is None)
    if study:
        studies.grant(user=user, role=role, study=study, site=site, actor=audit.COMMAND)
    client = Client()
    client.force_login(user)
    return client


def page(answer: Any) -> str:
    assert answer.status_code == 200, answer
    return str(answer.content.decode())


def test_a_coordinator_enrols_a_participant_and_is_shown_the_code_once(study: Study) -> None:
    client = sign_in("cora", study, "coordinator")
    form = {
        "site": study.sites.get().pk,
        "code": "S1-003",
        "zone": "Africa/Nairobi",
        "language": "en",
    }
    said = page(client.post("/admin/ema/participant/add/", form, follow=True))
    code = re.search(r"Code for S1-003: ([0-9A-Z-]+)", said)
    assert code
    redeemed = Client().post(
        "/api/v1/enrolments/redeem",
        {"code": code[1], "installation_id": "8a1f6f3e-7a34-4d0c-9a57-1d1f0d3b6c11"},
        content_type="application/json",
    )
    assert redeemed.status_code == 201
    assert code[1] not in page(client.get("/admin/ema/participant/"))
    enrolled = AuditEvent.objects.get(subject="participant S1-003", action="participant.enrolled")
    assert (enrolled.door, str(enrolled.actor)) == ("admin", "cora")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"zone": "Mars/Olympus"}, "write an IANA name"),
        ({"code": "S1-001"}, "is taken in study demo"),
    ],
)
def test_a_wrong_enrolment_is_refused_beside_its_field(
    study: Study, change: dict[str, str], sentence: str
) -> None:
    client = sign_in("cora", study, "coordinator")
    form = {
        "site": study.sites.get().pk,
        "code": "S1-009",
        "zone": "UTC",
        "language": "en",
        **change,
    }
    assert sentence in page(client.post("/admin/ema/participant/add/", form))
    assert study.participants.count() == 2


def test_a_coordinator_sees_the_participants_of_their_own_site(study: Study) -> None:
    other = Site.objects.create(study=study, code="S2", title="Second site")
    elsewhere = trial.enrol_at(other, "S2-001")
    client = sign_in("cora", study, "coordinator", site=study.sites.get(code="S1"))
    listed = page(client.get("/admin/ema/participant/"))
    assert "S1-001" in listed
    assert "S2-001" not in listed
    assert client.get(f"/admin/ema/participant/{elsewhere.pk}/change/").status_code == 302
    choices = page(client.get("/admin/ema/participant/add/"))
    assert "S2" not in re.findall(r"<option[^>]*>([^<]*)", choices)


def test_an_investigator_reads_but_enrols_nobody(study: Study) -> None:
    client = sign_in("ines", study, "investigator")
    assert "S1-001" in page(client.get("/admin/ema/participant/"))
    assert client.get("/admin/ema/participant/add/").status_code == 403


def test_an_administrator_sees_no_participants(study: Study) -> None:
    client = sign_in("root")
    assert client.get("/admin/ema/participant/").status_code == 403
    assert "demo" in page(client.get("/admin/ema/study/"))


def test_somebody_without_a_role_is_not_let_in(study: Study) -> None:
    client = Client()
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert client.get("/admin/").status_code == 302


def test_no_screen_shows_who_is_in_which_arm(study: Study) -> None:
    trial.allocate(Participant.objects.get(code="S1-001"), "clonidine")
    for role in ("coordinator", "investigator"):
        client = sign_in(role, study, role)
        person = Participant.objects.get(code="S1-001")
        for path in (
            "/admin/",
            "/admin/ema/participant/",
            f"/admin/ema/participant/{person.pk}/change/",
            "/admin/ema/prompt/",
            "/admin/ema/response/",
            "/admin/ema/auditevent/",
        ):
            assert "clonidine" not in page(client.get(path)), path
        assert client.get("/admin/ema/allocation/").status_code == 404


def test_a_urine_result_is_entered_and_its_correction_keeps_the_old_value(study: Study) -> None:
    today = timezone.now().date()
    test = UrineTest.objects.create(
        participant=Participant.objects.get(code="S1-001"), due_on=today
    )
    client = sign_in("cora", study, "coordinator")
    path = f"/admin/ema/urinetest/{test.pk}/change/"
    said = {"collected_on": today.isoformat()}
    client.post(path, said | {"result": "negative"})
    refused = page(client.post(path, said | {"result": "positive"}))
    assert f"{today} is recorded as negative on {today}: say why it is corrected." in refused
    client.post(path, said | {"result": "negative"})  # nothing changes: no reason, no event
    client.post(path, said | {"result": "positive", "reason": "read the wrong strip"})
    refused = page(client.post(path, {"result": "missed", "collected_on": today.isoformat()}))
    assert "a missed test has none" in refused
    test.refresh_from_db()
    assert test.is_lapse
    assert AuditEvent.objects.filter(action="urine.recorded").count() == 1
    correction = AuditEvent.objects.get(action="urine.corrected")
    assert correction.reason == "read the wrong strip"
    assert correction.before
    assert correction.after
    assert (correction.before["result"], correction.after["result"]) == ("negative", "positive")


def test_an_administrator_sets_up_a_study_and_starts_it() -> None:
    client = sign_in("root")
    study = Study.objects.create(slug="new", title="New")
    start = {"action": "start", "_selected_action": [study.pk]}
    said = page(client.post("/admin/ema/study/", start, follow=True))
    assert "Study new cannot start. It needs a site. It needs a phase." in said
    Site.objects.create(study=study, code="S1", title="Site")
    Arm.objects.create(study=study, key="placebo", is_reference=True)
    questionnaire = Questionnaire.objects.create(study=study, key="hourly", title="Hourly")
    version = questionnaire.versions.create()
    Phase.objects.create(study=study, key="t", position=1, questionnaire=version)
    assert "not published" in page(client.post("/admin/ema/study/", start, follow=True))
    Item.objects.create(
        version=version, key="stress", role="stress", position=1, label={"en": "Stress"}
    )
    publish = f"/admin/ema/questionnaireversion/{version.pk}/publish/"
    assert "Once it is published it never changes again" in page(client.get(publish))
    page(client.post(publish, follow=True))
    assert "has started" in page(client.post("/admin/ema/study/", start, follow=True))
    begun = AuditEvent.objects.get(action="study.started")
    study.refresh_from_db()
    assert begun.after
    assert begun.after["seed_commitment"] == study.seed_commitment


def test_pages_forbid_foreign_and_inline_scripts(study: Study) -> None:
    answer = sign_in("cora", study, "coordinator").get("/admin/")
    policy = answer["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy


def test_access_ends_with_the_role(study: Study) -> None:
    user = User.objects.create_user("gone")
    assert not access.participants_for(user).exists()
    with pytest.raises(access.NoAccess, match="no study 'demo'"):
        access.access_study(user=user, slug="demo", roles={"investigator"})


def change_participant(client: Client, code: str = "S1-001", **form: str) -> str:
    participant = Participant.objects.get(code=code)
    path = f"/admin/ema/participant/{participant.pk}/change/"
    said = {"zone": participant.zone, "data_may_be_kept": "unknown", **form}
    return page(client.post(path, said, follow=True))


def test_a_coordinator_changes_the_zone_from_a_day_no_phone_has(study: Study) -> None:
    client = sign_in("cora", study, "coordinator")
    assert "Say why the zone" in change_participant(client, zone="Asia/Tokyo")
    said = change_participant(client, zone="Asia/Tokyo", because="moved")
    assert "It holds from" in said
    participant = Participant.objects.get(code="S1-001")
    assert participant.zone == "Asia/Tokyo"
    assert participant.schedule_changes.count() == 1
    [told] = AuditEvent.objects.filter(door="admin")
    assert (told.action, told.reason) == ("participant.schedule_changed", "moved")
    assert told.before == {"zone": "Europe/Brussels"}


def test_an_unknown_zone_is_refused_beside_the_field(study: Study) -> None:
    client = sign_in("cora", study, "coordinator")
    assert "Atlantis/Main" in change_participant(client, zone="Atlantis/Main", because="moved")
    assert Participant.objects.get(code="S1-001").zone == "Europe/Brussels"


@pytest.mark.parametrize(
    ("windows", "words"),
    [
        (None, ["as the phase has them"]),
        (
            [{"weekdays": [1, 2, 3, 4, 5, 6, 7], "start": "20:00", "end": "06:00"}],
            ["every day: 20"],
        ),
        (
            [
                {"weekdays": [1, 2, 3, 4, 5], "start": "07:00", "end": "21:00"},
                {"weekdays": [6, 7], "start": "09:00", "end": "23:00"},
                {"weekdays": [7], "start": "23:30", "end": "23:50"},
            ],
            ["Monday to Friday: 07:00 to 21:00", "Saturday and Sunday: 09", "<br>Sunday: 23:30"],
        ),
    ],
)
def test_waking_hours_are_told_in_words_and_changed_on_their_own_page(
    study: Study, windows: Any, words: list[str]
) -> None:
    client = sign_in("cora", study, "coordinator")
    Participant.objects.filter(code="S1-001").update(windows=windows)
    participant = Participant.objects.get(code="S1-001")
    shown = page(client.get(f"/admin/ema/participant/{participant.pk}/change/"))
    assert [each for each in words if each not in shown] == []
    assert "weekdays" not in shown
    address = "/studies/demo/enrol/S1-001/hours/"
    assert address in shown
    assert client.get(address).status_code == 200
    change_participant(client, windows='[{"weekdays": [1]}]')
    participant.refresh_from_db()
    assert participant.windows == windows


def test_lists_of_records_have_the_pages_of_an_only_study(study: Study) -> None:
    client = sign_in("cora", study, "coordinator")
    for name in ("participant", "quarantine", "prompt"):
        assert "/studies/demo/today/" in page(client.get(f"/admin/ema/{name}/"))
    trial.make_study("other").memberships.create(
        user_id=client.session["_auth_user_id"], role="investigator"
    )
    assert "/today/" not in page(client.get("/admin/ema/participant/"))


def test_whoever_has_no_role_signs_out(study: Study) -> None:
    client = Client()
    client.force_login(User.objects.create_user("nora"))
    assert 'action="/admin/logout/"' in page(client.get("/studies/"))
    assert client.get("/admin/logout/").status_code == 405
    assert client.post("/admin/logout/").status_code == 200
    assert client.get("/studies/").status_code == 302


def test_a_coordinator_withdraws_a_participant_with_a_reason(study: Study) -> None:
    client = sign_in("cora", study, "coordinator")
    assert "Say why" in change_participant(client, withdraws="on")
    assert "Tick this" in change_participant(client, why="moved away")
    assert Participant.objects.filter(withdrawn_at=None).count() == 2
    change_participant(client, withdraws="on", why="moved away", data_may_be_kept="true")
    gone = Participant.objects.get(code="S1-001")
    assert gone.withdrawn_at
    assert (gone.withdrawal_reason, gone.keep_data) == ("moved away", True)
    event = AuditEvent.objects.get(action="participant.withdrawn")
    assert (event.door, event.reason) == ("admin", "moved away")
    path = f"/admin/ema/participant/{gone.pk}/change/"
    assert client.post(path, {"zone": "Asia/Tokyo"}).status_code == 403
