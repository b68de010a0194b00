"""The urine calendar: a week of tests, entered all at once or not at all."""

from datetime import date, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from console.urine_calendar import Run, Week, current_run
from ema import audit, enrolment
from ema.models import AuditEvent, Participant, Site, Study, UrineTest
from tests import trial
from tests.ema.test_admin import page, sign_in

pytestmark = pytest.mark.django_db

PATH = "/studies/demo/urine/"


def today() -> date:
    return timezone.now().date()


@pytest.fixture
def study() -> Study:
    study = trial.make_study()
    Study.objects.update(urine_weekdays=[1, 3, 5])
    study.refresh_from_db()
    return study


@pytest.fixture
def cora(study: Study) -> Client:
    return sign_in("cora", study, "coordinator")


def enrolled(study: Study, code: str, site: Site | None = None) -> Participant:
    at = timezone.now() - timedelta(days=60)
    return enrolment.enrol(
        site=site or study.sites.get(code="S1"),
        code=code,
        zone="UTC",
        now=timezone.now(),
        enrolled_at=at,
        actor=audit.COMMAND,
    )


def due(person: Participant, days_ago: int = 0, result: str = "") -> UrineTest:
    on = today() - timedelta(days=days_ago)
    taken = on if result in ("negative", "positive") else None
    recorded = timezone.now() if result else None
    return UrineTest.objects.create(
        participant=person, due_on=on, result=result, collected_on=taken, recorded_at=recorded
    )


def entered(test: UrineTest, result: str, on: str | None = None) -> dict[str, str]:
    day = test.due_on.isoformat() if on is None else on
    return {f"result-{test.pk}": result, f"collected-{test.pk}": day}


def result_of(test: UrineTest) -> str:
    test.refresh_from_db()
    return test.result


def shown_in_week(client: Client, test: UrineTest, **asked: str) -> str:
    return page(client.get(PATH, {"on": test.due_on.isoformat(), **asked}))


@pytest.mark.parametrize(
    ("results", "run"),
    [
        ("", None),
        ("?", None),
        ("---", Run(6, 3)),
        ("-+-", Run(2, 1)),
        ("--o", Run(0, 0)),
        ("-+-?", Run(2, 1)),
    ],
)
def test_abstinence_now_counts_from_the_last_lapse_to_the_last_known_test(
    results: str, run: Run | None
) -> None:
    enrolled_on = date(2026, 6, 1)
    signs = {"-": "negative", "+": "positive", "o": "missed", "?": ""}
    tests = [
        (enrolled_on + timedelta(days=2 * n), signs[sign])
        for n, sign in enumerate(results, start=1)
    ]
    assert current_run(enrolled_on, tests) == run


def test_a_week_begins_on_monday() -> None:
    assert Week.of(date(2026, 6, 7)).monday == date(2026, 6, 1)
    assert Week.of(date(2026, 6, 8)).monday == date(2026, 6, 8)


def test_the_calendar_tells_states_lapses_and_abstinence(study: Study, cora: Client) -> None:
    person = enrolled(study, "S1-001")
    test = due(person)
    said = page(cora.get(PATH))
    assert "due today" in said
    assert "nothing known yet" in said
    assert f'name="result-{test.pk}"' in said
    old = due(person, 14, "positive")
    said = shown_in_week(cora, old)
    assert "positive</span> lapse" in said
    assert f"/admin/ema/urinetest/{old.pk}/change/" in said
    assert "0 days" in said


def test_results_of_a_week_are_recorded_at_once(study: Study, cora: Client) -> None:
    one, two, left = (due(enrolled(study, f"S1-00{n}")) for n in range(3))
    form = entered(one, "negative") | entered(two, "missed") | entered(left, "")
    answer = cora.post(PATH, form, follow=True)
    assert "2 results were recorded." in page(answer)
    assert [result_of(test) for test in (one, two, left)] == ["negative", "missed", ""]
    assert two.collected_on is None
    events = AuditEvent.objects.filter(action="urine.recorded")
    assert {event.actor.username for event in events if event.actor} == {"cora"}
    assert events.count() == 2
    again = page(cora.post(PATH, form, follow=True))
    assert "Nothing was new" in again
    assert events.count() == 2


def test_one_bad_row_and_nothing_is_saved(study: Study, cora: Client) -> None:
    good, future, unreadable = (due(enrolled(study, f"S1-00{n}")) for n in range(3))
    ahead = (today() + timedelta(days=2)).isoformat()
    form = entered(good, "negative") | entered(future, "positive", ahead)
    form |= entered(unreadable, "negative", "yesterday")
    answer = cora.post(PATH, form)
    said = answer.content.decode()
    assert answer.status_code == 400
    assert "Nothing was recorded: 2 results need another look" in said
    assert f'id="wrong-{future.pk}"><li>{ahead} is in the future' in said
    assert f'id="wrong-{unreadable.pk}"><li>&#x27;yesterday&#x27; is no date' in said
    assert f'id="wrong-{good.pk}"' not in said
    assert '<option value="positive" selected>' in said
    assert [result_of(test) for test in (good, future, unreadable)] == ["", "", ""]
    assert not AuditEvent.objects.filter(action__startswith="urine.").exists()


def test_what_somebody_else_recorded_meanwhile_stays(study: Study, cora: Client) -> None:
    test, other = due(enrolled(study, "S1-001")), due(enrolled(study, "S1-002"))
    dora = sign_in("dora", study, "coordinator")
    dora.post(PATH, entered(test, "positive"))
    answer = cora.post(PATH, entered(test, "negative") | entered(other, "negative"))
    assert answer.status_code == 400
    assert "Recorded by dora at" in answer.content.decode()
    assert (result_of(test), result_of(other)) == ("positive", "")


@pytest.mark.parametrize(
    ("result", "on", "why"),
    [
        ("negative", "", "Say on which day the sample was collected."),
        ("fine", None, "Choose negative, positive or missed."),
        ("missed", "2026-01-01", "A missed test has no sample"),
        ("negative", "2026-01-01", "is more than 7 days from"),
    ],
)
def test_what_cannot_be_is_said_beside_its_field(
    study: Study, cora: Client, result: str, on: str | None, why: str
) -> None:
    test = due(enrolled(study, "S1-001"))
    answer = cora.post(PATH, entered(test, result, on))
    assert answer.status_code == 400
    assert why in answer.content.decode()
    assert result_of(test) == ""


def test_nobody_enters_for_another_site(study: Study) -> None:
    second = Site.objects.create(study=study, code="S2", title="Second", zone="UTC")
    mine, theirs = due(enrolled(study, "S2-001", second)), due(enrolled(study, "S1-001"))
    client = sign_in("cora", study, "coordinator", site=second)
    said = page(client.get(PATH))
    assert "S2-001" in said
    assert "S1-001" not in said
    form = entered(mine, "negative") | entered(theirs, "negative")
    assert client.post(PATH, form).status_code == 404
    assert (result_of(mine), result_of(theirs)) == ("", "")
    assert "S1-001" not in page(client.get(f"{PATH}calendar.csv"))


def test_an_investigator_reads_and_enters_nothing(study: Study) -> None:
    test = due(enrolled(study, "S1-001"))
    client = sign_in("ines", study, "investigator")
    said = page(client.get(PATH))
    assert "S1-001" in said
    assert "result-" not in said
    assert client.post(PATH, entered(test, "negative")).status_code == 404
    assert result_of(test) == ""


def test_it_is_filtered_by_site_code_and_what_waits(study: Study, cora: Client) -> None:
    second = Site.objects.create(study=study, code="S2", title="Second", zone="UTC")
    due(enrolled(study, "S1-001"))
    due(enrolled(study, "S2-001", second), result="negative")
    for asked, there in (
        ({"site": "S1"}, (True, False)),
        ({"code": "S2-"}, (False, True)),
        ({"show": "open"}, (True, False)),
        ({"on": "2020-01-01"}, (False, False)),
        ({"on": "nonsense"}, (True, True)),
    ):
        said = page(cora.get(PATH, asked))
        assert ("S1-001" in said, "S2-001" in said) == there, asked


def test_the_week_is_a_file_too(study: Study, cora: Client) -> None:
    due(enrolled(study, "S1-001"), result="missed")
    answer = cora.get(f"{PATH}calendar.csv")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    header, line = answer.content.decode().splitlines()
    assert header.startswith("participant,site,due_on,state,collected_on,abstinent_days")
    assert line == f"S1-001,S1,{today()},missed,,0,0"


def test_queries_do_not_grow_with_participants(study: Study, cora: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as caught:
            cora.get(PATH)
        return len(caught)

    due(enrolled(study, "S1-001"))
    cora.get(PATH)
    one = queries()
    for n in range(2, 8):
        due(enrolled(study, f"S1-00{n}"))
    assert queries() == one


def test_a_page_shows_fifty_participants(study: Study, cora: Client) -> None:
    for n in range(1, 61):
        due(enrolled(study, f"S1-{n:03}"))
    said = page(cora.get(PATH))
    assert "Participants 1 to 50 of 60." in said
    assert "S1-051" not in said
    assert "S1-051" in page(cora.get(PATH, {"page": 2}))
