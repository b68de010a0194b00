"""Many fits at once say what the model says of each, and leave to it what is not regular."""

from dataclasses import replace

import numpy as np
import pytest

from analytics.fixed_effects import arms_of, coupling_design
from analytics.gram import Gram
from analytics.many_contrasts import contrasts
from analytics.many_designs import ManySums, designs
from analytics.many_models import optima, slope_scores
from analytics.mixed_model import Method, MixedModel, fit_design, fit_mixed_model
from analytics.multiplicity import trend, trend_score
from analytics.permutation import scores_of
from analytics.power import Question, simulate
from analytics.simulation import Effect, Shape
from analytics.virtual_trial import Protocol, Stretch, VirtualTrial, moments_of

TWO = Protocol((9, 14), (Stretch(20, 4),))
THREE = Protocol((12, 9, 10), (Stretch(25, 3),), doses=(0.0, 0.4, 1.0))


def sums_of(protocol: Protocol, count: int = 6) -> ManySums:
    effects = [Effect(0.0), Effect(0.5, -5.0)]
    parts = [VirtualTrial(protocol, (3, number)).sums(effects) for number in range(count)]
    return ManySums(*map(np.concatenate, zip(*parts, strict=True)))


def one_by_one(sums: ManySums, protocol: Protocol) -> list[MixedModel]:
    arms = protocol.arms
    return [
        fit_mixed_model(moments_of(sums, place), protocol.arm_of, arms[0], all_arms=arms)
        for place in range(len(sums.n))
    ]


def weights_of(protocol: Protocol) -> np.ndarray:
    score = trend_score(protocol.dose)
    return np.concatenate([np.zeros(2 + len(score)), score[1:]])


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("protocol", [TWO, THREE])
def test_each_contrast_is_that_of_the_model(protocol: Protocol, method: Method) -> None:
    sums = sums_of(protocol)
    design = designs(sums, protocol.arm_index)
    best, settled = optima(design)
    assert design.regular.all()
    assert settled.all()
    doses = dict(zip(protocol.arms, protocol.dose, strict=True))
    found = np.stack([*contrasts(design, best, weights_of(protocol), method)], axis=1)
    for quick, model in zip(found, one_by_one(sums, protocol), strict=True):
        slow = trend(model, doses, method)
        assert quick == pytest.approx([*slow[:3], slow.p], rel=1e-8)


def test_people_without_an_answer_make_no_difference() -> None:
    sums = sums_of(TWO, 2)
    nobody = ManySums(*(np.insert(each, [0, 23], 0.0, axis=1) for each in sums))
    arm = np.concatenate([[0], TWO.arm_index, [1]])
    without, among = (
        contrasts(design, optima(design)[0], weights_of(TWO), Method.CR2)
        for design in (designs(sums, TWO.arm_index), designs(nobody, arm))
    )
    assert np.allclose(without, among, rtol=1e-9)


def test_arms_may_share_one_slope() -> None:
    sums = sums_of(TWO, 2)
    quick = designs(sums, TWO.arm_index, by_arm=False)
    best, settled = optima(quick)
    assert settled.all()
    scores = slope_scores(quick, best)
    for place, slope in enumerate(best.beta[:, 1] * quick.unit):
        gram = Gram.from_moments(moments_of(sums, place), "stress", "craving")
        design = coupling_design(
            gram.centred(), *arms_of(gram.participants, TWO.arm_of, "control", None)
        )
        fixed = {name: term for name, term in design.fixed.items() if ":" not in name}
        model = fit_design(replace(design, fixed=fixed))
        assert slope == pytest.approx(model.fixed_effects()["stress_within"].estimate, rel=1e-8)
        assert scores[place] == pytest.approx(scores_of(model), rel=1e-7, abs=1e-7)


@pytest.fixture
def broken() -> ManySums:
    """Five trials: nobody's stress varies; two in an arm; nobody answered; a line; all is well."""
    sums = ManySums(*(np.repeat(each[:1], 5, axis=0) for each in sums_of(TWO, 1)))
    sums.xx[0], sums.xy[0] = sums.x[0] ** 2 / sums.n[0], sums.x[0] * sums.y[0] / sums.n[0]
    for column in sums:
        column[1, 2:9] = 0.0
        column[2] = 0.0
    sums.y[3], sums.xy[3], sums.yy[3] = sums.x[3], sums.xx[3], sums.xx[3]
    return sums


def test_data_that_do_not_hold_every_term_are_not_decided(broken: ManySums) -> None:
    assert designs(broken, TWO.arm_index).regular.tolist() == [False] * 4 + [True]


def test_a_fit_without_variance_is_not_decided() -> None:
    alike = Shape(slope_sd=1e-6, pain_stress=0.0, bounded=False)
    sums = sums_of(Protocol((5, 5), (Stretch(8, 3),), shapes=(alike,)), 10)
    design = designs(sums, Protocol((5, 5), ()).arm_index)
    assert design.regular.all()
    settled = optima(design)[1]
    models = one_by_one(sums, Protocol((5, 5), ()))
    singular = np.array([model.singular for model in models])
    assert singular.any()
    assert not (settled & singular).any()


def test_power_rests_on_the_same_numbers_however_they_are_computed() -> None:
    """Tiny trials: some regular, some not, some refused."""
    protocol = Protocol((3, 4), (Stretch(4, 1),))
    found = np.concatenate(list(simulate(Question(protocol, (0.5,), trials=40))))
    compared = 0
    for number in range(40):
        sums = VirtualTrial(protocol, (2026, number)).sums([Effect(0.0), Effect(0.5)])
        for place in range(2):
            try:
                model = fit_mixed_model(moments_of(sums, place), protocol.arm_of, "control")
                slow = model.contrast({"stress_within:arm[treated]": 1.0}, Method.CR2)
            except ValueError:
                assert np.isnan(found[number, place]).all()
                continue
            compared += 1
            assert found[number, place, :3] == pytest.approx(slow[:3], rel=1e-6)
    assert 0 < compared < 80
