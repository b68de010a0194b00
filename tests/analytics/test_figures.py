"""Figures and sentences of a comparison."""

import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.figures import Axis, round_step, signed
from analytics.figures_forest import forest
from analytics.wording import sentences

VALUES = st.floats(-1000, 1000).filter(lambda value: value == 0 or abs(value) > 1e-6)


def report(low: float = -0.4, high: float = -0.1, arm: str = "clonidine") -> dict[str, Any]:
    middle = (low + high) / 2
    return {
        "arms": [
            {"arm": "placebo", "n": 6, "coupling": 0.6, "interval": [0.5, 0.7]},
            {"arm": arm, "n": 6, "coupling": 0.6 + middle, "interval": [0.3, 0.5]},
        ],
        "contrasts": [
            {
                "arm": arm,
                "reference": "placebo",
                "difference": middle,
                "p": 0.01,
                "interval": [low, high],
            }
        ],
    }


def test_a_forest_plot_is_well_formed_and_told_in_words() -> None:
    root = ET.fromstring(forest(report()))  # noqa: S314 - our own text
    names = [element.tag.rpartition("}")[2] for element in root]
    assert names[:2] == ["title", "desc"]
    assert "clonidine minus placebo: −0.250 (−0.400 to −0.100)" in str(root[1].text)
    assert root.get("role") == "img"


def test_a_forest_plot_needs_no_inline_style_or_script() -> None:
    drawn = forest(report())
    assert "style=" not in drawn
    assert "<script" not in drawn


def test_an_arm_with_markup_in_its_name_is_written_out() -> None:
    drawn = forest(report(arm="<script>alert('x')</script>"))
    ET.fromstring(drawn)  # noqa: S314 - our own text
    assert "<script" not in drawn


@given(st.lists(VALUES, min_size=1, max_size=6))
def test_an_axis_holds_zero_and_every_value_at_round_ticks(values: list[float]) -> None:
    axis = Axis.around(values)
    slack = 1e-6 * (axis.ticks[-1] - axis.ticks[0])
    assert axis.ticks[0] <= min(0, *values) + slack
    assert axis.ticks[-1] >= max(0, *values) - slack
    assert 2 <= len(axis.ticks) <= 7


@pytest.mark.parametrize(("least", "step"), [(0.1, 0.1), (0.11, 0.2), (0.3, 0.5), (7, 10)])
def test_steps_are_one_two_or_five(least: float, step: float) -> None:
    assert round_step(least) == pytest.approx(step)


def test_a_number_has_a_true_minus_and_never_a_negative_zero() -> None:
    assert (signed(-0.25), signed(0.25), signed(-0.0001)) == ("−0.250", "0.250", "0.000")


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.4, -0.1, ": it is weaker under clonidine."),
        (0.1, 0.4, ": it is stronger under clonidine."),
        (-0.9, -0.7, ": it is weaker under clonidine, so much that its direction is the opposite"),
        (-0.4, 0.1, "The interval holds zero: these data fit a weaker coupling as well as"),
    ],
)
def test_a_difference_is_said_with_its_direction_and_interval(
    low: float, high: float, words: str
) -> None:
    first, second = sentences(report(low, high))
    assert "0.600 points higher [0.500 to 0.700] under placebo and" in first
    assert words in second
    assert "95 % interval" in second
    assert "no difference" not in second


def test_a_negative_coupling_is_lower_or_higher_and_not_weaker() -> None:
    told = report(-0.4, -0.1)
    told["arms"][0]["coupling"] = -0.2
    assert ": it is lower under clonidine." in sentences(told)[1]
    told = report(-0.4, 0.1)
    told["arms"][0]["coupling"] = -0.2
    assert "these data fit a lower coupling as well as a higher one" in sentences(told)[1]


def test_a_share_names_the_way_of_each_end() -> None:
    told = report(-0.4, 0.1)
    told["contrasts"][0]["attenuation"] = {"estimate": 0.25, "interval": [-0.1, 0.6]}
    assert "is 25 % weaker (95 % interval 10 % stronger to 60 % weaker)" in sentences(told)[1]


def test_an_exploratory_comparison_and_one_of_several_arms_say_so() -> None:
    told = report() | {"exploratory": True}
    told["several_arms"] = {
        "omnibus": {"f": 4.0, "numerator_df": 2, "df": 30.0, "p": 0.03},
        "against_reference": [{"arm": "clonidine", "p": 0.012}],
    }
    _, exploratory, together, one = sentences(told)
    assert exploratory == "This comparison is exploratory: it raises questions and settles none."
    assert "differ at all: F(2, 30.0) = 4.00, p = 0.0300." in together
    assert "judged together with the other arms p = 0.0120)" in one


def test_one_group_has_its_coupling_with_an_interval_and_nothing_to_compare() -> None:
    alone = {"arm": None, "n": 6, "coupling": -0.1, "interval": [-0.2, 0.05]}
    (said,) = sentences({"arms": [alone], "contrasts": [], "exploratory": True})
    assert "is on average 0.100 points lower [−0.200 to 0.050] in this group" in said
