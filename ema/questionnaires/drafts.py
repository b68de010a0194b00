"""Drafts of questionnaires: made from a document, copied, changed, removed; each written down."""

from typing import Any

from django.db import transaction
from django.db.models import Max

from ema import audit
from ema.audit import Actor
from ema.models import Item, Questionnaire, QuestionnaireVersion, Study
from ema.questionnaires import checks, default
from ema.questionnaires.files import Refused
from ema.submissions import Fault

OF_ITEM = [field.name for field in Item._meta.fields if field.name not in ("id", "version")]


def next_version(study: Study, key: str) -> int:
    """The number after the highest one there is of a questionnaire."""
    taken = QuestionnaireVersion.objects.filter(questionnaire__study=study, questionnaire__key=key)
    highest: int | None = taken.aggregate(highest=Max("version"))["highest"]
    return (highest or 0) + 1


@transaction.atomic
def bring_in(
    *, study: Study, document: Any, actor: Actor, renumber: bool = False
) -> QuestionnaireVersion:
    """A draft from a document, under its own number or the next free one; Refused with every fault.

    What is there already is never written over.
    """
    wrong = checks.faults(document)
    if wrong:
        raise Refused(wrong)
    Study.objects.select_for_update(no_key=True).get(pk=study.pk)  # one number is given once
    key, number = document["key"], document["version"]
    if renumber:
        number = next_version(study, key)
    found = QuestionnaireVersion.objects.filter(
        questionnaire__study=study, questionnaire__key=key, version=number
    ).first()
    if found:
        state = "published" if found.published_at else "a draft"
        sentence = f"Version {number} of {key} is there already ({state})"
        raise Refused([Fault("/version", f"{sentence}: bring this one in under the next number.")])
    return _made(study, document | {"version": number}, actor, "questionnaire.imported")


def _made(
    study: Study, document: dict[str, Any], actor: Actor, action: str
) -> QuestionnaireVersion:
    """Rows for a sound document."""
    title = next(iter(document.get("title", {}).values()), document["key"])
    questionnaire, _ = Questionnaire.objects.get_or_create(
        study=study, key=document["key"], defaults={"title": title[:200]}
    )
    version = QuestionnaireVersion.objects.create(
        questionnaire=questionnaire,
        **{
            name: document[name]
            for name in ("version", "languages", "title", "skip_reasons")
            if name in document
        },
    )
    Item.objects.bulk_create(
        _item(version, position, content)
        for position, content in enumerate(document["items"], start=1)
    )
    record(version=version, actor=actor, action=action, after=version.document())
    return version


def _item(version: QuestionnaireVersion, position: int, content: dict[str, Any]) -> Item:
    """A row with what the document says; a kind without a range has none."""
    given = {name: content[name] for name in OF_ITEM if name in content}
    ranged = {"minimum": None, "maximum": None} | given
    return Item(version=version, **ranged | {"position": position})


@transaction.atomic
def copy(*, version: QuestionnaireVersion, actor: Actor) -> QuestionnaireVersion:
    """A new draft with the same content under the next number; Refused where it is not sound."""
    study = Study.objects.select_for_update(no_key=True).get(pk=version.questionnaire.study_id)
    number = next_version(study, version.questionnaire.key)
    document = version.document() | {"version": number}
    wrong = checks.faults(document) if version.items.exists() else []
    if wrong:
        raise Refused(wrong)
    return _made(study, document, actor, "questionnaire.copied")


@transaction.atomic
def start_from_default(*, study: Study, actor: Actor) -> QuestionnaireVersion:
    """A draft of the default questionnaire: version 1, or the next."""
    Study.objects.select_for_update(no_key=True).get(pk=study.pk)
    document = default.document(next_version(study, default.KEY))
    return _made(study, document, actor, "questionnaire.added")


def save(*, version: QuestionnaireVersion) -> Any:
    """Save a draft without its items; what it was before, None for a new one: it gets a number."""
    study = Study.objects.select_for_update(no_key=True).get(pk=version.questionnaire.study_id)
    standing = QuestionnaireVersion.objects.filter(pk=version.pk).first()
    before = standing.document() if standing else None
    if standing is None:
        version.version = next_version(study, version.questionnaire.key)
    version.save()
    return before


def record_change(*, version: QuestionnaireVersion, before: Any, actor: Actor) -> None:
    """Write down what changed, if anything did."""
    after = version.document()
    if before != after:
        action = "questionnaire.changed" if before else "questionnaire.added"
        record(version=version, actor=actor, action=action, before=before, after=after)


def record(
    *, version: QuestionnaireVersion, actor: Actor, action: str, before: Any = None, after: Any
) -> None:
    """Write down what became of a draft."""
    audit.record(
        actor=actor,
        action=action,
        subject=f"questionnaire {version}",
        study=version.questionnaire.study,
        before=before,
        after=after,
    )


@transaction.atomic
def remove(*, version: QuestionnaireVersion, actor: Actor) -> None:
    """Delete a draft; a published version stays, the database sees to it."""
    record(
        version=version,
        actor=actor,
        action="questionnaire.removed",
        before=version.document(),
        after=None,
    )
    version.delete()
