"""Phases as a chain: which begins when, for whom, and that no other one's times move."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from ema import audit, studies, visits
from ema.models import Allocation, Participant, Phase, PhaseStart, Prompt, Study, Visit
from scheduler.phases import Course, Happened, Rule, begin_dates
from scheduler.planning import plan_prompts
from scheduler.verification import verify_schedule
from tests import trial

MIDNIGHT = datetime(2026, 6, 15, tzinfo=UTC)
NOON = MIDNIGHT + timedelta(hours=12)
DAY = timedelta(days=1)


# --- dates alone ------------------------------------------------------------------------


def on(day: int) -> Happened:
    return Happened(date(2026, 1, 1) + (day - 1) * DAY, MIDNIGHT)


def days_of(rules: list[Rule], **course: Any) -> dict[int, int]:
    begins = begin_dates(rules, Course(enrolled=on(1), **course))
    return {key: (begin.on - on(1).on).days + 1 for key, begin in begins.items()}


TRIAL = [
    Rule(1, 7),
    Rule(2, 28, "allocation"),
    Rule(3, 7, "previous_phase", 14),
    Rule(4, 7, "enrolment", 372),
    Rule(5, 3, "visit", 1, "discharge"),
]


def test_phases_begin_where_their_rules_point() -> None:
    assert days_of(TRIAL) == {1: 1, 4: 373}
    assert days_of(TRIAL, allocated=on(10)) == {1: 1, 2: 10, 3: 52, 4: 373}
    visited = {"discharge": on(60)}
    assert days_of(TRIAL, allocated=on(10), visits=visited)[5] == 61
    assert 5 not in days_of(TRIAL, allocated=on(10), visits={"admission": on(60)})


def test_a_phase_waits_for_those_before_it() -> None:
    assert days_of(TRIAL, allocated=on(3)) == {1: 1, 2: 8, 3: 50, 4: 373}


def test_a_phase_that_stands_does_not_move_for_one_that_is_known_late() -> None:
    begun = {1: on(1), 4: on(373)}
    assert days_of(TRIAL, allocated=on(370), standing=begun) == {1: 1, 2: 380, 3: 422, 4: 373}


def test_crossover_periods_follow_with_a_wash_out_between() -> None:
    periods = [Rule(1, 14), Rule(2, 14, offset_days=7), Rule(3, 14, offset_days=7)]
    assert days_of(periods) == {1: 1, 2: 22, 3: 43}


rules = st.lists(
    st.tuples(
        st.integers(1, 40),
        st.sampled_from(["previous_phase", "enrolment", "allocation", "visit"]),
        st.integers(0, 60),
    ),
    min_size=1,
    max_size=6,
).map(lambda drawn: [Rule(n, *each, "v") for n, each in enumerate(drawn)])


@given(rules, st.integers(1, 90), st.integers(1, 90))
def test_no_two_phases_share_a_day(chain: list[Rule], allocated: int, visited: int) -> None:
    begins = days_of(chain, allocated=on(allocated), visits={"v": on(visited)})
    days = [begins[r.phase_id] + n for r in chain if r.phase_id in begins for n in range(r.days)]
    assert len(days) == len(set(days))


@given(rules, st.integers(1, 90))
def test_what_stands_is_where_it_was_whatever_comes(chain: list[Rule], allocated: int) -> None:
    before = begin_dates(chain, Course(enrolled=on(1)))
    known: Any = {"allocated": on(allocated), "visits": {"v": on(allocated)}}
    after = begin_dates(chain, Course(enrolled=on(1), standing=before, **known))
    assert before.items() <= after.items()


# --- in the database --------------------------------------------------------------------


def add_phase(study: Study, key: str, position: int, **fields: Any) -> Phase:
    version = study.phases.get(key="treatment").questionnaire
    return Phase.objects.create(
        study=study, key=key, position=position, questionnaire=version, **fields
    )


@pytest.fixture
def study() -> Study:
    """Baseline for 5 days, treatment for 7 from allocation, a burst after discharge."""
    study = trial.make_study(phase_days=7)
    Phase.objects.update(position=2, starts="allocation")
    add_phase(study, "baseline", 1, days=5)
    add_phase(study, "burst", 3, days=3, starts="visit", visit="discharge", offset_days=2)
    return study


def days(participant: Participant) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    prompts = Prompt.objects.filter(participant=participant, ordinal=1).order_by("study_on")
    for key, day in prompts.values_list("phase__key", "study_day"):
        found.setdefault(key, []).append(day)
    return found


def rows_of(key: str) -> list[tuple[Any, ...]]:
    found = Prompt.objects.filter(phase__key=key).order_by("pk")
    return list(found.values_list("pk", "study_on", "ordinal", "due_at", "cancel_reason"))


@pytest.mark.django_db
def test_phases_get_prompts_as_their_beginning_becomes_known(study: Study) -> None:
    someone = trial.enrol(study, "S1", "Asia/Tokyo", MIDNIGHT)
    plan_prompts(NOON)
    assert days(someone) == {"baseline": [1, 2, 3, 4, 5]}
    trial.allocate(someone, "placebo")
    Allocation.objects.update(allocated_at=MIDNIGHT + 6 * DAY + timedelta(hours=16))  # day 8 there
    plan_prompts(NOON + 7 * DAY)
    assert days(someone) == {"baseline": [1, 2, 3, 4, 5], "treatment": list(range(8, 15))}
    visited_on = someone.enrolled_on + 20 * DAY
    visits.record_visit(
        participant=someone,
        key="discharge",
        on_date=visited_on,
        now=NOON + 21 * DAY,
        actor=audit.COMMAND,
    )
    plan_prompts(NOON + 21 * DAY)
    assert days(someone)["burst"] == [23, 24, 25]
    assert plan_prompts(NOON + 21 * DAY).prompts == 0
    assert verify_schedule(study).all_equal


@pytest.mark.django_db
def test_the_day_of_allocation_is_thinned_and_never_redrawn(study: Study) -> None:
    someone = trial.enrol(study, "S1", "UTC", MIDNIGHT)
    plan_prompts(NOON)
    trial.allocate(someone, "placebo")
    at = MIDNIGHT + 8 * DAY + timedelta(hours=15)
    Allocation.objects.update(allocated_at=at)
    plan_prompts(at)
    first = Prompt.objects.filter(phase__key="treatment", study_day=9)
    assert first.count() == 4
    for prompt in first:
        assert (prompt.cancel_reason == "before_start") is (prompt.due_at < at)
    others = Prompt.objects.filter(phase__key="treatment").exclude(study_day=9)
    assert not others.exclude(cancelled_at=None)


@pytest.mark.django_db
def test_adding_a_phase_moves_no_other_ones_times() -> None:
    study = trial.make_study(phase_days=5)
    someone = trial.enrol(study, "S1", "UTC", MIDNIGHT)
    plan_prompts(NOON)
    before = rows_of("treatment")
    add_phase(study, "follow-up", 2, days=4)
    plan_prompts(NOON)
    assert rows_of("treatment") == before
    drawn = [row[1:4] for row in rows_of("follow-up")]
    assert len(drawn) == 4 * 4
    Prompt.objects.all().delete()
    PhaseStart.objects.all().delete()
    add_phase(study, "late", 3, days=4, starts="enrolment", offset_days=300)
    plan_prompts(NOON)  # the whole study anew, with one phase more
    assert sorted(row[1:] for row in rows_of("treatment")) == sorted(row[1:] for row in before)
    assert sorted(row[1:4] for row in rows_of("follow-up")) == sorted(drawn)
    assert someone.phase_starts.count() == 2


@pytest.mark.django_db
def test_a_follow_up_beyond_a_year_is_planned_when_it_comes_into_sight() -> None:
    study = trial.make_study(phase_days=7)
    add_phase(study, "burst", 2, days=7, starts="enrolment", offset_days=400)
    someone = trial.enrol(study, "S1", "UTC", MIDNIGHT)
    plan_prompts(NOON)
    assert plan_prompts(NOON + 385 * DAY).prompts == 0
    assert plan_prompts(NOON + 386 * DAY).prompts == 4
    plan_prompts(NOON + 400 * DAY)
    assert days(someone)["burst"] == list(range(401, 408))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("visit", "words"),
    [
        ({"key": "discharged"}, "No phase starts at a visit 'discharged'. Phases start at: disch"),
        ({"on_date": date(2026, 6, 14)}, "between enrolment (2026-06-15) and today (2026-06-17)"),
        ({"on_date": date(2026, 6, 18)}, "not on 2026-06-18"),
    ],
)
def test_a_wrong_visit_is_refused_in_words(study: Study, visit: Any, words: str) -> None:
    someone = trial.enrol(study, "S1", "UTC", MIDNIGHT)
    right = {"key": "discharge", "on_date": date(2026, 6, 16)}
    with pytest.raises(visits.VisitRefused) as refused:
        visits.record_visit(
            participant=someone, now=NOON + 2 * DAY, actor=audit.COMMAND, **{**right, **visit}
        )
    assert words in str(refused.value)
    assert not Visit.objects.exists()


@pytest.mark.django_db
def test_a_visit_is_recorded_once(study: Study) -> None:
    someone = trial.enrol(study, "S1", "UTC", MIDNIGHT)
    visit: Any = {"participant": someone, "key": "discharge", "on_date": someone.enrolled_on}
    visits.record_visit(**visit, now=NOON, actor=audit.COMMAND)
    with pytest.raises(visits.VisitRefused, match="is recorded already"):
        visits.record_visit(**visit, now=NOON, actor=audit.COMMAND)


@pytest.mark.django_db
def test_no_phase_begins_before_the_study() -> None:
    study = trial.make_study(has_started=False, phase_days=5)
    someone = trial.enrol(study, "S1", "Asia/Tokyo", MIDNIGHT - 9 * DAY)
    trial.allocate(someone, "placebo")
    Allocation.objects.update(allocated_at=MIDNIGHT - 8 * DAY)
    add_phase(study, "treatment-2", 2, days=3, starts="allocation")
    began_at = MIDNIGHT + timedelta(hours=3)  # noon in Tokyo
    studies.start(study=study, now=began_at, actor=audit.COMMAND)
    plan_prompts(NOON)
    first = Prompt.objects.filter(phase__key="treatment")
    assert {prompt.study_on for prompt in first} == {
        began_at.date() + number * DAY for number in range(5)
    }
    for prompt in Prompt.objects.all():
        assert (prompt.cancel_reason == "before_start") is (prompt.due_at < began_at)
    second = Prompt.objects.filter(phase__key="treatment-2").earliest("due_at")
    assert second.study_on == began_at.date() + 5 * DAY


@pytest.mark.django_db
def test_a_visit_before_the_study_is_refused_in_words() -> None:
    study = trial.make_study(has_started=False)
    add_phase(study, "burst", 2, days=3, starts="visit", visit="discharge")
    someone = trial.enrol(study, "S1", "UTC", MIDNIGHT - 9 * DAY)
    visit: Any = {"participant": someone, "key": "discharge", "on_date": MIDNIGHT.date() - DAY}
    with pytest.raises(visits.VisitRefused, match="Study demo has not started"):
        visits.record_visit(**visit, now=NOON, actor=audit.COMMAND)
    studies.start(study=study, now=MIDNIGHT, actor=audit.COMMAND)
    visit["participant"] = Participant.objects.get()
    with pytest.raises(visits.VisitRefused, match=r"started on 2026-06-15, .* from that date on"):
        visits.record_visit(**visit, now=NOON, actor=audit.COMMAND)
    visit["on_date"] = MIDNIGHT.date()
    visits.record_visit(**visit, now=NOON, actor=audit.COMMAND)


@pytest.mark.django_db
def test_a_phase_names_the_visit_it_starts_at(study: Study) -> None:
    for fields in ({"starts": "visit"}, {"visit": "discharge"}):
        with pytest.raises(IntegrityError, match="a_phase_names_the_visit"), transaction.atomic():
            add_phase(study, "other", 4, **fields)


@pytest.mark.django_db
def test_a_coordinator_records_a_visit(study: Study) -> None:
    someone = trial.enrol(study, "S1", "UTC", timezone.now() - 3 * DAY)
    user = User.objects.create_user("cora")
    studies.grant(user=user, role="coordinator", study=study, site=None, actor=audit.COMMAND)
    client = Client()
    client.force_login(user)
    form = {"participant": someone.pk, "key": "x", "on_date": timezone.now().date().isoformat()}
    said = client.post("/admin/ema/visit/add/", form).content.decode()
    assert "No phase starts at a visit" in said
    assert client.post("/admin/ema/visit/add/", form | {"key": "discharge"}).status_code == 302
    assert Visit.objects.get().participant == someone
