"""Adverse events by arm: counts, and differences of risk as published."""

import io
import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from analytics.coupling import estimate_couplings
from analytics.freezing import freeze
from analytics.risk_difference import risk_difference, wilson
from analytics.safety import safety
from analytics.safety_wording import safety_table
from analytics.whole_comparison import compare_whole
from ema import adverse_events
from ema.audit import COMMAND
from ema.models import Participant, Study
from tests.analytics.answers import START, add_participant, make_study, make_trial
from tests.analytics.urine import allocate_on
from tests.ema.test_admin import page, sign_in

# Newcombe's method 10 of the intervals of R 4.2.2, prop.test(x, n, correct = FALSE).
OF_R = [
    ((56, 70, 48, 80), (0.0524314724, 0.3338726540)),
    ((9, 10, 3, 10), (0.1705227239, 0.8090179735)),
    ((5, 56, 0, 29), (-0.0381371479, 0.1925600139)),
    ((0, 10, 0, 20), (-0.1611251581, 0.2775327999)),
    ((10, 10, 0, 20), (0.6790860371, 1.0)),
    ((12, 61, 7, 57), (-0.0620852752, 0.2057897545)),
    ((1, 57, 1, 61), (-0.0711024279, 0.0777125311)),
]


@pytest.mark.parametrize(("counts", "limits"), OF_R)
def test_differences_of_risk_are_newcombes(
    counts: tuple[int, int, int, int], limits: tuple[float, float]
) -> None:
    found = risk_difference(*counts)
    assert found.estimate == pytest.approx(counts[0] / counts[1] - counts[2] / counts[3])
    assert found.interval == pytest.approx(limits, abs=1e-9)


def test_the_other_way_round_is_the_mirror_image() -> None:
    there, back = risk_difference(5, 56, 1, 29), risk_difference(1, 29, 5, 56)
    assert there.estimate == -back.estimate
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]))


@pytest.mark.parametrize(("events", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_what_is_no_proportion_is_refused(events: int, n: int) -> None:
    with pytest.raises(ValueError, match="is no proportion"):
        wilson(events, n)


def happened(person: Participant, term: str = "headache", **said: Any) -> None:
    adverse_events.report(
        participant=person,
        key=uuid.uuid4(),
        said={
            "term": term,
            "severity": "mild",
            "relatedness": "unlikely",
            "started_on": START.date(),
            "outcome": "unknown",
            "action_taken": "none",
        }
        | said,
        now=timezone.now(),
        actor=COMMAND,
    )


@pytest.fixture
def study() -> Study:
    """Four under placebo, four under clonidine, allocated on START."""
    study = make_study()
    for number in range(8):
        add_participant(study, f"P{number}", "clonidine" if number % 2 else "placebo")
    allocate_on(study)
    return study


@pytest.mark.django_db
def test_participants_and_events_are_counted_by_arm(study: Study) -> None:
    people = {person.code: person for person in study.participants.all()}
    happened(people["P1"], "Headache")
    happened(people["P1"], "headache ", severity="severe", relatedness="possible")
    happened(people["P3"], "fall", is_serious=True)
    happened(people["P0"], "headache")
    happened(people["P0"], "too early", started_on=START.date() - timedelta(days=1))
    told = safety(study)
    placebo, clonidine = told["arms"]
    assert (placebo["arm"], placebo["n_participants"], placebo["n_events"]) == ("placebo", 4, 1)
    assert clonidine["with_event"] == {
        "any": 2,
        "serious": 1,
        "severe or worse": 1,
        "possibly related or more": 1,
    }
    assert clonidine["events"]["any"] == clonidine["n_events"] == 3
    assert clonidine["by_severity"]["mild"] == 2
    assert clonidine["by_relatedness"] | {} == {
        "unrelated": 0,
        "unlikely": 2,
        "possible": 1,
        "probable": 0,
        "definite": 0,
    }
    assert told["n_before"] == 1
    assert [row["term"] for row in told["terms"]] == ["headache", "fall"]
    assert told["terms"][0]["arms"][1] == {"arm": "clonidine", "with_event": 1, "n_events": 2}
    (contrast,) = told["contrasts"]
    differences = contrast["risk_differences"]
    assert differences["any"]["estimate"] == pytest.approx(0.25)
    assert differences["any"]["interval"] == list(risk_difference(2, 4, 1, 4).interval)
    json.dumps(told, allow_nan=False)
    assert "1 events started before that day" in safety_table(told)


@pytest.mark.django_db
def test_struck_events_and_empty_arms_are_left_out(study: Study) -> None:
    person = study.participants.get(code="P1")
    happened(person)
    event = person.adverse_events.get()
    adverse_events.strike(event=event, reason="twin", now=timezone.now(), actor=COMMAND)
    told = safety(study)
    assert not any(arm["n_events"] for arm in told["arms"])
    assert "No adverse event is recorded." in safety_table(told)
    study.allocations.filter(arm__key="clonidine").update(participant=None, allocated_at=None)
    told = safety(study)
    assert told["contrasts"][0]["risk_differences"]["any"] is None
    assert "an arm is empty" in safety_table(told)
    study.allocations.update(participant=None, allocated_at=None)
    assert "is allocated to an arm yet" in safety(study)["impossible"]


@pytest.mark.django_db
def test_a_study_of_one_arm_is_one_group() -> None:
    study = make_study(arms=("clonidine",))
    add_participant(study, "P1", "clonidine")
    happened(study.participants.get(), started_on=START.date() + timedelta(days=9))
    told = safety(study)
    assert [arm["arm"] for arm in told["arms"]] == [None]
    assert told["contrasts"] == []
    assert told["arms"][0]["n_events"] == 1
    assert "on the day of enrolment or later" in told["definition"]


@pytest.mark.django_db
def test_a_comparison_holds_the_safety_and_freezes_it() -> None:
    study = make_trial(masking="open", n=6, prompts=20)
    estimate_couplings(timezone.now())
    happened(study.participants.order_by("code")[0], started_on=timezone.now().date())
    now = timezone.now()
    report = compare_whole(study, now)
    assert report["safety"] == safety(study)
    out = io.StringIO()
    call_command("compare", study.slug, "--table", stdout=out, stderr=io.StringIO())
    assert f"\nAdverse events\n{safety_table(report['safety'])}\n" in out.getvalue()
    kept = freeze(study, COMMAND, now)
    assert kept.report["safety"]["arms"] == report["safety"]["arms"]
    stat = sign_in("stan", study, "statistician")
    for path in ("outcomes/", "comparison/", f"comparison/frozen/{kept.pk}/"):
        assert "Differences of risk" in page(stat.get(f"/studies/{study.slug}/{path}")), path
    answer = stat.get(f"/api/v1/studies/{study.slug}/safety")
    assert answer.json() == json.loads(json.dumps(safety(study)))


@pytest.mark.django_db
def test_the_command_says_the_same(study: Study) -> None:
    happened(study.participants.get(code="P1"))
    out = io.StringIO()
    call_command("safety", study.slug, "--json", stdout=out)
    assert json.loads(out.getvalue()) == json.loads(json.dumps(safety(study)))
    out = io.StringIO()
    call_command("safety", study.slug, stdout=out)
    assert "1 of 4 (25.0 %); 1" in out.getvalue()
