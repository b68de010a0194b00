"""Arms told by code: the closed role compares A and B, and learns nothing of which is which."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from random import Random

import pytest
from django.db import transaction
from django.test import override_settings
from django.utils import timezone

from analytics.comparison import compare
from analytics.coupling import estimate_couplings
from analytics.freezing import freeze
from analytics.models import AnalysisPlan
from analytics.outcomes import outcomes
from analytics.plan import Plan
from analytics.trial import ComparisonImpossible
from ema import arms, studies
from ema.arm_labels import arms_shown, give_labels, names_shown
from ema.audit import COMMAND
from ema.models import Allocation, Arm, ArmLabel, AuditEvent, Study
from ema.models.questionnaire import canonical
from tests import trial
from tests.analytics.answers import START, add_participant, make_trial
from tests.analytics.test_masking import everything, make_urine_tests, opened, signed_in
from tests.authorisation.world import IN_MEMORY

pytestmark = [pytest.mark.django_db, pytest.mark.long]


@pytest.fixture(autouse=True)
def _accounts_in_memory() -> Iterator[None]:
    with override_settings(**IN_MEMORY):
        yield


def coded_trial() -> Study:
    """Placebo is B: so what is called A is not the reference."""
    study = make_trial(masking="double_blind", n=4, prompts=4)
    Study.objects.filter(pk=study.pk).update(closed_labels="coded", started_at=START)
    study.refresh_from_db()
    for key, label in (("placebo", "B"), ("clonidine", "A")):
        ArmLabel.objects.create(study=study, arm=study.arms.get(key=key), label=label)
    estimate_couplings(timezone.now())
    return study


def test_labels_are_given_when_the_study_starts() -> None:
    study = trial.make_study(has_started=False)
    assert not ArmLabel.objects.exists()
    studies.start(study=study, now=timezone.now(), actor=COMMAND)
    assert sorted(ArmLabel.objects.values_list("label", flat=True)) == ["A", "B"]
    before = dict(ArmLabel.objects.values_list("arm__key", "label"))
    arms.save(arm=Arm(study=study, key="water"), actor=COMMAND)
    assert dict(ArmLabel.objects.values_list("arm__key", "label")) == before | {"water": "C"}


def test_every_order_of_labels_is_drawn() -> None:
    study = trial.make_study(has_started=False, arms=("a", "b", "c"))
    seen = set()
    for seed in range(60):
        ArmLabel.objects.all().delete()
        give_labels(study, Random(seed))
        seen.add(tuple(ArmLabel.objects.order_by("arm__key").values_list("label", flat=True)))
    assert len(seen) == 6


def test_arms_are_named_unless_the_study_asks_for_codes() -> None:
    study = make_trial(masking="double_blind", n=4, prompts=4)
    estimate_couplings(timezone.now())
    assert [one["arm"] for one in compare(study)["arms"]] == ["placebo", "clonidine"]


def test_a_coded_comparison_is_the_named_one_with_a_as_reference() -> None:
    study = coded_trial()
    coded = compare(study)
    assert [one["arm"] for one in coded["arms"]] == ["A", "B"]
    assert coded["contrasts"][0]["reference"] == "A"
    assert any(note.startswith("Arms are told by code") for note in coded["notes"])
    Study.objects.update(closed_labels="named")
    named = compare(Study.objects.get())
    assert not any("by code" in note for note in named["notes"])
    difference = named["contrasts"][0]
    assert (difference["arm"], difference["reference"]) == ("clonidine", "placebo")
    assert coded["contrasts"][0]["difference"] == pytest.approx(-difference["difference"])
    assert coded["contrasts"][0]["p"] == pytest.approx(difference["p"])


def test_outcomes_are_told_by_code_as_well() -> None:
    study = coded_trial()
    make_urine_tests(study)
    report = outcomes(study, timezone.now() + timedelta(weeks=9), None, participants=True)
    assert [one["arm"] for one in report["arms"]] == ["A", "B"]
    treated = Allocation.objects.filter(arm__key="clonidine")
    codes = set(treated.values_list("participant__code", flat=True))
    assert {one["participant"] for one in report["participants"] if one["arm"] == "A"} <= codes


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (Plan(doses={"placebo": 0.0, "clonidine": 1.0}), "this plan gives doses by arm"),
        (
            Plan(design="crossover", reference_treatment="x"),
            "compares treatments of a crossover by name",
        ),
    ],
)
def test_a_plan_that_would_tell_arms_apart_waits_for_the_unmasking(
    plan: Plan, sentence: str
) -> None:
    study = coded_trial()
    for key, order in {"placebo": "xy", "clonidine": "yx"}.items():
        treatments = dict(zip(("baseline", "treatment"), order, strict=True))
        study.arms.filter(key=key).update(treatments=treatments)
    stored = AnalysisPlan.objects.create(
        study=study, key="primary", content=canonical(plan.content()), sha256="0" * 64
    )
    with pytest.raises(ComparisonImpossible, match=sentence):
        compare(study, stored)


def test_once_unmasked_arms_have_their_names() -> None:
    study = coded_trial()
    now = timezone.now()
    Study.objects.update(locked_at=now, unmasked_at=now)
    study.refresh_from_db()
    assert names_shown(study) == {"placebo": "placebo", "clonidine": "clonidine"}
    assert [arm.key for arm in arms_shown(study) if arm.is_reference] == ["placebo"]


def test_the_closed_event_of_an_allocation_has_the_code() -> None:
    study = coded_trial()
    trial.seal(study)
    trial.allocate_from_list(add_participant(study, "L-1"))
    slot = Allocation.objects.get(participant__code="L-1")
    told = AuditEvent.objects.get(action="participant.arm_allocated").after
    assert told == {"slot": 1, "arm": names_shown(study)[slot.arm.key]}


def test_how_arms_are_told_is_settled_at_the_start_and_written_down() -> None:
    study = trial.make_study(has_started=False)
    study.closed_labels = "coded"
    studies.save(study=study, actor=COMMAND)
    event = AuditEvent.objects.get(action="study.changed")
    said = [content and content["closed_labels"] for content in (event.before, event.after)]
    assert said == ["named", "coded"]
    studies.start(study=study, now=timezone.now(), actor=COMMAND)
    study.closed_labels = "named"
    with pytest.raises(studies.NotReady, match="its closed_labels stays as it is"):
        studies.save(study=study, actor=COMMAND)


def swap_names(study: Study) -> None:
    """Without a trace in the trail."""
    one, other = study.arms.order_by("pk")
    with trial.triggers_off():
        for arm, key, is_reference in (
            (one, "kept", False),
            (other, one.key, one.is_reference),
            (one, other.key, other.is_reference),
        ):
            Arm.objects.filter(pk=arm.pk).update(key=key, is_reference=is_reference)


@contextmanager
def a_world(study: Study, *, swapped: bool) -> Iterator[None]:
    """The trial as it is, or with the arms' names swapped while their codes stay."""
    with transaction.atomic():
        if swapped:
            swap_names(study)
        yield
        transaction.set_rollback(True)


COMPARED = ("/studies/relief/comparison/", "/studies/relief/outcomes/")


def frozen_trial(labels: str) -> Study:
    """With a frozen comparison, an allocation list, urine tests: something on every page."""
    study = coded_trial()
    Study.objects.filter(pk=study.pk).update(closed_labels=labels)
    study.refresh_from_db()
    make_urine_tests(study)
    trial.seal(study)
    trial.allocate_from_list(add_participant(study, "L-1"))
    freeze(study, COMMAND, timezone.now())
    return study


def test_by_code_nothing_tells_which_arm_is_which() -> None:
    study = frozen_trial("coded")
    client, worlds = signed_in(study, "statistician"), []
    for swapped in (False, True):
        with a_world(study, swapped=swapped):
            worlds.append(everything(client, study))
    one, other = worlds
    assert [page for page in one.keys() | other.keys() if one.get(page) != other.get(page)] == []
    assert all(one[page][0] == 200 for page in COMPARED)


def test_by_name_the_same_pages_tell_it() -> None:
    """So they could have differed above."""
    study = frozen_trial("named")
    client, worlds = signed_in(study, "statistician"), []
    for swapped in (False, True):
        with a_world(study, swapped=swapped):
            worlds.append([opened(client, page) for page in COMPARED])
    one, other = worlds
    assert all(status == 200 for status, _, _ in one)
    assert all(page != as_swapped for page, as_swapped in zip(one, other, strict=True))
