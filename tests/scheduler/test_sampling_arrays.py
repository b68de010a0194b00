"""Many days at once are the same days, bit for bit, as one at a time."""

from datetime import date, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.sampling import DESIGNS, below, draws_needed, sample, seeded_draws
from scheduler.sampling_arrays import Draws, draws_for_days, sample_days
from scheduler.sampling_arrays import below as below_of_arrays

RANDOM_DESIGNS = [design for design in DESIGNS if design != "fixed"]
SEED = bytes(range(32))
SOMEONE = UUID("6f1c2b1e-0c57-4d0e-9a75-2f4f0c8a9b11")
TOP = 2**64 - 1

u64 = st.integers(0, TOP) | st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**63, TOP - 1, TOP])
lengths = st.integers(1, 90_000) | st.integers(1, 2**32 - 1)
gaps = st.integers(0, 8 * 3600) | st.integers(0, 2**40)


def rows_of(values: list[int], columns: int) -> Draws:
    return np.array(values, dtype=np.uint64).reshape(-1, columns)


# Draws


@given(
    st.binary(min_size=32, max_size=32),
    st.text(min_size=1).filter(lambda text: text.isprintable()),
    st.lists(st.tuples(st.uuids(), st.dates(), st.integers(1, 3)), max_size=5),
    st.integers(0, 13),
)
def test_the_draws_of_many_days_are_those_of_each_day(
    seed: bytes, stream: str, stretches: list[tuple[UUID, date, int]], count: int
) -> None:
    days = [
        (person, date.fromordinal(max(1, first_on.toordinal() - number)))
        for person, first_on, length in stretches
        for number in range(length)
    ]
    drawn = draws_for_days(
        seed, stream, [person for person, _ in days], [study_on for _, study_on in days], count
    )
    assert drawn.shape == (len(days), count)
    assert drawn.dtype == np.dtype(np.uint64)  # of this machine, not big-endian
    assert [tuple(row) for row in drawn.tolist()] == [
        seeded_draws(seed, stream, person, study_on, count) for person, study_on in days
    ]


def test_participants_who_alternate_keep_their_own_draws() -> None:
    one, other, on = SOMEONE, UUID(int=1), date(2026, 6, 1)
    drawn = draws_for_days(SEED, "treatment", [one, other, one], [on, on, on], 4)
    assert drawn.tolist()[0] == drawn.tolist()[2] != drawn.tolist()[1]
    assert drawn[0, 0] == 2985206608075623708  # the day worked out in docs/sampling.md


# Offsets


@given(st.lists(u64, min_size=1, max_size=20), st.integers(1, 2**32 - 1))
def test_below_is_exact(values: list[int], n: int) -> None:
    mapped = below_of_arrays(np.array(values, dtype=np.uint64), n)
    assert mapped.tolist() == [below(u, n) for u in values]


@given(st.data(), st.sampled_from(RANDOM_DESIGNS), lengths, st.integers(1, 12), gaps)
def test_the_offsets_of_many_days_are_those_of_each_day(
    data: st.DataObject, design: str, length: int, prompts: int, gap: int
) -> None:
    columns = draws_needed(design, prompts) + data.draw(st.integers(0, 2))
    days = data.draw(st.integers(0, 4))
    values = data.draw(st.lists(u64, min_size=days * columns, max_size=days * columns))
    draws = rows_of(values, columns)
    before = draws.copy()
    offsets, relaxed = sample_days(
        design, length=length, prompts=prompts, minimum_gap=gap, draws=draws
    )
    assert offsets.dtype == np.int64
    assert offsets.shape == (days, prompts)
    for row, u in zip(offsets.tolist(), draws.tolist(), strict=True):
        one = sample(design, length=length, prompts=prompts, minimum_gap=gap, draws=u)
        assert (tuple(row), relaxed) == one
    assert (draws == before).all()


@pytest.mark.parametrize("design", RANDOM_DESIGNS)
@pytest.mark.parametrize("minimum_gap", [0, 1800, 3600, 7200, 12_600, 12_601])
def test_five_thousand_days_of_a_study_are_the_same(design: str, minimum_gap: int) -> None:
    """From the seed to the offsets, at gaps that fit easily, just fit, and just do not."""
    people = [UUID(int=person, version=4) for person in range(50) for _ in range(100)]
    dates = [date(2026, 1, 1) + timedelta(number) for _ in range(50) for number in range(100)]
    needed = draws_needed(design, 4)
    draws = draws_for_days(SEED, "treatment", people, dates, needed)
    common: dict[str, Any] = {"length": 50_400, "prompts": 4, "minimum_gap": minimum_gap}
    offsets, relaxed = sample_days(design, draws=draws, **common)
    for number, (person, study_on) in enumerate(zip(people, dates, strict=True)):
        u = seeded_draws(SEED, "treatment", person, study_on, needed)
        assert sample(design, draws=u, **common) == (tuple(offsets[number].tolist()), relaxed)


# Refusals


@pytest.mark.parametrize(
    ("design", "length", "prompts", "gap", "words"),
    [
        ("circle", 50_400, 0, 0, "at least 1 prompt"),
        ("circle", 50_400, 4, -1, "cannot be negative"),
        ("circle", 0, 4, 0, "at least 1 second"),
        ("cricle", 50_400, 4, 0, "choose one of circle, uniform"),
        ("fixed", 50_400, 4, 0, "local times of its own"),
        ("stratified_rotated", 50_400, 5, 0, "needs 6 draws; there are 5"),
        ("uniform", 2**32, 4, 0, "lasts less than 4294967296 seconds"),
    ],
)
def test_nonsense_is_refused_in_words(
    design: str, length: int, prompts: int, gap: int, words: str
) -> None:
    draws = np.zeros((2, 5), dtype=np.uint64)
    with pytest.raises(ValueError, match=words):
        sample_days(design, length=length, prompts=prompts, minimum_gap=gap, draws=draws)


@pytest.mark.parametrize("draws", [np.zeros((2, 4), dtype=np.int64), np.zeros(4, dtype=np.uint64)])
def test_draws_of_another_shape_or_kind_are_refused(draws: Any) -> None:
    with pytest.raises(ValueError, match="one row for each day"):
        sample_days("circle", length=50_400, prompts=4, minimum_gap=0, draws=draws)


def test_draws_refuse_what_the_draws_of_one_day_refuse() -> None:
    people, dates = [SOMEONE], [date(2026, 1, 1)]
    with pytest.raises(ValueError, match="32 bytes; this one has 31"):
        draws_for_days(SEED[1:], "baseline", people, dates, 4)
    with pytest.raises(ValueError, match="needs a name"):
        draws_for_days(SEED, "", people, dates, 4)
    with pytest.raises(ValueError, match="0 or more"):
        draws_for_days(SEED, "baseline", people, dates, -1)
    with pytest.raises(ValueError, match="1 participants and 2 dates"):
        draws_for_days(SEED, "baseline", people, dates * 2, 4)
