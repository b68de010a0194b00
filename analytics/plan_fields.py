"""What may be written in an analysis plan, and what is wrong with one, in words. Pure."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ema.submissions import Fault

FORMAT = "fourbeat-analysis-plan/1"
STUDY_DAY, WEEKDAY, PROMPT_NUMBER = "study_day", "weekday", "prompt_number"
PREVIOUS_OUTCOME = "previous_outcome"
ADJUSTMENTS = (STUDY_DAY, WEEKDAY, PROMPT_NUMBER, PREVIOUS_OUTCOME)
RESIDUALS = (INDEPENDENT, AR1, DAY) = ("independent", "ar1", "day")
DESIGNS = (PARALLEL, CROSSOVER) = ("parallel", "crossover")
CARRY = "Carry-over"
METHODS = ("CR2", "kenward_roger", "satterthwaite")
BASELINE, SITE, MOMENT = "baseline", "site", "moment"
MODERATORS = {BASELINE: ("item", "phase"), SITE: (), MOMENT: ("item",)}  # kind: what it names
FEWEST_DRAWS, MOST_DRAWS, MOST_SEED = 99, 1_000_000, 2**63 - 1
LONGEST_TITLE, MOST_MODERATORS = 200, 10
LARGEST_DOSE = 10**12
KEY = re.compile(r"[-a-zA-Z0-9_]{1,40}")
Faults = Iterator[Fault]


def faults(document: Any) -> Faults:
    """What is wrong with a document, whatever the study is."""
    if not isinstance(document, dict):
        yield Fault("", f'A plan is an object: {{"format": "{FORMAT}", …}}.')
        return
    if document.get("format") != FORMAT:
        yield Fault("/format", f'Write "{FORMAT}": this is the format that can be read.')
    for name, value in document.items():
        if name in FIELDS:
            yield from FIELDS[name](value, f"/{name}")
        elif name != "format":
            yield Fault(f"/{name}", f"There is no field {name!r}; there are {', '.join(FIELDS)}.")
    yield from _together(document)


def _together(document: dict[str, Any]) -> Faults:
    """Fields that do not go with each other."""
    predictor = document.get("predictor", "stress")
    outcome = document.get("outcome", "craving")
    lagged = document.get("lag", 0) == 1
    if predictor == outcome and not lagged:
        yield Fault("/outcome", "The outcome must be another item than the predictor.")
    adjust = document.get("adjust_for", [])
    if isinstance(adjust, list) and PREVIOUS_OUTCOME in adjust and not lagged:
        yield Fault("/adjust_for", f'"{PREVIOUS_OUTCOME}" needs "lag": 1.')
    elif isinstance(adjust, list) and PREVIOUS_OUTCOME in adjust and predictor == outcome:
        yield Fault("/adjust_for", f'"{PREVIOUS_OUTCOME}" is the predictor already.')
    moderators = document.get("moderators", [])
    for number, each in enumerate(moderators if isinstance(moderators, list) else ()):
        momentary = isinstance(each, dict) and each.get("kind") == MOMENT
        if momentary and each.get("item") in (predictor, outcome):
            said = "An item of the moment must be another than predictor and outcome."
            yield Fault(f"/moderators/{number}/item", said)
        if momentary and lagged:
            said = 'An item of the moment goes with "lag": 0 only.'
            yield Fault(f"/moderators/{number}/kind", said)
    if document.get("baseline_phase"):
        yield from _with_baseline(document)
    yield from _with_crossover(document)


def _with_baseline(document: dict[str, Any]) -> Faults:
    phases, baseline = document.get("phases"), document["baseline_phase"]
    if isinstance(phases, list) and phases and not (baseline in phases and len(phases) > 1):
        said = "Phases must hold the baseline phase and another; an empty list is all of them."
        yield Fault("/phases", said)
    for name in ("moderators", "quadratic"):
        if document.get(name):
            said = f"A difference-in-differences goes without {name}: leave out one of the two."
            yield Fault(f"/{name}", said)


def _with_crossover(document: dict[str, Any]) -> Faults:
    reference = document.get("reference_treatment")
    if document.get("design") != CROSSOVER:
        for name, what in (("reference_treatment", "A reference treatment"), ("carryover", CARRY)):
            if document.get(name):
                yield Fault(f"/{name}", f'{what} goes with "design": "{CROSSOVER}" only.')
        return
    if not reference:
        said = "A crossover compares treatments with one of them: name it."
        yield Fault("/reference_treatment", said)
    for name in ("moderators", "quadratic", "baseline_phase", "doses"):
        if document.get(name):
            yield Fault(f"/{name}", f"A crossover goes without {name}: leave out one of the two.")


def _item(value: Any, at: str) -> Faults:
    if not isinstance(value, str) or not KEY.fullmatch(value):
        yield Fault(at, 'Name an item by its role or its key: "stress".')


def _title(value: Any, at: str) -> Faults:
    if not isinstance(value, str) or len(value) > LONGEST_TITLE or not value.isprintable():
        yield Fault(at, f"A title is one line of at most {LONGEST_TITLE} characters.")


def _phases(value: Any, at: str) -> Faults:
    if not isinstance(value, list):
        yield Fault(at, 'Write phases as a list: ["treatment"]. An empty list is all of them.')
        return
    for number, key in enumerate(value):
        if not isinstance(key, str) or not KEY.fullmatch(key):
            yield Fault(f"{at}/{number}", "Name a phase by its key.")
        elif key in value[:number]:
            yield Fault(f"{at}/{number}", f"Phase {key} is there twice.")


def _phase(value: Any, at: str) -> Faults:
    if not isinstance(value, str) or (value and not KEY.fullmatch(value)):
        yield Fault(at, 'Name a phase by its key, or "" for none.')


def _treatment(value: Any, at: str) -> Faults:
    if not isinstance(value, str) or (value and not KEY.fullmatch(value)):
        yield Fault(at, 'Name a treatment by its key, or "" for none.')


def _adjust_for(value: Any, at: str) -> Faults:
    known = ", ".join(ADJUSTMENTS)
    if not isinstance(value, list):
        yield Fault(at, f"Write a list of {known}; an empty one adjusts for nothing more.")
        return
    for number, name in enumerate(value):
        if name not in ADJUSTMENTS:
            yield Fault(f"{at}/{number}", f"What can be adjusted for is {known}.")
        elif name in value[:number]:
            yield Fault(f"{at}/{number}", f"{name} is there twice.")


def _lag(value: Any, at: str) -> Faults:
    if type(value) is not int or value not in (0, 1):
        yield Fault(at, "A lag is 0 (the same prompt) or 1 (the prompt before, the same day).")


def _moderators(value: Any, at: str) -> Faults:
    if not isinstance(value, list) or len(value) > MOST_MODERATORS:
        yield Fault(at, f"Write a list of at most {MOST_MODERATORS} moderators.")
        return
    for number, each in enumerate(value):
        yield from _moderator(each, f"{at}/{number}")
        if each in value[:number]:
            yield Fault(f"{at}/{number}", "This moderator is there twice.")


def _moderator(value: Any, at: str) -> Faults:
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in MODERATORS:
        yield Fault(at, f'A moderator is {{"kind": …}}, one of {", ".join(MODERATORS)}.')
        return
    names = MODERATORS[kind]
    for name in value:
        if name not in ("kind", *names):
            fields = ", ".join(("kind", *names))
            yield Fault(f"{at}/{name}", f"A moderator of kind {kind} has the fields {fields}.")
    for name in names:
        if not isinstance(value.get(name), str) or not KEY.fullmatch(value[name]):
            yield Fault(f"{at}/{name}", f"Name the {name} by its key.")


def _doses(value: Any, at: str) -> Faults:
    if not isinstance(value, dict):
        yield Fault(at, 'Write doses by arm: {"placebo": 0, "low": 1}. {} tests no trend.')
        return
    for arm, dose in value.items():
        if type(dose) not in (int, float) or not abs(dose) <= LARGEST_DOSE:
            yield Fault(f"{at}/{arm}", "A dose is a number.")
    if len(value) == 1:
        yield Fault(at, "A trend takes the doses of all arms.")


def _yes_no(value: Any, at: str) -> Faults:
    if type(value) is not bool:
        yield Fault(at, "Write true or false.")


def _one_of(what: str, known: Sequence[str]) -> Callable[[Any, str], Faults]:
    def check(value: Any, at: str) -> Faults:
        if value not in known:
            yield Fault(at, f"{what} one of {', '.join(known)}.")

    return check


def _whole(low: int, high: int) -> Callable[[Any, str], Faults]:
    def check(value: Any, at: str) -> Faults:
        if type(value) is not int or not low <= value <= high:
            yield Fault(at, f"Write a whole number from {low} to {high}.")

    return check


FIELDS: dict[str, Callable[[Any, str], Faults]] = {
    "title": _title,
    "predictor": _item,
    "outcome": _item,
    "phases": _phases,
    "adjust_for": _adjust_for,
    "lag": _lag,
    "moderators": _moderators,
    "doses": _doses,
    "all_pairs": _yes_no,
    "method": _one_of("A method is", METHODS),
    "permutation_draws": _whole(FEWEST_DRAWS, MOST_DRAWS),
    "permutation_seed": _whole(0, MOST_SEED),
    "missed_after_dropout_counts": _yes_no,
    "residuals": _one_of("Residuals are", RESIDUALS),
    "quadratic": _yes_no,
    "compliance_sensitivity": _yes_no,
    "baseline_phase": _phase,
    "design": _one_of("A design is", DESIGNS),
    "reference_treatment": _treatment,
    "carryover": _yes_no,
}
