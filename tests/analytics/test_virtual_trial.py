"""Virtual trials: sums without rows, the same people under any effect, seeds that stand alone."""

import numpy as np
import pytest

from analytics.moments import Moments
from analytics.simulation import Effect, Shape
from analytics.virtual_trial import (
    Protocol,
    Stretch,
    VirtualTrial,
    compliance_logit,
    trials,
)

SMALL = Protocol((5, 6, 4), (Stretch(7, 3), Stretch(5, 6, (10.0, 20.0), 0.5)))
NONE = Effect(0.0)


def test_the_sums_are_those_of_the_answered_rows() -> None:
    trial = VirtualTrial(SMALL, (1, 2))
    who, when = np.nonzero(trial.course.answered)
    craving = trial.craving(Effect(0.3, -4.0))
    rows = Moments.from_rows(who.tolist(), trial.stress[who, when], craving[who, when])
    summed = trial.moments(Effect(0.3, -4.0))
    present = [summed.participants[i] for i in np.flatnonzero(summed.n)]
    same = summed.select(present)
    assert same.participants == rows.participants
    for name in ("n", "sum_x", "sum_y", "sum_xx", "sum_xy", "sum_yy"):
        assert np.array_equal(getattr(same, name), getattr(rows, name))


def test_the_counts_are_those_of_the_answered_rows() -> None:
    trial = VirtualTrial(SMALL, (1, 3))
    counts = trial.counts(NONE)
    answered = trial.course.answered
    assert counts.n.sum() == answered.sum()
    assert counts.any.sum() == ((trial.craving(NONE) > 0) & answered).sum()


def test_everybody_has_the_prompts_of_every_stretch() -> None:
    trial = VirtualTrial(SMALL, (1, 2))
    assert trial.stress.shape == (15, 7 * 3 + 5 * 6)
    assert (SMALL.people, SMALL.prompts, SMALL.days) == (15, 51, 12)
    assert SMALL.arms == ("control", "treated 1", "treated 2")
    assert list(SMALL.arm_of.values()).count("treated 1") == 6


def test_an_effect_changes_the_treated_alone() -> None:
    trial = VirtualTrial(SMALL, (4,))
    plain, changed = trial.craving(NONE), trial.craving(Effect(0.9, -10.0))
    assert np.array_equal(plain[:5], changed[:5])
    assert changed[5:].mean() < plain[5:].mean()


def test_a_dose_is_a_share_of_the_effect() -> None:
    half = Protocol((3, 3), SMALL.stretches, doses=(0.0, 0.5))
    whole = Protocol((3, 3), SMALL.stretches)
    one, other = VirtualTrial(half, (5,)), VirtualTrial(whole, (5,))
    assert np.array_equal(one.craving(Effect(0.6, -8.0)), other.craving(Effect(0.3, -4.0)))


def test_arms_may_differ_in_how_much_slopes_vary() -> None:
    exact = Shape(bounded=False)
    shapes = (exact, exact._replace(slope_sd=2 * exact.slope_sd))
    people = VirtualTrial(Protocol((400, 400), (Stretch(1, 1),), shapes=shapes), (6,)).people
    assert people.slope[400:].std() / people.slope[:400].std() == pytest.approx(2, rel=0.15)


def test_a_trial_is_the_same_whichever_others_are_beside_it() -> None:
    few, many = list(trials(SMALL, 9, range(2, 3))), list(trials(SMALL, 9, range(4)))
    assert np.array_equal(few[0].stress, many[2].stress)
    assert not np.array_equal(many[1].stress, many[2].stress)


@pytest.mark.parametrize("share", [0.1, 0.77, 0.97])
def test_compliance_is_what_was_asked_for(share: float) -> None:
    stretches = (Stretch(60, 4),)
    shape = Shape(compliance_logit=compliance_logit(share, stretches), dropped_out_by_day_98=0.0)
    trial = VirtualTrial(Protocol((1499, 1), stretches, shapes=(shape,)), (7,))
    assert trial.course.answered.mean() == pytest.approx(share, abs=0.015)


def test_the_usual_compliance_is_that_of_77_percent() -> None:
    assert compliance_logit(0.77, (Stretch(98, 4),)) == pytest.approx(1.65, abs=0.1)
