"""Break the blind: of one participant in an emergency, of a locked study by two persons."""

from collections.abc import Sequence
from datetime import datetime
from smtplib import SMTPException
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.core.mail import EmailMessage
from django.db import transaction

from ema import access, audit, mail_server
from ema.arm_labels import names_shown
from ema.audit import Actor
from ema.models import Allocation, EmergencyUnblinding, Participant, Study, TrialUnblinding

LONGEST_REASON = 500
MAIL_TAKES_S = 10.0  # at most; the arm is told before


class UnblindingRefused(ValueError):
    """Nobody learns anything; the message says why."""


class Told(NamedTuple):
    """What whoever unblinded is shown once."""

    arm: str
    title: str
    treatments: dict[str, str]
    unblinding: EmergencyUnblinding


@transaction.atomic
def unblind(
    *, participant: Participant, by: AbstractBaseUser, reason: str, now: datetime, actor: Actor
) -> Told:
    """Tell one participant's arm, and write down who asked and why. Raises UnblindingRefused.

    The closed event calls the arm what the closed role calls it, which may be a letter.
    """
    why = _in_words(reason, "the participant is unblinded")
    refuse_not_allocated(participant)
    slot = Allocation.objects.select_related("arm").get(participant=participant)
    made = EmergencyUnblinding.objects.create(
        participant=participant, by_id=by.pk, at=now, reason=why
    )
    about: dict[str, Any] = {
        "actor": actor,
        "subject": f"participant {participant}",
        "study": participant.study,
        "site": participant.site,
        "reason": why,
    }
    by_whom = by.get_username()
    audit.record(**about, action="participant.unblinded", after={"by": by_whom})
    audit.record(
        **about,
        action="participant.arm_told",
        is_closed=True,
        after={"by": by_whom, "arm": names_shown(participant.study)[slot.arm.key]},
    )
    return Told(slot.arm.key, slot.arm.title, slot.arm.treatments, made)


def refuse_not_allocated(participant: Participant) -> None:
    """Raise UnblindingRefused where there is no arm to tell."""
    if not Allocation.objects.filter(participant=participant).exists():
        raise UnblindingRefused(f"{participant} is not allocated, so there is no arm to tell.")


def send_word(unblinding: EmergencyUnblinding) -> str:
    """Mail those who must know, without the arm; empty, or a sentence on what did not go.

    Called after the transaction, so that no mail server keeps an arm from whoever needs it.
    """
    to: Sequence[str] = settings.UNBLINDING_MAIL_TO
    if not to:
        return "Nobody is named to be told by e-mail (UNBLINDING_MAIL_TO): tell them yourself."
    if not settings.EMAIL_SERVER:
        return f"No mail server is set (EMAIL_URL): tell {', '.join(to)} yourself."
    try:
        server = mail_server.Server(seconds=MAIL_TAKES_S, **settings.EMAIL_SERVER)
        letter(unblinding, to, server).send()
        mail_server.hang_up(server)
    except (SMTPException, OSError) as error:
        return f"The e-mail to {', '.join(to)} did not go ({error}): tell them yourself."
    return ""


def letter(
    unblinding: EmergencyUnblinding, to: Sequence[str], server: mail_server.Server
) -> EmailMessage:
    """What named people are told: who, when, why, and never what."""
    person = unblinding.participant
    text = (
        f"Participant {person} of study {person.study} (site {person.site}) was unblinded in an "
        f"emergency by {unblinding.by} at {unblinding.at:%Y-%m-%d %H:%M} UTC.\n\n"
        f"Reason: {unblinding.reason}\n\nThe arm is not in this message. The audit trail holds it "
        "for the closed role.\n"
    )
    subject = f"Emergency unblinding in study {person.study}"
    return EmailMessage(subject, text, settings.EMAIL_FROM, list(to), connection=server)


# --- a whole study ------------------------------------------------------------------------


@transaction.atomic
def propose(
    *, study: Study, by: AbstractBaseUser, reason: str, now: datetime, actor: Actor
) -> TrialUnblinding:
    """The first of two persons asks for the blind of a locked study to be broken."""
    why = _in_words(reason, "the study is to be unblinded")
    refuse_unbreakable(_locked(study))
    if TrialUnblinding.objects.standing().filter(study=study).exists():
        raise UnblindingRefused(f"The unblinding of study {study} is proposed already.")
    made = TrialUnblinding.objects.create(
        study=study, proposed_by_id=by.pk, proposed_at=now, proposal_reason=why
    )
    _record(actor, "study.unblinding_proposed", study, by, why)
    return made


@transaction.atomic
def confirm(
    *, study: Study, by: AbstractBaseUser, reason: str, now: datetime, actor: Actor
) -> Study:
    """The second person agrees: from now on everybody with access sees arms."""
    why = _in_words(reason, "the study is unblinded")
    refuse_unbreakable(_locked(study))
    standing = _standing(study)
    if standing.proposed_by_id == by.pk:
        raise UnblindingRefused(
            f"{by.get_username()} proposed it: another statistician or pharmacist must confirm."
        )
    if not access.may_unblind_study(user=standing.proposed_by, study=study):
        raise UnblindingRefused(
            f"{standing.proposed_by} who proposed it has no role for it any more: withdraw the "
            "proposal and propose anew."
        )
    standing.confirmed_by_id, standing.confirmed_at = by.pk, now
    standing.confirmation_reason = why
    standing.save()
    Study.objects.filter(pk=study.pk, unmasked_at=None).update(unmasked_at=now)
    study.unmasked_at = now
    _record(actor, "study.unblinded", study, by, why)
    return study


@transaction.atomic
def withdraw(
    *, study: Study, by: AbstractBaseUser, reason: str, now: datetime, actor: Actor
) -> None:
    """Take a proposal back that nobody confirmed; anybody who might confirm may."""
    why = _in_words(reason, "the proposal is withdrawn")
    _locked(study)
    standing = _standing(study)
    standing.withdrawn_at = now
    standing.save()
    _record(actor, "study.unblinding_withdrawn", study, by, why)


def refuse_unbreakable(study: Study) -> None:
    """Raise UnblindingRefused where there is no blind to break, or not yet."""
    if study.masking != "double_blind":
        raise UnblindingRefused(f"Study {study} is open: there is no blind to break.")
    if study.unmasked_at is not None:
        raise UnblindingRefused(f"Study {study} was unblinded at {study.unmasked_at:%Y-%m-%d}.")
    if study.locked_at is None:
        raise UnblindingRefused(f"Study {study} is not locked: a study is unblinded afterwards.")


def _locked(study: Study) -> Study:
    """The row, held until the end of the transaction: one step at a time."""
    return Study.objects.select_for_update(no_key=True).get(pk=study.pk)


def _standing(study: Study) -> TrialUnblinding:
    found = TrialUnblinding.objects.standing().filter(study=study).select_related("proposed_by")
    if (standing := found.first()) is None:
        raise UnblindingRefused(f"Nobody has proposed to unblind study {study}.")
    return standing


def _in_words(reason: str, what: str) -> str:
    why = reason.strip()
    if not why or len(why) > LONGEST_REASON:
        raise UnblindingRefused(f"Say in words why {what}, in up to {LONGEST_REASON} characters.")
    return why


def _record(actor: Actor, action: str, study: Study, by: AbstractBaseUser, reason: str) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=f"study {study}",
        study=study,
        after={"by": by.get_username()},
        reason=reason,
    )
