"""Double entry: two people, neither seeing what the other wrote; differences are decided."""

import io
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from analytics.safety import safety
from ema import urine
from ema.audit import Actor
from ema.models import (
    AdverseEvent,
    AuditEvent,
    DoubleEntry,
    Participant,
    RowChange,
    Site,
    Study,
    UrineTest,
)
from ema.urine import Entry
from ema.urine_batch import record_results
from tests import trial
from tests.console.test_adverse_events import HEADACHE
from tests.console.test_urine import due, enrolled, entered, result_of
from tests.ema.test_admin import page, sign_in

pytestmark = pytest.mark.django_db

PATH, URINE, EVENTS = (f"/studies/demo/{name}/" for name in ("entries", "urine", "adverse-events"))
TERM = "zygodactyly"


@pytest.fixture
def study() -> Study:
    study = trial.make_study()
    Study.objects.update(urine_weekdays=[1, 3, 5], double_entry=True)
    study.refresh_from_db()
    return study


@pytest.fixture
def cora(study: Study) -> Client:
    return sign_in("cora", study, "coordinator")


@pytest.fixture
def carl(study: Study) -> Client:
    return sign_in("carl", study, "coordinator")


@pytest.fixture
def person(study: Study) -> Participant:
    return enrolled(study, "S1-001")


@pytest.fixture
def test(person: Participant) -> UrineTest:
    return due(person)


def enter(client: Client, test: UrineTest, result: str, on: str | None = None) -> str:
    """What the calendar answers."""
    return page(client.post(URINE, entered(test, result, on), follow=True))


def event_of(person: Participant, **said: Any) -> dict[str, Any]:
    return HEADACHE | {"participant": person.pk, "key": uuid.uuid4(), "term": TERM} | said


def report(client: Client, person: Participant, **said: Any) -> DoubleEntry:
    answer = client.post(f"{EVENTS}report/", event_of(person, **said), follow=True)
    assert "somebody else enters this adverse event" in page(answer)
    return DoubleEntry.objects.latest("pk")


def at(entry: DoubleEntry, way: str = "") -> str:
    return f"{PATH}{entry.pk}/{way}"


def again(client: Client, entry: DoubleEntry, **said: Any) -> str:
    answer = client.post(at(entry), event_of(entry.participant, **said), follow=True)
    return str(answer.content.decode())


def actions() -> list[str]:
    found = AuditEvent.objects.filter(action__regex="^(entry|urine|adverse_event)[.]")
    return list(found.order_by("pk").values_list("action", flat=True))


def last(action: str) -> AuditEvent:
    return AuditEvent.objects.filter(action=action).latest("pk")


# --- urine results ------------------------------------------------------------------------


def test_what_two_people_say_alike_stands_with_both_names(
    cora: Client, carl: Client, test: UrineTest
) -> None:
    said = enter(cora, test, "negative")
    assert "1 results were entered once, and wait for somebody." in said
    assert "entered once</span>" in said
    assert "by you: negative" in said
    assert result_of(test) == ""
    assert "1 results were recorded." in enter(carl, test, "negative")
    assert result_of(test) == "negative"
    event = last("urine.recorded")
    assert event.reason == "Entered by cora and carl, who agreed."
    assert event.actor == User.objects.get(username="carl")
    assert actions() == ["entry.first", "urine.recorded"]
    assert "Nothing waits for a second entry" in page(carl.get(PATH))


def test_a_batch_is_the_first_entry_of_some_and_the_second_of_others(
    cora: Client, carl: Client, person: Participant
) -> None:
    agree, differ, new, wrong = (due(person, days) for days in range(4))
    page(cora.post(URINE, entered(agree, "negative") | entered(differ, "negative"), follow=True))
    form = entered(agree, "negative") | entered(differ, "positive") | entered(new, "positive")
    refused = carl.post(URINE, form | entered(wrong, "negative", ""))
    assert refused.status_code == 400
    assert DoubleEntry.objects.entered_once().count() == 2  # all of a batch, or none
    said = page(carl.post(URINE, form, follow=True))
    assert "1 results were recorded." in said
    assert "1 results were entered once" in said
    assert "1 second entries differ" in said
    assert [result_of(test) for test in (agree, differ, new)] == ["negative", "", ""]


def test_one_person_is_never_both(cora: Client, test: UrineTest) -> None:
    enter(cora, test, "negative")
    assert "Nothing was new" in enter(cora, test, "negative")
    assert "were entered once" in enter(cora, test, "positive")
    assert result_of(test) == ""
    standing = DoubleEntry.objects.waiting().get()
    assert standing.first_said["result"] == "positive"
    assert DoubleEntry.objects.exclude(withdrawn_at=None).get().first_said["result"] == "negative"


def test_the_database_says_no_too(cora: Client, test: UrineTest) -> None:
    enter(cora, test, "negative")
    by, now = User.objects.get(username="cora"), timezone.now()
    found = DoubleEntry.objects.filter(urine_test=test)
    wrong = (
        ("two_different", {"second_by": by, "second_at": now, "second_said": {}}),
        ("a_second_entry_has", {"second_at": now}),
        ("settled_after_two", {"settled_at": now, "settled_said": {}}),
        ("has_a_reason", {"reason": "so"}),
    )
    for name, change in wrong:
        with pytest.raises(IntegrityError, match=name), transaction.atomic():
            found.update(**change)
    with pytest.raises(IntegrityError, match="one_pair"), transaction.atomic():
        DoubleEntry.objects.create(
            participant=test.participant,
            urine_test=test,
            first_said={},
            first_by=by,
            first_at=now,
        )


def test_entries_that_differ_wait_for_a_decision(
    study: Study, cora: Client, carl: Client, test: UrineTest
) -> None:
    enter(cora, test, "negative")
    said = enter(carl, test, "positive")
    assert "1 second entries differ from the first" in said
    assert "entries differ</span>" in said
    assert result_of(test) == ""
    entry = DoubleEntry.objects.get()
    for client in (cora, carl, sign_in("dora", study, "coordinator")):
        shown = page(client.get(at(entry)))
        assert "<td>negative</td><td>positive</td>" in shown
    for client in (cora, carl):  # nobody comes round to the other's
        answer = client.post(URINE, entered(test, "missed", ""))
        assert answer.status_code == 400
        assert "decide on the page of double entry" in answer.content.decode()
    no_reason = carl.post(at(entry, "decide/"), {"which": "first", "reason": " "})
    assert (no_reason.status_code, result_of(test)) == (400, "")
    assert "Say why this is right" in no_reason.content.decode()
    neither = carl.post(at(entry, "decide/"), {"reason": "strip"})
    assert "Choose the first entry, the second" in neither.content.decode()
    decided = carl.post(at(entry, "decide/"), {"which": "first", "reason": "strip"}, follow=True)
    assert "stands now" in page(decided)
    assert result_of(test) == "negative"
    assert last("urine.recorded").reason == (
        "Entered by cora and carl, who differed; decided: strip"
    )
    kept = last("entry.decided")
    assert (kept.before or {})["carl: result"] == "positive"
    assert (kept.after or {})["result"] == "negative"
    late = cora.post(at(entry, "decide/"), {"which": "second", "reason": "no"})
    assert "This is settled already" in late.content.decode()
    assert "Decided by carl" in page(cora.get(at(entry)))


def test_a_decision_may_be_something_else(cora: Client, carl: Client, test: UrineTest) -> None:
    enter(cora, test, "negative")
    enter(carl, test, "positive")
    entry = DoubleEntry.objects.get()
    form = {"which": "other", "result": "missed", "collected_on": test.due_on, "reason": "lost"}
    refused = cora.post(at(entry, "decide/"), form)
    assert "A missed test has no sample" in refused.content.decode()
    assert page(cora.post(at(entry, "decide/"), form | {"collected_on": ""}, follow=True))
    assert result_of(test) == "missed"


def test_a_first_entry_is_not_missed_and_late_after_grace(
    cora: Client, person: Participant
) -> None:
    waits, nothing = due(person, 4), due(person, 5)
    enter(cora, waits, "negative")
    assert urine.mark_missed(timezone.now()) == 1
    assert (result_of(waits), result_of(nothing)) == ("", "missed")
    said = page(cora.get(URINE, {"on": waits.due_on.isoformat()}))
    assert "second entry late</span>" in said
    assert "1 second entry late" in said
    assert "<td>second entry late</td>" in page(cora.get("/studies/demo/participants/of/S1-001/"))
    today = page(cora.get("/studies/demo/today/"))
    assert re.search(r"<strong>1</strong> <a[^>]+>result entered once</a>", today)
    assert "0 without a result from before" in today
    csv = cora.get(f"{URINE}calendar.csv", {"on": waits.due_on.isoformat()}).content.decode()
    assert f"S1-001,S1,{waits.due_on},second entry late,," in csv


def test_a_settled_result_is_corrected_by_one_with_a_reason(
    cora: Client, carl: Client, test: UrineTest
) -> None:
    where = f"/admin/ema/urinetest/{test.pk}/change/"
    form = {"result": "negative", "collected_on": test.due_on.isoformat(), "reason": ""}
    refused = cora.post(where, form)
    assert "is entered twice, by two people" in refused.content.decode()
    enter(cora, test, "negative")
    enter(carl, test, "negative")
    form |= {"result": "positive", "reason": "misread"}
    assert cora.post(where, form).status_code == 302
    assert result_of(test) == "positive"


def test_what_was_begun_in_pairs_is_finished_in_pairs(
    cora: Client, carl: Client, test: UrineTest, person: Participant
) -> None:
    enter(cora, test, "negative")
    Study.objects.update(double_entry=False)
    other = due(person, 1)
    assert "1 results were recorded." in enter(cora, other, "negative")
    assert "This study enters results once" in page(carl.get(PATH))
    assert "1 results were recorded." in enter(carl, test, "negative")


def test_a_first_entry_is_withdrawn_by_who_made_it(
    cora: Client, carl: Client, test: UrineTest
) -> None:
    enter(cora, test, "negative")
    entry = DoubleEntry.objects.get()
    refused = carl.post(at(entry, "withdraw/"), {"reason": "no"})
    assert "cora made this entry" in refused.content.decode()
    assert "Say why" in cora.post(at(entry, "withdraw/"), {"reason": ""}).content.decode()
    page(cora.post(at(entry, "withdraw/"), {"reason": "another vial"}, follow=True))
    assert not DoubleEntry.objects.waiting().exists()
    assert last("entry.withdrawn").reason == "another vial"
    assert "due today" in page(carl.get(URINE))


@pytest.mark.django_db(transaction=True)
def test_two_who_enter_at_once_are_first_and_second(study: Study) -> None:
    person = enrolled(study, "S1-001")
    tests = [due(person, days) for days in range(3)]
    clients = [sign_in(name, study, "coordinator") for name in ("cora", "carl")]

    def work(client: Client) -> int:
        form: dict[str, str] = {}
        for test in tests:
            form |= entered(test, "negative")
        status = client.post(URINE, form).status_code
        connection.close()
        return status

    with ThreadPoolExecutor(max_workers=2) as pool:
        assert list(pool.map(work, clients)) == [302, 302]
    assert [result_of(test) for test in tests] == ["negative"] * 3
    assert DoubleEntry.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_a_test_that_somebody_is_entering_is_not_missed_meanwhile(study: Study) -> None:
    test = due(enrolled(study, "S1-001"), 9)
    by = Actor(User.objects.create_user("cora"), "page")
    is_entered, may_end = Event(), Event()

    def enter_slowly() -> None:
        with transaction.atomic():
            entry = Entry(test.pk, "negative", test.due_on)
            assert record_results(entries=[entry], now=timezone.now(), actor=by).once == 1
            is_entered.set()
            may_end.wait(10)
        connection.close()

    with ThreadPoolExecutor(max_workers=1) as pool:
        running = pool.submit(enter_slowly)
        assert is_entered.wait(10)
        assert urine.mark_missed(timezone.now()) == 0
        may_end.set()
        running.result()
    assert urine.mark_missed(timezone.now()) == 0
    assert result_of(test) == ""


# --- what the second person may not know --------------------------------------------------


def test_nobody_can_tell_what_the_first_entry_says(
    study: Study, cora: Client, carl: Client, person: Participant, test: UrineTest
) -> None:
    """Every page of a coordinator says the same whichever result was entered first."""
    seen, own = [], set()
    for result in ("negative", "positive"):
        with transaction.atomic():
            enter(cora, test, "negative" if result == "positive" else "positive")
            enter(cora, test, result)
            report(cora, person, term=TERM if result == "positive" else "headache")
            seen.append(pages_of(carl, test))
            own.add(page(cora.get(URINE)).count("by you: negative"))
            transaction.set_rollback(True)
    assert [name for name in seen[0] if seen[0][name] != seen[1][name]] == []
    assert own == {0, 1}  # so the pages above could have differed
    assert "entered once" in seen[0]["urine/"]
    assert "entry.first" in seen[0]["audit/"]


def pages_of(client: Client, test: UrineTest) -> dict[str, str]:
    """Without tokens and numbers of rows."""
    names = ["urine/", "urine/calendar.csv", "entries/", "today/"]
    names += [f"entries/{one}/" for one in DoubleEntry.objects.values_list("pk", flat=True)]
    names += ["audit/", "audit/changes/", "audit/files/events.csv", "audit/files/changes.csv"]
    names += [f"audit/events/{one}/" for one in AuditEvent.objects.values_list("pk", flat=True)]
    names += ["adverse-events/", "adverse-events/events.csv", "adverse-events/report/"]
    names += ["participants/", "participants/of/S1-001/"]
    found = {name: client.get(f"/studies/demo/{name}") for name in names}
    found["admin"] = client.get(f"/admin/ema/urinetest/{test.pk}/change/")
    found["list"] = client.get("/admin/ema/urinetest/")
    assert all(answer.status_code == 200 for answer in found.values())
    texts = {name: b"".join(answer).decode() for name, answer in found.items()}
    unsteady = r'value="\w{64}"|[0-9a-f-]{30,}|\d+'
    return {
        name if name[-2:-1].isalpha() else f"{number}": re.sub(unsteady, "", text)
        for number, (name, text) in enumerate(texts.items())
    }


def test_a_rehearsal_does_not_tell_whether_entries_agree(
    cora: Client, carl: Client, test: UrineTest, tmp_path: Any
) -> None:
    enter(cora, test, "negative")
    told = {command(tmp_path, test, each, "carl", "--dry-run") for each in ("negative", "positive")}
    [said] = told
    assert "1 would be second entries: they are compared when they are saved." in said
    assert DoubleEntry.objects.get().second_by is None


def test_no_row_change_tells_what_was_entered(cora: Client, person: Participant) -> None:
    report(cora, person)
    kept = RowChange.objects.get(table_name="ema_doubleentry")
    assert (kept.after or {})["first_said"] == "(secret)"
    assert (kept.study, kept.site) == (person.study, person.site)


# --- adverse events -----------------------------------------------------------------------


def test_an_event_counts_once_two_people_reported_it(
    study: Study, cora: Client, carl: Client, person: Participant
) -> None:
    trial.allocate(person, "placebo")
    entry = report(cora, person, description="at home", started_on=timezone.now().date())
    assert not AdverseEvent.objects.exists()
    assert safety(study)["arms"][0]["n_events"] == 0
    assert TERM not in page(carl.get(at(entry)))
    assert TERM in page(cora.get(at(entry)))
    listed = page(carl.get(f"{EVENTS}report/"))
    assert f"Entry {entry.pk}, S1-001</a>, by cora" in listed
    said = again(
        carl,
        entry,
        term=f" {TERM.upper()} ",
        description="as told",
        started_on=timezone.now().date(),
    )
    assert "Both entries say the same" in said
    event = AdverseEvent.objects.get()
    assert (event.term, event.description) == (TERM, "at home\n\nas told")
    assert safety(study)["arms"][0]["n_events"] == 1
    assert last("adverse_event.reported").reason == "Entered by cora and carl, who agreed."
    assert f"{EVENTS}{event.pk}/" in page(carl.get(at(entry)))


def test_a_form_sent_twice_is_one_entry(cora: Client, person: Participant) -> None:
    form = event_of(person)
    for _ in range(2):
        page(cora.post(f"{EVENTS}report/", form, follow=True))
    assert DoubleEntry.objects.count() == 1


def test_events_that_differ_are_shown_side_by_side(
    cora: Client, carl: Client, person: Participant
) -> None:
    entry = report(cora, person, severity="mild")
    assert "The two entries differ" in again(carl, entry, severity="severe")
    assert "Two people entered this event already" in again(cora, entry, severity="moderate")
    shown = page(cora.get(at(entry)))
    assert '<td>mild</td><td>severe</td><td><span class="pill pill-failed">differs' in shown
    wrong = event_of(person, which="other", reason="asked", severity="fatal")
    assert "both fatal, or neither" in cora.post(at(entry, "decide/"), wrong).content.decode()
    page(cora.post(at(entry, "decide/"), {"which": "second", "reason": "asked"}, follow=True))
    assert AdverseEvent.objects.get().severity == "severe"


def test_what_cannot_be_is_refused_at_both_entries(
    cora: Client, carl: Client, person: Participant
) -> None:
    wrong = event_of(person, severity="fatal")
    assert cora.post(f"{EVENTS}report/", wrong).status_code == 400
    entry = report(cora, person)
    assert "both fatal, or neither" in again(carl, entry, severity="fatal")
    assert DoubleEntry.objects.get().second_by is None


def test_ones_own_event_is_entered_anew(cora: Client, carl: Client, person: Participant) -> None:
    entry = report(cora, person)
    assert "the one before withdrawn" in again(cora, entry, severity="severe")
    assert "was withdrawn: report the event anew" in again(carl, entry)
    assert DoubleEntry.objects.waiting().get().first_said["severity"] == "severe"


@pytest.mark.django_db(transaction=True)
def test_of_two_second_entries_at_once_one_is_second(study: Study) -> None:
    person = enrolled(study, "S1-001")
    entry = report(sign_in("cora", study, "coordinator"), person)
    clients = [sign_in(name, study, "coordinator") for name in ("carl", "dora")]

    def work(client: Client) -> str:
        said = again(client, entry)
        connection.close()
        return said

    with ThreadPoolExecutor(max_workers=2) as pool:
        told = list(pool.map(work, clients))
    assert sorted("Two people entered this event already" in said for said in told) == [False, True]
    assert AdverseEvent.objects.count() == 1


# --- roles, counts, commands --------------------------------------------------------------


def test_the_page_counts_and_nobody_reaches_another_site(
    study: Study, cora: Client, carl: Client, test: UrineTest
) -> None:
    enter(cora, test, "negative")
    entry = DoubleEntry.objects.get()
    waits = "enter it again"
    assert waits in page(carl.get(PATH))
    assert "by you: somebody else is next" in page(cora.get(PATH))
    for client, waiting in ((carl, True), (cora, False)):
        assert ("pill-waiting" in page(client.get(PATH))) == waiting
    second = Site.objects.create(study=study, code="S2", title="Second", zone="UTC")
    elsewhere = sign_in("sven", study, "coordinator", site=second)
    assert "S1-001" not in page(elsewhere.get(PATH))
    assert elsewhere.get(at(entry)).status_code == 404
    for way in ("", "decide/", "withdraw/"):
        assert elsewhere.post(at(entry, way), {"reason": "x"}).status_code == 404
    assert sign_in("ines", study, "investigator").get(PATH).status_code == 404


def test_queries_do_not_grow_with_entries(cora: Client, carl: Client, person: Participant) -> None:
    def queries(address: str) -> int:
        with CaptureQueriesContext(connection) as caught:
            carl.get(address)
        return len(caught)

    enter(cora, due(person, 0), "negative")
    before = {address: (queries(address), queries(address))[1] for address in (PATH, URINE)}
    for days in range(1, 4):
        other = enrolled(person.study, f"S1-01{days}")
        enter(cora, due(other), "negative")
    assert {address: queries(address) for address in before} == before


def command(tmp_path: Any, test: UrineTest, result: str, by: str = "", *words: str) -> str:
    line = f"S1-001,{test.due_on},{result},{test.due_on}"
    (tmp_path / "results.csv").write_text(f"participant,due_on,result,collected_on\n{line}\n")
    out = io.StringIO()
    who = [f"--by={by}"] if by else []
    call_command("urine", "demo", str(tmp_path / "results.csv"), *who, *words, stdout=out)
    return out.getvalue()


def test_a_file_is_an_entry_of_whoever_is_named(
    study: Study, cora: Client, carl: Client, test: UrineTest, tmp_path: Any
) -> None:
    with pytest.raises(CommandError, match="say who enters this"):
        command(tmp_path, test, "negative")
    sign_in("ines", study, "investigator")
    with pytest.raises(CommandError, match="ines is no coordinator"):
        command(tmp_path, test, "negative", "ines")
    assert "1 were entered once, and wait." in command(tmp_path, test, "negative", "cora")
    said = command(tmp_path, test, "positive", "carl")
    assert "1 differ from the first entry" in said
    assert result_of(test) == ""


def test_an_event_by_command_is_an_entry_of_whoever_is_named(
    cora: Client, person: Participant
) -> None:
    said = "report S1-001 --term fall --severity mild --relatedness possible"
    words = [*said.split(), "--started-on", "2026-06-01"]
    with pytest.raises(CommandError, match="say who enters this"):
        call_command("adverse_event", "demo", *words)
    out = io.StringIO()
    call_command("adverse_event", "demo", *words, "--by=cora", stdout=out)
    assert "somebody else enters this adverse event" in out.getvalue()
    assert not AdverseEvent.objects.exists()


def test_an_administrator_turns_it_on_and_it_is_written_down(study: Study) -> None:
    Study.objects.update(double_entry=False)
    root = sign_in("root")
    said = page(root.get(f"/admin/ema/study/{study.pk}/change/"))
    assert "each without seeing" in said
    assert "results are entered once" in page(root.get("/studies/demo/setup/"))
    Study.objects.update(double_entry=True)
    sign_in("cora", study, "coordinator")
    alone = "has one coordinator, and two people enter each result"
    assert alone in page(root.get("/studies/demo/setup/"))
    sign_in("carl", study, "coordinator", site=study.sites.get())
    assert alone not in page(root.get("/studies/demo/setup/"))
    new = {"title": "New", "slug": "new", "masking": "open", "zone": "UTC", "double_entry": "on"}
    assert "results are entered twice, by two people" in page(
        root.post("/studies/new/", new, follow=True)
    )
    assert (AuditEvent.objects.get(action="study.added").after or {})["double_entry"] is True
