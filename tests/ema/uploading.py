"""What phones upload in tests: items, and the door they are sent to."""

import json
import uuid
from datetime import datetime, timedelta
from typing import Any

from django.test import Client
from django.utils import timezone

from ema.models import Participant, Phase, Prompt, Response, Study
from ema.tokens import Admission
from tests import trial

SUBMIT = "/api/v1/me/submissions:batch"


def new_phone(study: Study, code: str) -> Admission:
    return trial.redeem(
        trial.enrol(study, code, "Europe/Brussels", timezone.now() - timedelta(days=3))
    )


def make_prompt(
    participant: Participant, due_at: datetime | None = None, ordinal: int = 1
) -> Prompt:
    phase = Phase.objects.get(study=participant.study)
    due_at = due_at or timezone.now() - timedelta(minutes=10)
    return Prompt.objects.create(
        participant=participant,
        phase=phase,
        questionnaire=phase.questionnaire,
        study_on=due_at.date(),
        study_day=4,
        ordinal=ordinal,
        due_at=due_at,
        expires_at=due_at + timedelta(minutes=30),
        zone=participant.zone,
        tzdata="2026f",
        planned_at=due_at - timedelta(days=1),
    )


def item(prompt: Prompt | None, **changes: Any) -> dict[str, Any]:
    at = prompt.due_at + timedelta(minutes=2) if prompt else timezone.now()
    version = Phase.objects.get().questionnaire
    return {
        "id": str(uuid.uuid4()),
        "prompt_id": str(prompt.pk) if prompt else None,
        "trigger": "random" if prompt else "self_initiated",
        "questionnaire": {"key": version.questionnaire.key, "version": version.version},
        "completed_at": at.isoformat(),
        "answers": [
            {"item": "stress", "value": 40, "rt_ms": 900},
            {"item": "craving", "value": 15},
            {"item": "pain", "value": None, "skip": "prefer_not_to_say"},
        ],
        **changes,
    }


def submit(phone: Admission, items: list[Any], **client: Any) -> Any:
    body = {"client": {"sent_at": timezone.now().isoformat(), **client}, "items": items}
    return post(phone, json.dumps(body))


def post(phone: Admission, body: str | bytes) -> Any:
    return Client().post(
        SUBMIT,
        body,
        content_type="application/json",
        headers={"Authorization": f"Bearer {phone.access_token}"},
    )


def statuses(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [each["status"] for each in answer.json()["items"]]


def flags(phone: Admission, sent: dict[str, Any], **client: Any) -> list[str]:
    assert statuses(submit(phone, [sent], **client)) == ["created"]
    return Response.objects.get(pk=sent["id"]).flags
