"""Comparisons by a plan: other items, phases, adjustments, moderators, several arms; the card."""

import json
import xml.etree.ElementTree as ET
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db.models import Avg
from django.test import Client
from django.utils import timezone

from analytics.card_attempts import Warned
from analytics.card_floor import beside_companion
from analytics.card_table import card_table
from analytics.comparison import compare
from analytics.coupling import estimate_couplings
from analytics.figure_list import as_csv, figures_of
from analytics.freezing import digest, freeze
from analytics.mixed_model import Method, fit_mixed_model
from analytics.models import AnalysisPlan, Comparison
from analytics.moments import Moments as Sums
from analytics.multiplicity import against_reference
from analytics.plan import Moderator, Plan
from analytics.plans import lock, save
from analytics.trial import ComparisonImpossible
from analytics.wording import sentences
from ema.audit import COMMAND
from ema.models import (
    Allocation,
    Item,
    Questionnaire,
    QuestionnaireVersion,
    Response,
    Site,
    Study,
)
from tests.analytics.answers import (
    add_participant,
    answer,
    make_study,
    make_trial,
    make_user,
    pairs_drawn,
)

pytestmark = pytest.mark.django_db
COMPARISON = "/studies/relief/comparison/"


def planned(study: Study, key: str = "primary", **changes: Any) -> AnalysisPlan:
    return save(study=study, key=key, plan=Plan(**changes), actor=COMMAND, now=timezone.now())


def compared(study: Study, **changes: Any) -> dict[str, Any]:
    """By a plan; JSON without NaN, told in a table and in sentences."""
    estimate_couplings(timezone.now())
    report = compare(study, planned(study, **changes) if changes else None, participants=True)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert card_table(report)
    for said in (card_table(report), *sentences(report)):
        assert "no difference" not in said.lower()
    for figure in figures_of(report).values():
        ET.fromstring(figure.draw(report))  # noqa: S314 - our own text
        assert as_csv(figure.rows(report)).count("\n") == len(figure.rows(report)) + 1
    return report


def with_pain(study: Study, slope: float = 0.4) -> None:
    """Pain that follows craving a little."""
    draw = np.random.default_rng(9)
    for response in Response.objects.filter(participant__study=study).order_by("completed_at"):
        pain = np.clip(round(20 + slope * (response.craving or 0) + draw.normal(0, 5)), 0, 100)
        Response.objects.filter(pk=response.pk).update(pain=int(pain))


def three_arms() -> Study:
    study = make_study(arms=("placebo", "high", "low"))
    slopes = {"placebo": 0.6, "low": 0.45, "high": 0.2}
    for i in range(18):
        arm = ("placebo", "low", "high")[i % 3]
        person = add_participant(study, f"P{i:02}", arm)
        answer(person, pairs_drawn(slopes[arm] + 0.03 * (i % 4), 14, seed=i))
    return study


def test_the_standard_card_is_complete() -> None:
    report = compared(make_trial())
    (one,) = report["contrasts"]
    assert set(one["methods"]) == {"CR2", "satterthwaite", "kenward_roger"}
    assert one["standard_error"] == one["methods"]["CR2"]["standard_error"]
    assert one["attenuation"]["estimate"] == pytest.approx(0.5, abs=0.1)
    assert one["detectable"] > 2 * one["standard_error"]
    assert one["leave_one_out"]["lowest"] < one["difference"] < one["leave_one_out"]["highest"]
    for test in one["randomisation"].values():
        assert (test["draws"], test["seed"], test["n"]) == (9999, 1, 12)
        assert 1 / 10000 <= test["p"] < 0.05
    assert report["formula"] == (
        "craving ~ stress_within * arm + stress_between + (1 + stress_within | participant)"
    )
    assert "A negative difference means a weaker coupling." in report["estimand"]
    assert [arm["compliance"] for arm in report["arms"]] == [1.0, 1.0]
    assert [arm["n_prompts"] for arm in report["arms"]] == [72, 72]
    assert report["plan"]["key"] is None
    assert report["software"].startswith("fourbeat ")
    assert {one["arm"] for one in report["participants"]} == {"placebo", "clonidine"}
    assert {one["arm"] for one in report["levels"]} == {"placebo", "clonidine"}
    assert sum(one["n_prompts"] for one in report["levels"]) == report["n_pairs"]
    assert (report["several_arms"], report["moderation"], report["companion"]) == (None, [], None)
    assert list(figures_of(report)) == ["coupling", "slopes", "levels", "fit"]


def test_the_same_numbers_are_had_from_kept_moments_and_from_sums_made_now() -> None:
    study = make_trial()
    standard = compared(study)
    with_pain(study)
    anew = compared(study, phases=("baseline",))
    assert anew["contrasts"][0]["difference"] == standard["contrasts"][0]["difference"]
    assert anew["log_likelihood"] == standard["log_likelihood"]


def test_pain_may_predict_craving() -> None:
    study = make_trial()
    with_pain(study)
    report = compared(study, predictor="pain")
    rows = Response.objects.filter(participant__study=study)
    codes, pain, craving = zip(
        *rows.values_list("participant__code", "pain", "craving"), strict=True
    )
    arm_of = dict(Allocation.objects.values_list("participant__code", "arm__key"))
    model = fit_mixed_model(Sums.from_rows(codes, pain, craving), arm_of, "placebo")
    assert report["contrasts"][0]["difference"] == model.contrasts()[0].difference.estimate
    assert report["fixed"][1]["term"] == "pain_within"
    assert sentences(report)[0].startswith("When a person's pain is one point above")
    assert "stress" not in card_table(report)


def test_adjustments_and_phases_change_the_model_as_named() -> None:
    study = make_trial()
    report = compared(study, adjust_for=("study_day", "weekday", "prompt_number"))
    terms = [one["term"] for one in report["fixed"]]
    assert {"study_day", "prompt_number", "weekday_2"} <= set(terms)
    # Three days: the third is on the line through the first two, the others never came.
    assert set(report["dropped"]) == {f"weekday_{day}" for day in (3, 4, 5, 6, 7)}
    with pytest.raises(ComparisonImpossible, match=r"stress and craving in treatment\."):
        compared(study, phases=("treatment",))


def test_a_lag_takes_the_prompt_before() -> None:
    report = compared(make_trial(), lag=1, adjust_for=("previous_outcome",))
    assert report["predictor"] == "previous_stress"
    assert report["n_excluded"] == {"missing_previous_stress": 36}
    assert "previous_craving_within" in [one["term"] for one in report["fixed"]]
    assert "stress at the prompt before is one point above" in sentences(report)[0]


def test_moderators_are_tested_together_and_by_holm() -> None:
    study = make_trial(n=24)
    with_pain(study)
    second = Site.objects.create(study=study, code="S2", title="Second")
    for person in study.participants.all()[::3]:
        study.participants.filter(pk=person.pk).update(site=second)
    moderators = (
        Moderator("site"),
        Moderator("moment", "pain"),
        Moderator("baseline", "craving", "baseline"),
    )
    report = compared(study, moderators=moderators)
    found = {one["moderator"]: one for one in report["moderation"]}
    assert set(found) == {"site", "pain", "craving_in_baseline"}
    assert found["site"]["terms"] == ["stress_within:site[S2]:arm[clonidine]"]
    assert found["pain"]["terms"] == ["stress_within:pain_within:arm[clonidine]"]
    assert all(one["p_holm"] >= one["test"]["p"] for one in found.values())
    assert [one["subgroup"] for one in found["site"]["subgroups"]] == ["S1", "S2"]
    for one in found.values():
        assert all(set(each) & {"p", "df"} == set() for each in one["subgroups"])
    middle = found["pain"]["subgroups"][1]
    assert middle["estimate"] == pytest.approx(report["contrasts"][0]["difference"])
    below, _, above = (one["estimate"] for one in found["craving_in_baseline"]["subgroups"])
    (slope,) = found["craving_in_baseline"]["terms"]
    fixed = {one["term"]: one["estimate"] for one in report["fixed"]}
    assert above - below == pytest.approx(2 * np.std(own_means(study), ddof=1) * fixed[slope])
    drawn = figures_of(report)["subgroups"].draw(report)
    assert drawn.count("interaction: p") == 2 * 3  # in each panel and in the description
    assert sentences(report)[1] == (
        "With what moderates in the model, couplings and their differences are those at site S1, "
        "at everybody's own mean of pain and at the mean of craving in baseline."
    )
    assert report["contrasts"][0]["randomisation"]["scores"] is None


def own_means(study: Study) -> list[float]:
    """Everybody's mean craving."""
    rows = Response.objects.filter(participant__study=study).values("participant")
    return [row["mean"] for row in rows.annotate(mean=Avg("craving"))]


def test_more_moderators_than_participants_is_said_in_words() -> None:
    study = make_trial(n=4)
    for number, person in enumerate(study.participants.all()):
        site = Site.objects.create(study=study, code=f"T{number}", title="Site")
        study.participants.filter(pk=person.pk).update(site=site)
    with pytest.raises(ComparisonImpossible, match="participants are too few for the"):
        compared(study, moderators=(Moderator("site"),))
    study.participants.update(site=site)
    with pytest.raises(ComparisonImpossible, match="Everybody with answers is of site T3"):
        compared(study, moderators=(Moderator("site"),))


def test_several_arms_are_judged_together() -> None:
    study = three_arms()
    doses = {"placebo": 0.0, "low": 1.0, "high": 2.0}
    report = compared(study, doses=doses, all_pairs=True)
    several = report["several_arms"]
    assert several["omnibus"]["numerator_df"] == 2
    assert several["omnibus_robust"]["numerator_df"] == 2
    assert "CR2, approximate Hotelling" in card_table(report)
    assert [one["other"] for one in several["against_reference"]] == ["placebo", "placebo"]
    rows = Response.objects.filter(participant__study=study)
    codes, stress, craving = zip(
        *rows.values_list("participant__code", "stress", "craving"), strict=True
    )
    arm_of = dict(Allocation.objects.values_list("participant__code", "arm__key"))
    model = fit_mixed_model(Sums.from_rows(codes, stress, craving), arm_of, "placebo")
    expected = against_reference(model, Method.CR2)
    assert [one["p"] for one in several["against_reference"]] == [one.p for one in expected]
    assert len(several["all_pairs"]) == 3
    assert several["trend"]["estimate"] == pytest.approx(-0.2, abs=0.05)
    assert "Trend per unit of dose" in card_table(report)


@pytest.mark.parametrize("method", ["CR2", "kenward_roger", "satterthwaite"])
def test_the_method_of_the_plan_comes_first(method: str) -> None:
    study = three_arms()
    with_pain(study)
    doses = {"placebo": 0.0, "low": 1.0, "high": 2.0}
    moderators = (Moderator("moment", "pain"),)
    report = compared(study, method=method, doses=doses, all_pairs=True, moderators=moderators)
    for one in report["contrasts"]:
        first = {name: one[name] for name in ("standard_error", "df", "p", "interval")}
        assert first == one["methods"][method]
    assert report["several_arms"]["trend"]["p"] < 0.05
    assert report["moderation"][0]["test"]["numerator_df"] == 2
    assert [one for one in report["warnings"] if one["code"] == "not_computed"] == []


def test_an_item_that_nobody_answered_is_said_in_words() -> None:
    with pytest.raises(ComparisonImpossible, match="no answered random prompt with pain"):
        compared(make_trial(n=4), predictor="pain")
    moment = Moderator("moment", "pain")
    with pytest.raises(ComparisonImpossible, match="with stress, craving and pain"):
        compared(make_trial("other", n=4), moderators=(moment,))
    baseline = Moderator("baseline", "pain", "baseline")
    with pytest.raises(ComparisonImpossible, match="No participant has all of pain_in_baseline"):
        compared(make_trial("third", n=4), moderators=(baseline,))


def test_many_zeros_are_warned_of_with_the_companion_beside() -> None:
    study = make_trial(n=16, prompts=30)
    for response in Response.objects.filter(participant__study=study):
        lowered = max(0, (response.craving or 0) - 30)
        Response.objects.filter(pk=response.pk).update(craving=lowered)
    report = compared(study)
    (warned,) = [one for one in report["warnings"] if one["code"] == "possible_floor_artefact"]
    assert warned["sentence"].startswith("Possible floor artefact: craving is at its lowest value")
    assert "The companion model of any craving" in warned["sentence"]
    assert report["companion"]["contrasts"][0]["arm"] == "clonidine"
    adjusted = compared(study, adjust_for=("study_day",))
    assert adjusted["companion"]["kind"] == "any"
    assert "study_day" in adjusted["companion"]["terms"]
    assert "The companion model of any craving" in adjusted["warnings"][0]["sentence"]
    ratio, again = (
        one["companion"]["contrasts"][0]["ratio_of_odds_ratios"] for one in (report, adjusted)
    )
    assert again == pytest.approx(ratio, rel=0.2)


def test_two_open_intervals_do_not_agree_on_anything() -> None:
    warned = Warned("possible_floor_artefact", "Possible floor artefact.")
    contrast = {"arm": "high", "interval": [-0.2, 0.1]}
    for ratio, verdict in (
        ([0.8, 1.1], "leaves the direction open as well"),
        ([0.8, 0.9], "does not agree"),
    ):
        odds = {"arm": "high", "ratio_of_odds_ratios": 0.85, "interval": ratio}
        report = {
            "outcome": "craving",
            "companion": {"contrasts": [odds]},
            "contrasts": [contrast],
        }
        assert f"mislead, {verdict}: ratio" in beside_companion(warned, report).sentence
    contrast["interval"] = [-0.2, -0.1]
    assert "mislead, agrees: ratio" in beside_companion(warned, report).sentence


def with_mood(study: Study, levels: int) -> None:
    """A rating of the moment from 0, the higher the more craving."""
    questionnaire = Questionnaire.objects.create(study=study, key="more", title="More")
    version = QuestionnaireVersion.objects.create(questionnaire=questionnaire)
    Item.objects.create(
        version=version, key="mood", kind="rating", position=1, minimum=0, maximum=levels - 1
    )
    QuestionnaireVersion.objects.filter(pk=version.pk).update(
        published_at=timezone.now(), published_content="{}", sha256="0" * 64
    )
    draw = np.random.default_rng(5)
    for response in Response.objects.filter(participant__study=study).order_by("completed_at"):
        felt = (response.craving or 0) / 70 * levels + draw.normal(0, 0.8)
        value = int(np.clip(felt, 0, levels - 1))
        answers = [{"item": "mood", "value": value}]
        Response.objects.filter(pk=response.pk).update(answers=answers)


def test_few_levels_have_cumulative_odds_beside_the_difference() -> None:
    study = make_trial(n=16, prompts=30)
    with_mood(study, 5)
    report = compared(study, outcome="mood")
    companion = report["companion"]
    assert (companion["kind"], companion["n_levels"]) == ("cumulative", 5)
    assert companion["odds_ratio_in_reference"] > 1
    (ratio,) = companion["contrasts"]
    assert ratio["ratio_of_odds_ratios"] < 1
    assert "odds of a higher mood (cumulative odds over its levels)" in card_table(report)


def test_a_companion_that_cannot_be_is_said_in_the_plans_items() -> None:
    study = make_trial(n=8)
    with_mood(study, 4)
    treated = Allocation.objects.filter(arm__key="clonidine").values("participant")
    low = [{"item": "mood", "value": 0}]
    Response.objects.filter(participant__in=treated).update(answers=low)
    report = compared(study, outcome="mood")
    assert report["companion"] is None
    said = [one["sentence"] for one in report["warnings"] if one["code"] == "not_computed"]
    assert any("mood is always at the same level in arm 'clonidine'" in one for one in said)


def test_a_companion_is_fitted_on_request() -> None:
    study = make_trial(n=12, prompts=30)
    Response.objects.filter(craving__lt=25).update(craving=0)
    for person in study.participants.all():
        ids = person.responses.order_by("completed_at").values_list("pk", flat=True)
        Response.objects.filter(pk__in=list(ids)[:3]).update(craving=40)
    estimate_couplings(timezone.now())
    asked = compare(study, companion=True)["companion"]
    assert asked["kind"] == "any"
    out = StringIO()
    call_command("compare", "relief", "--companion", stdout=out)
    assert "Companion model: odds of any craving" in out.getvalue()


def test_a_companion_has_the_terms_of_a_moderated_plan_and_of_one_with_a_square() -> None:
    study = make_trial(n=24, prompts=24)
    with_pain(study)
    with_mood(study, 4)
    moderated = compared(study, outcome="mood", moderators=(Moderator("moment", "pain"),))
    companion = moderated["companion"]
    assert companion["kind"] == "cumulative"
    assert "stress_within:pain_within:arm[clonidine]" in companion["terms"]
    curved = compared(study, outcome="mood", quadratic=True)["companion"]
    plain = compared(study, outcome="mood")["companion"]
    assert len(curved["terms"]) > 5
    for one in (companion, curved):
        assert one["contrasts"][0]["ratio_of_odds_ratios"] < 1
    assert plain["contrasts"][0]["interval"][1] < 1


@pytest.mark.parametrize("people", [1, 2, 3])
def test_a_tiny_trial_gets_a_sentence_or_a_card(people: int) -> None:
    study = make_study()
    for arm in ("placebo", "clonidine"):
        for i in range(people):
            answer(add_participant(study, f"{arm}{i}", arm), pairs_drawn(0.4, 8, seed=i + people))
    if people == 1:
        with pytest.raises(ComparisonImpossible, match="too few"):
            compared(study)
    else:
        assert compared(study)["contrasts"][0]["standard_error"] > 0


def test_constant_answers_are_said_in_words() -> None:
    study = make_study()
    for i, arm in enumerate(("placebo", "clonidine") * 3):
        answer(add_participant(study, f"P{i}", arm), [(x, 7) for x in range(6)])
    with pytest.raises(ComparisonImpossible, match="raving never varies"):
        compared(study)


def test_a_locked_plan_is_named_by_its_frozen_comparison() -> None:
    study = make_trial()
    estimate_couplings(timezone.now())
    stored = lock(stored=planned(study), actor=COMMAND, now=timezone.now())
    made = freeze(study, COMMAND, timezone.now(), stored)
    assert made.report["exploratory"] is False
    assert made.report["plan"]["sha256"] == stored.sha256
    assert made.report["notes"][0].startswith("Specified before: plan primary v1")
    again = compare(study, stored) | {name: made.report[name] for name in ("abstinence", "safety")}
    assert digest(again) == made.sha256


def test_a_frozen_report_of_before_plans_can_still_be_read() -> None:
    study = make_trial()
    report = compared(study)
    old = {
        "study", "reference", "exploratory", "notes", "n_participants", "n_pairs", "n_excluded",
        "method", "log_likelihood", "fixed", "dropped", "random", "singular", "arms", "contrasts",
    }  # fmt: skip
    kept = {name: value for name, value in report.items() if name in old}
    for name in ("arms", "contrasts"):
        more = {"methods", "attenuation", "standardised", "detectable", "randomisation"}
        more |= {"leave_one_out", "n_prompts", "at_floor", "at_ceiling", "compliance"}
        kept[name] = [{k: v for k, v in one.items() if k not in more} for one in kept[name]]
    made = Comparison.objects.create(study=study, report=kept, sha256=digest(kept))
    client = Client()
    client.force_login(make_user("stat", study, "statistician"))
    answered = client.get(f"{COMPARISON}frozen/{made.pk}/")
    assert answered.status_code == 200
    assert "it is weaker under clonidine" in answered.content.decode()


def test_the_page_takes_a_plan_and_offers_its_figures() -> None:
    study = make_trial()
    with_pain(study)
    estimate_couplings(timezone.now())
    planned(study, predictor="pain")
    client = Client()
    client.force_login(make_user("stat", study, "statistician"))
    first = client.get(COMPARISON).content.decode()
    assert '<option value="primary@1">primary v1, draft' in first
    again = client.get(COMPARISON).content.decode()
    assert first.count('role="img"') == again.count('role="img"') == 4
    page = client.get(f"{COMPARISON}?plan=primary").content.decode()
    assert "pain_within:arm[clonidine]" in page
    assert "plan primary v1 is not locked" in page
    assert client.get(f"{COMPARISON}?plan=other").status_code == 404
    for name in ("coupling", "slopes", "levels", "fit"):
        drawn = client.get(f"{COMPARISON}figures/{name}.svg?plan=primary@1")
        assert drawn.content.startswith(b"<svg ")
        assert b"<desc" in drawn.content
        table = client.get(f"{COMPARISON}figures/{name}.csv")
        assert table["Content-Type"].startswith("text/csv")
        assert b"clonidine" in table.content
    assert client.get(f"{COMPARISON}figures/other.svg").status_code == 404
    assert client.get(f"{COMPARISON}figures/levels.png").status_code == 404
    client.post(f"{COMPARISON}freeze/", {"confirm": "on", "plan": "primary@1"})
    assert Comparison.objects.get().report["predictor"] == "pain"


def test_a_changed_allocation_is_seen_on_the_page_at_once() -> None:
    study = make_trial()
    estimate_couplings(timezone.now())
    client = Client()
    client.force_login(make_user("stat", study, "statistician"))
    before = client.get(f"{COMPARISON}figures/coupling.csv").content
    one, other = Allocation.objects.order_by("pk")[:2]
    Allocation.objects.filter(pk=one.pk).update(arm=other.arm)
    assert client.get(f"{COMPARISON}figures/coupling.csv").content != before


def test_the_api_takes_a_plan() -> None:
    study = make_trial()
    estimate_couplings(timezone.now())
    planned(study, all_pairs=True)
    client = Client()
    client.force_login(make_user("stat", study, "statistician"))
    address = "/api/v1/studies/relief/comparison"
    assert client.get(f"{address}?plan=primary").json()["plan"]["key"] == "primary"
    unknown = client.get(f"{address}?plan=other")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_plan")


def test_the_command_takes_a_plan_and_draws(tmp_path: Path) -> None:
    study = make_trial()
    planned(study, phases=("baseline",))
    out = StringIO()
    call_command(
        "compare", "relief", "--plan=primary", f"--svg={tmp_path}", stdout=out, stderr=StringIO()
    )
    assert "in phase baseline" in out.getvalue()
    assert "Exploratory: plan primary v1 is not locked." in out.getvalue()
    names = {
        f"{name}.{kind}"
        for name in ("coupling", "slopes", "levels", "fit")
        for kind in ("svg", "csv")
    }
    assert {file.name for file in tmp_path.iterdir()} == names
    with pytest.raises(CommandError, match="has no plan 'x'") as caught:
        call_command("compare", "relief", "--plan=x")
    assert caught.value.returncode == 2
