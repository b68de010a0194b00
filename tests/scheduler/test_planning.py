"""Planning: from participants and protocols to rows, once, whatever happens in between."""

import threading
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.utils import timezone

from ema import audit, withdrawal
from ema.models import AuditEvent, Participant, Phase, Prompt, Study
from scheduler import planning
from scheduler.day import Protocol, draw_day
from scheduler.delivery import dispatch_due
from scheduler.ledger import ledger
from scheduler.planning import Planned, plan_prompts
from scheduler.protocols import protocol_of, validate_protocol
from scheduler.tasks import plan_prompts as plan_prompts_task
from scheduler.zones import TZDATA_VERSION
from tests import trial

pytestmark = pytest.mark.django_db

MIDNIGHT = datetime(2026, 6, 15, tzinfo=UTC)  # a Monday
NOON = MIDNIGHT + timedelta(hours=12)
DAY = timedelta(days=1)
WEEKDAYS = [{"weekdays": [1, 2, 3, 4, 5], "start": "08:00", "end": "22:00"}]


def hours(start: str, end: str) -> list[dict[str, Any]]:
    return [{"weekdays": [1, 2, 3, 4, 5, 6, 7], "start": start, "end": end}]


def relaxed() -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(action="prompts.gap_relaxed").order_by("pk"))


def days_of(event: AuditEvent) -> list[dict[str, Any]]:
    assert isinstance(event.after, list)
    return event.after


def rows(**conditions: Any) -> list[tuple[Any, ...]]:
    found = Prompt.objects.filter(**conditions).order_by("participant__code", "due_at")
    return list(found.values_list("participant__code", "study_on", "ordinal", "due_at"))


def prompts_of(code: str) -> list[UUID]:
    return list(Prompt.objects.filter(participant__code=code).values_list("pk", flat=True))


def pure_draws(participant: Participant, study_on: date) -> tuple[datetime, ...]:
    study = participant.study
    return draw_day(
        bytes(study.seed),
        "treatment",
        participant.uuid,
        study_on,
        Protocol(),
        ZoneInfo(participant.zone),
    ).due_at


def test_prompts_reach_fourteen_days_beyond_the_participants_own_today() -> None:
    study = trial.make_study()
    late = MIDNIGHT + timedelta(hours=20)  # in Tokyo it is tomorrow already
    trial.enrol(study, "B", "Europe/Brussels", late - DAY)
    trial.enrol(study, "T", "Asia/Tokyo", late - DAY)
    planned = plan_prompts(late)
    last = {code: study_on for code, study_on, _, _ in rows()}
    assert last == {"B": date(2026, 6, 29), "T": date(2026, 6, 30)}
    assert planned.participants == 2
    assert planned.prompts == len(rows()) == 2 * 16 * 4
    plan_prompts(late - DAY)  # a clock set back: nothing is taken back
    assert len(rows()) == 2 * 16 * 4


def test_times_are_those_of_the_pure_draw() -> None:
    someone = trial.enrol(trial.make_study(), "S1", "America/New_York", NOON - 2 * DAY)
    plan_prompts(NOON)
    for number in range(17):
        study_on = someone.enrolled_on + number * DAY
        stored = rows(study_on=study_on)
        assert tuple(due_at for *_, due_at in stored) == pure_draws(someone, study_on)
        assert [ordinal for _, _, ordinal, _ in stored] == [1, 2, 3, 4]


def test_a_prompt_says_where_it_came_from() -> None:
    someone = trial.enrol(trial.make_study(), "S1", "Asia/Calcutta", NOON)
    plan_prompts(NOON)
    prompt = Prompt.objects.order_by("due_at").last()
    assert prompt is not None
    assert prompt.participant == someone
    assert (prompt.zone, prompt.tzdata) == ("Asia/Calcutta", TZDATA_VERSION)
    assert prompt.study_day == 15
    assert prompt.planned_at == NOON
    assert prompt.questionnaire == prompt.phase.questionnaire
    assert prompt.expires_at == prompt.due_at + timedelta(minutes=30)
    assert not prompt.gap_relaxed


def test_a_participants_prompts_lie_together_whenever_they_were_planned() -> None:
    study = trial.make_study()
    for code in "AB":
        trial.enrol(study, code, "Europe/Brussels", NOON - DAY)
    plan_prompts(NOON)
    plan_prompts(NOON + DAY)
    ids = {code: [str(key) for key in prompts_of(code)] for code in "AB"}
    assert {code: len({key[:8] for key in keys}) for code, keys in ids.items()} == {"A": 1, "B": 1}
    assert ids["A"][0][:8] != ids["B"][0][:8]
    assert len({key[9:] for keys in ids.values() for key in keys}) == Prompt.objects.count()


def test_planning_twice_adds_nothing() -> None:
    study = trial.make_study()
    trial.enrol(study, "S1", "Europe/Brussels", NOON)
    plan_prompts(NOON)
    before = list(Prompt.objects.order_by("pk").values())
    assert plan_prompts(NOON) == Planned(participants=0, prompts=0, withdrawn=0, refused={})
    assert list(Prompt.objects.order_by("pk").values()) == before


def test_the_next_day_is_planned_when_it_comes_into_sight() -> None:
    trial.enrol(trial.make_study(), "S1", "UTC", MIDNIGHT)
    plan_prompts(NOON)
    assert plan_prompts(NOON + DAY).prompts == 4


def test_a_last_day_without_windows_does_no_harm() -> None:
    trial.enrol(trial.make_study(windows=WEEKDAYS), "S1", "UTC", MIDNIGHT)
    friday = NOON + 4 * DAY
    assert plan_prompts(friday + DAY).prompts == 15 * 4  # up to Saturday two weeks later
    assert plan_prompts(friday + DAY).prompts == 0


def test_the_arm_plays_no_role() -> None:
    study = trial.make_study()
    people = [trial.enrol(study, code, "UTC", MIDNIGHT) for code in ("S1", "S2", "S3")]
    trial.allocate(people[0], "placebo")
    trial.allocate(people[1], "clonidine")
    plan_prompts(NOON)
    for someone in people:
        first = rows(participant=someone, study_on=someone.enrolled_on)
        assert tuple(due_at for *_, due_at in first) == pure_draws(someone, someone.enrolled_on)


def test_enrolling_in_the_middle_of_a_day_thins_it_and_draws_nothing_anew() -> None:
    noon_there = MIDNIGHT + timedelta(hours=15)
    someone = trial.enrol(trial.make_study(), "S1", "UTC", noon_there)
    plan_prompts(noon_there)
    today = Prompt.objects.filter(study_on=someone.enrolled_on).order_by("due_at")
    assert tuple(prompt.due_at for prompt in today) == pure_draws(someone, someone.enrolled_on)
    for prompt in today:
        was_before = prompt.due_at < noon_there
        assert (prompt.cancel_reason == "before_enrolment") is was_before
        assert prompt.cancelled_at == (noon_there if was_before else None)
    assert not Prompt.objects.exclude(study_on=someone.enrolled_on).exclude(cancelled_at=None)


def test_a_withdrawn_participant_keeps_no_coming_prompts() -> None:
    study = trial.make_study()
    someone = trial.enrol(study, "S1", "UTC", MIDNIGHT - DAY)
    trial.enrol(study, "S2", "UTC", MIDNIGHT - DAY)
    plan_prompts(NOON - DAY)
    withdrawal.withdraw(participant=someone, reason="moved", now=NOON, actor=audit.COMMAND)
    coming = Prompt.objects.filter(participant=someone, due_at__gt=NOON).count()
    planned = plan_prompts(NOON + timedelta(minutes=1))
    assert planned.withdrawn == 0  # cancelled at once, when they withdrew
    assert coming > 50
    assert Prompt.objects.filter(cancel_reason="withdrawn").count() == coming
    assert not Prompt.objects.filter(cancel_reason="withdrawn", due_at__lte=NOON)
    assert not Prompt.objects.filter(cancel_reason="withdrawn", participant__code="S2")
    again = plan_prompts(NOON + 2 * DAY)
    assert again.withdrawn == 0
    assert again.prompts == 2 * 4  # only the other one goes on
    assert plan_prompts(NOON + 2 * DAY).prompts == 0


def test_days_missed_by_a_planner_that_was_down_are_made_up_and_never_sent() -> None:
    study = trial.make_study()
    someone = trial.enrol(study, "S1", "UTC", MIDNIGHT - DAY)
    trial.redeem(someone)
    plan_prompts(NOON)
    sent: list[Any] = []
    dispatch_due(NOON, send=sent.append, clock=lambda: NOON)
    past = [
        due_at
        for study_on in (someone.enrolled_on, someone.enrolled_on + DAY)
        for due_at in pure_draws(someone, study_on)
        if due_at + timedelta(minutes=30) <= NOON
    ]
    assert len(past) >= 4
    assert all(message.expires_at > NOON for message in sent)
    counted = ledger(study, NOON)
    assert counted.not_delivered == {"system": len(past)}
    assert counted.planned == 16 * 4
    assert counted.balances


def test_phases_follow_one_another_and_imported_ones_take_their_days() -> None:
    study = trial.make_study(phase_days=3)
    first = Phase.objects.get(study=study)
    version = first.questionnaire
    Phase.objects.create(
        study=study, key="past", position=2, days=2, questionnaire=version, design="imported"
    )
    Phase.objects.create(
        study=study, key="after", position=3, days=2, questionnaire=version, prompts_per_day=2
    )
    trial.enrol(study, "S1", "UTC", MIDNIGHT)
    plan_prompts(NOON)
    days = Prompt.objects.order_by("due_at").values_list("phase__key", "study_day")
    assert list(dict.fromkeys(days)) == [
        ("treatment", 1),
        ("treatment", 2),
        ("treatment", 3),
        ("after", 6),
        ("after", 7),
    ]
    assert plan_prompts(NOON + 30 * DAY).prompts == 0


@pytest.mark.parametrize("state", [{"started_at": None}, {"locked_at": MIDNIGHT}])
def test_a_study_that_does_not_run_is_left_alone(state: dict[str, Any]) -> None:
    study = trial.make_study()
    trial.enrol(study, "S1", "UTC", MIDNIGHT)
    Study.objects.filter(pk=study.pk).update(**state)
    assert plan_prompts(NOON).prompts == 0


def test_a_fixed_design_asks_at_its_local_times() -> None:
    study = trial.make_study(design="fixed", fixed_times=["09:00", "21:00"])
    trial.enrol(study, "S1", "Europe/Brussels", MIDNIGHT)
    plan_prompts(NOON)
    local = {due_at.astimezone(ZoneInfo("Europe/Brussels")).hour for *_, due_at in rows()}
    assert local == {9, 21}


def test_everybody_is_asked_by_their_own_clock_and_not_by_the_servers(
    settings: Any,
) -> None:
    settings.TIME_ZONE = "America/Los_Angeles"  # the process's TZ with it
    assert time.tzname[0] == "PST"
    study = trial.make_study(design="fixed", fixed_times=["09:00"])
    zones = ["Pacific/Auckland", "Asia/Kolkata", "Europe/Brussels", "America/Sao_Paulo", "UTC"]
    for zone in zones:
        trial.enrol(study, zone.replace("/", "-"), zone, MIDNIGHT)
    plan_prompts(NOON)
    day = Prompt.objects.filter(study_on=MIDNIGHT.date() + 3 * DAY)
    assert {prompt.due_at.astimezone(ZoneInfo(prompt.zone)).hour for prompt in day} == {9}
    assert len({prompt.due_at for prompt in day}) == len(zones)


def test_own_waking_hours_take_the_place_of_the_phases() -> None:
    someone = trial.enrol(trial.make_study(), "S1", "UTC", MIDNIGHT)
    someone.windows = [{"weekdays": [1, 2, 3, 4, 5, 6, 7], "start": "22:00", "end": "06:00"}]
    someone.save()
    plan_prompts(NOON)
    assert {due_at.hour for *_, due_at in rows()} <= {22, 23, 0, 1, 2, 3, 4, 5}


def test_a_day_too_short_for_the_gap_says_so() -> None:
    windows = [{"weekdays": [1, 2, 3, 4, 5, 6, 7], "start": "08:00", "end": "10:00"}]
    trial.enrol(trial.make_study(windows=windows), "S1", "UTC", MIDNIGHT)
    assert plan_prompts(NOON).prompts == 15 * 4
    assert not Prompt.objects.filter(gap_relaxed=False)


def test_short_days_go_to_the_audit_trail_once_for_each_participant_and_run() -> None:
    study = trial.make_study(windows=hours("08:00", "10:00"))
    for code in ("S1-001", "S1-002"):
        trial.enrol(study, code, "UTC", MIDNIGHT)
    plan_prompts(NOON)
    events = relaxed()
    assert [event.subject for event in events] == ["participant S1-001", "participant S1-002"]
    assert {event.site for event in events} == {study.sites.get()}
    written = days_of(events[0])
    assert len(written) == 15
    assert written[0] == {
        "phase": "treatment",
        "study_on": "2026-06-15",
        "minimum_gap_s": 3600,
        "gap_s": 1800,
    }
    plan_prompts(NOON)
    assert len(relaxed()) == 2
    plan_prompts(NOON + DAY)
    assert len(relaxed()) == 4
    assert [day["study_on"] for day in days_of(relaxed()[3])] == ["2026-06-30"]


def test_days_that_keep_their_gap_write_no_events() -> None:
    windows = hours("08:00", "22:00")
    windows[0]["weekdays"] = [1, 2, 3, 4, 5, 6]
    windows += hours("08:00", "11:00")
    windows[1]["weekdays"] = [7]
    study = trial.make_study(windows=windows)
    trial.enrol(study, "S1-001", "UTC", MIDNIGHT)
    plan_prompts(MIDNIGHT)
    [event] = relaxed()
    assert [day["study_on"] for day in days_of(event)] == ["2026-06-21", "2026-06-28"]
    assert {day["gap_s"] for day in days_of(event)} == {2700}
    assert Prompt.objects.filter(gap_relaxed=True).count() == 8


def test_one_event_tells_of_all_phases_however_the_work_is_cut(monkeypatch: Any) -> None:
    monkeypatch.setattr(planning, "CHUNK", 1)
    study = trial.make_study(phase_days=3, windows=hours("08:00", "10:00"))
    trial.add_phase(study, "aftercare", like=study.phases.get())
    trial.enrol(study, "S1-001", "UTC", MIDNIGHT)
    trial.enrol(study, "S1-002", "UTC", MIDNIGHT)
    plan_prompts(NOON)
    events = relaxed()
    assert len(events) == 2
    for event in events:
        phases = [day["phase"] for day in days_of(event)]
        assert phases == ["treatment"] * 3 + ["aftercare"] * 3


def test_a_prompt_keeps_its_inclusion_probability_by_design() -> None:
    study = trial.make_study(windows=hours("22:00", "06:00"))
    zone = "Europe/Brussels"
    enrolled = datetime(2026, 3, 20, tzinfo=UTC)
    trial.enrol(study, "S1", zone, enrolled)
    plan_prompts(enrolled)
    kept = dict(Prompt.objects.values_list("study_on", "inclusion_probability"))
    assert kept[date(2026, 3, 27)] == 4 / (8 * 60)
    assert kept[date(2026, 3, 28)] == 4 / (7 * 60)  # the clocks go forward that night


def test_fixed_times_have_no_inclusion_probability() -> None:
    study = trial.make_study(design="fixed", fixed_times=["09:00"])
    trial.enrol(study, "S1", "UTC", MIDNIGHT)
    plan_prompts(NOON)
    assert set(Prompt.objects.values_list("inclusion_probability", flat=True)) == {None}


def test_one_unplannable_participant_does_not_stop_the_others() -> None:
    study = trial.make_study()
    broken = trial.make_study("broken", windows=[{"weekdays": [1], "start": "8", "end": "x"}])
    trial.enrol(study, "S1", "UTC", MIDNIGHT)
    lost = trial.enrol(study, "S2", "UTC", MIDNIGHT)
    odd = trial.enrol(study, "S3", "UTC", MIDNIGHT)
    trial.enrol(broken, "S1", "UTC", MIDNIGHT)
    Participant.objects.filter(pk=lost.pk).update(zone="Europe/Bruxelles")
    Participant.objects.filter(pk=odd.pk).update(windows=[{"weekdays": [8], "start": "08:00"}])
    planned = plan_prompts(NOON)
    assert planned.participants == 1
    assert planned.prompts == len(rows()) == 15 * 4
    assert planned.refused == {
        "There is no time zone named 'Europe/Bruxelles'; did you mean Europe/Brussels?": 1,
        "study demo, phase treatment, participant S3: The window {'start': '08:00', "
        "'weekdays': [8]} has no 'end': write it like "
        '[{"weekdays": [1, 2, 3, 4, 5, 6, 7], "start": "08:00", "end": "22:00"}].': 1,
        "study broken, phase treatment: '8' is not a local time: write hours and minutes, such "
        "as 08:00.": 1,
    }


def test_what_a_chunk_wrote_stays_when_a_later_one_fails(monkeypatch: Any) -> None:
    monkeypatch.setattr("scheduler.planning.CHUNK", 2)
    study = trial.make_study()
    for number in range(5):
        trial.enrol(study, f"S{number}", "UTC", MIDNIGHT)
    done: list[tuple[int, int]] = []

    def stop_at_four(*counts: int) -> None:
        done.append((counts[0], counts[1]))
        if counts[0] >= 4:
            raise RuntimeError("the server goes down")

    with pytest.raises(RuntimeError):
        plan_prompts(NOON, stop_at_four)
    assert done == [(2, 5), (4, 5)]
    assert len(rows()) == 4 * 15 * 4
    assert plan_prompts(NOON).prompts == 15 * 4


@pytest.mark.django_db(transaction=True)
def test_two_planners_at_once_do_no_harm() -> None:
    study = trial.make_study()
    for number in range(40):
        trial.enrol(study, f"S{number}", "Europe/Brussels", MIDNIGHT)
    together, planned = threading.Barrier(3), list[Planned]()

    def plan() -> None:
        together.wait()
        planned.append(plan_prompts(NOON))
        connection.close()

    threads = [threading.Thread(target=plan) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(planned) == 3
    assert sum(each.prompts for each in planned) == len(rows()) == 40 * 15 * 4


def test_the_periodic_task_plans_by_the_clock() -> None:
    trial.enrol(trial.make_study(), "S1", "UTC", timezone.now() - DAY)
    plan_prompts_task()
    assert len(rows()) >= 15 * 4


# --- protocols, before anything is planned ----------------------------------------------


def problems(**fields: Any) -> list[str]:
    return validate_protocol(Phase.objects.get(study=trial.make_study(**fields)), timezone.now())


def test_a_protocol_that_works_has_no_problems() -> None:
    assert problems() == []


def test_a_gap_that_does_not_fit_is_refused_in_words() -> None:
    (problem,) = problems(prompts_per_day=15)
    assert problem.startswith("15 prompts at least 1 h apart need 15 h, but the windows last only")


def test_the_shortest_night_of_the_year_counts() -> None:
    night = [{"weekdays": [7], "start": "00:00", "end": "04:00"}]
    (problem,) = problems(windows=night)  # the site is in Brussels, whose clocks change on Sundays
    assert problem.startswith(
        "4 prompts at least 1 h apart need 4 h, but the windows last only 3 h"
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"windows": []}, "at least one window"),
        ({"windows": "all day"}, "Windows are written like"),
        ({"windows": [{"weekdays": [0], "start": "08:00", "end": "22:00"}]}, "1 (Monday) to 7"),
        ({"windows": [{"weekdays": [], "start": "08:00", "end": "22:00"}]}, "one weekday"),
        ({"design": "fixed"}, "at least 1 prompt"),
        ({"fixed_times": ["09:00"]}, "choose the fixed design"),
        ({"design": "fixed", "fixed_times": ["25:00"]}, "not a local time"),
    ],
)
def test_a_wrong_protocol_is_refused_in_words(fields: dict[str, Any], words: str) -> None:
    (problem,) = problems(**fields)
    assert words in problem


def test_an_imported_phase_has_nothing_to_check() -> None:
    assert problems(design="imported", windows=[]) == []


def test_a_stored_protocol_is_the_pure_one() -> None:
    phase = Phase.objects.get(study=trial.make_study())
    assert protocol_of(phase) == Protocol()
