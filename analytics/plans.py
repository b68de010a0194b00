"""Plan the analysis: draft, delete drafts, lock, and say whether a comparison was specified before.

A plan counts as specified before when it was locked before the arms were unmasked or, in an open
study, before its first comparison was frozen.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import transaction

from analytics import plan as plans
from analytics.items import items_of
from analytics.models import AnalysisPlan, Comparison
from analytics.periods import faults_of
from analytics.plan import Plan, PlanRefused
from analytics.plan_fields import BASELINE, CROSSOVER, KEY, MOMENT
from ema import audit
from ema.arm_labels import are_coded
from ema.audit import Actor
from ema.models import Arm, Phase, Study
from ema.models.study import Masking, Role
from ema.submissions import Fault

PLANNERS = frozenset({Role.INVESTIGATOR.value, Role.STATISTICIAN.value})

CODED = (
    "Arms are told by code, drawn at random when the study started, until they are unmasked: A is "
    "what the others are compared with, whichever arm it is."
)
NO_PLAN = "Exploratory: no analysis plan was locked before this comparison was made."
DRAFT = "Exploratory: plan {} is not locked."
AFTER_UNMASKING = "Exploratory: plan {} was locked after the arms were unmasked."
AFTER_COMPARISON = "Exploratory: plan {} was locked after a comparison of this study was frozen."
SPECIFIED = "Specified before: plan {} was locked on {:%Y-%m-%d %H:%M} UTC."
LOOKED = "A comparison of this study was frozen before plan {} was locked."


class UnknownPlan(ValueError):
    """There is no such plan; the message says which there are."""


class PlanLocked(ValueError):
    """This version is locked; the message says so."""


def plan_named(study: Study, name: str) -> AnalysisPlan:
    """The newest version of a plan by its key, or one version: `primary@2`."""
    key, _, version = name.partition("@")
    found = AnalysisPlan.objects.filter(study=study, key=key).order_by("-version")
    if version:
        found = found.filter(version=int(version) if version.isdecimal() else 0)
    if (plan := found.first()) is None:
        known = AnalysisPlan.objects.filter(study=study).newest().values_list("key", flat=True)
        listed = ", ".join(known) or "none yet"
        raise UnknownPlan(f"Study {study} has no plan {name!r}. There are: {listed}.")
    return plan


@transaction.atomic
def save(*, study: Study, key: str, plan: Plan, actor: Actor, now: datetime) -> AnalysisPlan:
    """Keep a draft: the one there is changes, beside a locked version there is a new one.

    Raises PlanRefused for a key or names that the study does not have.
    """
    if not KEY.fullmatch(key):
        raise PlanRefused([Fault("/key", "A key is 1 to 40 letters, digits, - and _.")])
    if found := list(unknown_names(study, plan)):
        raise PlanRefused(found)
    Study.objects.select_for_update(no_key=True).get(pk=study.pk)  # versions are numbers
    newest = AnalysisPlan.objects.filter(study=study, key=key).order_by("-version").first()
    before = newest.sha256 if newest else None
    if newest is None or newest.locked_at is not None:
        version = newest.version + 1 if newest else 1
        newest = AnalysisPlan(study=study, key=key, version=version)
    elif newest.sha256 == plans.digest(plan):
        return newest
    newest.content, newest.sha256 = plans.canonical(plan), plans.digest(plan)
    newest.changed_at, newest.changed_by_id = now, _who(actor)
    newest.save()
    _record("plan.changed" if before else "plan.added", newest, actor, before)
    return newest


@transaction.atomic
def lock(*, stored: AnalysisPlan, actor: Actor, now: datetime) -> AnalysisPlan:
    """From now on this version never changes. Raises PlanLocked or PlanRefused."""
    draft = AnalysisPlan.objects.select_for_update().get(pk=stored.pk)
    if draft.locked_at is not None:
        raise PlanLocked(f"Plan {draft} is locked already, under {draft.sha256}.")
    if found := list(unknown_names(draft.study, draft.plan)):
        raise PlanRefused(found)
    draft.locked_at, draft.locked_by_id = now, _who(actor)
    draft.save(update_fields=["locked_at", "locked_by"])
    _record("plan.locked", draft, actor, draft.sha256)
    return draft


@transaction.atomic
def delete(*, stored: AnalysisPlan, actor: Actor) -> None:
    """Take a draft away for good. Raises PlanLocked: a locked version stays."""
    draft = AnalysisPlan.objects.select_for_update().select_related("study").get(pk=stored.pk)
    if draft.locked_at is not None:
        raise PlanLocked(f"Plan {draft} is locked, so it is never deleted.")
    audit.record(
        actor=actor,
        action="plan.deleted",
        subject=f"plan {draft}",
        study=draft.study,
        before={"version": draft.version, "sha256": draft.sha256, "content": draft.content},
    )
    draft.delete()


def notes_on(stored: AnalysisPlan | None, study: Study) -> tuple[bool, list[str]]:
    """Whether a comparison by this plan is exploratory, and the sentences that say why."""
    is_exploratory, notes = _standing(stored, study)
    return is_exploratory, [*notes, CODED] if are_coded(study) else notes


def _standing(stored: AnalysisPlan | None, study: Study) -> tuple[bool, list[str]]:
    """How the plan stands to what was looked at."""
    if stored is None:
        locked = AnalysisPlan.objects.filter(study=study).exclude(locked_at=None)
        keys = sorted(set(locked.values_list("key", flat=True)))
        if not keys:
            return True, [NO_PLAN]
        named = ", ".join(keys)
        return True, [f"Exploratory: no plan was named; locked in this study: {named}."]
    if stored.locked_at is None:
        return True, [DRAFT.format(stored)]
    looked = Comparison.objects.filter(study=study, made_at__lt=stored.locked_at).exists()
    if study.masking == Masking.OPEN and looked:
        return True, [AFTER_COMPARISON.format(stored)]
    if study.unmasked_at is not None and study.unmasked_at <= stored.locked_at:
        return True, [AFTER_UNMASKING.format(stored)]
    said = [SPECIFIED.format(stored, stored.locked_at)]
    return False, [*said, *([LOOKED.format(stored)] if looked else [])]


def unknown_names(study: Study, plan: Plan) -> Iterator[Fault]:
    """Items, phases and arms that the study does not have."""
    items = items_of(study)
    named = [("/predictor", plan.predictor), ("/outcome", plan.outcome)]
    phases = [(f"/phases/{number}", key) for number, key in enumerate(plan.phases)]
    for number, each in enumerate(plan.moderators):
        if each.kind in (BASELINE, MOMENT):
            named.append((f"/moderators/{number}/item", each.item))
        if each.kind == BASELINE:
            phases.append((f"/moderators/{number}/phase", each.phase))
    if plan.baseline_phase:
        phases.append(("/baseline_phase", plan.baseline_phase))
    doses = [(f"/doses/{arm}", arm) for arm in plan.doses]
    yield from _unknown("item that is a number", named, list(items))
    keys = Phase.objects.filter(study=study).order_by("position").values_list("key", flat=True)
    yield from _unknown("phase", phases, list(keys))
    arms = list(Arm.objects.filter(study=study).order_by("key").values_list("key", flat=True))
    yield from _unknown("arm", doses, arms)
    if plan.design == CROSSOVER:
        yield from faults_of(study, plan)
    if plan.doses and (without := [arm for arm in arms if arm not in plan.doses]):
        yield Fault("/doses", f"Arm {without[0]} has no dose: a trend takes all arms.")
    if plan.doses and len(set(plan.doses.values())) == 1:
        yield Fault("/doses", "All arms have the same dose, so there is no trend.")


def _unknown(what: str, named: list[tuple[str, str]], known: list[str]) -> Iterator[Fault]:
    for pointer, name in named:
        if name not in known:
            there = ", ".join(known) or "none yet"
            yield Fault(pointer, f"The study has no {what} {name!r}; there are: {there}.")


def _who(actor: Actor) -> Any:
    return actor.user.pk if actor.user else None


def _record(action: str, stored: AnalysisPlan, actor: Actor, before: str | None) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=f"plan {stored}",
        study=stored.study,
        before={"sha256": before} if before else None,
        after={"version": stored.version, "sha256": stored.sha256}
        | ({"locked": True} if stored.locked_at else {}),
    )
