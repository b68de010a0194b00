"""Gram: exact for integers, the same however rows are cut, and the sums of moments for two."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.gram import Gram
from analytics.moments import Moments

values = st.integers(-100, 100)
rows = st.lists(st.tuples(st.sampled_from("abcd"), values, values, values), min_size=2, max_size=40)
decimals = st.floats(-1e3, 1e3)
decimal_rows = st.lists(
    st.tuples(st.sampled_from("abc"), decimals, decimals, decimals), min_size=2, max_size=30
)
NAMES = ("stress", "pain", "stress*pain")


def gram_of(tuples: list[tuple[str, Any, Any, Any]]) -> Gram:
    who, *columns = zip(*tuples, strict=True)
    return Gram.from_rows(
        who, {name: np.array(column) for name, column in zip(NAMES, columns, strict=True)}
    )


def same_bits(one: Gram, other: Gram) -> bool:
    return one.participants == other.participants and all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("n", "totals", "products")
    )


@given(rows, st.randoms())
def test_the_order_of_integer_rows_changes_no_bit(tuples: list[Any], random: Any) -> None:
    shuffled = list(tuples)
    random.shuffle(shuffled)
    assert gram_of(tuples).exact
    assert same_bits(gram_of(tuples), gram_of(shuffled))


@given(rows, st.data())
def test_merged_integer_shards_are_the_whole_bit_for_bit(
    tuples: list[Any], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(tuples) - 1))
    assert same_bits(gram_of(tuples), gram_of(tuples[cut:]).merge(gram_of(tuples[:cut])))


@given(decimal_rows, st.data())
def test_merged_decimal_shards_are_the_whole_to_rounding(
    tuples: list[Any], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(tuples) - 1))
    whole = gram_of(tuples).centred()
    merged = gram_of(tuples[cut:]).merge(gram_of(tuples[:cut])).centred()
    assert merged.participants == whole.participants
    np.testing.assert_allclose(merged.mean, whole.mean, atol=1e-9)
    np.testing.assert_allclose(merged.ss, whole.ss, rtol=1e-9, atol=1e-6)


@given(rows)
def test_sums_about_means_are_those_of_the_rows(tuples: list[Any]) -> None:
    centred = gram_of(tuples).centred({"stress": 10})
    for i, label in enumerate(centred.participants):
        mine = np.array([row[1:] for row in tuples if row[0] == label]) / [10, 1, 10]
        np.testing.assert_allclose(centred.mean[:, i], mine.mean(axis=0), atol=1e-12)
        away = mine - mine.mean(axis=0)
        np.testing.assert_allclose(centred.ss[:, :, i], away.T @ away, rtol=1e-9, atol=1e-9)


def test_moments_are_the_gram_of_two_functions() -> None:
    who, x, y = ["b", "a", "b", "a"], np.array([1, 2, 5, 4]), np.array([3, 1, 4, 1])
    moments = Moments.from_rows(who, x, y)
    gram = Gram.from_moments(moments, "x", "y")
    assert same_bits(gram, Gram.from_rows(who, {"x": x, "y": y}))
    within, centred = moments.within(2, 1), gram.centred({"x": 2})
    np.testing.assert_array_equal(within.ss_xy, centred.ss_of("x", "y"))
    np.testing.assert_array_equal(within.mean_x, centred.mean_of("x"))


def test_constant_decimals_have_no_variation_at_all() -> None:
    gram = Gram.from_rows(["a"] * 7, {"x": [3.3] * 7, "y": [1, 2, 3, 4, 5, 6, 7.5]})
    assert gram.centred().ss_of("x", "x").tolist() == [0.0]
    assert gram.centred().ss_of("x", "y").tolist() == [0.0]


def test_people_are_selected_in_the_order_asked_and_strangers_refused() -> None:
    gram = gram_of([("a", 1, 2, 2), ("b", 3, 4, 12), ("a", 5, 6, 30)])
    assert gram.select(["b", "a"]).n.tolist() == [1, 2]
    with pytest.raises(ValueError, match="no sums for participant 'c'"):
        gram.select(["c"])


def test_what_cannot_be_summed_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="x of row 1 is nan"):
        Gram.from_rows(["a", "a"], {"x": [1.0, np.nan]})
    with pytest.raises(ValueError, match="one value for each row"):
        Gram.from_rows(["a"], {"x": [1, 2]})
    with pytest.raises(ValueError, match="pass them as floats"):
        Gram.from_rows(["a", "a"], {"x": [2**40, 1]})
    with pytest.raises(ValueError, match="no sums of 'sleep'; there are sums of stress, pain"):
        gram_of([("a", 1, 2, 2), ("a", 3, 4, 12)]).centred().mean_of("sleep")
    one = Gram.from_rows(["a"], {"x": [1]})
    with pytest.raises(ValueError, match="cannot be merged"):
        one.merge(Gram.from_rows(["a"], {"y": [1]}))
    with pytest.raises(ValueError, match="scales must be positive, not x 0"):
        one.centred({"x": 0})
