"""Enrolling from the coordinator's page: the code, its QR code, consent, waking hours."""

import re
from datetime import UTC, date, datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from ema import audit, consents, enrolment, handover
from ema.consents import Agreed
from ema.models import AuditEvent, Consent, EnrolmentCode, Participant, Site, Study
from tests import trial
from tests.ema.test_admin import page, sign_in

ENROL = "/studies/demo/enrol/"


@pytest.fixture
def study(db: None) -> Study:
    study = trial.make_study()
    trial.enrol(study, "S1-001", "Europe/Brussels", timezone.now())
    return study


@pytest.fixture
def cora(study: Study) -> Client:
    return sign_in("cora", study, "coordinator")


def filled_in(study: Study, **change: object) -> dict[str, object]:
    form: dict[str, object] = {
        "site": study.sites.get(code="S1").pk,
        "consent_version": "2.0",
        "consented_on": "2026-03-01",
        "language": "en",
    }
    return form | change


def redeem(code: str) -> int:
    form = {"code": code, "installation_id": "8a1f6f3e-7a34-4d0c-9a57-1d1f0d3b6c11"}
    door = "/api/v1/enrolments/redeem"
    return Client().post(door, form, content_type="application/json").status_code


def test_a_coordinator_enrols_with_the_next_code_and_hands_over_a_code_that_works(
    study: Study, cora: Client
) -> None:
    assert "the next of the site, S1-002" in page(cora.get(ENROL))
    answer = cora.post(ENROL, filled_in(study))
    shown = page(answer)
    assert "no-store" in answer.headers["Cache-Control"]
    code = re.search(r"<strong>([0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{2})</strong>", shown)
    assert code
    assert "<svg" in shown
    assert "<code>http://testserver</code>" in shown
    person = Participant.objects.get(code="S1-002")
    assert (person.zone, person.windows) == ("Europe/Brussels", None)
    assert [str(one) for one in person.consents.all()] == ["2.0 on 2026-03-01"]
    events = AuditEvent.objects.filter(subject="participant S1-002").order_by("pk")
    assert [(each.action, each.door) for each in events] == [
        ("participant.enrolled", "page"),
        ("consent.recorded", "page"),
        ("code.issued", "page"),
    ]
    assert redeem(code[1]) == 201
    assert code[1] not in page(cora.get(ENROL))


def test_own_zone_code_language_and_hours_are_taken_up(study: Study, cora: Client) -> None:
    said = {"code": "X-7", "zone": "Africa/Nairobi", "working_days_start": "20:00"}
    page(cora.post(ENROL, filled_in(study, **said, working_days_end="06:00")))
    person = Participant.objects.get(code="X-7")
    assert person.zone == "Africa/Nairobi"
    every_day = [1, 2, 3, 4, 5, 6, 7]
    assert person.windows == [{"weekdays": every_day, "start": "20:00", "end": "06:00"}]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"code": "S1-001"}, "is taken in study demo"),
        ({"code": "=1+1"}, "Use letters, digits"),
        ({"consent_version": ""}, "This field is required"),
        ({"consented_on": "2999-01-01"}, "Consent was given by today"),
        ({"working_days_start": "08:00"}, "Say this as well"),
        ({"weekend_start": "08:00", "weekend_end": "20:00"}, "Monday to Friday as well"),
        ({"working_days_start": "08:00", "working_days_end": "08:00"}, "window"),
        ({"language": "xx"}, "not one of the available choices"),
        ({"zone": "Mars/Olympus"}, "not one of the available choices"),
    ],
)
def test_a_wrong_enrolment_is_refused_beside_its_field(
    study: Study, cora: Client, change: dict[str, object], sentence: str
) -> None:
    answer = cora.post(ENROL, filled_in(study, **change))
    assert answer.status_code == 400
    assert sentence in answer.content.decode()
    assert study.participants.count() == 1
    assert not Consent.objects.exists()


def test_who_coordinates_one_site_enrols_and_renews_codes_there_only(study: Study) -> None:
    second = Site.objects.create(study=study, code="S2", title="Second site")
    trial.enrol_at(second, "S2-001")
    sia = sign_in("sia", study, "coordinator", site=second)
    said = page(sia.get(ENROL))
    assert "S2-002" in said
    assert "S1-0" not in said
    assert sia.post(ENROL, filled_in(study)).status_code == 400
    for name in ("code", "hours"):
        assert sia.get(f"{ENROL}S1-001/{name}/").status_code == 404
        assert sia.post(f"{ENROL}S1-001/{name}/").status_code == 404
        assert sia.get(f"{ENROL}S2-001/{name}/").status_code == 200
    assert not EnrolmentCode.objects.exists()


def test_a_new_code_takes_the_place_of_the_old_one(study: Study, cora: Client) -> None:
    person = study.participants.get()
    old = enrolment.issue_code(participant=person, now=timezone.now(), actor=audit.COMMAND)
    assert "stop working" in page(cora.get(f"{ENROL}S1-001/code/"))
    shown = page(cora.post(f"{ENROL}S1-001/code/"))
    new = re.search(r'"code"><strong>([0-9A-Z-]+)', shown)
    assert new
    assert redeem(old) == 404
    assert redeem(new[1]) == 201


def test_whoever_has_withdrawn_gets_no_code(study: Study, cora: Client) -> None:
    now = timezone.now()
    study.participants.update(withdrawn_at=now)
    assert "Make a new code" not in page(cora.get(f"{ENROL}S1-001/code/"))
    assert "has withdrawn" in page(cora.post(f"{ENROL}S1-001/code/"))


def test_waking_hours_are_changed_as_plain_times_with_a_reason(study: Study, cora: Client) -> None:
    path = f"{ENROL}S1-001/hours/"
    times = {"working_days_start": "06:30", "working_days_end": "21:00"}
    times |= {"weekend_start": "09:00", "weekend_end": "23:30"}
    assert cora.post(path, times).status_code == 400
    said = page(cora.post(path, {**times, "reason": "works early"}, follow=True))
    assert "They hold from" in said
    assert 'value="06:30"' in said
    assert study.participants.get().windows == [
        {"weekdays": [1, 2, 3, 4, 5], "start": "06:30", "end": "21:00"},
        {"weekdays": [6, 7], "start": "09:00", "end": "23:30"},
    ]
    event = AuditEvent.objects.get(action="participant.schedule_changed")
    assert event.reason == "works early"
    page(cora.post(path, {"reason": "as everybody"}, follow=True))
    assert study.participants.get().windows is None


def test_hours_that_the_form_cannot_show_are_not_hidden(study: Study, cora: Client) -> None:
    monday = [{"weekdays": [1], "start": "08:00", "end": "12:00"}]
    study.participants.update(windows=monday)
    assert "differ more between days" in page(cora.get(f"{ENROL}S1-001/hours/"))


def test_a_locked_study_enrols_nobody(study: Study, cora: Client) -> None:
    Study.objects.update(locked_at=timezone.now())
    assert "Enrol and show" not in page(cora.get(ENROL))
    assert cora.post(ENROL, filled_in(study)).status_code == 400
    assert study.participants.count() == 1


def test_consent_to_a_later_version_is_one_more(study: Study) -> None:
    person, now = study.participants.get(), timezone.now()
    by = {"participant": person, "now": now, "actor": audit.COMMAND}
    for version in ("1.0", "2.0"):
        agreed = Agreed(version, now.date() - timedelta(days=1))
        consents.record_consent(agreed=agreed, **by)  # type: ignore[arg-type]
    with pytest.raises(consents.ConsentRefused, match="recorded already"):
        consents.record_consent(agreed=agreed, **by)  # type: ignore[arg-type]
    assert person.consents.count() == 2


def test_the_next_code_follows_the_highest_and_keeps_its_width(study: Study) -> None:
    site = study.sites.get()
    for code in ("S1-0009", "S1-A", "S1", "S10-050"):
        trial.enrol_at(site, code)
    assert enrolment.next_code(site) == "S1-0010"


def test_whoever_scans_without_the_app_is_told_and_nothing_is_sent() -> None:
    assert "Open the app" in page(Client().get("/enrol"))


def test_the_qr_code_keeps_the_code_out_of_logs() -> None:
    address = handover.enrol_address("https://trial.example/", "7KQ2M9XT4D")
    assert address == "https://trial.example/enrol#7KQ2M9XT4D"
    drawn = handover.qr_svg(address, title="A & B")
    assert "style=" not in drawn
    assert "<title>A &amp; B</title>" in drawn


def test_the_date_of_consent_is_the_participants() -> None:
    agreed = Agreed("1", date(2026, 3, 2))
    now = datetime(2026, 3, 1, 23, tzinfo=UTC)
    consents.refuse_wrong_consent(agreed=agreed, zone="Pacific/Auckland", now=now)
    with pytest.raises(consents.ConsentRefused, match="by today"):
        consents.refuse_wrong_consent(agreed=agreed, zone="America/Lima", now=now)
