"""Set up a study: publish its questionnaires, start it, lock it, grant and revoke roles."""

from datetime import datetime
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.forms.models import model_to_dict

from ema import arm_labels, arms, audit, phases
from ema.audit import Actor
from ema.models import Item, Membership, Phase, QuestionnaireVersion, Site, Study
from ema.models.questionnaire import AnalysisRole, canonical
from ema.models.study import AT_A_SITE
from ema.questionnaires import checks

SETTLED = ("slug", "masking", "closed_labels")  # from the start on: addresses, and who may see arms


class NotReady(ValueError):
    """Something is missing or contradictory; the message says what."""


class RoleRefused(ValueError):
    """This role is not given like this; the message says why."""


@transaction.atomic
def save(*, study: Study, actor: Actor) -> None:
    """Save a new or changed study and write down what changed; some of it stays after the start."""
    old = Study.objects.select_for_update(no_key=True).filter(pk=study.pk).first()
    before, after = _set_up_of(old) if old else None, _set_up_of(study)
    if before == after:
        return
    if old and old.started_at:
        for name in SETTLED:
            if getattr(old, name) != getattr(study, name):
                raise NotReady(f"Study {old} has started: its {name} stays as it is.")
    study.save(update_fields=after if old else None)
    audit.record(
        actor=actor,
        action="study.changed" if old else "study.added",
        subject=f"study {study}",
        study=study,
        before=before,
        after=after,
    )


def _set_up_of(study: Study) -> dict[str, Any]:
    return model_to_dict(study, exclude=["id"])


@transaction.atomic
def publish(*, version: QuestionnaireVersion, now: datetime, actor: Actor) -> None:
    """Freeze a questionnaire version under its hash; phones may then load it."""
    standing = QuestionnaireVersion.objects.select_for_update().get(pk=version.pk)
    if standing.published_at is not None:
        raise NotReady(f"{version} is published already; make a new version to change it.")
    problems = publishing_problems(version)
    if problems:
        raise NotReady(f"{version} cannot be published. {' '.join(problems)}")
    version.published_content = canonical(version.document())
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


def publishing_problems(version: QuestionnaireVersion) -> list[str]:
    """Every reason, in words, why a draft cannot be published as it is."""
    if not version.items.exists():
        return [f"{version} has no items."]
    document = version.document()
    wrong = [checks.in_words(each, document) for each in checks.faults(document)]
    return wrong or [*checks.missing_texts(document), *_other_decimals(version)]


def _other_decimals(version: QuestionnaireVersion) -> list[str]:
    """Sums are kept as integers, so a role keeps its decimals in all versions of a study."""
    settled = decimals_of(version.questionnaire.study)
    return [
        f"Item {item.key!r} has {item.decimals} decimals, but {item.role} has "
        f"{settled[item.role]} in what is published already: keep that number."
        for item in version.items.exclude(role=AnalysisRole.NONE)
        if settled.get(item.role, item.decimals) != item.decimals
    ]


def start_problems(study: Study, now: datetime) -> dict[str, list[str]]:
    """Every reason, in words, why a study cannot start, by what it is about."""
    has_site = Site.objects.filter(study=study).exists()
    found: dict[str, list[str]] = {
        "sites": [] if has_site else ["It needs a site."],
        "arms": arms.treatments_nowhere(study),
        "phases": [],
        "questionnaire": [],
    }
    planned = list(Phase.objects.filter(study=study).select_related("questionnaire", "study"))
    if not planned:
        found["phases"].append("It needs a phase.")
    for phase in planned:
        if phase.questionnaire.published_at is None:
            said = f"Phase {phase} uses {phase.questionnaire}, which is not published."
            found["questionnaire"].append(said)
        wrong = phases.problems(phase, now)
        found["phases"] += [f"Phase {phase}: {problem}" for problem in wrong]
    return found


@transaction.atomic
def add_site(*, site: Site, actor: Actor) -> None:
    """Save a new site, and write it down."""
    site.save()
    audit.record(
        actor=actor,
        action="site.added",
        subject=f"site {site}",
        study=site.study,
        after={"title": site.title, "zone": site.zone},
    )


@transaction.atomic
def start(*, study: Study, now: datetime, actor: Actor) -> None:
    """Begin: commit to the seed of the schedule in the audit trail. Raises NotReady."""
    if problems := [each for found in start_problems(study, now).values() for each in found]:
        raise NotReady(f"Study {study} cannot start. {' '.join(problems)}")
    if not Study.objects.filter(pk=study.pk, started_at=None).update(started_at=now):
        raise NotReady(f"Study {study} has started already.")
    study.started_at = now
    arm_labels.give_labels(study)
    audit.record(
        actor=actor,
        action="study.started",
        subject=f"study {study}",
        study=study,
        after={"started_at": now.isoformat(), "seed_commitment": study.seed_commitment},
    )


@transaction.atomic
def lock(*, study: Study, now: datetime, actor: Actor, reason: str) -> None:
    """End: nothing is planned, sent or entered any more, and the seed may be revealed."""
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
    """Give a role; False when the user has it already. Raises RoleRefused."""
    refuse_wrong_grant(user_id=user.pk, role=role, study=study, site=site, actor=actor)
    _, is_new = Membership.objects.get_or_create(user_id=user.pk, role=role, study=study, site=site)
    if is_new:
        audit.record(
            actor=actor,
            action="role.granted",
            subject=f"user {user.get_username()}",
            study=study,
            site=site,
            after=_held(role, site),
        )
    return is_new


def refuse_wrong_grant(
    *, user_id: int | None, role: str, study: Study, site: Site | None, actor: Actor
) -> None:
    """Raise RoleRefused: nobody lets themselves in, and only some roles have one site."""
    if actor.user is not None and actor.user.pk == user_id:
        raise RoleRefused("Nobody gives a role to themselves: ask another administrator.")
    if site is not None and role not in AT_A_SITE:
        raise RoleRefused(
            f"Only a coordinator or a pharmacist is kept to a site: leave it out for {role}."
        )
    if site is not None and site.study_id != study.pk:
        raise RoleRefused(f"Site {site} is not a site of study {study}.")


@transaction.atomic
def revoke(*, membership: Membership, actor: Actor) -> bool:
    """Take a role away; False when it is gone already."""
    is_gone, _ = Membership.objects.filter(pk=membership.pk).delete()
    if is_gone:
        audit.record(
            actor=actor,
            action="role.revoked",
            subject=f"user {membership.user.get_username()}",
            study=membership.study,
            site=membership.site,
            before=_held(membership.role, membership.site),
        )
    return bool(is_gone)


def _held(role: str, site: Site | None) -> dict[str, Any]:
    return {"role": role, "site": site.code if site else None}
