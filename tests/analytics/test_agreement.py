"""The engine against R: lme4, lmerTest, pbkrtest, clubSandwich; goldens of `make golden`.

Each golden file names its script and the versions of R and of the packages. lmer's optimum is
polished by Newton steps there, so the agreement is that of the numbers, not of an optimiser.
"""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analytics.csv_rows import Columns, read_pairs
from analytics.design import Design, Term, Terms
from analytics.fixed_effects import by_arm, coupling_design, in_context, indicators, moderated
from analytics.gram import Centred, Gram, product_of
from analytics.mixed_model import Method, MixedModel, fit_design
from analytics.moments import Moments
from analytics.sandwich import without_each
from tests.real_data import real_data

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
ARMS = ("control", "high", "low")


def golden(name: str) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads((GOLDEN / name).read_text(encoding="utf-8"))
    cases: dict[str, Any] = whole["cases"]
    return cases


def simulated() -> list[dict[str, str]]:
    with (GOLDEN / "simulated.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


Change = Callable[[list[str], dict[str, Any], list[dict[str, str]]], Any]


class Trial:
    """The simulated rows as sums, and what belongs to each participant."""

    def __init__(
        self, outcome: str = "craving", without: str = "", change: Change | None = None
    ) -> None:
        rows = [row for row in simulated() if row["arm"] != without]
        column: dict[str, Any] = {
            name: np.array([int(row[name]) for row in rows])
            for name in ("stress", "pain", "time", "period", outcome)
        }
        if change is not None:
            column[outcome] = change([row["id"] for row in rows], column, rows)
        for first, second in (("stress", "pain"), ("stress", "period"), ("stress", "stress")):
            column[product_of(first, second)] = column[first] * column[second]
        gram = Gram.from_rows([row["id"] for row in rows], column)
        assert gram.exact == (change is None)
        self.outcome = outcome
        self.sums: Centred = gram.centred()
        own = {str(row["id"]): row for row in rows}
        people = [own[str(label)] for label in gram.participants]
        self.arm_of = tuple(row["arm"] for row in people)
        self.arms = tuple(arm for arm in ARMS if arm != without)
        self.trait = np.array([float(row["trait"]) for row in people]) - 50
        self.sequence = np.array([float(row["sequence"]) for row in people])

    def design(self, arms: bool = True, also: Mapping[str, Term] | None = None) -> Design:
        arm_of, levels = (self.arm_of, self.arms) if arms else ((), ())
        return coupling_design(self.sums, arm_of, levels, outcome=self.outcome, also=also)


def time() -> tuple[Design, dict[str, str]]:
    trial = Trial()
    return trial.design(also={"time": Terms(trial.sums).raw("time")}), {"time": "time"}


def context() -> tuple[Design, dict[str, str]]:
    trial = Trial()
    also = in_context(trial.sums, "pain", trial.arm_of, trial.arms)
    return trial.design(also=also), {"pw": "pain_within"}


def moderator() -> tuple[Design, dict[str, str]]:
    trial = Trial()
    also = moderated(trial.sums, "trait", trial.trait, trial.arm_of, trial.arms)
    return trial.design(also=also), {"m": "trait"}


def crossover() -> tuple[Design, dict[str, str]]:
    """Drug is given in the second period of sequence 1 and in the first of sequence 0."""
    trial = Trial()
    terms = Terms(trial.sums)
    turn = 2 * trial.sequence - 1
    period, slope = terms.raw("period"), terms.product("stress", "period", raw=True)
    drug = period.times(turn) + terms.level(1 - trial.sequence)
    drug_slope = slope.times(turn) + terms.within("stress").times(1 - trial.sequence)
    also = {"drug": drug, "period": period, "stress_within:drug": drug_slope}
    return trial.design(arms=False, also=also), {"drug": "drug", "period": "period"}


def quadratic() -> tuple[Design, dict[str, str]]:
    trial = Trial()
    also = {"square": Terms(trial.sums).product("stress", "stress")}
    return trial.design(arms=False, also=also), {"I(w^2)": "square"}


def raw(sums: Centred, arm_of: tuple[str, ...], arms: tuple[str, ...], x: str, y: str) -> Design:
    """outcome ~ x * arm + (1 + x | id), x as it is."""
    terms = Terms(sums)
    fixed = by_arm("intercept", terms.level(), arm_of, arms)
    fixed = {name.removeprefix("intercept:"): term for name, term in fixed.items()}
    fixed |= by_arm("stress_within", terms.raw(x), arm_of, arms)
    return Design(sums, y, x, fixed, within=False, arms=arms, arm_of=arm_of)


def raw_slope() -> tuple[Design, dict[str, str]]:
    trial = Trial()
    return raw(trial.sums, trial.arm_of, trial.arms, "stress", "craving"), {"x": "stress_within"}


def real(folder: str, x: str, y: str, arms: tuple[str, ...] = (), **more: Any) -> Design:
    """The coupling design of a real data set; ``more``: file, participant, arm, where."""
    who = Columns(more.get("participant", "participant_id"), x, y, more.get("arm"))
    path = real_data(folder) / more.get("file", "canonical.csv")
    pairs = read_pairs(path, who, more.get("where", ()))
    moments = Moments.from_rows(pairs.participant, pairs.stress, pairs.craving)
    sums = Gram.from_moments(moments, "stress", "craving").centred(
        {"stress": pairs.stress_scale, "craving": pairs.craving_scale}
    )
    arm_of = tuple(pairs.arm_of[str(label)] for label in sums.participants) if arms else ()
    return coupling_design(sums, arm_of, arms)


def leuven_lagged() -> tuple[Design, dict[str, str]]:
    """Negative affect on itself at the prompt before, on the same day: the published table."""
    path = real_data("leuven2019_clinical") / "canonical.csv"
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    answers = {(r["participant_id"], r["day"], int(r["prompt_no"])): r for r in rows}
    people, before, now = [], [], []
    for (person, day, prompt), row in answers.items():
        last = answers.get((person, day, prompt - 1))
        if last and last["negative_affect"] and row["negative_affect"]:
            people.append(person)
            before.append(round(float(last["negative_affect"]) * 10))
            now.append(round(float(row["negative_affect"]) * 10))
    gram = Gram.from_rows(people, {"lag": np.array(before), "craving": np.array(now)})
    group = {r["participant_id"]: r["arm"] for r in rows}
    arm_of = tuple(group[str(label)] for label in gram.participants)
    sums = gram.centred({"lag": 10, "craving": 10})
    return raw(sums, arm_of, ("control", "MDD"), "lag", "craving"), {"x": "stress_within"}


def sleepstudy() -> tuple[Design, dict[str, str]]:
    centred = real(
        "lme_classics", "Days", "Reaction", file="sleepstudy.csv", participant="Subject"
    ).centred
    return raw(centred, (), (), "stress", "craving"), {"x": "stress_within"}


Case = Callable[[], tuple[Design, dict[str, str]]]
SIMULATED: dict[str, Case] = {
    "three_arms": lambda: (Trial().design(), {}),
    "two_arms": lambda: (Trial(without="low").design(), {}),
    "time": time,
    "context": context,
    "moderator": moderator,
    "crossover": crossover,
    "quadratic": quadratic,
    "raw_slope": raw_slope,
    "singular": lambda: (Trial("flat").design(), {}),
}
REAL: dict[str, Case] = {
    "leuven": lambda: (
        real("leuven2019_clinical", "anhedonia", "negative_affect", ("control", "MDD"), arm="arm"),
        {},
    ),
    "leuven_lagged": leuven_lagged,
    "mindfulness": lambda: (
        real(
            "bringmann2013_mindfulness",
            "worried",
            "sad",
            ("waitlist", "mindfulness"),
            arm="arm",
            where=("period=post",),
        ),
        {},
    ),
    "students": lambda: (real("fried2021_students", "worry", "irritable"), {}),
    "sleepstudy": sleepstudy,
    "orthodont": lambda: (
        real(
            "lme_classics",
            "age",
            "distance",
            ("Female", "Male"),
            arm="Sex",
            file="orthodont.csv",
            participant="Subject",
        ),
        {},
    ),
}
ALL = [("linear_simulated.json", name, case) for name, case in SIMULATED.items()]
ALL += [("linear_real.json", name, case) for name, case in REAL.items()]


def in_r(term: str, names: Mapping[str, str]) -> str:
    """R's name of a term as ours: ``w:armhigh`` is ``stress_within:arm[high]``."""
    known = {"(Intercept)": "intercept", "w": "stress_within", "b": "stress_between"} | dict(names)
    parts = [known.get(part, f"arm[{part.removeprefix('arm')}]") for part in term.split(":")]
    return ":".join(sorted(parts, key=lambda part: part.startswith("arm[")))


@pytest.fixture(scope="module")
def fits() -> dict[str, tuple[MixedModel, dict[str, Any], list[str]]]:
    return {}


@pytest.fixture(params=ALL, ids=[name for _, name, _ in ALL])
def fitted(
    request: pytest.FixtureRequest, fits: dict[str, Any]
) -> tuple[MixedModel, dict[str, Any], list[str]]:
    file, name, case = request.param
    if name not in fits:
        expected = golden(file)[name]
        design, names = case()
        terms = [in_r(term, names) for term in expected["terms"]]
        fits[name] = fit_design(design), expected, terms
    found: tuple[MixedModel, dict[str, Any], list[str]] = fits[name]
    return found


Fitted = tuple[MixedModel, dict[str, Any], list[str]]
METHODS = [
    (Method.SATTERTHWAITE, ("se",), ("df_satterthwaite",)),
    (Method.KENWARD_ROGER, ("kr_se",), ("kr_df",)),
    (Method.CR0, ("CR0", "se"), ("CR0", "df")),
    (Method.CR1, ("CR1", "se"), ("CR1", "df")),
    (Method.CR2, ("CR2", "se"), ("CR2", "df")),
]


def found_at(expected: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        expected = expected[key]
    return expected


def test_estimates_variances_and_likelihood_are_those_of_lme4(fitted: Fitted) -> None:
    model, expected, terms = fitted
    assert set(terms) == set(model.terms)
    ours = [model.contrast({term: 1.0}).estimate for term in terms]
    np.testing.assert_allclose(ours, expected["estimate"], rtol=1e-6)
    assert model.log_likelihood == pytest.approx(expected["logLik"], abs=5e-7)
    assert model.sd_residual == pytest.approx(expected["sigma"], rel=1e-6)
    random = np.array(expected["random_vcov"])
    assert model.sd_intercept == pytest.approx(np.sqrt(random[0, 0]), rel=1e-6)
    assert model.sd_slope == pytest.approx(np.sqrt(random[1, 1]), rel=1e-6)
    correlation = random[0, 1] / np.sqrt(random[0, 0] * random[1, 1])
    assert model.correlation == pytest.approx(correlation, abs=1e-6)
    assert (model.n_pairs, len(model.participants)) == (expected["rows"], expected["people"])


@pytest.mark.parametrize(("method", "se", "df"), METHODS, ids=[str(m[0]) for m in METHODS])
def test_errors_and_degrees_of_freedom_are_those_of_r(
    fitted: Fitted, method: Method, se: tuple[str, ...], df: tuple[str, ...]
) -> None:
    model, expected, terms = fitted
    estimates = model.contrasts_of([{term: 1.0} for term in terms], method)
    ours = [each.standard_error for each in estimates]
    np.testing.assert_allclose(ours, found_at(expected, se), rtol=1e-6)
    ours = [each.df for each in estimates]
    np.testing.assert_allclose(ours, found_at(expected, df), rtol=1e-5)


@pytest.mark.parametrize(
    ("method", "keys"),
    [(Method.KENWARD_ROGER, ("kr_omnibus",)), (Method.CR2, ("CR2", "omnibus"))],
    ids=["pbkrtest", "clubSandwich_HTZ"],
)
def test_tests_of_several_contrasts_are_those_of_r(
    fitted: Fitted, method: Method, keys: tuple[str, ...]
) -> None:
    model, expected, terms = fitted
    if "kr_omnibus" not in expected:
        pytest.skip("a model without an interaction has no omnibus test")
    theirs = found_at(expected, keys)
    names = theirs["terms"] if isinstance(theirs["terms"], list) else [theirs["terms"]]
    in_ours = dict(zip(expected["terms"], terms, strict=True))
    ours = model.omnibus([{in_ours[name]: 1.0} for name in names], method)
    assert ours.numerator_df == theirs["ndf"]
    assert ours.f == pytest.approx(theirs["F"], rel=1e-5)
    assert ours.df == pytest.approx(theirs["ddf"], rel=1e-5)
    assert ours.p == pytest.approx(theirs["p"], rel=1e-4)


@pytest.mark.parametrize("name", SIMULATED)
def test_random_effects_are_those_of_lme4(name: str) -> None:
    blup = golden("linear_simulated.json")[name]["blup"]
    model = fit_design(SIMULATED[name]()[0])
    place = [model.participants.index(label) for label in blup["id"]]
    personal = model.personal
    np.testing.assert_allclose(personal.slope_deviation[place], blup["slope"], atol=1e-6)
    np.testing.assert_allclose(personal.intercept_deviation[place], blup["intercept"], atol=1e-6)


def test_a_singular_fit_of_lme4_is_a_singular_fit_here() -> None:
    assert fit_design(SIMULATED["singular"]()[0]).singular
    assert not fit_design(SIMULATED["three_arms"]()[0]).singular


def test_the_published_table_of_lagged_affect_is_reproduced() -> None:
    """Lafit et al. (2023), example 3, to the digits printed there (nlme)."""
    model = fit_design(leuven_lagged()[0])
    difference = model.contrast({"stress_within:arm[MDD]": 1.0})
    assert difference.estimate == pytest.approx(0.116184, abs=1e-5)
    assert difference.standard_error == pytest.approx(0.0472240, abs=1e-6)
    assert model.log_likelihood == pytest.approx(-14476.27, abs=0.005)
    assert model.n_pairs == 3991


def test_prediction_errors_hold_where_a_trend_is_in_the_model() -> None:
    """Henderson's equations on rows that stand for each participant's."""
    design, _ = time()
    model = fit_design(design)
    engine = model.engine
    x, z, _ = engine.summaries.rows()
    theta = engine.criterion.theta
    factor = np.array([[theta[0], 0], [theta[1], theta[2]]])
    d, people, p = factor @ factor.T, len(x), x.shape[2]
    left = np.zeros((p + 2 * people,) * 2)
    left[:p, :p] = np.einsum("ika,ikb->ab", x, x)
    for i in range(people):
        b = slice(p + 2 * i, p + 2 * i + 2)
        left[b, b] = z[i].T @ z[i] + np.linalg.inv(d)
        left[:p, b], left[b, :p] = x[i].T @ z[i], z[i].T @ x[i]
    inverse = np.linalg.inv(left)
    for i in range(people):
        pick = np.zeros(p + 2 * people)
        pick[:p], pick[p + 2 * i + 1] = engine.own_slope[i], 1
        error = np.sqrt(pick @ inverse @ pick) * model.sd_residual / engine.units.x
        assert model.personal.prediction_error[i] == pytest.approx(error, rel=1e-8)


def test_the_slope_at_own_means_is_what_interactions_add() -> None:
    trial = Trial()
    design, _ = context()
    arm = indicators(trial.arm_of, trial.arms)["high"]
    slope = design.slope_on_predictor
    np.testing.assert_allclose(slope("stress_within:arm[high]"), arm)
    np.testing.assert_allclose(slope("stress_within:pain_within"), 0, atol=1e-12)
    np.testing.assert_allclose(slope("pain_within"), 0)
    square = quadratic()[0].slope_on_predictor("square")
    np.testing.assert_allclose(square, 0, atol=1e-12)


def test_leaving_someone_out_at_fixed_variances_is_near_a_refit() -> None:
    """Exact for given variances; the variances' own change is what is ignored."""
    trial = Trial()
    model = fit_design(trial.design())
    terms = ["stress_within:arm[high]", "stress_within:arm[low]"]
    moved = without_each(model.engine.summaries, model.engine.criterion)
    moved *= model.engine.units.coefficients
    labels = model.participants
    for i in range(0, len(labels), 5):
        rest = [label for label in labels if label != labels[i]]
        again = fit_design(_only(trial, rest))
        for term in terms:
            place = model.terms.index(term)
            shift = moved[i, place] - model.coefficients[place]
            refit = again.contrast({term: 1.0}).estimate - model.coefficients[place]
            se = model.contrast({term: 1.0}).standard_error
            assert abs(shift - refit) < 0.1 * se


@pytest.mark.parametrize("name", ["three_arms", "context", "raw_slope", "singular"])
def test_leaving_someone_out_is_exact_for_given_variances(name: str) -> None:
    engine = fit_design(SIMULATED[name]()[0]).engine
    x, z, y = engine.summaries.rows()
    theta = engine.criterion.theta
    factor = np.array([[theta[0], 0], [theta[1], theta[2]]])
    v = np.linalg.inv(np.eye(z.shape[1]) + z @ (factor @ factor.T) @ z.transpose(0, 2, 1))
    left, right = np.einsum("ika,ikl,ilb->iab", x, v, x), np.einsum("ika,ikl,il->ia", x, v, y)
    moved = without_each(engine.summaries, engine.criterion)
    for i in range(len(x)):
        others = np.arange(len(x)) != i
        beta = np.linalg.solve(left[others].sum(axis=0), right[others].sum(axis=0))
        np.testing.assert_allclose(moved[i], beta, rtol=1e-7, atol=1e-9)


def _only(trial: Trial, labels: list[Any]) -> Design:
    """The design of these participants alone."""
    place = [trial.sums.participants.index(label) for label in labels]
    kept = Centred(
        tuple(labels),
        trial.sums.functions,
        trial.sums.n[place],
        trial.sums.mean[:, place],
        trial.sums.ss[:, :, place],
    )
    arm_of = tuple(trial.arm_of[i] for i in place)
    return coupling_design(kept, arm_of, trial.arms)


def planted(delta: float) -> Change:
    """Craving minus delta × (stress − own mean) in arm high."""

    def change(who: list[str], column: dict[str, Any], rows: list[dict[str, str]]) -> Any:
        _, person = np.unique(who, return_inverse=True)
        mean = np.bincount(person, column["stress"]) / np.bincount(person)
        high = np.array([row["arm"] == "high" for row in rows])
        return column["craving"] - delta * (column["stress"] - mean[person]) * high

    return change


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("delta", [-0.3, 0.125, 2.0])
def test_a_planted_difference_moves_the_contrast_by_itself(method: Method, delta: float) -> None:
    """In the model with momentary pain, by every method: same error, df and likelihood."""

    def fit(trial: Trial) -> MixedModel:
        return fit_design(
            trial.design(also=in_context(trial.sums, "pain", trial.arm_of, trial.arms))
        )

    before, after = fit(Trial()), fit(Trial(change=planted(delta)))
    one, other = (m.contrast({"stress_within:arm[high]": 1.0}, method) for m in (before, after))
    assert other.estimate - one.estimate == pytest.approx(-delta, abs=1e-7)
    assert other.standard_error == pytest.approx(one.standard_error, rel=1e-6)
    assert other.df == pytest.approx(one.df, rel=1e-5)
    assert after.log_likelihood == pytest.approx(before.log_likelihood, abs=1e-8)


@pytest.mark.parametrize("method", Method)
def test_units_and_origins_of_the_items_are_those_of_the_answer(method: Method) -> None:
    """An uncentred predictor in other units, from another zero; an outcome in other units."""
    trial = Trial()
    plain = fit_design(raw(trial.sums, trial.arm_of, trial.arms, "stress", "craving"))
    sums = Trial(change=lambda _, column, __: 4.0 * column["craving"] + 7).sums
    stress = sums.place("stress")
    mean, ss = sums.mean.copy(), sums.ss.copy()
    mean[stress] = mean[stress] / 10 - 20
    ss[stress] /= 10
    ss[:, stress] /= 10
    moved = Centred(sums.participants, sums.functions, sums.n, mean, ss)
    other = fit_design(raw(moved, trial.arm_of, trial.arms, "stress", "craving"))
    a, b = (m.contrast({"stress_within:arm[high]": 1.0}, method) for m in (plain, other))
    assert b.estimate == pytest.approx(40 * a.estimate, rel=1e-6)
    assert b.standard_error == pytest.approx(40 * a.standard_error, rel=1e-6)
    assert b.df == pytest.approx(a.df, rel=1e-5)
    assert other.sd_slope == pytest.approx(40 * plain.sd_slope, rel=1e-5)


def test_a_term_that_repeats_another_is_named_and_left_out() -> None:
    trial = Trial()
    terms = Terms(trial.sums)
    also = {"again": terms.raw("stress"), "time": terms.raw("time")}
    model = fit_design(trial.design(also=also))
    assert model.dropped == ("again",)  # stress is stress_within + the own mean
    with pytest.raises(ValueError, match="depend on each other"):
        model.omnibus([{"time": 1.0}, {"time": 2.0}])
    with pytest.raises(ValueError, match="Kenward–Roger or CR2, not CR0"):
        model.omnibus([{"time": 1.0}], Method.CR0)
