"""Write down who changed what, in the same transaction as the change."""

from typing import Any, NamedTuple, Self

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from ema.models import AuditEvent, Participant, Site, Study


class Actor(NamedTuple):
    """Whoever acts: a signed-in user or nobody (a phone, a periodic task), through which door."""

    user: AbstractBaseUser | None
    door: str

    @classmethod
    def of(cls, user: AbstractBaseUser | AnonymousUser, door: str) -> Self:
        """Whoever a request is from."""
        return cls(user if isinstance(user, AbstractBaseUser) else None, door)


class NoReason(ValueError):
    """A correction without a reason."""


def refuse_no_reason(reason: str, *, of: str) -> None:
    """Raise NoReason: what stood before is kept, and whoever reads it asks why it changed."""
    if not reason.strip():
        raise NoReason(f"Say in words why {of}: what it was before is kept beside the reason.")


SYSTEM = Actor(user=None, door="task")
PHONE = Actor(user=None, door="phone")
COMMAND = Actor(user=None, door="command")


def record(
    *,
    actor: Actor,
    action: str,
    subject: str,
    study: Study | None = None,
    site: Site | None = None,
    is_closed: bool = False,
    before: Any = None,
    after: Any = None,
    reason: str = "",
) -> AuditEvent:
    """One append-only event. Call it inside the transaction of the change it describes.

    `site` is the participant's, where it is about one. A closed event depends on arms: only the
    closed role reads it.
    """
    return AuditEvent.objects.create(
        study=study,
        site=site,
        is_closed=is_closed,
        actor_id=actor.user.pk if actor.user else None,
        door=actor.door,
        action=action,
        subject=subject,
        before=before,
        after=after,
        reason=reason,
    )


def record_about(
    *,
    participant: Participant,
    actor: Actor,
    action: str,
    subject: str = "",
    before: Any = None,
    after: Any = None,
    reason: str = "",
) -> AuditEvent:
    """An event of a participant's study and site, about them unless `subject` says more."""
    return record(
        actor=actor,
        action=action,
        subject=subject or f"participant {participant.code}",
        study=participant.study,
        site=participant.site,
        before=before,
        after=after,
        reason=reason,
    )
