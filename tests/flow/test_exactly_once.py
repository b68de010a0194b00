"""Exactly once, through the real web server: overlapping replays, and web processes that die."""

import json
import os
import random
import signal
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.utils import timezone

from ema import phones, stack
from ema.models import Participant, Phase, Prompt, Response
from ema.tokens import Admission
from tests import trial
from tests.flow.conftest import ENVIRON, database_url

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True)]
CLIENTS = 8
ITEMS = 2000
SUBMIT = "/api/v1/me/submissions:batch"
Item = dict[str, Any]


@pytest.fixture
def phone() -> Admission:
    study = trial.make_study()
    return trial.redeem(trial.enrol(study, "S1-001", "UTC", timezone.now() - timedelta(days=90)))


@pytest.fixture
def web() -> Iterator[stack.Part]:
    """A web server of two processes on the test's database."""
    environ = {**ENVIRON, "DATABASE_URL": database_url(), "SECRET_KEY": settings.SECRET_KEY}
    part = stack.start_web("127.0.0.1", stack.free_port(), workers=2, environ=environ)
    with stack.running(part):
        yield part


def address(web: stack.Part) -> str:
    return f"http://127.0.0.1:{web.name.removeprefix('web-')}"


def answers(participant: Participant, count: int) -> list[Item]:
    """An answer to each of as many past prompts."""
    phase = Phase.objects.get()
    start = timezone.now() - timedelta(days=85)
    version = phase.questionnaire
    prompts = [
        Prompt(
            id=uuid.uuid4(),
            participant=participant,
            phase=phase,
            questionnaire=version,
            study_on=(start + timedelta(hours=number)).date(),
            study_day=1,
            ordinal=number + 1,
            due_at=start + timedelta(hours=number),
            expires_at=start + timedelta(hours=number, minutes=30),
            zone="UTC",
            tzdata="2026f",
            planned_at=start,
        )
        for number in range(count)
    ]
    Prompt.objects.bulk_create(prompts)
    return [
        {
            "id": str(uuid.uuid4()),
            "prompt_id": str(prompt.pk),
            "questionnaire": {"key": version.questionnaire.key, "version": version.version},
            "completed_at": (prompt.due_at + timedelta(minutes=2)).isoformat(),
            "answers": [{"item": "stress", "value": 40}, {"item": "craving", "value": 15}],
        }
        for prompt in prompts
    ]


def replay(url: str, phone: Admission, items: list[Item], seed: int) -> list[tuple[str, str]]:
    """Send all items, shuffled, in overlapping batches, each until it is answered."""
    draw = random.Random(seed)
    order = draw.sample(items, len(items))
    said: list[tuple[str, str]] = []
    with phones.connect(url) as http:
        http.headers["Authorization"] = f"Bearer {phone.access_token}"
        start = 0
        while start < len(order):
            size = draw.randint(20, 80)
            said += send(http, order[start : start + size])
            start += size - 5
    return said


def send(http: httpx.Client, batch: list[Item]) -> list[tuple[str, str]]:
    body = json.dumps({"items": batch})
    for _ in range(300):
        try:
            reply = http.post(SUBMIT, content=body, headers={"Content-Type": "application/json"})
        except httpx.TransportError:  # nobody there, or gone before the reply
            time.sleep(0.1)
            continue
        if reply.status_code == httpx.codes.OK:
            return [(item["id"], item["status"]) for item in reply.json()["items"]]
        assert reply.status_code == httpx.codes.SERVICE_UNAVAILABLE, reply.text
        time.sleep(0.1)
    raise AssertionError("The web server did not come back within 30 s")


def assert_each_is_stored_once(items: list[Item]) -> None:
    assert Response.objects.count() == len(items)
    assert {str(each) for each in Response.objects.values_list("pk", flat=True)} == {
        item["id"] for item in items
    }
    assert not Response.objects.exclude(flags=[]).exists(), "none is the second to its prompt"
    assert not Prompt.objects.filter(answered_at=None).exists()


def test_eight_clients_replaying_two_thousand_items_store_each_once(
    phone: Admission, web: stack.Part
) -> None:
    items = answers(phone.device.participant, ITEMS)
    with ThreadPoolExecutor(CLIENTS) as pool:
        runs = [pool.submit(replay, address(web), phone, items, seed) for seed in range(CLIENTS)]
        said = [told for run in runs for told in run.result()]

    created = Counter(name for name, status in said if status == "created")
    assert created == Counter(item["id"] for item in items)
    assert {status for _, status in said} == {"created", "duplicate"}
    assert_each_is_stored_once(items)


def test_web_processes_killed_in_the_middle_of_batches_lose_and_double_nothing(
    phone: Admission, web: stack.Part
) -> None:
    items = answers(phone.device.participant, ITEMS)
    with ThreadPoolExecutor(CLIENTS) as pool:
        runs = [pool.submit(replay, address(web), phone, items, seed) for seed in range(CLIENTS)]
        for turn, pid in enumerate(workers(web), start=1):  # of one that dies twice, granian ends
            kill_in_the_middle(pid, stored=400 * turn)
        said = [told for run in runs for told in run.result()]

    created = Counter(name for name, status in said if status == "created")
    assert set(created.values()) == {1}, "what a lost reply had said is a duplicate later"
    assert {name for name, _ in said} == {item["id"] for item in items}
    assert {status for _, status in said} == {"created", "duplicate"}
    assert_each_is_stored_once(items)


def kill_in_the_middle(pid: int, stored: int) -> None:
    """Kill a process once that many answers are stored, while the others still come."""
    deadline = time.monotonic() + 60
    while (there := Response.objects.count()) < stored:
        assert time.monotonic() < deadline, f"{stored} answers were not stored within a minute"
        time.sleep(0.01)
    assert there < ITEMS
    os.kill(pid, signal.SIGKILL)


def workers(web: stack.Part) -> list[int]:
    """The two processes that answer, below the one that watches over them."""
    pid = web.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    found = [int(each) for each in children.split()]
    assert len(found) == 2
    return found
