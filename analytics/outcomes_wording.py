"""What the outcomes of a study say, in sentences and as a table of text. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from analytics.figures import signed
from analytics.wording import p_value, percent

Report = Mapping[str, Any]
EVENTS = ("lapse", "relapse")
DASH = "–"
SURELY = 0.05


def sentences(report: Report) -> list[str]:
    """One sentence per arm and event, one per difference: what it is, and how sure."""
    return [
        *_alone(report),
        *_beside(report),
        *_other_rule(report),
        *_correlated(report),
        *_beware(report),
    ]


def _alone(report: Report) -> Iterator[str]:
    for one in report["arms"]:
        who = f"Under {one['arm']}" if one["arm"] else "Of all participants"
        if not one["n_with_tests"]:
            yield f"{who} nobody has a urine test with a result yet."
            continue
        lapse, relapse = one["lapse"], one["relapse"]
        yield (
            f"{who} {lapse['n']} of {one['n_with_tests']} lapsed ({percent(lapse['share'])})"
            f"{_half(lapse['median'])}; {relapse['n']} relapsed ({percent(relapse['share'])})"
            f"{_half(relapse['median'])}. "
            f"Longest abstinence was {one['longest_abstinence']['mean']:.1f} days on average"
            f"{_sd(one['longest_abstinence'])}."
        )


def _half(median: float | None) -> str:
    """By Kaplan–Meier: of all, whether followed to the end or not."""
    return "" if median is None else f", half of all by day {median:g}"


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
                    f"{_p(ratio['p'])}); {_direction(low, high, event)}.{_by_stratum(ratio)}"
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


def _by_stratum(ratio: Report) -> str:
    if not (within := ratio["by_stratum"]):
        return ""
    low, high = within["interval"]
    return (
        f" Within the strata of allocation: {within['hazard_ratio']:.2f} (95 % interval {low:.2f} "
        f"to {high:.2f}, {_p(within['p'])})."
    )


def _other_rule(report: Report) -> Iterator[str]:
    """What the other rule for tests missed after drop-out makes of the same differences."""
    other = report["other_rule"]
    if not other.get("differs", True):
        yield "Whether tests missed after drop-out count changes nobody's outcome here."
        return
    rule = "count" if other["missed_after_dropout_counts"] else "do not count"
    for one in other["contrasts"]:
        told = [
            f"hazard ratio of {event} {ratio['hazard_ratio']:.2f} "
            f"({ratio['interval'][0]:.2f} to {ratio['interval'][1]:.2f})"
            for event in EVENTS
            if (ratio := one[event])
        ]
        if days := one["longest_abstinence"]:
            low, high = days["interval"]
            told.append(
                f"longest abstinence {signed(days['estimate'], 1)} days "
                f"({signed(low, 1)} to {signed(high, 1)})"
            )
        if told:
            yield (
                f"If tests missed after drop-out {rule}, {one['arm']} against {one['reference']}: "
                f"{', '.join(told)}."
            )


def _correlated(report: Report) -> Iterator[str]:
    """How coupling and abstinence go together over the participants of each arm."""
    for one in report.get("correlations", ()):
        if one["spearman"] is not None:
            low, high = one["interval"]
            where = f"under {one['arm']}" if one["arm"] else "of all arms"
            yield (
                f"Over {one['n']} participants {where}, coupling (shrunken slope) and longest "
                f"abstinence have a rank correlation of {signed(one['spearman'], 2)} (95 % "
                f"interval {signed(low, 2)} to {signed(high, 2)}); it says nothing of a cause."
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
        lines += ["", *_rows(DAYS_HEAD, days_rows(report))]
    lines += ["", *tests_together(report)]
    if report.get("participants"):
        lines += ["", *_rows(PEOPLE_HEAD, people_rows(report))]
    lines += ["", report["definition"], *report["notes"], *report["warnings"]]
    return "\n".join(lines)


ARM_HEAD = (
    "arm",
    "n",
    "with tests",
    "tests",
    "positive",
    "missed",
    "lapsed",
    "relapsed",
    "half lapsed by day",
    "half relapsed by day",
    "days",
    "SD",
    "SE",
)
RATIO_HEAD = ("time to", "arm", "against", "hazard ratio", "95 % interval", "p", "rule")


def arm_rows(report: Report) -> list[Sequence[str]]:
    """A row per arm; `days` of longest abstinence, on average."""
    return [
        (
            one["arm"] or "all participants",
            *(str(one[name]) for name in ("n", "n_with_tests", "n_tests", "n_positive")),
            str(one["n_missed"]),
            *(str(one[event]["n"]) if one[event] else DASH for event in EVENTS),
            *(_median(one[event]) for event in EVENTS),
            *(_one_digit(one["longest_abstinence"][name]) for name in ("mean", "sd", "se")),
        )
        for one in report["arms"]
    ]


DAYS_HEAD = ("arm", "against", "days longer", "95 % interval", "p", "d", "g", "rule")
PEOPLE_HEAD = (
    "participant",
    "arm",
    "coupling",
    "shrunken",
    "reliability",
    "longest abstinence",
    "lapse on day",
    "relapse on day",
)


def days_rows(report: Report) -> list[Sequence[str]]:
    """Differences of longest abstinence (Welch), by the plan's rule and by the other."""
    return [
        (
            one["arm"],
            one["reference"],
            signed(days["estimate"], 2),
            f"{signed(days['interval'][0], 2)} to {signed(days['interval'][1], 2)}",
            p_value(days["p"]),
            signed(days["cohen_d"], 2),
            signed(days["hedges_g"], 2),
            rule,
        )
        for contrasts, rule in _by_rule(report)
        for one in contrasts
        if (days := one["longest_abstinence"])
    ]


def people_rows(report: Report) -> list[Sequence[str]]:
    """Everybody's coupling beside their abstinence."""
    return [
        (
            one["participant"],
            one["arm"] or DASH,
            _number(one["slope"], 3),
            _number(one["shrunken_slope"], 3),
            _number(one["reliability"], 2),
            *(_number(one[name], 0) for name in ("longest_abstinence", "lapse_day", "relapse_day")),
        )
        for one in report.get("participants", ())
    ]


def _number(value: float | None, digits: int) -> str:
    return DASH if value is None else signed(value, digits)


def _median(told: Report | None) -> str:
    """With its 95 % interval, an end of which may not be reached."""
    if told is None or told["median"] is None:
        return DASH
    low, high = ("…" if end is None else f"{end:g}" for end in told["median_interval"])
    return f"{told['median']:g} ({low} to {high})"


def _by_rule(report: Report) -> list[tuple[Sequence[Report], str]]:
    """The contrasts by the plan's rule and, where it makes another result, by the other."""
    other = report["other_rule"]
    named = {True: "missed after drop-out count", False: "they do not count"}
    both = [(report["contrasts"], named[report["missed_after_dropout_counts"]])]
    if other.get("differs", True):
        both.append((other["contrasts"], named[other["missed_after_dropout_counts"]]))
    return both


def ratio_rows(report: Report) -> list[Sequence[str]]:
    """The hazard ratios by the plan's rule, by stratum, and by the other rule."""
    rows: list[Sequence[str]] = []
    for contrasts, rule in _by_rule(report):
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
