"""What a role reaches in the admin, record by record, and what leads round it."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ema import audit, withdrawal
from ema.models import AuditEvent, EnrolmentCode, Participant, Prompt, Site, Study, UrineTest
from tests import trial
from tests.ema.test_admin import page, sign_in

pytestmark = pytest.mark.django_db

MASKED = ("coordinator", "investigator")


@pytest.fixture
def study() -> Study:
    study = trial.make_study()
    trial.enrol(study, "S1-001", "Europe/Brussels", timezone.now())
    return study


@pytest.fixture
def two_hats(study: Study) -> Client:
    """Coordinator of the study `other`, investigator of `demo`."""
    other = trial.make_study("other")
    trial.enrol(other, "O1-001", "UTC", timezone.now())
    client = sign_in("hattie", other, "coordinator")
    hattie = client.session["_auth_user_id"]
    study.memberships.create(user_id=hattie, role="investigator")
    return client


def issue_codes(client: Client) -> str:
    chosen = list(Participant.objects.values_list("pk", flat=True))
    form = {"action": "issue_codes", "_selected_action": chosen}
    return page(client.post("/admin/ema/participant/", form, follow=True))


@pytest.mark.parametrize("role", ["pharmacist", "auditor"])
def test_a_pharmacist_and_an_auditor_read_no_records(study: Study, role: str) -> None:
    client = sign_in(role, study, role)
    for name in ("participant", "prompt", "response", "urinetest", "device", "quarantine"):
        assert client.get(f"/admin/ema/{name}/").status_code == 403, name
    for path in ("ledger", "phones", "comparison", "outcomes", "snapshots", "plans"):
        assert client.get(f"/studies/demo/{path}/").status_code == 404, path
    reads_the_trail = client.get("/admin/ema/auditevent/").status_code == 200
    assert reads_the_trail is (role == "auditor")


def test_another_role_widens_nobodys_site(study: Study) -> None:
    """Coordinator of one site and auditor of the study: still the participants of the site."""
    second = Site.objects.create(study=study, code="S2", title="Second site")
    trial.enrol_at(second, "S2-001")
    client = sign_in("cora", study, "coordinator", site=second)
    study.memberships.create(user_id=client.session["_auth_user_id"], role="auditor")
    assert "S1-001" not in page(client.get("/admin/ema/participant/"))
    assert "participant S1-001" in subjects_seen(client)
    assert "S2" in page(client.get("/studies/demo/ledger/"))


def test_roles_are_looked_up_once_a_request_and_end_with_the_next(study: Study) -> None:
    client = sign_in("cora", study, "coordinator")
    pages = ("/admin/ema/participant/", "/studies/demo/participants/")
    for address in pages:
        with CaptureQueriesContext(connection) as asked:
            assert client.get(address).status_code == 200
        assert sum("ema_membership" in one["sql"] for one in asked) == 1, address
    study.memberships.all().delete()
    assert [client.get(address).status_code for address in pages] == [302, 404]


@pytest.mark.parametrize("role", ["investigator", "statistician"])
def test_only_a_coordinator_issues_codes(study: Study, role: str) -> None:
    client = sign_in("ines", study, role)
    assert "Code for" not in issue_codes(client)
    assert not EnrolmentCode.objects.exists()
    shown = page(client.get("/admin/ema/participant/"))
    assert [name for name in ("issue_codes", "pause", "resume") if f'value="{name}"' in shown] == []
    assert "Code for S1-001" in issue_codes(sign_in("cora", study, "coordinator"))


def test_a_coordinator_of_one_study_issues_no_codes_in_another(two_hats: Client) -> None:
    said = issue_codes(two_hats)
    assert "No code for S1-001: you do not coordinate its site." in said
    assert "Code for O1-001" in said
    assert [code.participant.code for code in EnrolmentCode.objects.all()] == ["O1-001"]


def test_a_coordinator_of_one_study_changes_no_records_of_another(two_hats: Client) -> None:
    today = timezone.now().date()
    form = {"result": "negative", "collected_on": today.isoformat()}
    for code, status in (("S1-001", 403), ("O1-001", 302)):
        participant = Participant.objects.get(code=code)
        test = UrineTest.objects.create(participant=participant, due_on=today)
        path = f"/admin/ema/urinetest/{test.pk}/change/"
        assert code in page(two_hats.get(path))
        assert two_hats.post(path, form).status_code == status
    written = AuditEvent.objects.filter(action="urine.recorded").values_list("subject", flat=True)
    assert [subject.split()[1] for subject in written] == ["O1-001"]


def test_a_coordinator_of_one_site_changes_no_records_of_another(study: Study) -> None:
    second = Site.objects.create(study=study, code="S2", title="Second site")
    trial.enrol_at(second, "S2-001")
    client = sign_in("cora", study, "coordinator", site=second)
    user = client.session["_auth_user_id"]
    study.memberships.create(user_id=user, role="investigator")
    said = issue_codes(client)
    assert "Code for S2-001" in said
    assert "No code for S1-001" in said


@pytest.mark.parametrize(
    "asked",
    [
        "participant/?allocation={slot}",
        "participant/?allocation__gt={slot}",
        "participant/?allocation__arm__key=placebo",
        "participant/?allocation__isnull=False",
        "participant/?study__allocations={slot}",
        "participant/?site__participants__allocation={slot}",
        "participant/?study_id=1",
        "prompt/?participant__allocation={slot}",
        "prompt/?participant={slot}",
        "response/?participant__allocation__arm={slot}",
        "urinetest/?participant__study__allocations={slot}",
        "pushregistration/?address__startswith=https",
        "pushregistration/?device__participant__allocation={slot}",
        "auditevent/?study__allocations={slot}",
        "../scheduler/delivery/?prompt__participant__allocation={slot}",
    ],
)
@pytest.mark.parametrize("role", MASKED)
def test_no_lookup_leads_from_a_list_to_an_arm(study: Study, role: str, asked: str) -> None:
    slot = trial.allocate(Participant.objects.get(), "clonidine")
    client = sign_in(role, study, role)
    address = asked.format(slot=slot.pk)
    path = "/admin/" + (address[3:] if address.startswith("../") else f"ema/{address}")
    assert client.get(path).status_code == 400


@pytest.mark.parametrize(
    "asked",
    [
        "study/?seed__gt=a",
        "study/?allocations__arm__key=placebo",
        "study/?arms__allocations=1",
        "../auth/user/?password__startswith=argon2",
        "../auth/user/?memberships__study__allocations=1",
        "questionnaire/?study__allocations=1",
        "questionnaireversion/?questionnaire__study__allocations=1",
    ],
)
def test_no_lookup_leads_an_administrator_to_an_arm(study: Study, asked: str) -> None:
    path = "/admin/" + (asked[3:] if asked.startswith("../") else f"ema/{asked}")
    assert sign_in("root").get(path).status_code == 400


def test_filters_of_a_screen_still_work(study: Study) -> None:
    client = sign_in("cora", study, "coordinator")
    for asked in (
        f"participant/?study__id__exact={study.pk}&withdrawn_at__isempty=1",
        "participant/?zone=Europe%2FBrussels&o=-1&q=S1",
        f"prompt/?participant__site__id__exact={study.sites.get().pk}&due_at__year=2026",
        f"prompt/?phase__id__exact={study.phases.get().pk}",
        "pushregistration/?dead=no&kind__exact=fcm",
        "auditevent/?action=study.started",
    ):
        page(client.get(f"/admin/ema/{asked}"))


@pytest.mark.parametrize("field", ["allocation", "study", "site", "prompts", "nothing"])
def test_a_pop_up_refers_to_a_record_by_its_own_fields(study: Study, field: str) -> None:
    client = sign_in("cora", study, "coordinator")
    for path in ("", f"{Participant.objects.get().pk}/change/", "add/"):
        address = f"/admin/ema/participant/{path}?_popup=1&_to_field={field}"
        assert client.get(address).status_code == 400
    assert client.get("/admin/ema/participant/?_popup=1&_to_field=id").status_code == 200


def test_filters_name_nothing_of_other_studies(two_hats: Client, study: Study) -> None:
    secret = trial.make_study("secret")
    Site.objects.create(study=secret, code="S-secret", title="Hidden")
    secret.phases.update(key="secret-phase")
    names = ("participant", "device", "prompt", "response", "quarantine", "urinetest", "auditevent")
    for name in names:
        assert "secret" not in page(two_hats.get(f"/admin/ema/{name}/")), name
    for name in ("scheduler/delivery", "ema/pushregistration"):
        assert "secret" not in page(two_hats.get(f"/admin/{name}/")), name
    for path in ("/studies/", "/studies/demo/ledger/", "/studies/other/phones/"):
        assert "secret" not in page(two_hats.get(path)), path
    assert re.search(r"demo|other", page(two_hats.get("/admin/ema/auditevent/")))
    assert not Prompt.objects.exists()


def subjects_seen(client: Client) -> str:
    return page(client.get("/admin/ema/auditevent/"))


def test_whoever_is_kept_to_a_site_reads_the_events_of_that_site(study: Study) -> None:
    second = Site.objects.create(study=study, code="S2", title="Second site")
    trial.enrol_at(second, "S2-001")
    here, there, everywhere = (
        sign_in("cora", study, "coordinator", site=study.sites.get(code="S1")),
        sign_in("sia", study, "coordinator", site=second),
        sign_in("ines", study, "investigator"),
    )
    seen = [subjects_seen(client) for client in (here, there, everywhere)]
    assert ["participant S1-001" in one for one in seen] == [True, False, True]
    assert ["participant S2-001" in one for one in seen] == [False, True, True]
    assert ["study.started" in one for one in seen] == [False, False, True]
    other = AuditEvent.objects.get(subject="participant S2-001")
    assert here.get(f"/admin/ema/auditevent/{other.pk}/change/").status_code == 302


def test_every_event_about_a_participant_has_their_site(study: Study) -> None:
    participant = Participant.objects.get()
    trial.redeem(participant)
    withdrawal.withdraw(
        participant=participant, reason="moved", now=timezone.now(), actor=audit.COMMAND
    )
    events = AuditEvent.objects.filter(subject__startswith="participant ")
    assert {event.action for event in events} == {
        "participant.enrolled",
        "code.issued",
        "device.enrolled",
        "participant.withdrawn",
    }
    assert {event.site for event in events} == {participant.site}


def test_closed_events_are_for_the_closed_role(study: Study) -> None:
    closed = audit.record(
        actor=audit.COMMAND, action="comparison.frozen", subject="x", study=study, is_closed=True
    )
    for role in (*MASKED, "auditor", "statistician"):
        is_shown = role == "statistician"
        client = sign_in(role, study, role)
        assert ("comparison.frozen" in subjects_seen(client)) is is_shown
        answer = client.get(f"/admin/ema/auditevent/{closed.pk}/change/")
        assert answer.status_code == (200 if is_shown else 302)


def test_a_statistician_of_another_study_reads_no_closed_events_here(study: Study) -> None:
    audit.record(
        actor=audit.COMMAND, action="comparison.frozen", subject="x", study=study, is_closed=True
    )
    client = sign_in("hattie", trial.make_study("other"), "statistician")
    study.memberships.create(user_id=client.session["_auth_user_id"], role="investigator")
    said = subjects_seen(client)
    assert "participant S1-001" in said
    assert "comparison.frozen" not in said


@pytest.mark.parametrize("role", [*MASKED, "statistician"])
@pytest.mark.parametrize("masking", ["open", "double_blind"])
def test_outcomes_by_arm_are_for_whoever_may_compare(study: Study, role: str, masking: str) -> None:
    person = Participant.objects.get()
    trial.allocate(person, "clonidine")
    due_on = timezone.now().date() + timedelta(days=7)
    UrineTest.objects.create(
        participant=person, due_on=due_on, result="missed", recorded_at=timezone.now()
    )
    Study.objects.update(masking=masking)
    client = sign_in(role, study, role)
    may = role == "statistician" or (role, masking) == ("investigator", "open")
    names = ("", "lapse.svg", "relapse.csv", "participants.csv")
    for path in (
        *(f"/studies/demo/outcomes/{name}" for name in names),
        "/api/v1/studies/demo/outcomes",
    ):
        answer = client.get(path)
        assert answer.status_code == (200 if may else 404), path
        assert may or "clonidine" not in answer.content.decode()
    assert ("/studies/demo/outcomes/" in page(client.get("/studies/"))) is may
