"""Draw allocation lists: permuted blocks of random size, one after the other within each stratum.

A stratum is a site, or a site with values of up to two further factors: `S1`, `S1/sex=female`.
Every permutation of a block is equally likely (Fisher and Yates), and so is every block size.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import product
from random import Random
from secrets import SystemRandom
from typing import Any, NamedTuple

METHOD = "permuted blocks of random size"
VERSION = "1"  # of the generator: raised when the same randomness would give another list
TIMES = (2, 3, 4)  # the ratio's sum: 4, 6 and 8 for two even arms
LONGEST_BLOCK = 100
MOST_SLOTS = 100_000
MOST_FACTORS = 2
LONGEST_STRATUM = 100
KIT_LETTERS = "23456789CDFGHJKMNPQRTVWXYZ"  # no vowels: no words
KIT_LENGTH = 6
KEY = re.compile(r"[-a-zA-Z0-9_]{1,40}")

Factors = Mapping[str, Sequence[str]]


class ListRefused(ValueError):
    """No list can be made like this; every fault is a sentence that says what would be right."""

    def __init__(self, *faults: str) -> None:
        super().__init__(" ".join(faults))
        self.faults = faults


class Slot(NamedTuple):
    stratum: str
    position: int
    arm: str
    kit: str


@dataclass(frozen=True)
class Blocks:
    """What a list is drawn from: how often each arm comes, the sizes of blocks, the strata."""

    ratio: Mapping[str, int]
    sites: Sequence[str]
    per_stratum: int
    sizes: Sequence[int]
    factors: Factors | None = None

    @property
    def strata(self) -> list[str]:
        """Every site with every combination of factors."""
        factors = self.factors or {}
        return [
            stratum_of(site, dict(zip(factors, values, strict=True)))
            for site in self.sites
            for values in product(*factors.values())
        ]

    def metadata(self) -> dict[str, Any]:
        """What is recorded of how the list came about."""
        return {
            "method": METHOD,
            "generator": VERSION,
            "ratio": dict(self.ratio),
            "block_sizes": list(self.sizes),
            "sites": list(self.sites),
            "factors": {name: list(values) for name, values in (self.factors or {}).items()},
            "per_stratum": self.per_stratum,
        }


def usual_sizes(ratio: Mapping[str, int]) -> list[int]:
    """4, 6 and 8 for two even arms: sizes that leave next to nothing certain beforehand."""
    return [times * sum(ratio.values()) for times in TIMES]


def stratum_of(site: str, factors: Mapping[str, str]) -> str:
    """`S1/sex=female/age=under-40`; factors in their order."""
    return "/".join([site, *(f"{name}={value}" for name, value in factors.items())])


def parts_of(stratum: str) -> tuple[str, dict[str, str]]:
    """The site and the factors that a stratum's name tells. Raises ListRefused."""
    site, *rest = stratum.split("/")
    pairs = [each.partition("=") for each in rest]
    factors = {name: value for name, _, value in pairs}
    keys = (KEY.fullmatch(word) for word in (site, *factors, *factors.values()))
    if not all(keys) or len(factors) != len(rest) or len(rest) > MOST_FACTORS:
        raise ListRefused(
            f"{stratum!r} is no stratum: write the site's code, as S1, or with up to "
            f"{MOST_FACTORS} factors, as S1/sex=female."
        )
    return site, factors


def problems(blocks: Blocks) -> list[str]:
    """Every reason, in words, why no list can be drawn from this."""
    found = [*_wrong_ratio(blocks.ratio), *_wrong_factors(blocks.factors or {})]
    total = sum(blocks.ratio.values())
    wrong = [size for size in blocks.sizes if size < 1 or total < 1 or size % total]
    if wrong or not blocks.sizes:
        found.append(
            f"Block sizes are multiples of {total}, the sum of the ratio: {_listed(wrong)} "
            f"{'is' if len(wrong) == 1 else 'are'} not. {total}, {2 * total} and {3 * total} are."
        )
    if max(blocks.sizes, default=0) > LONGEST_BLOCK:
        found.append(f"A block has at most {LONGEST_BLOCK} slots.")
    if blocks.per_stratum < 1:
        found.append("A stratum has at least one slot.")
    if blocks.per_stratum * len(blocks.strata) > MOST_SLOTS:
        found.append(f"A list has at most {MOST_SLOTS} slots: ask for fewer in each stratum.")
    if not blocks.sites:
        found.append("Name at least one site.")
    return found + [
        f"{stratum} is longer than {LONGEST_STRATUM} characters: shorten names."
        for stratum in blocks.strata
        if len(stratum) > LONGEST_STRATUM
    ]


def _wrong_ratio(ratio: Mapping[str, int]) -> list[str]:
    if len(ratio) < 2:
        return ["A ratio names at least two arms, as placebo=1,clonidine=1."]
    few = [arm for arm, weight in ratio.items() if weight < 1]
    return [f"Arm {arm} has a share of 1 or more: leave it out to give it none." for arm in few]


def _wrong_factors(factors: Factors) -> list[str]:
    found = []
    if len(factors) > MOST_FACTORS:
        found.append(
            f"Stratify by site and at most {MOST_FACTORS} factors: more strata are never filled."
        )
    for name, values in factors.items():
        if len(set(values)) < 2 or len(set(values)) < len(values):
            found.append(f"Factor {name} has two or more different values, as sex=female,male.")
    words = [word for name, values in factors.items() for word in (name, *values)]
    return found + [
        f"{word!r}: factors are 1 to 40 letters, digits, - and _."
        for word in words
        if not KEY.fullmatch(word)
    ]


def draw(
    blocks: Blocks,
    *,
    after: Mapping[str, int] | None = None,
    taken_kits: AbstractSet[str] = frozenset(),
    source: Random | None = None,
) -> list[Slot]:
    """A list of whole blocks, at least `per_stratum` slots in each stratum. Raises ListRefused.

    `after` has the last position of strata that have slots already; `source` is the operating
    system's randomness unless a test gives another.
    """
    if faults := problems(blocks):
        raise ListRefused(*faults)
    source, after = source or SystemRandom(), after or {}
    drawn = [
        (stratum, position, arm)
        for stratum in blocks.strata
        for position, arm in enumerate(_arms(blocks, source), start=after.get(stratum, 0) + 1)
    ]
    kits = kit_codes(len(drawn), taken_kits, source)
    return [Slot(*each, kit) for each, kit in zip(drawn, kits, strict=True)]


def _arms(blocks: Blocks, source: Random) -> list[str]:
    arms: list[str] = []
    for block in draw_blocks(blocks.ratio, blocks.sizes, source):
        arms += block
        if len(arms) >= blocks.per_stratum:
            break
    return arms


def draw_blocks(
    ratio: Mapping[str, int], sizes: Sequence[int], source: Random
) -> Iterator[list[str]]:
    """Blocks without end: each of a random size, its arms in the ratio and in random order."""
    once = [arm for arm, weight in ratio.items() for _ in range(weight)]
    while True:
        block = once * (source.choice(sizes) // len(once))
        source.shuffle(block)
        yield block


def kit_codes(count: int, taken: AbstractSet[str], source: Random) -> list[str]:
    """Different random codes; nothing of a slot goes into them."""
    codes: dict[str, None] = {}
    while len(codes) < count:
        code = "".join(source.choices(KIT_LETTERS, k=KIT_LENGTH))
        if code not in taken:
            codes[code] = None
    return list(codes)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"
