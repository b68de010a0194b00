"""What the outcomes of a study say, in sentences and as a table of text. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from analytics.figures import signed
from analytics.wording import p_value

Report = Mapping[str, Any]
EVENTS = ("lapse", "relapse")
DASH = "–"
SURELY = 0.05


def sentences(report: Report) -> list[str]:
    """One sentence per arm and event, one per difference: what it is, and how sure."""
    return [*_alone(report), *_beside(report), *_beware(report)]


def _alone(report: Report) -> Iterator[str]:
    for one in report["arms"]:
        who = f"Under {one['arm']}" if one["arm"] else "Of all participants"
        if not one["n_with_tests"]:
            yield f"{who} nobody has a urine test with a result yet."
            continue
        lapse, relapse = one["lapse"], one["relapse"]
        yield (
            f"{who} {lapse['n']} of {one['n_with_tests']} lapsed ({lapse['share']:.0%}), half of "
            f"all by {_day(lapse['median'])}; {relapse['n']} relapsed ({relapse['share']:.0%}). "
            f"Longest abstinence was {one['longest_abstinence']['mean']:.1f} days on average"
            f"{_sd(one['longest_abstinence'])}."
        )


def _day(median: float | None) -> str:
    return "no day yet" if median is None else f"day {median:g}"


def _sd(days: Mapping[str, float | None]) -> str:
    return "" if days["sd"] is None else f" (SD {days['sd']:.1f}, SE {days['se']:.1f})"


def _beside(report: Report) -> Iterator[str]:
    for one in report["contrasts"]:
        arm, reference = one["arm"], one["reference"]
        for event in EVENTS:
            if ratio := one[event]:
                low, high = ratio["interval"]
                yield (
                    f"Time to {event}, {arm} against {reference}: hazard ratio "
                    f"{ratio['hazard_ratio']:.2f} (95 % interval {low:.2f} to {high:.2f}, "
                    f"{_p(ratio['p'])}); {_direction(low, high, event)}."
                )
        if days := one["longest_abstinence"]:
            low, high = days["interval"]
            way = "longer" if days["estimate"] >= 0 else "shorter"
            yield (
                f"Longest abstinence was {abs(days['estimate']):.1f} days {way} under {arm} than "
                f"under {reference} (95 % interval of the difference {signed(low, 1)} to "
                f"{signed(high, 1)} days, "
                f"{_p(days['p'])}, Cohen's d {days['cohen_d']:.2f})."
            )


def _beware(report: Report) -> Iterator[str]:
    """Where one ratio does not tell all, and where several are looked at."""
    for event, found in report["tests"].items():
        test = found and found["proportional_hazards"]
        if test and test["p"] < SURELY:
            yield (
                f"The hazard ratio of {event} changes with time ({_p(test['p'])}): read the "
                "curves, not one number."
            )
    if len(report["contrasts"]) > 1:
        yield "Each p is of one arm against the reference, not adjusted for there being several."


def _p(p: float) -> str:
    shown = p_value(p)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"


def _direction(low: float, high: float, event: str) -> str:
    if high < 1:
        return f"below 1: a {event} comes later"
    if low > 1:
        return f"above 1: a {event} comes earlier"
    return "the interval holds ratios below and above 1, so the direction is not settled"


def outcomes_table(report: Report) -> str:
    """The report as text for a terminal."""
    lines = [f"Study {report['study']}", "", *sentences(report), ""]
    lines += _rows(ARM_HEAD, arm_rows(report))
    if report["contrasts"]:
        lines += ["", *_rows(RATIO_HEAD, ratio_rows(report))]
    lines += ["", *tests_together(report)]
    lines += ["", report["definition"], *report["notes"], *report["warnings"]]
    return "\n".join(lines)


ARM_HEAD = ("arm", "n", "with tests", "tests", "positive", "missed", "lapsed", "relapsed", "days")
RATIO_HEAD = ("time to", "arm", "against", "hazard ratio", "95 % interval", "p", "rule")


def arm_rows(report: Report) -> list[Sequence[str]]:
    """A row per arm; `days` of longest abstinence, on average."""
    return [
        (
            one["arm"] or "all participants",
            *(str(one[name]) for name in ("n", "n_with_tests", "n_tests", "n_positive")),
            str(one["n_missed"]),
            *(str(one[event]["n"]) if one[event] else DASH for event in EVENTS),
            _one_digit(one["longest_abstinence"]["mean"]),
        )
        for one in report["arms"]
    ]


def ratio_rows(report: Report) -> list[Sequence[str]]:
    """The hazard ratios by the plan's rule, by stratum, and by the other rule."""
    rows: list[Sequence[str]] = []
    other = report["other_rule"]
    named = {True: "missed after drop-out count", False: "they do not count"}
    both = (
        (report["contrasts"], named[report["missed_after_dropout_counts"]]),
        (other["contrasts"], named[other["missed_after_dropout_counts"]]),
    )
    for contrasts, rule in both:
        for one in contrasts:
            for event in EVENTS:
                ratio = one[event]
                rows.append(_ratio_row(event, one, ratio, rule))
                if ratio and ratio["by_stratum"]:
                    rows.append(_ratio_row(event, one, ratio["by_stratum"], f"{rule}, by stratum"))
    return rows


def _ratio_row(
    event: str, one: Mapping[str, Any], ratio: Mapping[str, Any] | None, rule: str
) -> Sequence[str]:
    if ratio is None:
        return (event, one["arm"], one["reference"], DASH, DASH, DASH, rule)
    low, high = ratio["interval"]
    numbers = (f"{ratio['hazard_ratio']:.3f}", f"{low:.3f} to {high:.3f}", f"{ratio['p']:.3f}")
    return (event, one["arm"], one["reference"], *numbers, rule)


def tests_together(report: Report) -> list[str]:
    """The tests of all arms together, a line each."""
    names = {
        "log_rank": "log-rank",
        "log_rank_by_stratum": "log-rank by stratum",
        "proportional_hazards": "whether hazards stay proportional",
    }
    return [
        f"Time to {event}, {named}: chi-squared {test['statistic']:.2f} on {test['df']} df, "
        f"{_p(test['p'])}."
        for event, found in report["tests"].items()
        for name, named in names.items()
        if found and (test := found[name])
    ]


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in (head, *rows)]


def _one_digit(value: float | None) -> str:
    return DASH if value is None else f"{value:.1f}"
