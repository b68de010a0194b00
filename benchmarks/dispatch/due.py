"""Prompts of many participants, each with a phone, that fall due at random instants."""

import random
from datetime import datetime, timedelta

from django.utils import timezone

from benchmarks import trial
from benchmarks.database import analyze
from ema.models import Device, Prompt
from scheduler.planning import plan_prompts

PROMPTS_EACH = 10
FIRST_DUE_IN_S = 12.0  # whoever sends starts meanwhile


def make_due(count: int, over_s: float) -> dict[str, datetime]:
    """When each prompt is due, by id: within `over_s` seconds, from a moment from now on."""
    now = timezone.now()
    study = trial.start_study(now)
    people = trial.enrol(study, count // PROMPTS_EACH, now, now)
    for participant in people:
        trial.hand_out_phone(participant, now)
    plan_prompts(now)
    kept = [
        prompt
        for participant in people
        for prompt in participant.prompts.order_by("-due_at")[:PROMPTS_EACH]
    ]
    Prompt.objects.exclude(pk__in=[each.pk for each in kept]).delete()
    Device.objects.update(enrolled_at=now - timedelta(hours=1))
    began = timezone.now() + timedelta(seconds=FIRST_DUE_IN_S)
    for prompt in kept:
        prompt.due_at = began + timedelta(seconds=random.uniform(0, over_s))
        prompt.expires_at = prompt.due_at + timedelta(minutes=30)
    Prompt.objects.bulk_update(kept, ["due_at", "expires_at"], batch_size=1000)
    analyze()
    return {str(prompt.pk): prompt.due_at for prompt in kept}
