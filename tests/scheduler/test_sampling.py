"""Prompt times as seconds: counts, gaps, uniformity, and a stream anyone can recompute."""

import hashlib
import inspect
import json
from collections import Counter
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise, product
from operator import itemgetter
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from scheduler.sampling import (
    DESIGNS,
    below,
    draws_needed,
    inclusion_probability,
    sample,
    seeded_draws,
    why_infeasible,
)

RANDOM_DESIGNS = [design for design in DESIGNS if design != "fixed"]
GAP_KEEPING = ["circle", "stratified_rotated"]
SEED = bytes(range(32))
SOMEONE = UUID("6f1c2b1e-0c57-4d0e-9a75-2f4f0c8a9b11")
VECTORS = json.loads((Path(__file__).parents[1] / "golden/schedule_vectors.json").read_text())

lengths = st.integers(1, 90_000)
prompt_counts = st.integers(1, 12)
gaps = st.integers(0, 8 * 3600)
u64 = st.integers(0, 2**64 - 1)


def drawn(data: st.DataObject, design: str, prompts: int) -> list[int]:
    count = draws_needed(design, prompts)
    return data.draw(st.lists(u64, min_size=count, max_size=count))


def drawing(index: int, n: int) -> int:
    """The smallest 64-bit draw that `below` maps onto `index` of n."""
    return -(-(index << 64) // n)


# Shape


@given(st.data(), st.sampled_from(RANDOM_DESIGNS), lengths, prompt_counts, gaps)
def test_every_day_has_its_prompts_in_order_inside_the_windows(
    data: st.DataObject, design: str, length: int, prompts: int, gap: int
) -> None:
    draws = drawn(data, design, prompts)
    offsets, _ = sample(design, length=length, prompts=prompts, minimum_gap=gap, draws=draws)
    assert len(offsets) == prompts
    assert list(offsets) == sorted(offsets)
    assert 0 <= offsets[0] <= offsets[-1] < length


@given(st.data(), st.sampled_from(GAP_KEEPING), lengths, prompt_counts, gaps)
def test_the_gap_is_kept_or_relaxed_to_what_the_day_can_hold_and_flagged(
    data: st.DataObject, design: str, length: int, prompts: int, gap: int
) -> None:
    draws = drawn(data, design, prompts)
    offsets, relaxed = sample(design, length=length, prompts=prompts, minimum_gap=gap, draws=draws)
    assert relaxed == (prompts * gap > length)
    kept = length // prompts if relaxed else gap
    around = [*offsets, offsets[0] + length]
    assert all(later - earlier >= kept for earlier, later in pairwise(around))


@given(st.data(), st.sampled_from(["uniform", "stratified"]), lengths, prompt_counts, gaps)
def test_designs_without_a_gap_ignore_it(
    data: st.DataObject, design: str, length: int, prompts: int, gap: int
) -> None:
    draws = drawn(data, design, prompts)
    with_gap = sample(design, length=length, prompts=prompts, minimum_gap=gap, draws=draws)
    without = sample(design, length=length, prompts=prompts, minimum_gap=0, draws=draws)
    assert with_gap == without
    assert not with_gap.gap_relaxed


@given(st.data(), st.integers(1, 20_000), prompt_counts)
def test_stratified_has_one_prompt_in_each_equal_block(
    data: st.DataObject, block: int, prompts: int
) -> None:
    draws = drawn(data, "stratified", prompts)
    offsets, _ = sample(
        "stratified", length=block * prompts, prompts=prompts, minimum_gap=0, draws=draws
    )
    assert [offset // block for offset in offsets] == list(range(prompts))
    within = [below(u, block) for u in draws]
    assert [offset % block for offset in offsets] == within


@given(st.data(), st.integers(2, 12), st.integers(0, 3600), st.integers(0, 50_000))
def test_stratified_rotated_is_never_further_than_two_blocks_less_a_gap(
    data: st.DataObject, prompts: int, gap: int, spare: int
) -> None:
    length = prompts * gap + spare + prompts
    draws = drawn(data, "stratified_rotated", prompts)
    offsets, _ = sample(
        "stratified_rotated", length=length, prompts=prompts, minimum_gap=gap, draws=draws
    )
    around = [*offsets, offsets[0] + length]
    block = -(-length // prompts)
    assert all(later - earlier <= 2 * block - gap for earlier, later in pairwise(around))


@given(u64, st.integers(1, 10**6))
def test_below_stays_below(u: int, n: int) -> None:
    assert 0 <= below(u, n) < n
    assert below(0, n) == 0
    assert below(2**64 - 1, n) == n - 1


# Uniformity


@pytest.mark.parametrize(
    ("design", "length", "prompts", "gap", "ranges"),
    [
        ("uniform", 7, 3, 0, [7, 7, 7]),
        ("stratified", 12, 3, 0, [12, 12, 12]),
        ("stratified", 11, 3, 0, [11, 11, 11]),
        ("circle", 12, 3, 2, [12, 7, 7]),
        ("circle", 13, 4, 3, [13, 2, 2, 2]),
        ("circle", 10, 3, 4, [10, 2, 2]),
        ("stratified_rotated", 12, 3, 2, [12, 3, 3, 3]),
        ("stratified_rotated", 14, 4, 1, [14, 3, 3, 3, 3]),
        ("stratified_rotated", 11, 3, 9, [11, 1, 1, 1]),
    ],
)
def test_every_second_is_exactly_equally_likely(
    design: str, length: int, prompts: int, gap: int, ranges: list[int]
) -> None:
    """Enumerates every equally likely outcome of the draws; also with a relaxed gap."""
    seen: Counter[int] = Counter()
    for indices in product(*(range(n) for n in ranges)):
        draws = [drawing(i, n) for i, n in zip(indices, ranges, strict=True)]
        seen.update(
            sample(design, length=length, prompts=prompts, minimum_gap=gap, draws=draws).offsets
        )
    assert len(seen) == length
    assert len(set(seen.values())) == 1


DAYS = 40_000
LENGTH, PROMPTS, GAP = 14 * 3600, 4, 3600


@pytest.fixture(scope="module", params=RANDOM_DESIGNS)
def many_days(request: pytest.FixtureRequest) -> list[tuple[int, ...]]:
    """Forty thousand days of a fixed seed: 400 participants for 100 days."""
    needed = draws_needed(request.param, PROMPTS)
    return [
        sample(request.param, length=LENGTH, prompts=PROMPTS, minimum_gap=GAP, draws=draws).offsets
        for person in range(DAYS // 100)
        for day in range(100)
        for draws in [
            seeded_draws(
                SEED, "treatment/1", UUID(int=person), date(2026, 1, 1) + timedelta(day), needed
            )
        ]
    ]


def test_the_time_of_a_prompt_is_uniform_over_the_day(many_days: list[tuple[int, ...]]) -> None:
    """Kolmogorov-Smirnov on one prompt per day, so that the values are independent."""
    one_a_day = [offsets[i % PROMPTS] for i, offsets in enumerate(many_days)]
    assert len(one_a_day) == DAYS
    assert stats.kstest(one_a_day, stats.uniform(0, LENGTH).cdf).pvalue > 0.01


def test_quarter_hours_are_equally_full(many_days: list[tuple[int, ...]]) -> None:
    """56 bins expect 2,857 prompts each (standard deviation ≤ 53); 7 % is 3.8 of those."""
    bins = Counter(offset // 900 for offsets in many_days for offset in offsets)
    expected = DAYS * PROMPTS / 56
    assert sorted(bins) == list(range(56))
    assert all(abs(count - expected) < 0.07 * expected for count in bins.values())


# The stream


def independent_draws(seed: bytes, message: bytes, count: int) -> list[int]:
    """HMAC-SHA256 (RFC 2104) written out, read as big-endian 64-bit integers."""
    key = seed.ljust(64, b"\0")
    stream, block = b"", 0
    while len(stream) < 8 * count:
        inner = hashlib.sha256(bytes(b ^ 0x36 for b in key) + message + b"%d" % block).digest()
        stream += hashlib.sha256(bytes(b ^ 0x5C for b in key) + inner).digest()
        block += 1
    return [int.from_bytes(stream[8 * i : 8 * i + 8], "big") for i in range(count)]


def independent_offsets(design: str, length: int, k: int, g: int, u: list[int]) -> list[int]:
    """The table of designs, written from the words of the specification with exact fractions."""
    unit = [Fraction(x, 2**64) for x in u]
    g = min(g, length // k)
    if design == "uniform":
        return sorted(int(x * length) for x in unit)
    if design == "stratified":
        return [int((i + x) * length / k) for i, x in enumerate(unit)]
    if design == "stratified_rotated":
        jitters = [int(x * (length // k - g + 1)) for x in unit[1:]]
        starts = [i * length // k + jitter for i, jitter in enumerate(jitters)]
    else:
        slack = [0, *sorted(int(x * (length - k * g + 1)) for x in unit[1:])]
        starts = [c + i * g for i, c in enumerate(slack)]
    return sorted((int(unit[0] * length) + start) % length for start in starts)


@pytest.mark.parametrize("v", VECTORS["days"], ids=itemgetter("name"))
def test_golden_vectors_agree_with_an_independent_computation(v: dict[str, Any]) -> None:
    message = f"fourbeat-schedule/1\0{v['stream']}|{v['participant']}|{v['study_on']}\0"
    draws = [int(u) for u in v["draws"]]
    assert independent_draws(bytes.fromhex(v["seed"]), message.encode(), len(draws)) == draws
    if v["length"] and v["design"] != "fixed":
        args = (v["design"], v["length"], v["prompts"], v["minimum_gap"], draws)
        assert independent_offsets(*args) == v["offsets"]


@pytest.mark.parametrize("v", VECTORS["days"], ids=itemgetter("name"))
def test_golden_vectors_agree_with_the_module(v: dict[str, Any]) -> None:
    draws = seeded_draws(
        bytes.fromhex(v["seed"]),
        v["stream"],
        UUID(v["participant"]),
        date.fromisoformat(v["study_on"]),
        len(v["draws"]),
    )
    assert draws == tuple(int(u) for u in v["draws"])
    if v["length"] and v["design"] != "fixed":
        drawn_day = sample(
            v["design"],
            length=v["length"],
            prompts=v["prompts"],
            minimum_gap=v["minimum_gap"],
            draws=draws,
        )
        assert drawn_day == (tuple(v["offsets"]), v["gap_relaxed"])


def test_the_stream_is_the_same_every_time_and_longer_draws_extend_shorter_ones() -> None:
    ten = seeded_draws(SEED, "baseline/1", SOMEONE, date(2026, 3, 29), 10)
    assert ten == seeded_draws(SEED, "baseline/1", SOMEONE, date(2026, 3, 29), 10)
    assert ten[:3] == seeded_draws(SEED, "baseline/1", SOMEONE, date(2026, 3, 29), 3)
    assert len(set(ten)) == 10


def test_seed_stream_participant_and_day_each_change_the_draws() -> None:
    day = date(2026, 3, 29)
    assert (
        len(
            {
                seeded_draws(SEED, "baseline/1", SOMEONE, day, 4),
                seeded_draws(SEED[::-1], "baseline/1", SOMEONE, day, 4),
                seeded_draws(SEED, "baseline/2", SOMEONE, day, 4),
                seeded_draws(SEED, "baseline/1", UUID(int=0), day, 4),
                seeded_draws(SEED, "baseline/1", SOMEONE, day + timedelta(days=1), 4),
            }
        )
        == 5
    )


def test_the_arm_cannot_enter_the_draws() -> None:
    assert list(inspect.signature(seeded_draws).parameters) == [
        "seed",
        "stream",
        "participant_uuid",
        "study_on",
        "count",
    ]


# Refusals


@pytest.mark.parametrize(
    ("design", "length", "prompts", "gap", "words"),
    [
        ("circle", 50_400, 0, 0, "at least 1 prompt"),
        ("circle", 50_400, 4, -1, "cannot be negative"),
        ("circle", 0, 4, 0, "at least 1 second"),
        ("cricle", 50_400, 4, 0, "choose one of circle, uniform"),
        ("fixed", 50_400, 4, 0, "local times of its own"),
    ],
)
def test_nonsense_is_refused_in_words(
    design: str, length: int, prompts: int, gap: int, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        sample(design, length=length, prompts=prompts, minimum_gap=gap, draws=[0] * 5)
    reason = why_infeasible(design, length=length, prompts=prompts, minimum_gap=gap)
    assert reason is not None
    assert words in reason


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(ValueError, match="needs 5 draws; there are 4"):
        sample("stratified_rotated", length=100, prompts=4, minimum_gap=1, draws=[0] * 4)


def test_a_short_seed_a_nameless_stream_and_a_negative_count_are_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes; this one has 31"):
        seeded_draws(SEED[1:], "baseline/1", SOMEONE, date(2026, 1, 1), 4)
    with pytest.raises(ValueError, match="needs a name"):
        seeded_draws(SEED, "", SOMEONE, date(2026, 1, 1), 4)
    with pytest.raises(ValueError, match="0 or more"):
        seeded_draws(SEED, "baseline/1", SOMEONE, date(2026, 1, 1), -1)


def test_an_infeasible_gap_is_explained_with_what_would_work() -> None:
    assert why_infeasible("circle", length=50_400, prompts=4, minimum_gap=5 * 3600) == (
        "4 prompts at least 5 h apart need 20 h, but the windows last only 14 h. Ask for fewer "
        "prompts (at most 2), a smaller gap (at most 3 h 30 min) or longer windows."
    )


def test_a_gap_that_just_fits_is_feasible_and_designs_without_one_always_are() -> None:
    assert why_infeasible("circle", length=50_400, prompts=4, minimum_gap=12_600) is None
    assert why_infeasible("circle", length=50_399, prompts=4, minimum_gap=12_600) is not None
    assert why_infeasible("uniform", length=60, prompts=4, minimum_gap=12_600) is None


def test_inclusion_probability_is_prompts_per_minute_of_the_windows() -> None:
    assert inclusion_probability(length=50_400, prompts=4) == pytest.approx(4 / 840)
    with pytest.raises(ValueError, match="at least 1 second"):
        inclusion_probability(length=0, prompts=4)
