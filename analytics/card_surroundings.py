"""What surrounds a comparison's numbers: floors, compliance, levels, the companion, warnings."""

from collections.abc import Iterable, Mapping
from typing import Any

from analytics import card_sums, plan_sums
from analytics.card_attempts import Warned, attempt
from analytics.card_diagnostics import diagnostics
from analytics.card_floor import (
    ANY,
    CUMULATIVE,
    beside_companion,
    floor_warning,
    odds_of_any,
    odds_of_higher,
    odds_with_terms,
)
from analytics.card_levels import by_level
from analytics.card_subgroups import FIRST_SITE
from analytics.items import StudyItem
from analytics.mixed_model import Method
from analytics.ordinal import MOST_LEVELS
from analytics.plan import Plan
from analytics.plan_fields import BASELINE, CROSSOVER, MOMENT, SITE
from analytics.plan_model import Fitted, Pair, in_items
from analytics.plan_sums import Sources
from analytics.software import software
from analytics.trial import Trial
from analytics.usable import Usable
from analytics.wording import p_in_words
from ema.models import Participant


def add_surroundings(
    report: dict[str, Any],
    fitted: Fitted,
    usable: Usable,
    trial: Trial,
    missing: list[str],
    *,
    companion: bool = False,
) -> None:
    """Floor and ceiling, compliance, levels, diagnostics, the companion, what to be warned of.

    The companion is fitted where the floor is suspected, where the outcome has few levels, and
    where it is asked for.
    """
    sources = usable.sources
    apart, own = (Usable(sources.by_period), trial.by_period) if trial.order else (usable, trial)
    add_shares(report, apart, own)
    ranges, scales = plan_sums.ranges_of(sources), sources.scales()
    rows = usable.row_sums([low for low, _ in ranges])
    there = apart.row_sums([low for low, _ in ranges]) if trial.order else rows
    report["levels"] = by_level(there, sources.outcome, ranges, scales, own.groups, own.arm_of)
    groups = trial.groups if fitted.model.arm_of else [None]
    report["diagnostics"] = diagnostics(
        fitted, rows, scales, ranges, groups, Method(sources.plan.method), missing
    )
    near_floor = floor_warning(report["arms"], sources.outcome)
    report["companion"] = None
    if near_floor or companion or has_few_levels(sources.items[sources.outcome]):
        report["companion"] = attempt(
            "The companion model", lambda: _companion(fitted, usable, trial), missing
        )
    warned = [beside_companion(near_floor, report)] if near_floor else []
    warned += [*_left_out(report, trial), *_curved(report)]
    warned += [Warned("not_computed", said) for said in missing]
    report["warnings"] = [each.content() for each in warned]
    report["software"] = software()
    report["moderated_at"] = _moderated_at(report, sources.plan, _first_site(sources, fitted))


def add_shares(report: dict[str, Any], asked: Usable, trial: Trial) -> None:
    """To each arm: its prompts, its share at the outcome's ends, and its compliance."""
    counted = asked.counted
    answered, usable = asked.answered, counted.usable
    for one, arm in zip(report["arms"], trial.groups, strict=True):
        codes = trial.members(arm, {**usable, **answered})
        n = sum(usable.get(code, 0) for code in codes)
        sent = sum(answered[code][0] for code in codes if code in answered)
        given = sum(answered[code][1] for code in codes if code in answered)
        one |= {
            "n_prompts": n,
            "at_floor": sum(counted.at_floor[code] for code in codes) / n if n else None,
            "at_ceiling": sum(counted.at_ceiling[code] for code in codes) / n if n else None,
            "compliance": given / sent if sent else None,
        }


def _left_out(report: Mapping[str, Any], trial: Trial) -> Iterable[Warned]:
    """Arms that are not compared though the study has them."""
    predictor = report["predictor"].replace("_", " ").capitalize()
    for one in report["arms"]:
        arm = one["arm"]
        if arm in trial.empty:
            said = f"Arm {arm} has no usable answers yet: it is left out of the comparison."
            yield Warned("arm_without_data", said)
        elif one["coupling"] is None:
            said = (
                f"{predictor} never varies within any participant of arm {arm}: it has no coupling."
            )
            yield Warned("constant_predictor", said)


def _curved(report: Mapping[str, Any]) -> Iterable[Warned]:
    """Where the outcome does not follow the predictor in a line (Bauer & Cai 2009)."""
    curve = report["diagnostics"]["nonlinearity"]
    if curve and "p" in curve and curve["p"] < 0.05:
        way = "flattens" if curve["estimate"] < 0 else "steepens"
        predictor = report["predictor"].replace("_", " ")
        said = (
            f"{report['outcome'].capitalize()} does not follow {predictor} in a line: it {way} "
            f"as {predictor} rises ({p_in_words(curve['p'])}). A curve can look like a moderator, "
            "or like a difference between arms that differ in their range."
        )
        yield Warned("possible_curve", said)


def _moderated_at(report: Mapping[str, Any], plan: Plan, first_site: str) -> list[str]:
    """Where couplings and differences are taken, by moderator; names the first site's subgroup."""
    for one in report["moderation"]:
        for each in one["subgroups"]:
            each["subgroup"] = first_site if each["subgroup"] == FIRST_SITE else each["subgroup"]
    where = {
        SITE: "at site {site}",
        BASELINE: "at the mean of {name}",
        MOMENT: "at everybody's own mean of {name}",
    }
    return [
        where[each.kind].format(site=first_site, name=each.name.replace("_", " "))
        for each in plan.moderators
    ]


def _first_site(sources: Sources, fitted: Fitted) -> str:
    """The site that others are compared with as moderators: the first by code in the model."""
    people = Participant.objects.filter(study=sources.params["study"])
    site_of = dict(people.values_list("code", "site__code"))
    return min(site_of[str(code)] for code in fitted.model.participants)


def has_few_levels(item: StudyItem) -> bool:
    """Whether an outcome's odds are cumulative: three to five levels."""
    if item.minimum is None or item.maximum is None:
        return False
    return 2 < (item.maximum - item.minimum) * item.scale + 1 <= MOST_LEVELS


def _companion(fitted: Fitted, usable: Usable, trial: Trial) -> dict[str, Any]:
    """Of any of the outcome; of a higher answer where it has few levels. ValueError in words.

    With terms beside those of the standard analysis it takes rows instead of a table of levels.
    """
    sources = usable.sources
    scales, plan = sources.scales(), sources.plan
    few = has_few_levels(sources.items[sources.outcome])
    arms = scales[sources.predictor], trial.arm_of, trial.reference
    try:
        is_wider = plan.quadratic or plan.baseline_phase or plan.design == CROSSOVER
        if plan.adjust_for or plan.moderators or is_wider:
            names, rows = card_sums.alike_rows(sources, few)
            return odds_with_terms(fitted, names, rows, scales, CUMULATIVE if few else ANY)
        if few:
            return odds_of_higher(card_sums.given_levels(sources), *arms)
        return odds_of_any(usable.counts(trial.arm_of), *arms)
    except ValueError as error:
        pair = Pair(sources.predictor, sources.outcome)
        raise ValueError(in_items(str(error), pair)) from error
