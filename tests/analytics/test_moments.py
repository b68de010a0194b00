"""Moments: exact for integers, steady for decimals, the same however the rows are cut."""

from decimal import Decimal
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.moments import Moments

SUMS = ("n", "sum_x", "sum_y", "sum_xx", "sum_xy", "sum_yy")
Rows = list[tuple[str, Any, Any]]
rows = st.lists(
    st.tuples(st.sampled_from("abcde"), st.integers(-1000, 1000), st.integers(-1000, 1000)),
    min_size=1,
    max_size=60,
)
decimal_rows = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)),
    min_size=1,
    max_size=40,
)


def moments_of(triples: Rows) -> Moments:
    participant, x, y = zip(*triples, strict=True)
    return Moments.from_rows(participant, np.array(x), np.array(y))


def same_bits(left: Moments, right: Moments) -> bool:
    return left.participants == right.participants and all(
        np.array_equal(getattr(left, name), getattr(right, name))
        and getattr(left, name).dtype == getattr(right, name).dtype
        for name in SUMS
    )


def test_sums_are_taken_by_participant_in_sorted_order() -> None:
    moments = moments_of([("b", 2, 3), ("a", 1, 5), ("b", 4, 7)])
    assert moments.participants == ("a", "b")
    assert moments.exact
    assert [getattr(moments, name).tolist() for name in SUMS] == [
        [1, 2],
        [1, 6],
        [5, 10],
        [1, 20],
        [5, 34],
        [25, 58],
    ]
    assert moments.mean_x.tolist() == [1, 3]
    assert moments.within().ss_xx.tolist() == [0, 2]
    assert moments.within().ss_xy.tolist() == [0, 4]


@given(rows, st.randoms())
def test_the_order_of_integer_rows_changes_no_bit(triples: Rows, random: Random) -> None:
    shuffled = list(triples)
    random.shuffle(shuffled)
    assert same_bits(moments_of(triples), moments_of(shuffled))


@given(rows, st.data())
def test_merged_integer_shards_are_the_whole_bit_for_bit(
    triples: Rows, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(triples)))
    if cut == len(triples):
        return
    merged = moments_of(triples[cut:]).merge(moments_of(triples[:cut]))
    assert same_bits(moments_of(triples), merged)


@given(decimal_rows, st.data())
def test_merged_decimal_shards_are_the_whole_to_rounding(
    triples: Rows, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(triples)))
    if cut == len(triples):
        return
    whole = moments_of(triples).within()
    merged = moments_of(triples[:cut]).merge(moments_of(triples[cut:])).within()
    for name in ("n", "mean_x", "mean_y", "ss_xx", "ss_xy", "ss_yy"):
        np.testing.assert_allclose(
            getattr(merged, name), getattr(whole, name), rtol=1e-9, atol=1e-6
        )


@given(rows, st.integers(-500, 500), st.integers(-500, 500))
def test_shifting_both_items_leaves_the_centred_sums_as_they_are(
    triples: Rows, by_x: int, by_y: int
) -> None:
    shifted = moments_of([(p, x + by_x, y + by_y) for p, x, y in triples])
    for name in ("ss_xx", "ss_xy", "ss_yy"):
        np.testing.assert_allclose(
            getattr(shifted.within(), name), getattr(moments_of(triples).within(), name), rtol=1e-14
        )


@given(rows)
def test_a_stored_integer_with_one_decimal_is_the_decimal_itself(triples: Rows) -> None:
    stored = moments_of(triples).within(x_scale=10, y_scale=10)
    plain = moments_of([(p, x / 10, y / 10) for p, x, y in triples]).within()
    for name in ("mean_x", "mean_y", "ss_xx", "ss_xy", "ss_yy"):
        np.testing.assert_allclose(
            getattr(stored, name), getattr(plain, name), rtol=1e-12, atol=1e-9
        )


def test_integers_too_large_for_64_bit_products_stay_exact() -> None:
    x = np.array([2**24, 2**24 + 1, 2**24 + 2] * 200)
    moments = Moments.from_rows(["a"] * 600, x, x)
    assert moments.exact
    assert 600 * int(moments.sum_xx[0]) > 2**63
    assert moments.within().ss_xx.tolist() == [400.0]


def test_integers_that_cannot_be_summed_in_64_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="pass them as floats"):
        Moments.from_rows(["a", "a"], [2**31, 2**32], [1, 2])


def test_decimals_on_a_large_mean_keep_their_spread() -> None:
    rng = np.random.default_rng(1)
    x = 1e9 + rng.normal(size=50)
    within = Moments.from_rows(["a"] * 50, x, x).within()
    exact = float(np.sum((x - 1e9 - np.mean(x - 1e9)) ** 2))
    np.testing.assert_allclose(within.ss_xx, [exact], rtol=1e-9)


@pytest.mark.parametrize("value", [30.4, 0.1, 1e6 / 3])
def test_a_constant_decimal_has_no_spread_at_all(value: float) -> None:
    column = np.full(49, value)
    assert Moments.from_rows(["a"] * 49, column, column).within().ss_xx.tolist() == [0.0]
    sums = [column.sum()] * 2 + [(column**2).sum()] * 3
    assert Moments.from_sums([("a", 49, *sums)]).within().ss_xx.tolist() == [0.0]


def test_whole_numbers_summed_by_a_database_are_exact() -> None:
    row = ("b", 2, *map(Decimal, (6, 10, 20, 34, 58)))
    assert same_bits(Moments.from_sums([row]), moments_of([("b", 2, 3), ("b", 4, 7)]))
    assert not Moments.from_sums([(*row[:-1], Decimal("58.25"))]).exact
    assert Moments.from_sums([]).participants == ()


def test_participants_without_pairs_merge_and_have_no_spread() -> None:
    empty = Moments.from_sums([("z", 0, 0, 0, 0, 0, 0)])
    merged = empty.merge(moments_of([("a", 1, 2), ("a", 2, 2)]))
    assert merged.participants == ("a", "z")
    assert merged.within().ss_xx.tolist() == [0.5, 0.0]


def test_selected_moments_come_in_the_order_asked_for() -> None:
    moments = moments_of([("a", 1, 1), ("b", 2, 2), ("c", 3, 3)])
    assert moments.select(["c", "a"]).sum_x.tolist() == [3, 1]
    with pytest.raises(ValueError, match="no moments for participant 'd'"):
        moments.select(["d"])


@pytest.mark.parametrize(
    ("participant", "x", "y", "words"),
    [
        (["a"], [1.0], [float("nan")], "y of row 0 is nan"),
        (["a", "a"], [1.0, float("inf")], [1, 2], "x of row 1 is inf"),
        (["a"], [1, 2], [1, 2], "the same number of rows"),
    ],
)
def test_rows_that_are_no_pairs_are_refused(
    participant: list[str], x: list[float], y: list[float], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Moments.from_rows(participant, x, y)


def test_sums_that_do_not_belong_together_are_refused() -> None:
    one = np.ones(1, dtype=np.int64)
    with pytest.raises(ValueError, match="one entry for each of the 2 participants"):
        Moments(("a", "b"), one, one, one, one, one, one)
    with pytest.raises(ValueError, match="occurs twice"):
        Moments.from_sums([("a", 1, 1, 1, 1, 1, 1)] * 2)
    with pytest.raises(ValueError, match="negative"):
        Moments.from_sums([("a", -1, 1, 1, 1, 1, 1)])
    with pytest.raises(ValueError, match="scales must be positive"):
        moments_of([("a", 1, 1)]).within(x_scale=0)
