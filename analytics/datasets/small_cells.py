"""Warn of small cells: few people with the same traits may be known by them."""

from collections import Counter
from collections.abc import Iterator, Sequence

from analytics.datasets.reading import Written, named_cells

FEWEST = 5
TRAITS = (("site",), ("site", "status"), ("language",), ("arm",), ("site", "arm"))


def warnings_of(tables: Sequence[Written]) -> list[str]:
    """A sentence for every combination of traits that fewer than five participants share.

    And for every severity of adverse events that fewer than five had.
    """
    by_name = {table.name: table for table in tables}
    people = by_name["participants"]
    names = {column.name for column in people.columns}
    rows = list(named_cells(people))
    found = [
        sentence
        for traits in TRAITS
        if names.issuperset(traits)
        for sentence in _small(
            [tuple(row[trait] or "" for trait in traits) for row in rows], traits
        )
    ]
    events = named_cells(by_name["adverse_events"])
    had = {(row["participant_id"], row["severity"] or "") for row in events}
    return [*found, *_small([(severity,) for _, severity in had], ["adverse event"])]


def _small(cells: Sequence[tuple[str, ...]], traits: Sequence[str]) -> Iterator[str]:
    for cell, count in sorted(Counter(cells).items()):
        if count < FEWEST:
            named = ", ".join(
                f"{trait} {value or 'empty'}" for trait, value in zip(traits, cell, strict=True)
            )
            people = "1 participant has" if count == 1 else f"{count} participants have"
            yield f"Only {people} {named}: they might be recognised."
