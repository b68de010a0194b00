"""The audit trail as operators read it: who sees which part, filters, pages, files."""

import csv
import io
import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from ema import audit, audit_trail, travel, withdrawal
from ema.models import AuditEvent, Participant, RowChange, Site, Study
from tests import trial
from tests.ema.test_admin import page, sign_in

pytestmark = pytest.mark.django_db

TRAIL = "/studies/demo/audit/"


@pytest.fixture
def study() -> Study:
    study = trial.make_study()
    trial.enrol(study, "S1-001", "Europe/Brussels", timezone.now())
    return study


@pytest.fixture
def auditor(study: Study) -> Client:
    return sign_in("ada", study, "auditor")


def content(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, answer
    assert answer.streaming
    return b"".join(answer).decode()


def say(study: Study, action: str, **more: object) -> AuditEvent:
    by = {"actor": audit.COMMAND, "subject": "thing", **more}
    return audit.record(action=action, study=study, **by)  # type: ignore[arg-type]


def test_an_auditor_reads_events_with_what_they_changed(study: Study, auditor: Client) -> None:
    person = Participant.objects.get()
    travel.move(
        participant=person,
        zone="Asia/Tokyo",
        now=timezone.now(),
        actor=audit.COMMAND,
        reason="moved house",
    )
    said = page(auditor.get(TRAIL))
    assert "participant.schedule_changed" in said
    assert "moved house" in said
    event = AuditEvent.objects.get(action="participant.schedule_changed")
    one = page(auditor.get(f"{TRAIL}events/{event.pk}/"))
    assert "<td>Europe/Brussels</td><td>Asia/Tokyo</td>" in one
    assert f"update ema_participant {person.pk}" in one
    assert page(auditor.get("/studies/")).count(TRAIL) == 1


def test_filters_narrow_and_say_when_nothing_matches(study: Study, auditor: Client) -> None:
    cora = sign_in("cora", study, "coordinator")
    pk = Participant.objects.get().pk
    form = {"zone": "Asia/Tokyo", "data_may_be_kept": "unknown"}
    cora.post(f"/admin/ema/participant/{pk}/change/", form | {"because": "moved"})
    today, tomorrow = (timezone.now().date() + timedelta(days=n) for n in (0, 1))
    for asked, there, gone in (
        ("who=cor", "participant.schedule_changed", "participant.enrolled<"),
        ("action=participant.enrolled", "participant.enrolled<", "schedule_changed</a>"),
        ("subject=s1-001", "participant.enrolled<", "study.started</a>"),
        ("site=S1", "participant.enrolled<", "study.started</a>"),
        (f"since={today}&until={tomorrow}", "study.started</a>", "Nothing matches"),
        (f"since={tomorrow + timedelta(days=1)}", "Nothing matches", "participant.enrolled</a>"),
    ):
        said = page(auditor.get(f"{TRAIL}?{asked}"))
        assert there in said, asked
        assert gone not in said.replace("</option>", ""), asked


def test_what_cannot_be_asked_is_said_beside_it(auditor: Client) -> None:
    for asked, sentence in (
        ("since=yesterday", "Enter a valid date."),
        ("since=2026-02-01&until=2026-01-01", "The last day lies before the first."),
        ("action=nothing.such", "Select a valid choice."),
        ("site=S9", "Select a valid choice."),
    ):
        answer = auditor.get(f"{TRAIL}?{asked}")
        assert answer.status_code == 400
        assert sentence in answer.content.decode()
        file = auditor.get(f"{TRAIL}files/events.csv?{asked}")
        assert (file.status_code, sentence in file.content.decode()) == (400, True)


def test_a_long_trail_has_pages(study: Study, auditor: Client) -> None:
    for number in range(120):
        say(study, "test.said", subject=f"thing {number:03}")
    first = page(auditor.get(f"{TRAIL}?action=test.said"))
    assert "thing 119" in first
    assert "thing 069" not in first
    below = AuditEvent.objects.get(subject="thing 070").pk
    assert f"?action=test.said&amp;below={below}" in first
    second = page(auditor.get(f"{TRAIL}?action=test.said&below={below}"))
    assert "thing 069" in second
    assert "thing 070" not in second
    assert page(auditor.get(f"{TRAIL}?below=nonsense"))


def test_a_file_holds_all_that_is_asked_for_and_no_formula(study: Study, auditor: Client) -> None:
    for number in range(120):
        say(study, "test.said", subject=f"=cmd|{number}", after={"a": 1}, reason="@sum")
    asked = f"{TRAIL}files/events"
    rows = list(csv.DictReader(io.StringIO(content(auditor, f"{asked}.csv?action=test.said"))))
    assert len(rows) == 120
    assert rows[0].keys() == set(audit_trail.COLUMNS)
    assert rows[0]["subject"] == "'=cmd|119"
    assert (rows[0]["reason"], rows[0]["after"]) == ("'@sum", '{"a": 1}')
    lines = content(auditor, f"{asked}.ndjson?action=test.said").splitlines()
    assert json.loads(lines[0])["subject"] == "=cmd|119"
    assert json.loads(lines[0])["after"] == {"a": 1}
    changes = content(auditor, f"{TRAIL}files/changes.ndjson?subject=participant")
    assert {json.loads(line)["table"] for line in changes.splitlines()} == {"ema_participant"}
    assert auditor.get(f"{TRAIL}files/events.xls").status_code == 404
    assert auditor.get(f"{TRAIL}files/nothing.csv").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_rows_changed_by_another_way_than_a_step_are_found(study: Study, auditor: Client) -> None:
    Participant.objects.update(language="nl")  # by hand
    person = Participant.objects.get()
    withdrawal.withdraw(participant=person, reason="moved", now=timezone.now(), actor=audit.COMMAND)
    asked = f"{TRAIL}files/changes.ndjson?subject=participant&action=update"
    assert len(content(auditor, asked).splitlines()) == 2
    alone = [
        json.loads(line) for line in content(auditor, f"{asked}&without_event=on").split("\n")[:-1]
    ]
    assert [row["after"] for row in alone] == [{"language": "nl"}]
    said = page(auditor.get(f"{TRAIL}changes/?without_event=on&subject=participant"))
    assert "<td>en</td><td>nl</td>" in said
    assert "withdrawn_at" not in said


def test_whoever_is_kept_to_a_site_reads_that_site_only(study: Study) -> None:
    second = Site.objects.create(study=study, code="S2", title="Second site")
    trial.enrol_at(second, "S2-001")
    client = sign_in("sia", study, "coordinator", site=second)
    other = AuditEvent.objects.get(subject="participant S1-001")
    for path in ("", "changes/"):
        said = page(client.get(TRAIL + path))
        assert "S2-001" in said
        assert "S1-001" not in said
        assert "of your site: S2" in said
    assert client.get(f"{TRAIL}events/{other.pk}/").status_code == 404
    for of in ("events", "changes"):
        assert "S1-001" not in content(client, f"{TRAIL}files/{of}.ndjson")


@pytest.mark.parametrize("role", ["coordinator", "investigator", "auditor"])
def test_what_depends_on_arms_is_closed_to_the_masked(study: Study, role: str) -> None:
    trial.allocate(Participant.objects.get(), "clonidine")
    closed = say(study, "comparison.frozen", is_closed=True, after={"arm": "clonidine"})
    client = sign_in(role, study, role)
    for path in ("", "changes/?subject=allocation"):
        assert "ema_allocation" not in page(client.get(TRAIL + path))
        assert "comparison.frozen" not in page(client.get(TRAIL + path))
    assert client.get(f"{TRAIL}events/{closed.pk}/").status_code == 404
    for of in ("events", "changes"):
        said = content(client, f"{TRAIL}files/{of}.csv")
        assert "frozen" not in said
        assert "ema_allocation" not in said


@pytest.mark.parametrize(
    ("role", "masking", "may"),
    [
        ("statistician", "double_blind", True),
        ("auditor", "open", True),
        ("coordinator", "open", False),
    ],
)
def test_closed_parts_are_read_by_the_closed_role_and_where_nothing_is_hidden_by_auditors(
    study: Study, role: str, masking: str, may: bool
) -> None:
    Study.objects.update(masking=masking)
    say(study, "comparison.frozen", is_closed=True)
    trial.allocate(Participant.objects.get(), "clonidine")
    client = sign_in(role, study, role)
    assert ("comparison.frozen" in page(client.get(TRAIL))) is may
    assert ("ema_allocation" in page(client.get(f"{TRAIL}changes/"))) is may


def test_the_page_says_how_far_the_trail_is_sealed(study: Study, auditor: Client) -> None:
    assert "Not sealed yet" in page(auditor.get(TRAIL))
    call_command("verify_audit", "--seal")
    assert "Sealed up to event" in page(auditor.get(TRAIL))


def run(*options: str) -> str:
    out = io.StringIO()
    call_command("audit", "demo", *options, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_the_command_reads_the_same_trail(study: Study) -> None:
    say(study, "comparison.frozen", is_closed=True)
    said = run()
    assert "command  participant.enrolled  participant S1-001" in said
    assert "comparison.frozen" not in said
    assert "comparison.frozen" in run("--closed")
    assert run("--action", "participant.enrolled").count("participant.") == 1
    assert run("--until", "2020-01-01") == "Nothing matches.\n"
    [row] = csv.DictReader(io.StringIO(run("--action", "participant.enrolled", "--csv")))
    assert row["subject"] == "participant S1-001"
    assert json.loads(run("--action", "participant.enrolled", "--json"))["site"] == "S1"
    assert "ema_participant" in run("--rows")
    assert run("--rows", "--without-event", "--subject", "nothing") == "Nothing matches.\n"
    for wrong in (["--without-event"], ["--since", "2026-02-01", "--until", "2026-01-01"]):
        with pytest.raises(CommandError) as refused:
            run(*wrong)
        assert refused.value.returncode == 2


def test_differences_are_told_in_words() -> None:
    found = audit_trail.differences({"a": 1, "b": [1], "same": 0}, {"a": None, "c": "x", "same": 0})
    assert found == [("a", "1", "–"), ("b", "[1]", "–"), ("c", "–", "x")]
    assert audit_trail.differences(None, {"a": True}) == [("a", "–", "true")]
    assert audit_trail.differences(None, None) == []
    assert RowChange.objects.count() == 0
