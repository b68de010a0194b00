"""The demo keeps to machines that are its own, and to names of its own."""

import threading
import time
from datetime import timedelta

import numpy as np
import pytest
from django.db import connection
from django.utils import timezone

from analytics import simulation
from analytics.demo import adverse_events, steps
from analytics.demo import study as demo_study
from analytics.demo.phones import answers_of
from analytics.demo.steps import DemoFailed
from analytics.demo.study import Cast, Wanted
from analytics.management.commands.demo import refuse_other_studies
from analytics.study_names import numbered, one_at_a_time
from ema.adverse_events import SAID
from ema.models import AdverseEvent
from ema.questionnaires import default
from ema.questionnaires.answers import contradictions
from tests import trial


@pytest.mark.django_db
def test_a_demo_is_not_run_beside_a_study_of_somebodys_own() -> None:
    for slug in ("demo", "demo-2"):
        trial.make_study(slug)
    refuse_other_studies()
    assert demo_study.free_slug() == "demo-3"
    trial.make_study("relief")
    with pytest.raises(DemoFailed, match=r"no demo made \(relief\).*FOURBEAT_STATE_DIR"):
        refuse_other_studies()


def test_names_are_numbered_from_2() -> None:
    assert numbered("ema", set()) == "ema"
    assert numbered("ema", {"ema", "ema-3"}) == "ema-2"


@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_the_second_waits_for_its_name() -> None:
    order: list[str] = []

    def second() -> None:
        try:
            with one_at_a_time():
                order.append("second")
        finally:
            connection.close()

    other = threading.Thread(target=second)
    with one_at_a_time():
        other.start()
        time.sleep(0.5)
        order.append("first")
    other.join(10)
    assert order == ["first", "second"]


@pytest.mark.django_db
def test_the_demo_has_a_few_adverse_events_whatever_the_arm() -> None:
    wanted, now = Wanted(participants=40), timezone.now()
    began = now - timedelta(days=80)
    told = []
    for slug in ("demo", "demo-2"):
        study = trial.make_study(slug)
        people = [trial.enrol(study, f"D-{n:03}", "Asia/Tokyo", began) for n in range(40)]
        traits = simulation.draw_people(wanted.rng(1), [False] * 40, wanted.effect)
        for number, person in enumerate(people if slug == "demo-2" else ()):
            trial.allocate(person, ("placebo", "clonidine")[number % 2])
        reported = adverse_events.report_events(wanted, Cast(tuple(people), traits), now)
        found = AdverseEvent.objects.filter(participant__study=study).order_by("pk")
        told.append(list(found.values_list("participant__code", "started_on", *SAID)))
        assert reported == len(told[-1])
    assert told[0] == told[1]
    assert 4 <= len(told[0]) <= 28
    assert len({term for _, _, term, *_ in told[0]}) > 2


def test_only_an_arm_of_some_people_can_be_off() -> None:
    truth = steps.Truth(drawn=0.45, expected=0.33, standard_error=0.001)
    near, far = (steps.Line("placebo", truth, value, 0.05, people=8) for value in (0.5, 0.6))
    assert (near.is_off, far.is_off) == (False, True)
    assert not far._replace(people=7).is_off


def test_the_demo_answers_what_its_questionnaire_asks() -> None:
    content = default.document()
    content["items"] = [{"required": True, **item} for item in content["items"]]
    rng = np.random.default_rng(7)
    people = simulation.draw_people(rng, [True], simulation.PUBLISHED)
    days, hours = np.arange(1, 201), np.full(200, 12.0)
    ratings = simulation.draw_ratings(rng, people, days, hours)
    follow_ups = 0
    for t in range(200):
        values = answers_of(ratings, t, rng)
        sent = [{"item": key, "value": value} for key, value in values.items()]
        assert contradictions(content, sent) == []
        follow_ups += "event_about" in values
        assert ("event_about" in values) is values["stressful_event"]
    assert 0 < follow_ups < 200
