"""Couple: responses become moments and couplings, blind and idempotent."""

import threading
from collections import Counter
from datetime import timedelta
from io import StringIO

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from analytics.coupling import estimate_couplings
from analytics.models import Coupling, LeftOut, Moments
from analytics.moments import Moments as Sums
from analytics.personal import personal_couplings
from analytics.tasks import estimate_couplings as task
from ema.models import Response, Study
from tests.analytics.answers import (
    add_participant,
    add_prompt,
    answer,
    make_study,
    make_trial,
    pairs_drawn,
    respond,
)

pytestmark = pytest.mark.django_db
FIELDS = [
    "n",
    "sum_stress",
    "sum_craving",
    "sum_stress_stress",
    "sum_stress_craving",
    "sum_craving_craving",
]


def stored(study: Study) -> list[tuple[object, ...]]:
    rows = Coupling.objects.filter(participant__study=study).order_by("participant__code")
    return list(
        rows.values_list(
            "participant__code", "n_pairs", "slope", "standard_error", "shrunken_slope"
        )
    )


def test_moments_equal_the_sums_of_python_bit_for_bit() -> None:
    study = make_trial()
    estimate_couplings(timezone.now())
    sums: Counter[tuple[int, str]] = Counter()
    for r in Response.objects.filter(participant__study=study):
        assert r.stress is not None
        assert r.craving is not None
        products = (1, r.stress, r.craving, r.stress**2, r.stress * r.craving, r.craving**2)
        for field, value in zip(FIELDS, products, strict=True):
            sums[r.participant_id, field] += value
    for row in Moments.objects.all():
        assert [getattr(row, f) for f in FIELDS] == [sums[row.participant_id, f] for f in FIELDS]
    assert Moments.objects.count() == 12


def test_a_coupling_is_the_slope_in_the_items_own_units() -> None:
    study = make_study(decimals=1)
    pairs = [(100, 50), (304, 210), (500, 260), (620, 400)]
    answer(add_participant(study, "P1"), pairs)
    estimate_couplings(timezone.now())
    x, y = np.array(pairs).T / 10
    (own,) = personal_couplings(Sums.from_rows(["P1"] * 4, x, y))
    found = Coupling.objects.get()
    assert found.slope == pytest.approx(np.polyfit(x, y, 1)[0], rel=1e-12)
    assert found.standard_error == pytest.approx(own.standard_error, rel=1e-12)
    assert (found.interval_low, found.interval_high) == pytest.approx(own.interval, rel=1e-12)
    assert found.not_estimable == ""


def test_phases_are_summed_apart_and_coupled_together() -> None:
    study = make_study()
    participant = add_participant(study, "P1")
    for number, (stress, craving) in enumerate(pairs_drawn(0.5, 8, seed=1)):
        phase = "baseline" if number < 3 else "treatment"
        respond(add_prompt(participant, number, phase), stress, craving)
    estimate_couplings(timezone.now())
    assert list(Moments.objects.order_by("phase__position").values_list("n", flat=True)) == [3, 5]
    assert Coupling.objects.get().n_pairs == 8


def test_what_is_not_an_analysis_row_is_left_out() -> None:
    study = make_study()
    participant = add_participant(study, "P1")
    prompts = [add_prompt(participant, number) for number in range(7)]
    respond(prompts[0], 10, 20)
    respond(prompts[0], 99, 99, flags=["duplicate_prompt"])
    respond(prompts[1], 99, 99, after=timedelta(minutes=31))
    respond(prompts[2], 99, 99, flags=["clock_skew", "after_withdrawal"])
    respond(prompts[3], None, 99)
    respond(prompts[4], 99, None)
    respond(prompts[5], 99, 99, trigger="self_initiated")
    respond(prompts[6], 11, 21, after=timedelta(minutes=30), flags=["clock_skew"])
    estimate_couplings(timezone.now())
    (row,) = Moments.objects.values_list(*FIELDS)
    assert row == (2, 21, 41, 221, 431, 841)


def test_estimating_twice_gives_the_same() -> None:
    study = make_trial()
    first = estimate_couplings(timezone.now())
    before = stored(study)
    second = estimate_couplings(timezone.now())
    assert (first.studies, first.participants) == (1, 12)
    assert (second.studies, second.participants) == (1, 12)  # within the overlap
    assert stored(study) == before
    assert estimate_couplings(timezone.now() + timedelta(minutes=5)).participants == 12
    assert estimate_couplings(timezone.now() + timedelta(minutes=10)).participants == 0


def test_answers_in_any_order_of_arrival_give_the_same_couplings() -> None:
    straight, shuffled = make_trial("straight"), make_study("shuffled")
    estimate_couplings(timezone.now())
    for i in reversed(range(12)):
        participant = add_participant(shuffled, f"P{i:02}", ("placebo", "clonidine")[i % 2])
        slope = (0.6, 0.3)[i % 2] + 0.02 * (i % 5)
        answer(participant, pairs_drawn(slope, 12, seed=i)[::-1])
        estimate_couplings(timezone.now())
    assert stored(shuffled) == stored(straight)


def test_a_response_committed_late_is_not_missed() -> None:
    study = make_study()
    now = timezone.now()
    early, late = add_participant(study, "P1"), add_participant(study, "P2")
    respond(add_prompt(early, 0), 1, 2, received_at=now - timedelta(seconds=1))
    estimate_couplings(now)
    respond(add_prompt(late, 0), 3, 4, received_at=now - timedelta(seconds=50))
    respond(add_prompt(early, 1), 3, 4, received_at=now - timedelta(seconds=50))
    estimate_couplings(now + timedelta(seconds=20))
    assert set(Coupling.objects.values_list("participant__code", "n_pairs")) == {
        ("P1", 2),
        ("P2", 1),
    }


def test_answers_loaded_with_an_older_arrival_are_found() -> None:
    now = timezone.now()
    estimate_couplings(now)
    loaded = add_participant(make_study(), "P1")
    respond(add_prompt(loaded, 0), 1, 2, received_at=now - timedelta(days=300))
    assert estimate_couplings(now + timedelta(minutes=5)).participants == 1
    assert estimate_couplings(now + timedelta(minutes=10)).participants == 0


def test_what_a_crash_left_is_found_by_the_next_run() -> None:
    make_trial("first", n=2)
    make_trial("second", n=2)
    now = timezone.now()
    with connection.execute_wrapper(break_second_study), pytest.raises(RuntimeError):
        estimate_couplings(now)
    assert Coupling.objects.count() == 2
    estimate_couplings(now + timedelta(minutes=5))
    assert Coupling.objects.count() == 4


def break_second_study(execute, sql, params, many, context):  # type: ignore[no-untyped-def]
    """The power goes off when the second study's couplings are about to be written."""
    if "pg_advisory_xact_lock" in sql and params != [Study.objects.get(slug="first").pk]:
        raise RuntimeError("power off")
    return execute(sql, params, many, context)


def test_a_coupling_that_cannot_be_estimated_says_why() -> None:
    study = make_study()
    add_participant(study, "silent")
    answer(add_participant(study, "few"), [(1, 2), (3, 4)])
    answer(add_participant(study, "flat"), [(5, 2), (5, 4), (5, 6), (5, 1)])
    answer(add_participant(study, "zero"), [(5, 0), (7, 0), (9, 0), (2, 0)])
    late = add_prompt(add_participant(study, "late"), 0)
    respond(late, 1, 2, after=timedelta(hours=2))
    estimate_couplings(timezone.now())
    assert dict(Coupling.objects.values_list("participant__code", "not_estimable")) == {
        "few": "too_few_pairs",
        "flat": "constant_stress",
        "zero": "constant_craving",
        "late": "too_few_pairs",
    }


def test_a_study_too_small_for_a_pooled_model_has_no_shrunken_slopes() -> None:
    study = make_study()
    answer(add_participant(study, "P1"), pairs_drawn(0.5, 12, seed=3))
    estimate_couplings(timezone.now())
    found = Coupling.objects.get()
    assert found.slope is not None
    assert found.shrunken_slope is None
    assert found.reliability is None


def test_a_shrunken_slope_lies_between_the_own_and_the_pooled_slope() -> None:
    make_trial()
    estimate_couplings(timezone.now())
    own, shrunken = np.array(Coupling.objects.values_list("slope", "shrunken_slope")).T
    assert shrunken.std() < own.std()
    assert np.corrcoef(own, shrunken)[0, 1] > 0.9


def test_an_absurd_answer_stops_nobodys_coupling() -> None:
    study = make_study()
    participant = add_participant(study, "P1")
    answer(participant, [(2**31 - 1, 2**31 - 1), (-(2**31), 1), (3, 4)])
    estimate_couplings(timezone.now())
    assert Moments.objects.get().n == 1


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_do_no_harm() -> None:
    study = make_trial(n=20, prompts=8)
    failures: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(3):
                task()
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    together = stored(study)
    Coupling.objects.all().delete()
    Moments.objects.all().delete()
    estimate_couplings(timezone.now())
    assert stored(study) == together


def test_no_statement_of_the_estimate_reads_an_allocation_or_an_arm() -> None:
    make_trial(masking="double_blind")
    seen: list[str] = []

    def listen(execute, sql, params, many, context):  # type: ignore[no-untyped-def]
        seen.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(listen):
        estimate_couplings(timezone.now())
    assert len(seen) > 5
    closed = ("ema_allocation", "ema_arm", "analytics_comparison", "analytics_analysisplan")
    assert not [sql for sql in seen if any(table in sql for table in closed)]


def rebuild(*options: str) -> str:
    out = StringIO()
    call_command("rebuild_moments", "relief", *options, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_moments_kept_response_by_response_equal_a_rebuild() -> None:
    study = make_study()
    someone = add_participant(study, "P1", "placebo")
    for number, (stress, craving) in enumerate(pairs_drawn(0.5, 12, seed=1)):
        respond(add_prompt(someone, number), stress, craving)
        estimate_couplings(timezone.now())
    assert "1 participants compared: every sum is equal." in rebuild("--check")


def test_a_rebuild_tells_what_was_wrong_and_puts_it_right() -> None:
    study = make_trial(n=4)
    estimate_couplings(timezone.now())
    before = stored(study)
    first, second, third = Moments.objects.order_by("participant__code")[:3]
    Moments.objects.filter(pk=first.pk).update(sum_stress=first.sum_stress + 1)
    second.delete()
    Response.objects.filter(participant=third.participant).delete()
    with pytest.raises(CommandError, match="3 sums differ"):
        rebuild("--check")
    said = rebuild()
    assert "P01, phase baseline: no sums are kept" in said
    assert "there are no responses for it" in said
    assert "every sum is equal" in rebuild("--check")
    assert stored(study)[0][:4] == before[0][:4]


def test_a_rebuild_compares_rows_and_what_is_left_out_as_well() -> None:
    study = make_trial(n=4)
    someone = study.participants.get(code="P02")
    respond(add_prompt(someone, 50), 1, 2, after=timedelta(hours=2))
    estimate_couplings(timezone.now())
    assert "every sum is equal" in rebuild("--check")
    row = Moments.objects.get(participant__code="P01")
    Moments.objects.filter(pk=row.pk).update(stress=row.stress[::-1])
    LeftOut.objects.update(n=2)
    someone.left_out.create(reason="self_initiated", n=1, computed_at=timezone.now())
    with pytest.raises(CommandError, match="3 sums differ"):
        rebuild("--check")
    said = rebuild()
    assert "P01, phase baseline: the sums" in said
    assert "P02, late in phase baseline: (2,) is kept, the responses give (1,)" in said
    assert "P02, self_initiated: (1,) is kept, there are no responses for it" in said
    assert "every sum is equal" in rebuild("--check")


def test_what_no_run_has_summed_is_no_difference() -> None:
    study = make_trial(n=4)
    estimate_couplings(timezone.now())
    respond(add_prompt(study.participants.order_by("code")[0], 99), 50, 50)
    assert "3 participants compared: every sum is equal; 1 have responses" in rebuild("--check")
