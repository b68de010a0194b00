"""The only way to a record: every read asks here what this person or phone may see."""

from collections.abc import Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Q, QuerySet

from ema import prepared
from ema.models import (
    AdverseEvent,
    Alert,
    AlertRule,
    AuditEvent,
    Device,
    DoubleEntry,
    Membership,
    Participant,
    PhoneEvent,
    Prompt,
    QuestionnaireVersion,
    Response,
    RowChange,
    Site,
    Study,
)
from ema.models.double_entry import DoubleEntryQuerySet
from ema.models.prompt import PromptQuerySet
from ema.models.study import Masking, Role

User = AbstractBaseUser | AnonymousUser
CLOSED = frozenset({Role.STATISTICIAN.value})
UNBLINDERS = CLOSED | {Role.PHARMACIST.value}
"""Who may break a study's blind, two of them together."""
COMPARERS = CLOSED | {Role.INVESTIGATOR.value}

READERS = frozenset({Role.COORDINATOR.value, Role.INVESTIGATOR.value, Role.STATISTICIAN.value})
"""Who reads the records of participants: a pharmacist and an auditor do not."""
CARERS = frozenset({Role.COORDINATOR.value, Role.INVESTIGATOR.value})
"""Who looks after participants: they read alerts and acknowledge them."""
TRAIL_READERS = READERS | {Role.AUDITOR.value}
"""Who reads the audit trail."""


class NoAccess(Exception):
    """This person may not see or do that; the message says what is missing."""


class Held(NamedTuple):
    """A role that a user holds in a study: at one site, or in the whole study."""

    role: str
    study_id: int
    site_id: int | None


def _held(user: User, roles: Iterable[str] = frozenset(Role.values)) -> list[Held]:
    """What a user holds, of some roles. It is read once for a user object: once a request."""
    if not user.is_authenticated:
        return []
    if (known := getattr(user, "_held", None)) is None:
        found = Membership.objects.filter(user_id=user.pk)
        known = [Held(*one) for one in found.values_list("role", "study_id", "site_id")]
        setattr(user, "_held", known)  # noqa: B010 - a user model knows nothing of it
    return [one for one in known if one.role in roles]


def _reach(held: Collection[Held]) -> tuple[list[int], list[int]]:
    """The studies that roles reach as a whole, and the sites that others reach."""
    whole = {one.study_id for one in held if one.site_id is None}
    return sorted(whole), sorted({one.site_id for one in held if one.site_id is not None})


def _within(user: User, roles: Iterable[str], path: str = "") -> Q:
    """What is in reach of somebody's roles: in a whole study, or at a site."""
    whole, sites = _reach(_held(user, roles))
    return Q(**{f"{path}study__in": whole}) | Q(**{f"{path}site__in": sites})


def holds(user: User, roles: Iterable[str] = frozenset(Role.values)) -> bool:
    """Whether a user holds one of the roles in any study."""
    return bool(_held(user, roles))


def roles_in(*, user: User, study: Study) -> set[str]:
    """The roles a user holds in a study. Superusers hold none: they manage, they do not look."""
    return {one.role for one in _held(user) if one.study_id == study.pk}


def studies_for(user: User, *roles: str) -> QuerySet[Study]:
    """The studies in which a user holds one of the roles (any role when none is named)."""
    held = _held(user, roles or Role.values)
    return Study.objects.filter(pk__in=sorted({one.study_id for one in held}))


def access_study(*, user: User, slug: str, roles: AbstractSet[str]) -> Study:
    """The study, or NoAccess: an unknown study and a forbidden one look the same."""
    study = studies_for(user, *roles).filter(slug=slug).first()
    if study is None:
        wanted = " or ".join(sorted(roles))
        raise NoAccess(f"There is no study {slug!r} in which you are {wanted}.")
    return study


def refuse_all_but_administrators(user: User) -> None:
    """Raise NoAccess: only administrators set up studies. They see no participants."""
    if not (user.is_active and getattr(user, "is_superuser", False)):
        raise NoAccess("Only an administrator sets up studies.")


def access_set_up(*, user: User, slug: str) -> Study:
    """A study to set up, for an administrator; others cannot tell it from an unknown one."""
    found = studies_set_up_by(user).filter(slug=slug).first()
    if found is None:
        raise NoAccess(f"There is no study {slug!r} of which you are administrator.")
    return found


def studies_set_up_by(user: User) -> QuerySet[Study]:
    """All of them, for administrators; nobody else sets up any."""
    may = user.is_active and getattr(user, "is_superuser", False)
    return Study.objects.all() if may else Study.objects.none()


def access_comparison(*, user: User, slug: str) -> Study:
    """The study whose arms this user may compare: the closed role while arms are hidden."""
    study = access_study(user=user, slug=slug, roles=COMPARERS)
    if not may_compare(study=study, held=roles_in(user=user, study=study)):
        raise NoAccess("Arms of a double-blind study are compared by its statistician only.")
    return study


def may_compare(*, study: Study, held: AbstractSet[str]) -> bool:
    """Whether somebody with these roles may see this study's arms compared."""
    return bool(held & (CLOSED if study.arms_are_hidden else COMPARERS))


def participant_to_unblind(*, user: User, study: Study, code: str) -> Participant:
    """The participant whose arm this pharmacist may learn, at their site; or NoAccess."""
    sites = sites_for(user, Role.PHARMACIST.value)
    found = Participant.objects.filter(study=study, site__in=sites, code=code)
    if (participant := found.select_related("study", "site").first()) is None:
        raise NoAccess(f"There is no participant {code!r} where you are pharmacist.")
    return participant


def may_unblind_study(*, user: User, study: Study) -> bool:
    """Whether this user may be one of the two who break a study's blind."""
    held = Membership.objects.filter(user=user.pk, study=study, site=None)
    return held.filter(role__in=UNBLINDERS, user__is_active=True).exists()


def access_unblinding(*, user: User, slug: str) -> Study:
    """The study whose blind this user may break together with somebody else; or NoAccess."""
    study = access_study(user=user, slug=slug, roles=UNBLINDERS)
    if not may_unblind_study(user=user, study=study):
        raise NoAccess("A role at one site does not unblind a study.")
    return study


def participants_for(user: User) -> QuerySet[Participant]:
    """Participants of the sites a coordinator has, and of an investigator's whole studies."""
    return Participant.objects.filter(_within(user, READERS))


def adverse_events_for(user: User) -> QuerySet[AdverseEvent]:
    """Adverse events of the participants whom a user may see."""
    return AdverseEvent.objects.filter(_within(user, READERS, "participant__"))


def double_entries_for(user: User) -> DoubleEntryQuerySet:
    """What was entered, by anybody, about participants for whom a user enters results."""
    return DoubleEntry.objects.filter(_within(user, [Role.COORDINATOR.value], "participant__"))


def access_double_entry(*, user: User, slug: str, number: int) -> DoubleEntry:
    """The entry, or NoAccess: an unknown one and a forbidden one look the same."""
    found = double_entries_for(user).filter(participant__study__slug=slug, pk=number)
    entry = found.select_related(
        "participant__study", "participant__site", "urine_test", "first_by", "second_by"
    ).first()
    if entry is None:
        raise NoAccess(f"There is no entry {number} in study {slug!r} where you enter results.")
    return entry


def sites_for(user: User, *roles: str) -> QuerySet[Site]:
    """The sites at which a user holds one of the roles: their own, or all of the study."""
    whole, sites = _reach(_held(user, roles))
    return Site.objects.filter(Q(study__in=whole) | Q(pk__in=sites))


def only_sites_of(*, user: User, study: Study) -> list[str]:
    """The codes of the sites that a user is kept to; none when they see the whole study."""
    whole, sites = _reach([one for one in _held(user, READERS) if one.study_id == study.pk])
    return [] if whole else sorted(Site.objects.filter(pk__in=sites).values_list("code", flat=True))


def alerts_for(user: User) -> QuerySet[Alert]:
    """Alerts about participants of the sites that a user looks after."""
    return Alert.objects.filter(_within(user, CARERS, "participant__"))


def access_alert(*, user: User, slug: str, number: int) -> Alert:
    """The alert, or NoAccess: an unknown one and a forbidden one look the same."""
    found = alerts_for(user).filter(rule__study__slug=slug, pk=number)
    alert = found.select_related("rule__study", "participant__site", "acknowledged_by").first()
    if alert is None:
        raise NoAccess(f"There is no alert {number} in study {slug!r} that you look after.")
    return alert


def alert_rules_for(user: User) -> QuerySet[AlertRule]:
    """Rules of the studies in which a user looks after participants."""
    return AlertRule.objects.filter(study__in=studies_for(user, *CARERS))


def audit_events_for(user: User) -> QuerySet[AuditEvent]:
    """Events of one's studies or, kept to a site, of that site; closed ones for whoever may."""
    return AuditEvent.objects.filter(_own_trail(user))


def row_changes_for(user: User) -> QuerySet[RowChange]:
    """What became of rows, as the events: of one's studies or site, closed ones for whoever may."""
    return RowChange.objects.filter(_own_trail(user))


def _own_trail(user: User) -> Q:
    """An auditor is masked: while arms are hidden, closed parts are for the closed role alone."""
    audited = studies_for(user, Role.AUDITOR.value).filter(
        Q(masking=Masking.OPEN) | Q(unmasked_at__isnull=False)
    )
    closed = Q(study__in=studies_for(user, Role.STATISTICIAN.value)) | Q(study__in=audited)
    return _within(user, TRAIL_READERS) & (Q(is_closed=False) | closed)


class Signal(msgspec.Struct, frozen=True, array_like=True):
    """A prompt, as far as judging an answer to it needs it. None of this changes once planned."""

    due_at: datetime
    expires_at: datetime
    questionnaire_id: int


class Uploader(msgspec.Struct, frozen=True, array_like=True):
    """The phone that uploads, as far as storing what it sends needs it.

    `signals` are those of the prompts it says it answers that are its participant's.
    """

    device_id: int
    participant_id: int
    study_id: int
    withdrawn_at: datetime | None
    replaced_at: datetime | None
    signals: dict[UUID, Signal]


# The phone and its prompts at once: a statement less for every upload. Prompts are found by their
# ids alone; whose they are is asked of those, not of an index over all that a participant has.
UPLOADER = """
SELECT json_build_array(
    device.id, participant.id, participant.study_id, participant.withdrawn_at, device.replaced_at,
    (
        SELECT coalesce(
            json_object_agg(id, json_build_array(due_at, expires_at, questionnaire_id))
            FILTER (WHERE participant_id = participant.id), '{}'
        ) FROM ema_prompt WHERE id = ANY($3)
    )
)
FROM ema_device device JOIN ema_participant participant ON participant.id = device.participant_id
WHERE device.access_hash = $1 AND device.access_expires_at > $2 AND device.revoked_at IS NULL
"""
_uploader = msgspec.json.Decoder(Uploader)


def uploader(*, access_hash: str, now: datetime, asked: Iterable[UUID] = ()) -> Uploader | None:
    """Whose token this is, with the prompts named; also a phone that was replaced, which may hold
    answers."""
    found = prepared.first_value(UPLOADER, access_hash, now, prepared.array(asked))
    return _uploader.decode(found) if found else None


def uploader_of(device: Device, asked: Sequence[UUID]) -> Uploader:
    """The same of a phone that is known, for what was kept of it."""
    owner = device.participant
    named = ("pk", "due_at", "expires_at", "questionnaire_id")
    prompts = prompts_of(device).filter(pk__in=asked).values_list(*named)
    signals = {key: Signal(*rest) for key, *rest in prompts}
    whose = (device.pk, owner.pk, owner.study_id)
    return Uploader(*whose, owner.withdrawn_at, device.replaced_at, signals)


CONTENTS = """
SELECT json_object_agg(id, encode(content_sha256, 'hex')) FROM ema_response
WHERE id = ANY($1) AND participant_id = $2
"""
_contents = msgspec.json.Decoder(dict[UUID, str])


def contents_of(phone: Uploader, ids: Collection[UUID]) -> dict[UUID, str]:
    """Hashes of this participant's stored responses; another's id stays unknown here."""
    if not ids:
        return {}
    found = prepared.value(CONTENTS, prepared.array(ids), phone.participant_id)
    return _contents.decode(found) if found else {}


def prompts_of(device: Device) -> PromptQuerySet:
    """A phone reaches only its own participant's prompts."""
    return Prompt.objects.filter(participant_id=device.participant_id)


def responses_of(device: Device) -> QuerySet[Response]:
    """What this phone's participant answered, from any of their phones."""
    return Response.objects.filter(participant_id=device.participant_id)


def events_of(device: Device) -> QuerySet[PhoneEvent]:
    """What this phone's participant's phones reported, this one and earlier ones."""
    return PhoneEvent.objects.filter(device__participant_id=device.participant_id)


def questionnaire_of(device: Device, *, key: str, version: int) -> QuestionnaireVersion | None:
    """A published version of a questionnaire of the phone's own study."""
    return (
        QuestionnaireVersion.objects.published()
        .filter(
            questionnaire__study_id=device.participant.study_id,
            questionnaire__key=key,
            version=version,
        )
        .select_related("questionnaire")
        .first()
    )
