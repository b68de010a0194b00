"""What the estimate keeps answers a comparison's questions as the responses themselves do."""

from datetime import timedelta

import numpy as np
import pytest
from django.db import connection
from django.utils import timezone

from analytics.comparison import compare
from analytics.coupling import estimate_couplings
from analytics.exclusions import excluded_responses
from analytics.models import LeftOut, Moments
from analytics.plan import STANDARD, Plan
from analytics.plan_sums import Sources, ranges_of
from analytics.residuals import RowSums
from analytics.usable import Kept, Usable
from ema.models import Study
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
BASELINE = Plan(phases=("baseline",))


def messy_study(decimals: int = 0) -> Study:
    """Everything a response can be left out for, gaps between prompts, two phases."""
    study = make_study(decimals=decimals)
    for number, arm in enumerate(("placebo", "clonidine", "placebo", "clonidine", None)):
        participant = add_participant(study, f"P{number}", arm)
        scale = 10**decimals
        pairs = pairs_drawn(0.5, 40, seed=number)
        for place, (stress, craving) in enumerate(pairs):
            phase = "baseline" if place < 17 else "treatment"
            prompt = add_prompt(participant, place, phase)
            if place % 7 == number:
                continue
            later = timedelta(hours=2) if place % 11 == 3 else timedelta(minutes=2)
            x = None if place % 13 == 5 else stress * scale
            y = None if place % 9 == 4 else (0 if place % 4 == 1 else craving * scale)
            respond(prompt, x, y, after=later)
            if place % 10 == 6:
                respond(prompt, 1, 1, flags=["duplicate_prompt"])
            if place % 15 == 8:
                respond(prompt, 1, 1, trigger="self_initiated")
            if place % 16 == 9:
                respond(prompt, 1, 1, flags=["after_withdrawal"])
    last = add_prompt(participant, 44)
    respond(last, 20_000_000, 3)
    return study


def by_cell(sums: RowSums) -> dict[tuple[str, int], list[object]]:
    return {
        (code, int(place)): [
            int(sums.n[at]),
            int(sums.n_next[at]),
            sums.totals[:, at].tolist(),
            sums.products[:, :, at].tolist(),
            sums.crossed[:, :, at].tolist(),
        ]
        for at, (code, place) in enumerate(zip(sums.participant, sums.place, strict=True))
    }


@pytest.mark.parametrize("decimals", [0, 1])
@pytest.mark.parametrize("plan", [STANDARD, BASELINE])
def test_rows_that_are_kept_say_what_the_responses_say(plan: Plan, decimals: int) -> None:
    study = messy_study(decimals)
    estimate_couplings(timezone.now())
    sources = Sources(study, plan)
    kept, asked = Kept(study, sources), Usable(sources)
    assert kept.counted.by_reason == asked.counted.by_reason
    assert {"self_initiated", "late", "missing_stress", "too_large"} <= set(kept.counted.by_reason)
    assert +kept.counted.at_floor == +asked.counted.at_floor
    assert +kept.counted.at_ceiling == +asked.counted.at_ceiling
    starts = [low for low, _ in ranges_of(sources)]
    for each in (starts, []):
        assert kept.rows.fits
        ours, theirs = kept.row_sums(each), asked.row_sums(each)
        assert ours.functions == theirs.functions
        assert by_cell(ours) == by_cell(theirs)
    for people in (None, {"P1", "P3"}):
        few, many = kept.counts(people), asked.counts(people)
        assert few.participants == many.participants
        for name in ("person", "stress", "n", "any"):
            np.testing.assert_array_equal(getattr(few, name), getattr(many, name))


def test_a_standard_comparison_asks_no_response() -> None:
    study = make_trial()
    estimate_couplings(timezone.now())
    seen: list[str] = []

    def listen(execute, sql, params, many, context):  # type: ignore[no-untyped-def]
        seen.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(listen):
        compare(study, companion=True)
    scans = [sql for sql in seen if "ema_response" in sql and "received_at" not in sql]
    assert all("participant_id = ANY" in sql for sql in scans)
    assert [sql for sql in seen if "analytics_leftout" in sql]


def test_large_numbers_are_summed_by_the_database() -> None:
    study = make_study(decimals=4)
    for number in range(4):
        participant = add_participant(study, f"P{number}", ("placebo", "clonidine")[number % 2])
        pairs = pairs_drawn(0.5, 12, seed=number)
        answer(participant, [(x * 10_000, y * 10_000) for x, y in pairs])
    estimate_couplings(timezone.now())
    sources = Sources(study, STANDARD)
    kept = Kept(study, sources)
    assert not kept.rows.fits
    assert by_cell(kept.row_sums([])) == by_cell(Usable(sources).row_sums([]))


def test_answers_that_came_since_the_estimate_are_not_yet_estimated() -> None:
    study = make_trial()
    estimate_couplings(timezone.now())
    participant = study.participants.get(code="P03")
    respond(add_prompt(participant, 20), 1, 2)
    respond(add_prompt(participant, 21), None, 2)
    report = compare(study)
    assert report["n_excluded"] == {"not_yet_estimated": 2}
    estimate_couplings(timezone.now())
    assert compare(study)["n_excluded"] == {"missing_stress": 1}


def test_what_is_no_longer_left_out_is_forgotten() -> None:
    study = make_study()
    participant = add_participant(study, "P1")
    late = respond(add_prompt(participant, 0), 1, 2, after=timedelta(hours=2))
    estimate_couplings(timezone.now())
    assert list(LeftOut.objects.values_list("reason", "n")) == [("late", 1)]
    late.completed_at_corrected -= timedelta(hours=1, minutes=50)
    late.save()
    estimate_couplings(timezone.now())
    assert not LeftOut.objects.exists()
    row = Moments.objects.get()
    assert (row.stress, row.craving, row.follows) == (b"\0\0\0\1", b"\0\0\0\2", b"\0")


def test_before_the_first_estimate_answers_wait_and_nothing_is_kept() -> None:
    study = make_study()
    participant = add_participant(study, "P1", "placebo")
    answer(participant, pairs_drawn(0.5, 4, seed=1))
    told = excluded_responses(study, by_arm=False, summed=0)
    assert told == {"not_yet_estimated": 4}
