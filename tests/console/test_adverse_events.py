"""Adverse events: reported once, corrected with a reason, counted by everybody's right to see."""

import io
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ema import adverse_events, audit, enrolment
from ema.adverse_events import EventRefused
from ema.models import AdverseEvent, AuditEvent, Participant, RowChange, Site, Study
from tests import trial
from tests.ema.test_admin import page, sign_in

pytestmark = pytest.mark.django_db

PATH = "/studies/demo/adverse-events/"
DAY = date(2026, 6, 1)
HEADACHE: dict[str, Any] = {
    "term": "headache",
    "severity": "mild",
    "relatedness": "possible",
    "started_on": DAY,
    "outcome": "recovered",
    "action_taken": "none",
}


@pytest.fixture
def study() -> Study:
    return trial.make_study()


@pytest.fixture
def person(study: Study) -> Participant:
    return enrolled(study, "S1-001")


def enrolled(study: Study, code: str, site: Site | None = None) -> Participant:
    return enrolment.enrol(
        site=site or study.sites.get(code="S1"),
        code=code,
        zone="UTC",
        now=timezone.now(),
        enrolled_at=datetime(2026, 5, 1, tzinfo=UTC),
        actor=audit.COMMAND,
    )


def reported(person: Participant, **said: Any) -> AdverseEvent:
    return adverse_events.report(
        participant=person,
        key=said.pop("key", None) or uuid.uuid4(),
        said=HEADACHE | said,
        now=timezone.now(),
        actor=audit.COMMAND,
    )


def corrected(event: AdverseEvent, reason: str = "misread", **said: Any) -> bool:
    return adverse_events.correct(
        event=event, said=said, reason=reason, now=timezone.now(), actor=audit.COMMAND
    )


def form(person: Participant, **other: Any) -> dict[str, Any]:
    said = HEADACHE | {"participant": person.pk, "key": uuid.uuid4()} | other
    return {name: value for name, value in said.items() if value is not None}


def test_an_event_is_kept_once_and_written_down(person: Participant) -> None:
    key = uuid.uuid4()
    first, again = reported(person, key=key), reported(person, key=key)
    assert first == again
    event = AuditEvent.objects.get(action="adverse_event.reported")
    assert event.subject == f"adverse event {first.pk} of S1-001"
    assert event.site == person.site
    assert event.after is not None
    assert event.after["term"] == "headache"
    assert RowChange.objects.get(table_name="ema_adverseevent").operation == "insert"


@pytest.mark.parametrize(
    ("said", "field", "why"),
    [
        ({"term": ""}, "term", "cannot be blank"),
        ({"severity": "awful"}, "severity", "not a valid choice"),
        (
            {"severity": "life_threatening"},
            "__all__",
            "A life-threatening or fatal event is serious",
        ),
        ({"outcome": "fatal"}, "__all__", "both fatal, or neither"),
        ({"ended_on": DAY - timedelta(days=1)}, "__all__", "ends on the day it starts or later"),
        ({"started_on": date(2999, 1, 1)}, "started_on", "2999-01-01 is in the future"),
    ],
)
def test_what_cannot_be_is_refused(
    person: Participant, said: dict[str, Any], field: str, why: str
) -> None:
    with pytest.raises(EventRefused) as refused:
        reported(person, **said)
    assert any(why in text for text in refused.value.problems[field])
    assert not AdverseEvent.objects.exists()


def test_the_database_says_no_too(person: Participant) -> None:
    event = reported(person)
    for change in ({"severity": "fatal"}, {"ended_on": date(2020, 1, 1)}, {"term": ""}):
        with pytest.raises(IntegrityError), transaction.atomic():
            AdverseEvent.objects.filter(pk=event.pk).update(**change)


def test_a_correction_keeps_what_was_and_asks_why(person: Participant) -> None:
    event = reported(person)
    with pytest.raises(EventRefused, match="reason: Say why it is corrected"):
        corrected(event, reason=" ", severity="severe")
    assert corrected(event, severity="severe")
    assert not corrected(event, severity="severe", reason="")
    event.refresh_from_db()
    assert event.severity == "severe"
    assert event.corrected_at
    written = AuditEvent.objects.get(action="adverse_event.corrected")
    told = [said["severity"] for said in (written.before, written.after) if said]
    assert told == ["mild", "severe"]
    assert written.reason == "misread"


def test_what_was_an_error_is_struck_out_and_stays(person: Participant) -> None:
    event = reported(person)
    by: Any = {"now": timezone.now(), "actor": audit.COMMAND}
    with pytest.raises(EventRefused, match="Say why it is struck out"):
        adverse_events.strike(event=event, reason="", **by)
    assert adverse_events.strike(event=event, reason="another person", **by)
    assert not adverse_events.strike(event=event, reason="again", **by)
    assert AdverseEvent.objects.count() == 1
    assert not AdverseEvent.objects.standing().exists()
    with pytest.raises(EventRefused, match="struck out"):
        corrected(event, severity="severe")


def test_a_coordinator_reports_on_the_page(study: Study, person: Participant) -> None:
    cora = sign_in("cora", study, "coordinator")
    assert "No adverse event is reported yet" in page(cora.get(PATH))
    said = form(person)
    for _ in range(2):  # pressed twice
        answer = page(cora.post(f"{PATH}report/", said, follow=True))
    assert "1 event of 1 participant, 0 serious" in answer
    assert AdverseEvent.objects.get().participant == person
    refused = cora.post(f"{PATH}report/", form(person, severity="fatal"))
    assert refused.status_code == 400
    assert "both fatal, or neither" in refused.content.decode()
    assert 'value="headache"' in refused.content.decode()
    assert AdverseEvent.objects.count() == 1


def test_a_coordinator_corrects_and_strikes_on_the_page(study: Study, person: Participant) -> None:
    event, cora = reported(person), sign_in("cora", study, "coordinator")
    where = f"{PATH}{event.pk}/"
    said = form(person, severity="moderate")
    refused = cora.post(where, said)
    assert refused.status_code == 400
    assert "Say why it is corrected" in refused.content.decode()
    assert "misread" in page(cora.post(where, said | {"reason": "misread"}, follow=True))
    event.refresh_from_db()
    assert event.severity == "moderate"
    struck = page(cora.post(f"{where}strike/", {"reason": "twin"}, follow=True))
    assert "counted nowhere" in struck
    assert "S1-001" not in page(cora.get(PATH))
    assert "struck out" in page(cora.get(PATH, {"struck": "1"}))


def test_nobody_reaches_another_site(study: Study, person: Participant) -> None:
    second = Site.objects.create(study=study, code="S2", title="Second", zone="UTC")
    mine, theirs = reported(enrolled(study, "S2-001", second)), reported(person)
    cora = sign_in("cora", study, "coordinator", site=second)
    said = page(cora.get(PATH))
    assert "S2-001" in said
    assert "S1-001" not in said
    assert "S1-001" not in page(cora.get(f"{PATH}report/"))
    assert "S1-001" not in page(cora.get(f"{PATH}events.csv"))
    assert cora.get(f"{PATH}{mine.pk}/").status_code == 200
    for way in ("", "strike/"):
        assert cora.post(f"{PATH}{theirs.pk}/{way}", {"reason": "x"}).status_code == 404
    assert cora.post(f"{PATH}report/", form(person)).status_code == 400
    assert AdverseEvent.objects.count() == 2


def test_an_investigator_reads_and_changes_nothing(study: Study, person: Participant) -> None:
    event, ines = reported(person), sign_in("ines", study, "investigator")
    assert "Report an adverse event" not in page(ines.get(PATH))
    said = page(ines.get(f"{PATH}{event.pk}/"))
    assert "headache" in said
    assert '<form method="post">' not in said
    assert ines.post(f"{PATH}{event.pk}/", form(person)).status_code == 404
    assert ines.get(f"{PATH}report/").status_code == 404


def test_the_list_is_filtered_and_a_file(study: Study, person: Participant) -> None:
    reported(person, term="=SUM(1)", ended_on=DAY)
    reported(person, term="seizure", severity="severe", is_serious=True)
    cora: Client = sign_in("cora", study, "coordinator")
    for asked, there in (
        ({"severity": "severe"}, (False, True)),
        ({"serious": "1"}, (False, True)),
        ({"ongoing": "1"}, (False, True)),
        ({"code": "S1-"}, (True, True)),
        ({"site": "S9"}, (False, False)),
    ):
        said = page(cora.get(PATH, asked))
        assert ("=SUM(1)" in said, "seizure" in said) == there, asked
    lines = cora.get(f"{PATH}events.csv", {"severity": "mild"}).content.decode().splitlines()
    assert len(lines) == 2
    assert "S1-001,S1,'=SUM(1),mild" in lines[1]


def test_queries_do_not_grow_with_events(study: Study, person: Participant) -> None:
    cora = sign_in("cora", study, "coordinator")

    def queries() -> int:
        with CaptureQueriesContext(connection) as caught:
            cora.get(PATH)
        return len(caught)

    reported(person)
    queries()
    one = queries()
    for _ in range(5):
        reported(person)
    assert queries() == one


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("adverse_event", "demo", *words, stdout=out)
    return out.getvalue()


def test_the_command_does_what_the_page_does(person: Participant) -> None:
    said = "--term headache --severity mild --relatedness possible --started-on 2026-06-01"
    assert "is kept: headache (mild)." in run("report", "S1-001", *said.split())
    number = str(AdverseEvent.objects.get().pk)
    assert "is corrected" in run("correct", number, "--severity", "severe", "--reason", "misread")
    assert "says so already" in run("correct", number, "--severity", "severe", "--reason", "x")
    assert f"{number},S1-001,headache,severe,False,possible,2026-06-01" in run("list")
    with pytest.raises(CommandError, match="both fatal, or neither"):
        run("correct", number, "--outcome", "fatal", "--reason", "x")
    assert "is struck out" in run("strike", number, "--reason", "twin")
    with pytest.raises(CommandError, match="There is no adverse event 0"):
        run("strike", "0", "--reason", "twin")
