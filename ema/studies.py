"""Set up a study: publish its questionnaires, start it, lock it, grant roles."""

from datetime import datetime

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from ema import audit, phases
from ema.audit import Actor
from ema.models import Item, Membership, Phase, QuestionnaireVersion, Site, Study
from ema.models.questionnaire import AnalysisRole


class NotReady(ValueError):
    """Something is missing or contradictory; the message says what."""


@transaction.atomic
def publish(*, version: QuestionnaireVersion, now: datetime, actor: Actor) -> None:
    """Freeze a questionnaire version under its hash; phones may then load it."""
    if version.published_at is not None:
        raise NotReady(f"{version} is published already; make a new version to change it.")
    if not version.items.exists():
        raise NotReady(f"{version} has no items.")
    _refuse_other_decimals(version)
    version.sha256 = version.content_hash()
    version.published_at = now
    version.save()
    audit.record(
        actor=actor,
        action="questionnaire.published",
        subject=f"questionnaire {version}",
        study=version.questionnaire.study,
        after={"sha256": version.sha256},
    )


def decimals_of(study: Study) -> dict[str, int]:
    """Digits after the point of stress, craving and pain: one number for a whole study."""
    published = Item.objects.filter(
        version__questionnaire__study=study, version__published_at__isnull=False
    ).exclude(role=AnalysisRole.NONE)
    return dict(published.values_list("role", "decimals"))


def _refuse_other_decimals(version: QuestionnaireVersion) -> None:
    """Sums are kept as integers, so a role keeps its decimals in all versions of a study."""
    settled = decimals_of(version.questionnaire.study)
    for item in version.items.exclude(role=AnalysisRole.NONE):
        if settled.get(item.role, item.decimals) != item.decimals:
            raise NotReady(
                f"Item {item.key!r} has {item.decimals} decimals, but {item.role} has "
                f"{settled[item.role]} in what is published already: keep that number."
            )


@transaction.atomic
def start(*, study: Study, now: datetime, actor: Actor) -> None:
    """Begin: commit to the seed of the schedule in the audit trail."""
    missing = [
        what
        for what, there in {
            "a site": Site.objects.filter(study=study).exists(),
            "a phase": Phase.objects.filter(study=study).exists(),
        }.items()
        if not there
    ]
    if missing:
        raise NotReady(f"Study {study} needs {' and '.join(missing)} before it can start.")
    for phase in Phase.objects.filter(study=study).select_related("questionnaire", "study"):
        if phase.questionnaire.published_at is None:
            raise NotReady(f"Phase {phase} uses {phase.questionnaire}, which is not published.")
        for problem in phases.problems(phase, now):
            raise NotReady(f"Phase {phase}: {problem}")
    if not Study.objects.filter(pk=study.pk, started_at=None).update(started_at=now):
        raise NotReady(f"Study {study} has started already.")
    study.started_at = now
    audit.record(
        actor=actor,
        action="study.started",
        subject=f"study {study}",
        study=study,
        after={"started_at": now.isoformat(), "seed_commitment": study.seed_commitment},
    )


@transaction.atomic
def lock(*, study: Study, now: datetime, actor: Actor, reason: str) -> None:
    """End: nothing is planned or sent any more, and the seed may be revealed."""
    if study.started_at is None:
        raise NotReady(f"Study {study} has not started; only a study that ran is locked.")
    if not reason.strip():
        raise NotReady("Say in words why the study is locked.")
    if not Study.objects.filter(pk=study.pk, locked_at=None).update(locked_at=now):
        raise NotReady(f"Study {study} is locked already.")
    study.locked_at = now
    audit.record(
        actor=actor,
        action="study.locked",
        subject=f"study {study}",
        study=study,
        after={"locked_at": now.isoformat()},
        reason=reason.strip(),
    )


@transaction.atomic
def grant(
    *, user: AbstractBaseUser, role: str, study: Study, site: Site | None, actor: Actor
) -> bool:
    """Give a role; False when the user has it already."""
    _, is_new = Membership.objects.get_or_create(user_id=user.pk, role=role, study=study, site=site)
    if is_new:
        audit.record(
            actor=actor,
            action="role.granted",
            subject=f"user {user.get_username()}",
            study=study,
            after={"role": role, "site": site.code if site else None},
        )
    return is_new
