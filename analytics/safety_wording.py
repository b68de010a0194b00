"""Adverse events by arm in words and tables; pages, the command and files say the same."""

from collections.abc import Mapping, Sequence
from typing import Any

Table = dict[str, Any]


def sentences(report: Mapping[str, Any]) -> list[str]:
    said = [report["definition"]]
    if report["n_before"]:
        said.append(f"{report['n_before']} events started before that day and are not counted.")
    if not any(arm["n_events"] for arm in report["arms"]):
        said.append("No adverse event is recorded.")
    if report["contrasts"]:
        said.append(
            "A difference of risk is the share of participants with at least one event, minus that "
            "of the reference; positive = more often. Newcombe's 95 % interval. An interval around "
            "zero settles no direction, and few events leave much open."
        )
    return said


def tables(report: Mapping[str, Any]) -> list[Table]:
    """Captions, heads and rows of texts."""
    arms = report["arms"]
    named = [arm["arm"] or "everybody" for arm in arms]
    found = [
        _table(
            "Participants with at least one event, and events",
            ["Events", *named],
            [
                [kind, *(_share(arm["with_event"][kind], arm, arm["events"][kind]) for arm in arms)]
                for kind in arms[0]["with_event"]
            ],
        ),
        *(
            _table(
                f"Events by {what}",
                [what.capitalize(), *named],
                [
                    [name.replace("_", " "), *(str(arm[f"by_{what}"][name]) for arm in arms)]
                    for name in arms[0][f"by_{what}"]
                ],
            )
            for what in ("severity", "relatedness")
        ),
        _table(
            "Differences of risk, percentage points",
            ["Arm", "Events", "Difference", "95 % interval"],
            list(_differences(report)),
        ),
        _table(
            "Kinds of events: participants (events)",
            ["Term", *named],
            [
                [
                    row["term"],
                    *(f"{one['with_event']} ({one['n_events']})" for one in row["arms"]),
                ]
                for row in report["terms"]
            ],
        ),
    ]
    return [table for table in found if table["rows"]]


def safety_table(report: Mapping[str, Any]) -> str:
    """For a terminal."""
    if "impossible" in report:
        return str(report["impossible"])
    parts = ["\n".join(sentences(report))]
    for table in tables(report):
        lines = [table["head"], *table["rows"]]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        parts.append("\n".join([table["caption"], *padded]))
    return "\n\n".join(parts)


def shown_safety(report: Mapping[str, Any]) -> dict[str, Any]:
    """As a page shows it."""
    if "impossible" in report:
        return dict(report)
    return {"sentences": sentences(report), "tables": tables(report)}


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    return {"caption": caption, "head": list(head), "rows": [list(row) for row in rows]}


def _share(n: int, arm: Mapping[str, Any], events: int) -> str:
    of = arm["n_participants"]
    percent = f"{100 * n / of:.1f} %" if of else "none of none"
    return f"{n} of {of} ({percent}); {events}"


def _differences(report: Mapping[str, Any]) -> Any:
    for contrast in report["contrasts"]:
        for kind, found in contrast["risk_differences"].items():
            if found is None:
                yield [contrast["arm"], kind, "an arm is empty", ""]
                continue
            low, high = (_points(end) for end in found["interval"])
            yield [contrast["arm"], kind, _points(found["estimate"]), f"{low} to {high}"]


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−").replace("+0.0", "0.0")
