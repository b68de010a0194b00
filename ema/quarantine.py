"""Quarantine: an item that could not be stored is released as a response, or discarded.

The item stays as it was sent: a correction is the response beside it.
"""

import json
import uuid
from datetime import datetime

import msgspec
from django.db import transaction

from ema import access, audit, hard_lock, responses
from ema.audit import Actor
from ema.models import Quarantine, QuestionnaireVersion, Response
from ema.models.response import Flag
from ema.submissions import Broken, Client, Read, Submission, read_submission


class QuarantineRefused(ValueError):
    """The item cannot be released or discarded like this; the message says why."""


def text_of(entry: Quarantine) -> str:
    """The item as it was sent, laid out for reading and correcting."""
    if isinstance(entry.raw, str):  # what no JSON column could hold
        return entry.raw
    return json.dumps(entry.raw, indent=2, ensure_ascii=False)


def read_item(entry: Quarantine, text: str) -> Read[Submission]:
    """The item of this text; QuarantineRefused where it could not be stored either."""
    item = read_submission(msgspec.Raw(text.encode()))
    if isinstance(item, Broken):
        where = item.fault.pointer or "the item"
        raise QuarantineRefused(f"It cannot be read yet: {where}: {item.fault.detail}.")
    named = item.item.questionnaire
    versions = QuestionnaireVersion.objects.published().filter(
        questionnaire__study=entry.participant.study, questionnaire__key=named.key
    )
    if not versions.filter(version=named.version).exists():
        known = ", ".join(map(str, versions.values_list("version", flat=True))) or "none"
        raise QuarantineRefused(
            f"There is no published version {named.version} of {named.key!r}; published: {known}."
        )
    return item


def refuse_locked(entry: Quarantine) -> None:
    """QuarantineRefused in a locked study: the item stays where it is, as it was sent."""
    if why := hard_lock.refusal(entry.participant.study):
        raise QuarantineRefused(why)


@transaction.atomic
def release(
    *, entry: Quarantine, reason: str, now: datetime, actor: Actor, text: str = ""
) -> Response:
    """Store the item as a response, as it was sent or as `text` corrects it."""
    refuse_locked(entry)
    _claim(entry, reason)
    item = read_item(entry, text or text_of(entry))
    if Response.objects.filter(pk=item.item.id).exists():  # the first with this id stands
        renamed = msgspec.structs.replace(item.item, id=uuid.uuid4())
        item = msgspec.structs.replace(item, item=renamed)
    phone = access.uploader_of(entry.device, asked=responses.asked_by([item]))
    [status] = responses.store_batch(
        phone=phone, client=Client(), items=[item], now=now
    )  # received now, so that couplings take it up; the item keeps when it arrived
    if status.status != "created":
        raise QuarantineRefused(f"It was not stored: {status.status}.")
    response = Response.objects.get(pk=item.item.id)
    response.flags = [*response.flags, Flag.RELEASED.value]
    response.save(update_fields=["flags"])
    _resolve(entry, "released", reason, now, actor, response)
    return response


@transaction.atomic
def discard(*, entry: Quarantine, reason: str, now: datetime, actor: Actor) -> None:
    """Leave the item out for good: it was no answer, or is there already."""
    _claim(entry, reason)
    _resolve(entry, "discarded", reason, now, actor)


def _claim(entry: Quarantine, reason: str) -> None:
    """Of two who decide at once, one does."""
    if not reason.strip():
        raise QuarantineRefused("Say why, in words.")
    kept = Quarantine.objects.select_for_update().get(pk=entry.pk)
    if kept.resolved_at:
        raise QuarantineRefused(f"This was resolved already: {kept.resolution}.")


def _resolve(
    entry: Quarantine,
    end: str,
    reason: str,
    now: datetime,
    actor: Actor,
    response: Response | None = None,
) -> None:
    entry.resolved_at, entry.resolution, entry.response = now, reason.strip(), response
    entry.save(update_fields=["resolved_at", "resolution", "response"])
    audit.record_about(
        participant=entry.participant,
        actor=actor,
        action=f"quarantine.{end}",
        subject=f"item of {entry.participant.code}",
        before={"sha256": bytes(entry.content_sha256).hex()},
        after={"response": str(response.pk)} if response else None,
        reason=reason.strip(),
    )
