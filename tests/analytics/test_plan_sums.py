"""The sums of a plan, from the database, against sums made in Python."""

from collections import defaultdict
from datetime import date
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from analytics.gram import Gram
from analytics.plan import Moderator, Plan
from analytics.plan_sums import Sources, baseline_means, count, gram_of, levels_of
from ema.models import Item, Questionnaire, QuestionnaireVersion, Response, Study
from tests.analytics.answers import add_participant, add_prompt, make_study, make_trial, respond

pytestmark = pytest.mark.django_db


def ask(study: Study, **items: tuple[str, int]) -> None:
    """A published questionnaire with items of this kind and these decimals, without a role."""
    questionnaire = Questionnaire.objects.create(study=study, key="more", title="More")
    version = QuestionnaireVersion.objects.create(questionnaire=questionnaire)
    for position, (key, (kind, decimals)) in enumerate(items.items(), start=1):
        Item.objects.create(
            version=version, key=key, kind=kind, position=position, decimals=decimals
        )
    QuestionnaireVersion.objects.filter(pk=version.pk).update(
        published_at=timezone.now(), published_content="{}", sha256="0" * 64
    )


@pytest.fixture
def study() -> Study:
    """Eight people; pain comes typed, mood and alone only as sent, some answers are missing."""
    study = make_study(decimals=1)
    ask(study, mood=("slider", 2), alone=("yes_no", 0))
    draw = np.random.default_rng(3)
    for i in range(8):
        person = add_participant(study, f"P{i}")
        for number in range(30):
            phase = "baseline" if number < 12 else "treatment"
            prompt = add_prompt(person, number, phase)
            if draw.random() < 0.2:
                continue
            stress, craving, pain = (int(v) for v in draw.integers(0, 1001, 3))
            response = respond(prompt, stress if draw.random() < 0.9 else None, craving)
            mood = round(float(draw.integers(0, 10001)) / 100, 2)
            answers: list[dict[str, Any]] = [{"item": "mood", "value": mood}]
            if draw.random() < 0.9:
                answers.append({"item": "alone", "value": bool(draw.integers(2))})
            Response.objects.filter(pk=response.pk).update(pain=pain, answers=answers)
    return study


def rows_of(study: Study) -> list[dict[str, Any]]:
    found = []
    for r in Response.objects.filter(participant__study=study).select_related(
        "prompt", "prompt__phase", "participant"
    ):
        sent = {answer["item"]: answer["value"] for answer in r.answers}
        prompt = r.prompt
        assert prompt is not None
        found.append(
            {
                "who": r.participant.code,
                "phase": prompt.phase.key,
                "on": prompt.study_on,
                "day": prompt.study_day,
                "ordinal": prompt.ordinal,
                "stress": r.stress,
                "craving": r.craving,
                "pain": r.pain,
                "mood": round(sent["mood"] * 100) if "mood" in sent else None,
                "alone": int(sent["alone"]) if "alone" in sent else None,
            }
        )
    return found


def same(ours: Gram, rows: list[dict[str, Any]], columns: dict[str, Any]) -> None:
    """Bit for bit what Python's integers give."""
    kept = [row for row in rows if all(value(row) is not None for value in columns.values())]
    theirs = Gram.from_rows(
        [row["who"] for row in kept],
        {
            name: np.array([value(row) for row in kept], dtype=np.int64)
            for name, value in columns.items()
        },
    )
    assert ours.participants == theirs.participants
    assert ours.functions == theirs.functions
    assert ours.exact
    np.testing.assert_array_equal(ours.n, theirs.n)
    np.testing.assert_array_equal(ours.totals, theirs.totals)
    np.testing.assert_array_equal(ours.products, theirs.products)


def column(name: str) -> Any:
    return lambda row: row[name]


def test_any_two_items_are_summed_as_python_sums_them(study: Study) -> None:
    rows = rows_of(study)
    for x, y in (("pain", "craving"), ("mood", "stress"), ("craving", "alone")):
        gram = gram_of(Sources(study, Plan(predictor=x, outcome=y)))
        same(gram, rows, {x: column(x), y: column(y)})


def test_phases_and_adjustments_are_row_functions(study: Study) -> None:
    plan = Plan(phases=("treatment",), adjust_for=("study_day", "weekday", "prompt_number"))
    rows = [row for row in rows_of(study) if row["phase"] == "treatment"]
    same(
        gram_of(Sources(study, plan)),
        rows,
        {
            "stress": column("stress"),
            "craving": column("craving"),
            "@study_day": column("day"),
            "@prompt_number": column("ordinal"),
            **{
                f"@weekday_{d}": lambda row, d=d: int(row["on"].isoweekday() == d)
                for d in range(2, 8)
            },
        },
    )


def test_an_item_of_the_moment_comes_with_its_product(study: Study) -> None:
    plan = Plan(moderators=(Moderator("moment", "mood"),))

    def product(row: dict[str, Any]) -> int | None:
        return None if None in (row["stress"], row["mood"]) else row["stress"] * row["mood"]

    same(
        gram_of(Sources(study, plan)),
        rows_of(study),
        {
            "stress": column("stress"),
            "craving": column("craving"),
            "@mood": column("mood"),
            "stress*@mood": product,
        },
    )


def test_the_prompt_before_is_of_the_same_day_and_answered(study: Study) -> None:
    rows = rows_of(study)
    by_place: dict[tuple[str, str, date], dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        by_place[row["who"], row["phase"], row["on"]][row["ordinal"]] = row
    for row in rows:
        day = by_place[row["who"], row["phase"], row["on"]]
        before = day.get(row["ordinal"] - 1, {})
        row |= {"previous_stress": before.get("stress"), "previous_craving": before.get("craving")}
    plan = Plan(lag=1, adjust_for=("previous_outcome",))
    same(
        gram_of(Sources(study, plan)),
        rows,
        {
            name.removeprefix("@"): column(name.removeprefix("@"))
            for name in ("previous_stress", "craving")
        }
        | {"@previous_craving": column("previous_craving")},
    )


def test_every_response_is_counted_once(study: Study) -> None:
    for plan in (
        Plan(),
        Plan(lag=1, phases=("baseline",)),
        Plan(moderators=(Moderator("moment", "alone"),)),
    ):
        sources = Sources(study, plan)
        counted, gram = count(sources), gram_of(sources)
        assert (
            sum(sum(each.values()) for each in counted.by_reason.values())
            == Response.objects.count()
        )
        assert [counted.by_reason[""][str(code)] for code in gram.participants] == gram.n.tolist()
        levels = levels_of(sources)
        assert sum(level.n for level in levels) == gram.n.sum()
        assert sum(level.total for level in levels) == gram.totals[1].sum()


def test_a_baseline_is_the_mean_of_a_phase(study: Study) -> None:
    found = baseline_means(study, "mood", "baseline")
    rows = [row for row in rows_of(study) if row["phase"] == "baseline"]
    theirs = [row["mood"] for row in rows if row["who"] == "P3" and row["mood"] is not None]
    assert found["P3"] == pytest.approx(sum(theirs) / len(theirs) / 100, rel=1e-12)


def test_values_that_are_no_number_in_range_are_missing() -> None:
    study = make_study()
    ask(study, mood=("slider", 0))
    person = add_participant(study, "P1")
    for number, value in enumerate([50, "high", 101, -1, None, [3], {"a": 1}, 1e300, 7]):
        response = respond(add_prompt(person, number), 1, 2)
        Response.objects.filter(pk=response.pk).update(answers=[{"item": "mood", "value": value}])
    sources = Sources(study, Plan(predictor="mood", outcome="craving"))
    assert gram_of(sources).n.tolist() == [2]
    assert dict(count(sources).by_reason["missing_mood"]) == {"P1": 7}


def test_no_statement_reads_an_arm_or_an_allocation() -> None:
    study = make_trial(masking="double_blind", n=4)
    plan = Plan(lag=1, adjust_for=("weekday",))
    with CaptureQueriesContext(
        connection,
    ) as seen:
        sources = Sources(study, plan)
        gram_of(sources), count(sources), levels_of(sources)
        baseline_means(study, "stress", "baseline")
    statements = [query["sql"] for query in seen.captured_queries]
    assert len(statements) > 4
    assert not [sql for sql in statements if "ema_allocation" in sql or "ema_arm" in sql]
