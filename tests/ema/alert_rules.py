"""Rules and answers that tests of alerts are about."""

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from ema import alert_rules, audit
from ema.models import AlertRule, Item, Participant, QuestionnaireVersion, Response, Study
from ema.models.questionnaire import Questionnaire
from ema.studies import publish
from tests import trial

TODO = "Call the participant."
CRAVING: dict[str, Any] = {
    "kind": "answer",
    "item": "craving",
    "operator": "at_least",
    "value": "90",
}
SUICIDALITY: dict[str, Any] = {
    "kind": "answer",
    "item": "suicidality",
    "operator": "is",
    "value": "yes",
}
CHANGE: dict[str, Any] = {
    "kind": "change",
    "item": "stress",
    "operator": "at_least",
    "amount": 2,
    "least_answers": 5,
}


def a_rule(study: Study, **fields: Any) -> AlertRule:
    """An unsaved rule of craving, or of what is named instead."""
    kind = fields.get("kind", "answer")
    own = {**(CRAVING if kind == "answer" else {}), **fields}
    title = own.pop("title", f"A rule of {kind} {own.get('item', '')}".strip())
    return AlertRule(study=study, title=title, **{"todo": TODO, **own})


def add_rule(study: Study, *, since: datetime | None = None, **fields: Any) -> AlertRule:
    """A rule that is switched on since an hour ago."""
    rule, at = a_rule(study, **fields), since or timezone.now() - timedelta(hours=1)
    alert_rules.save(rule=rule, is_active=True, now=at, actor=audit.COMMAND)
    rule.refresh_from_db()
    return rule


def safety_questionnaire(study: Study) -> QuestionnaireVersion:
    """A second questionnaire: yes or no, and choices."""
    questionnaire = Questionnaire.objects.create(study=study, key="safety", title="Safety")
    version = QuestionnaireVersion.objects.create(questionnaire=questionnaire)
    for position, (key, kind) in enumerate(
        [("suicidality", "yes_no"), ("place", "single"), ("company", "multiple"), ("note", "text")],
        start=1,
    ):
        options = [{"value": code, "label": {"en": code}} for code in ("home", "work", "street")]
        has_choices = kind in ("single", "multiple")
        Item.objects.create(
            version=version,
            key=key,
            kind=kind,
            position=position,
            label={"en": f"{key}?"},
            minimum=None,
            maximum=None,
            options=options if has_choices else [],
            max_length=200 if kind == "text" else None,
        )
    publish(version=version, now=timezone.now(), actor=audit.COMMAND)
    return version


def an_answer(
    participant: Participant,
    *,
    at: datetime | None = None,
    received_at: datetime | None = None,
    clock_off: timedelta = timedelta(0),
    **values: Any,
) -> Response:
    """An own report with these answers, by the participant's phone."""
    completed = at or timezone.now() - timedelta(minutes=1)
    device = participant.devices.first() or trial.redeem(participant).device
    return Response.objects.create(
        id=uuid.uuid4(),
        participant=participant,
        device=device,
        questionnaire=QuestionnaireVersion.objects.filter(
            questionnaire__study=participant.study
        ).earliest("pk"),
        trigger="self_initiated",
        completed_at=completed + clock_off,
        completed_at_corrected=completed,
        received_at=received_at or timezone.now(),
        answers=[{"item": item, "value": value} for item, value in values.items()],
        content_sha256=b"\0" * 32,
    )
