"""An analysis plan: what is compared, decided before anybody looks. Pure.

A plan is a document (docs/coupling.md). What it leaves out is as in the standard analysis, and the
canonical text with every field written out is what is hashed: two plans that ask for the same
analysis have the same SHA-256. Fields that came later (`LATER`) are written only where they differ
from the standard, so that no plan's hash changes because others can ask for more.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from analytics.plan_fields import (
    ADJUSTMENTS,
    BASELINE,
    FORMAT,
    INDEPENDENT,
    MODERATORS,
    PARALLEL,
    SITE,
    faults,
)
from ema.submissions import Fault

LATER = (
    "residuals",
    "quadratic",
    "compliance_sensitivity",
    "baseline_phase",
    "design",
    "reference_treatment",
    "carryover",
)


@dataclass(frozen=True)
class Moderator:
    """Something that may change the coupling: a baseline mean, the site, or an item of the moment.

    `item` and `phase` are empty where the kind names none.
    """

    kind: str
    item: str = ""
    phase: str = ""

    @property
    def name(self) -> str:
        """As terms are named by it."""
        return {BASELINE: f"{self.item}_in_{self.phase}", SITE: "site"}.get(self.kind, self.item)

    def content(self) -> dict[str, str]:
        return {"kind": self.kind} | {name: getattr(self, name) for name in MODERATORS[self.kind]}


@dataclass(frozen=True)
class Plan:
    """The standard analysis, or what is to be done instead. Phases empty: all of them.

    lag 1: the predictor is that of the prompt before on the same study day, if it was answered.
    doses: by arm, for a trend. missed_after_dropout_counts: urine tests missed after drop-out are
    lapses. residuals: independent, AR(1) within a study day, or with an intercept of each day.
    quadratic: also the predictor's square, by arm.
    compliance_sensitivity: the difference also without those who answered little.
    baseline_phase: arms are compared in how the coupling changed from there on.
    design: arms are parallel, or sequences of a crossover, where treatments are compared.
    carryover: what a treatment does to the period after it is in the model too.
    """

    title: str = ""
    predictor: str = "stress"
    outcome: str = "craving"
    phases: tuple[str, ...] = ()
    adjust_for: tuple[str, ...] = ()
    lag: int = 0
    moderators: tuple[Moderator, ...] = ()
    doses: Mapping[str, float] = field(default_factory=dict)
    all_pairs: bool = False
    method: str = "CR2"
    permutation_draws: int = 9_999
    permutation_seed: int = 1
    missed_after_dropout_counts: bool = True
    residuals: str = INDEPENDENT
    quadratic: bool = False
    compliance_sensitivity: bool = False
    baseline_phase: str = ""
    design: str = PARALLEL
    reference_treatment: str = ""
    carryover: bool = False

    @property
    def options(self) -> list[str]:
        """Later fields that ask for something."""
        return [name for name in LATER if getattr(self, name) != getattr(STANDARD, name)]

    @property
    def is_of_moments(self) -> bool:
        """Whether the sums that are always kept, stress and craving by phase, are all it takes."""
        more = [name for name in self.options if name != "compliance_sensitivity"]
        pair = (self.predictor, self.outcome) == ("stress", "craving")
        moments = {moderator.kind for moderator in self.moderators} <= {SITE}
        return pair and moments and not (self.adjust_for or self.lag or more)

    def content(self) -> dict[str, Any]:
        """The document that is hashed and kept."""
        silent = set(LATER) - set(self.options)
        return {name: value for name, value in self.written_out().items() if name not in silent}

    def written_out(self) -> dict[str, Any]:
        """Every field, as a document to go on from."""
        return {
            "format": FORMAT,
            **asdict(self),
            "phases": list(self.phases),
            "adjust_for": list(self.adjust_for),
            "moderators": [moderator.content() for moderator in self.moderators],
            "doses": dict(self.doses),
        }


STANDARD = Plan()


class PlanRefused(ValueError):
    """A document that is no plan; `faults` says what is wrong, each in a sentence."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(f"{each.pointer or '/'}: {each.detail}" for each in faults))
        self.faults = faults


def canonical(plan: Plan) -> str:
    """The text that is hashed and kept: sorted keys, no spaces."""
    return json.dumps(plan.content(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(plan: Plan) -> str:
    return hashlib.sha256(canonical(plan).encode()).hexdigest()


def read_text(text: str) -> Plan:
    """A plan from JSON. Raises PlanRefused."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlanRefused([Fault("", f"This is not JSON: {error}.")]) from error
    return read(document)


def read(document: Any) -> Plan:
    """A plan from a document. Raises PlanRefused with every fault."""
    found = list(faults(document))
    if found:
        raise PlanRefused(found)
    given = {name: value for name, value in document.items() if name != "format"}
    for name in ("phases", "adjust_for"):
        if name in given:
            given[name] = tuple(given[name])
    if "adjust_for" in given:
        given["adjust_for"] = tuple(sorted(given["adjust_for"], key=ADJUSTMENTS.index))
    if "moderators" in given:
        given["moderators"] = tuple(Moderator(**each) for each in given["moderators"])
    if "doses" in given:
        given["doses"] = {arm: float(dose) for arm, dose in sorted(given["doses"].items())}
    return Plan(**given)
