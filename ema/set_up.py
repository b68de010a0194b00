"""Setting up a study step by step: what is there, what is missing, what is worth having."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from django.db.models import Q

from ema import studies
from ema.models import Allocation, Membership, Phase, QuestionnaireVersion, Site, Study
from ema.models.study import Role


class Step(NamedTuple):
    """`missing` keeps the study from starting; `advised` does not."""

    key: str
    title: str
    there: list[str]
    missing: list[str]
    advised: list[str]

    @property
    def state(self) -> str:
        if self.missing:
            return "missing"
        return "advised" if self.advised else "done"


def steps(study: Study, now: datetime) -> list[Step]:
    """In the order in which they are taken. What is missing is what starting would refuse."""
    missing = studies.start_problems(study, now)
    return [
        Step("study", "Study", list(_study(study)), [], []),
        Step(
            "arms",
            "Arms",
            [_arm(arm) for arm in study.arms.all()],
            missing["arms"],
            list(_arms(study)),
        ),
        Step(
            "questionnaire",
            "Questionnaire",
            [_version(one) for one in _versions(study)],
            missing["questionnaire"],
            [] if _versions(study) else ["Phases name their questionnaire: make one first."],
        ),
        Step("phases", "Phases", list(_phases(study)), missing["phases"], []),
        Step(
            "sites",
            "Sites",
            [f"{site.code}: {site.title}, {site.zone}" for site in study.sites.all()],
            missing["sites"],
            [],
        ),
        Step("list", "Allocation list", list(_slots(study)), [], list(_list(study))),
        Step("people", "People", list(_members(study)), [], list(_people(study))),
    ]


def _study(study: Study) -> Iterable[str]:
    yield f"{study.title} ({study.slug}), {study.get_masking_display()}"
    yield f"time zone of the team: {study.zone}"
    yield f"results are entered {'twice, by two people' if study.double_entry else 'once'}"


def _arm(arm: object) -> str:
    return f"{arm}{' (reference)' if getattr(arm, 'is_reference', False) else ''}"


def _arms(study: Study) -> Iterable[str]:
    arms = study.arms.all()
    if len(arms) < 2:
        yield "A comparison needs two arms or more."
    elif not any(arm.is_reference for arm in arms):
        yield "Say which arm the others are compared with."
    without = [arm.key for arm in arms if not arm.treatments]
    if 0 < len(without) < len(arms):
        yield f"Other arms have treatments by phase, but not {', '.join(without)}."


def _versions(study: Study) -> list[QuestionnaireVersion]:
    found = QuestionnaireVersion.objects.filter(questionnaire__study=study)
    return list(found.select_related("questionnaire").order_by("questionnaire__key", "version"))


def _version(version: QuestionnaireVersion) -> str:
    return f"{version}: {'published' if version.published_at else 'a draft'}"


def _phases(study: Study) -> Iterable[str]:
    for phase in Phase.objects.filter(study=study).select_related("questionnaire"):
        yield (
            f"{phase.position}. {phase.key}: {phase.days} days, {phase.prompts_per_day} prompts a "
            f"day, {phase.questionnaire}"
        )


def _slots(study: Study) -> Iterable[str]:
    if slots := Allocation.objects.filter(study=study).count():
        yield f"{slots} slots"


def _list(study: Study) -> Iterable[str]:
    if study.arms.count() > 1 and not study.allocation_lists.exists():
        yield (
            "Nobody can be allocated before there is a list: draw or upload one under Allocation "
            f"lists, or by manage.py allocation_list {study}."
        )


def _members(study: Study) -> Iterable[str]:
    held = Membership.objects.filter(study=study).select_related("user", "site")
    for one in held.order_by("role", "user__username"):
        yield f"{one.user.get_username()}: {one.role}{f' of {one.site}' if one.site else ''}"


def _people(study: Study) -> Iterable[str]:
    held = set(Membership.objects.filter(study=study).values_list("role", "site_id"))
    for site in Site.objects.filter(study=study):
        if not held & {(Role.COORDINATOR.value, None), (Role.COORDINATOR.value, site.pk)}:
            yield f"Site {site} has no coordinator: nobody enrols there."
        elif study.double_entry and _coordinators(site) < 2:
            yield f"Site {site} has one coordinator, and two people enter each result."
    if study.arms_are_hidden and Role.STATISTICIAN.value not in {role for role, _ in held}:
        yield "The study is double blind and has no statistician: nobody compares its arms."


def _coordinators(site: Site) -> int:
    of_site = Membership.objects.filter(Q(site=site) | Q(site=None), study=site.study)
    return of_site.filter(role=Role.COORDINATOR).values("user").distinct().count()
