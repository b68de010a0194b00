"""Conditions: what holds, what is refused, and that Python and JavaScript agree."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from ema import branching

VECTORS = Path(settings.BASE_DIR) / "docs/questionnaires/branching.json"
SCRIPT = Path(settings.BASE_DIR) / "ema/static/ema/branching.js"
CASES = json.loads(VECTORS.read_text(encoding="utf-8"))["cases"]
ITEMS: dict[str, dict[str, Any]] = {
    "event": {"key": "event", "kind": "yes_no"},
    "stress": {"key": "stress", "kind": "slider", "minimum": 0, "maximum": 100},
    "company": {"key": "company", "kind": "multiple", "options": [{"value": "kids"}, {"value": 2}]},
    "place": {"key": "place", "kind": "single", "options": [{"value": "home"}]},
    "note": {"key": "note", "kind": "text"},
}

scalars = st.none() | st.booleans() | st.integers(-5, 105) | st.sampled_from(["home", "kids", "1"])
values = scalars | st.lists(scalars, max_size=3)
keys = st.sampled_from(["a", "b", "c", "d"])
terms = (
    st.builds(lambda k, v: {"item": k, "is": v}, keys, scalars.filter(lambda v: v is not None))
    | st.builds(lambda k, v: {"item": k, "answered": v}, keys, st.booleans())
    | st.builds(lambda k, v: {"item": k, "includes": v}, keys, st.integers(0, 3))
    | st.builds(
        lambda k, o, v: {"item": k, o: v},
        keys,
        st.sampled_from(branching.COMPARED),
        st.integers(-5, 105) | st.floats(-5, 105),
    )
)
conditions = st.recursive(
    terms,
    lambda parts: (
        st.builds(lambda c: {"not": c}, parts)
        | st.builds(
            lambda n, c: {n: c}, st.sampled_from(["all", "any"]), st.lists(parts, min_size=1)
        )
    ),
    max_leaves=6,
).filter(branching.is_readable)
answered = st.dictionaries(keys, values)
anything = st.recursive(
    scalars,
    lambda e: st.lists(e, max_size=3) | st.dictionaries(st.text(max_size=8), e),
    max_leaves=8,
)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_vectors_hold(case: dict[str, Any]) -> None:
    assert branching.shown(case["items"], case["answers"]) == case["shown"]


def in_javascript(cases: list[dict[str, Any]]) -> list[list[str]]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node here: the JavaScript is not run")
    program = (
        "const b = require(process.argv[1]);"
        "const cases = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));"
        "console.log(JSON.stringify(cases.map((c) => b.shown(c.items, c.answers))));"
    )
    ran = subprocess.run(
        [node, "-e", program, str(SCRIPT)],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: list[list[str]] = json.loads(ran.stdout)
    return found


def test_javascript_agrees_on_the_vectors() -> None:
    assert in_javascript(CASES) == [case["shown"] for case in CASES]


def test_javascript_agrees_on_drawn_questionnaires() -> None:
    cases: list[dict[str, Any]] = []

    @given(st.lists(conditions | anything, min_size=1, max_size=4), answered)
    def draw(drawn: list[Any], answers: dict[str, Any]) -> None:
        items = [{"key": key, "show_if": c} for key, c in zip("abcd", drawn, strict=False)]
        cases.append({"items": items, "answers": answers})

    draw()
    assert len(cases) > 50
    expected = [branching.shown(case["items"], case["answers"]) for case in cases]
    assert in_javascript(cases) == expected


@given(conditions, answered)
def test_not_turns_every_condition_round(
    condition: dict[str, Any], answers: dict[str, Any]
) -> None:
    assert branching.holds({"not": condition}, answers) is not branching.holds(condition, answers)


@given(st.lists(conditions, min_size=1, max_size=4), answered)
def test_all_and_any_are_each_others_opposites(
    parts: list[dict[str, Any]], answers: dict[str, Any]
) -> None:
    none_holds = {"all": [{"not": part} for part in parts]}
    assert branching.holds({"any": parts}, answers) is not branching.holds(none_holds, answers)


@given(st.lists(conditions, min_size=4, max_size=4), answered, values)
def test_an_answer_to_a_hidden_item_changes_nothing(
    drawn: list[dict[str, Any]], answers: dict[str, Any], value: Any
) -> None:
    items = [{"key": key, "show_if": c} for key, c in zip("abcd", drawn, strict=True)]
    before = branching.shown(items, answers)
    for key in {"a", "b", "c", "d"} - set(before):
        assert branching.shown(items, {**answers, key: value}) == before


@given(anything, answered)
def test_any_json_is_judged_and_never_breaks(condition: Any, answers: dict[str, Any]) -> None:
    assert branching.shown([{"key": "a", "show_if": condition}], answers) in ([], ["a"])
    branching.faults(condition, ITEMS)


@given(conditions)
def test_a_condition_in_order_means_the_same(condition: dict[str, Any]) -> None:
    assert branching.normal(condition) == condition


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"item": "event", "is": True},
        {"item": "stress", "at_least": 50},
        {"item": "company", "includes": 2},
        {"all": [{"item": "place", "is": "home"}, {"not": {"item": "note", "answered": False}}]},
    ],
)
def test_a_condition_that_makes_sense_is_taken(condition: dict[str, Any]) -> None:
    assert branching.faults(condition, ITEMS) == []


@pytest.mark.parametrize(
    ("condition", "at", "sentence"),
    [
        ({"item": "later", "is": True}, "", "'later' is not an item before this one"),
        ({"item": "event", "is": 1}, "", "'event' is true or false"),
        ({"item": "event", "at_least": 1}, "", "can be compared by is or answered only"),
        ({"item": "stress", "at_least": "much"}, "/at_least", "compares with a number"),
        ({"item": "stress", "above": 101}, "", "101 is outside the range"),
        ({"item": "stress", "is": "50"}, "", "'stress' is a number"),
        (
            {"item": "company", "includes": "boss"},
            "",
            "'boss' is not a choice of 'company': kids, 2",
        ),
        ({"item": "note", "is": "x"}, "", "can be compared by answered only"),
        ({"item": "note", "answered": "x"}, "/answered", "true or false"),
        ({"any": []}, "/any", "at least one condition"),
        ({"all": [{"item": "event"}]}, "/all/0", 'Write {"all"'),
        ({"all": [{"not": {"item": "x", "is": 1}}]}, "/all/0/not", "'x' is not an item before"),
        ("event", "", "A condition is an object"),
        (None, "", "A condition is an object"),
    ],
)
def test_a_condition_without_sense_is_refused_in_words(
    condition: Any, at: str, sentence: str
) -> None:
    [(place, said)] = branching.faults(condition, ITEMS)
    assert place == at
    assert sentence in said
