"""What people and phones write is in no log, no message of the broker and no error page.

A word that nobody else writes goes into every field: through real requests, refused ones and ones
that break, through quarantine and Celery's tasks. The same search finds what was planted for it.
"""

import base64
import json
import re
import secrets
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from celery import Celery
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from ema import audit, enrolment, studies
from ema.models import (
    AdverseEvent,
    Alert,
    AlertMessage,
    AlertRule,
    AuditEvent,
    Participant,
    Prompt,
    PushRegistration,
    Quarantine,
    Response,
    Screening,
    Study,
)
from scheduler.models import Delivery
from scheduler.planning import plan_prompts
from tests import trial
from tests.ema.alert_rules import add_rule
from tests.flow.conftest import Browser, Servers, wait_until

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True)]

CANARY, PLANTED = f"kanari{secrets.token_hex(3)}", f"planted{secrets.token_hex(3)}"
ARMS = (f"{CANARY}-arm-a", f"{CANARY}-arm-b")
ALL_DAY = [{"weekdays": [1, 2, 3, 4, 5, 6, 7], "start": "00:00", "end": "00:00"}]
BROKEN = ("ema_response", "ema_phoneevent", "ema_screening", "ema_adverseevent")
ENCODED = re.compile(r'"body": "([A-Za-z0-9+/=]+)"')


@pytest.fixture
def told() -> dict[str, str]:
    """Much is logged; e-mail goes to a server that is not there."""
    return {
        "LOG_LEVEL": "INFO",
        "ALERT_EVERY_S": "1",
        "ESCALATE_EVERY_S": "1",
        "LOGIN_FAILURES": "3",
        "EMAIL_URL": "smtp://127.0.0.1:9",
        "EMAIL_FROM": "study@example.org",
        "LINK_URL_TEMPLATE": "https://example.org/#{prompt_id}",
    }


@dataclass
class Watched:
    """Everything that processes wrote and that went through the broker; error pages."""

    logs: Path
    sizes: dict[Path, int]
    commands: list[str] = field(default_factory=list)
    pages: list[tuple[str, int, str]] = field(default_factory=list)

    def logged(self) -> Iterator[tuple[str, str]]:
        for log in sorted(self.logs.glob("*.log")):
            text = log.read_bytes()[self.sizes.get(log, 0) :].decode(errors="replace")
            yield from ((log.name, line) for line in text.splitlines())

    def in_log(self, name: str, words: str) -> bool:
        return any(words in line for log, line in self.logged() if log.startswith(name))

    def hits(self, word: str) -> list[str]:
        """Where a word is found: a log's line, a message, an error page."""
        found = [f"{name}: {line[:300]}" for name, line in self.logged() if word in line]
        found += [f"broker: {each[:300]}" for each in self.commands if word in each]
        found += [
            f"{status} of {what}: {word_in_context(page, word)}"
            for what, status, page in self.pages
            if word in page
        ]
        return found

    def keep(self, what: str, answer: httpx.Response) -> httpx.Response:
        """Whatever was refused, but for forms that are shown again with what was typed."""
        if answer.status_code >= 400:
            self.pages.append((what, answer.status_code, answer.text))
        return answer


def word_in_context(page: str, word: str) -> str:
    at = page.index(word)
    return page[max(0, at - 120) : at + 80]


@pytest.fixture
def watched(servers: Servers) -> Iterator[Watched]:
    """What is written to logs from now on, the database's too, and every command that Redis got."""
    logs = Path(settings.STATE_DIR) / "log"
    watched = Watched(logs, {log: log.stat().st_size for log in logs.glob("*.log")})
    client = redis.Redis.from_url(servers.environ["REDIS_URL"], socket_timeout=None)
    ended = threading.Event()

    def listen() -> None:
        with client.monitor() as monitor:  # type: ignore[no-untyped-call]
            listening.set()
            for command in monitor.listen():
                watched.commands.append(plain(str(command["command"])))
                if ended.is_set():
                    return

    listening = threading.Event()
    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert listening.wait(10)
    yield watched
    assert thread.is_alive(), "the broker was not listened to until the end"
    ended.set()
    client.ping()
    thread.join(10)


def plain(command: str) -> str:
    """A command with the bodies of Celery's messages decoded."""
    found = ENCODED.findall(command.replace('\\"', '"'))
    return " ".join([command, *(base64.b64decode(body).decode() for body in found)])


@pytest.fixture
def study(transactional_db: None) -> Study:
    study = trial.make_study(
        arms=ARMS,
        windows=ALL_DAY,
        prompts_per_day=48,
        minimum_gap=timedelta(0),
        expires_after=timedelta(hours=2),
    )
    Study.objects.update(masking="double_blind")
    add_rule(
        study,
        title=said("rule title"),
        todo=said("rule todo"),
        since=timezone.now() - timedelta(days=3),
    )
    told = [f"{CANARY}-escalation@example.org"]  # there is e-mail, but not in this process
    AlertRule.objects.update(escalate_after_hours=1, escalate_mail=told)
    trial.seal(study, sizes=[4], per_stratum=8)
    return study


def said(what: str) -> str:
    """The word with where it was written."""
    return f"{CANARY} {what}"


@dataclass
class Phone:
    """Raw requests of a phone: well-formed ones and others."""

    http: httpx.Client
    watched: Watched
    token: str = ""

    def send(self, method: str, path: str, body: Any) -> httpx.Response:
        raw = {"content": body} if isinstance(body, str) else {"json": body}
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers["Content-Type"] = "application/json"
        answer = self.http.request(method, f"/api/v1/{path}", headers=headers, **raw)
        return self.watched.keep(f"{method} {path}", answer)

    def redeem(self, person: Participant) -> None:
        now = timezone.now()
        code = enrolment.issue_code(participant=person, now=now, actor=audit.COMMAND)
        app = {"app": said("app"), "app_version": said("version"), "platform": said("platform")}
        body = {"code": code, "installation_id": str(uuid.uuid4()), **app}
        admitted = self.send("POST", "enrolments/redeem", body)
        self.token = admitted.json()["access_token"]


def item(prompt: Prompt | None, **changes: Any) -> dict[str, Any]:
    at = prompt.due_at + timedelta(minutes=1) if prompt else timezone.now()
    return {
        "id": str(uuid.uuid4()),
        "prompt_id": str(prompt.pk) if prompt else None,
        "trigger": "random" if prompt else "self_initiated",
        "questionnaire": {"key": "hourly", "version": 1},
        "completed_at": at.isoformat(),
        "boot_id": said("boot of an item"),
        "schedule_rev": said("revision"),
        "answers": [
            {"item": "stress", "value": 40},
            {"item": "craving", "value": 95},
            {"item": "note", "value": said("own words")},
            {"item": "pain", "value": None, "skip": said("skip")},
        ],
        **changes,
    }


def batch(*items: Any) -> dict[str, Any]:
    names = ("app", "app_version", "platform", "os", "boot_id")
    return {"client": {name: said(f"client {name}") for name in names}, "items": list(items)}


@contextmanager
def broken(*tables: str) -> Iterator[None]:
    """Tables that refuse every row, with a message of the database that repeats it."""
    for table in tables:
        execute(f"ALTER TABLE {table} ADD CONSTRAINT broken CHECK (false) NOT VALID")
    try:
        yield
    finally:
        for table in tables:
            execute(f"ALTER TABLE {table} DROP CONSTRAINT broken")


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_what_people_write_is_in_no_log_no_message_and_no_error_page(
    servers: Servers, study: Study, watched: Watched
) -> None:
    began = timezone.now() - timedelta(days=2)
    people = [trial.enrol(study, f"S1-{number}", "UTC", began) for number in range(1, 4)]
    plan_prompts(timezone.now())
    https = {"X-Forwarded-Proto": "https"}
    http = httpx.Client(base_url=servers.url, headers=https)

    phone = Phone(http, watched)
    prompts = phone_writes(phone, people[0])
    coordinator = operators_write(servers, study, people, watched)
    with broken("ema_alert"):
        phone.send("POST", "me/submissions:batch", batch(item(prompts[6])))
        wait_until(lambda: watched.in_log("worker", "broke"), "rules break", seconds=60)
    with broken(*BROKEN):
        what_breaks(phone, coordinator, study, people[0], prompts, watched)
    wait_until(Alert.objects.exists, "are raised", seconds=60)
    fails_to_tell(people[0])
    acknowledge(coordinator)
    phone.send("POST", "me/withdraw", {"reason": said("why the phone withdraws")})
    plant(servers, http, watched)

    stored = everything_stored()
    for what in (
        "own words",
        "what was done",
        "why",
        "app",
        "note",
        "term",
        "reason of screening",
        "consent",
    ):
        assert said(what) in stored, what
    statuses = {status for _, status, _ in watched.pages}
    assert statuses >= {400, 401, 404, 422, 429, 500}
    where = watched.hits(PLANTED)
    assert {"web", "worker", "broker", "404 "} <= {
        re.split(r"-|\.log|:|of", hit)[0] for hit in where
    }
    assert watched.hits(CANARY) == []


def phone_writes(phone: Phone, person: Participant) -> list[Prompt]:
    """Whatever a phone can send, right and wrong; the prompts it has not answered yet."""
    wrong = {"code": said("code"), "installation_id": str(uuid.uuid4())}
    assert phone.send("POST", "enrolments/redeem", wrong).status_code >= 400
    phone.send("POST", "tokens/refresh", {"refresh_token": said("refresh token")})
    phone.token = f"{CANARY}-token"
    assert phone.send("GET", "me/schedule", "").status_code == 401
    phone.redeem(person)
    prompts = list(Prompt.objects.filter(participant=person, due_at__lte=timezone.now())[:8])

    address = {"kind": "email", "address": f"{CANARY}-phone@example.org"}
    assert phone.send("PUT", "me/push-registration", address).status_code == 204
    for kind in ("webpush", "sms", "fcm"):
        keys = {"p256dh": said("p256dh"), "auth": said("auth")}
        refused: dict[str, Any] = {
            "kind": kind,
            "address": f"https://{CANARY}.example.org/endpoint",
            "keys": keys,
        }
        assert phone.send("PUT", "me/push-registration", refused).status_code == 400

    unknown = item(prompts[1], questionnaire={"key": "hourly", "version": 7})
    unread = item(prompts[2], completed_at=said("instant"))
    good = item(prompts[0])
    answer = phone.send(
        "POST", "me/submissions:batch", batch(good, unknown, unread, {said("k"): 1})
    )
    assert answer.json()["items"][0]["status"] == "created"
    assert Quarantine.objects.count() >= 2
    phone.send("POST", "me/submissions:batch", json.dumps(batch(good))[:-3])
    phone.send("POST", "me/submissions:batch", {"items": said("no list")})

    moved = {"id": str(uuid.uuid4()), "kind": "zone_changed", "at": timezone.now().isoformat()}
    events = [moved | {"tz": f"{CANARY}/Nowhere"}, {"kind": said("kind")}]
    assert phone.send("POST", "me/events:batch", {"items": events}).status_code == 200
    hours = [{"weekdays": [1], "start": said("start"), "end": "09:00"}]
    for change in ({"waking_windows": hours}, {"language": said("a language, much too long")}):
        assert phone.send("PATCH", "me/preferences", change).status_code == 422
    assert phone.send("GET", f"me/nothing?q={CANARY}", "").status_code == 404
    return prompts


def operators_write(
    servers: Servers, study: Study, people: list[Participant], watched: Watched
) -> Browser:
    """Whatever an operator can write, from a wrong password on; the coordinator's browser."""
    for number in range(4):
        form = {"username": f"{CANARY}-user", "password": f"{CANARY}-guess-{number}"}
        stranger = Browser(httpx.Client(base_url=servers.url, headers=secure(servers)))
        stranger.get("/admin/login/")
        watched.keep("signing in", stranger.post("/admin/login/", **form))
    coordinator = signed_in(servers, study, "coordinator")
    site, here = str(study.sites.get().pk), f"/studies/{study}"

    def write(path: str, **form: str) -> None:
        answer = coordinator.post(f"{here}/{path}", **form)
        assert answer.status_code in (200, 302), (path, answer.status_code, answer.text[-2000:])

    on = {"screened_on": "2026-03-01", "site": site}
    write(
        "screening/",
        number=f"{CANARY}-9",
        outcome="other",
        reason=said("reason of screening"),
        **on,
    )
    write(f"participants/of/{people[0].code}/", note=said("note"))
    write("adverse-events/report/", **adverse_event(people[0]))
    write(
        "enrol/",
        site=site,
        consent_version=said("consent"),
        consented_on="2026-03-01",
        language="en",
    )
    confirmed = {"is_eligible": "on", "consent_version": said("version")[:40], "confirm": "on"}
    write(f"allocation/of/{people[1].code}/", consented_on="2026-03-01", **confirmed)
    write(f"allocation/of/{people[1].code}/in-error/", reason=said("randomised in error"))
    entry = Quarantine.objects.earliest("pk")
    page = f"/admin/ema/quarantine/{entry.pk}/change/"
    form = {"item": said("no JSON"), "why": said("why"), "decision": "release"}
    assert coordinator.post(page, **form).status_code == 200  # shown again
    form["decision"] = "discard"
    assert coordinator.post(page, **form).status_code == 302
    for address in (f"{here}/participants/?q={CANARY}", f"/admin/ema/participant/?q={CANARY}"):
        assert coordinator.http.get(address).status_code == 200
    form |= {"number": said("too long " * 9), "outcome": "other", "reason": said("reason")}
    assert coordinator.post(f"{here}/screening/", **form).status_code == 400  # shown again
    for path in ("comparison/", "nothing/", "snapshots/"):
        watched.keep(path, coordinator.http.get(f"{here}/{path}?q={CANARY}"))
    without_token = httpx.post(
        f"{servers.url}{here}/screening/", data=form, headers=secure(servers)
    )
    watched.keep("a form without its token", without_token)
    return coordinator


def secure(servers: Servers) -> dict[str, str]:
    return {"X-Forwarded-Proto": "https", "Referer": servers.url.replace("http:", "https:")}


def signed_in(servers: Servers, study: Study, role: str) -> Browser:
    password = f"{CANARY}-password-of-{role}"
    user = User.objects.create_user(role, password=password)
    studies.grant(user=user, role=role, study=study, site=None, actor=audit.COMMAND)
    return Browser.sign_in(servers.url, role, password)


def adverse_event(person: Participant) -> dict[str, str]:
    return {
        "participant": str(person.pk),
        "key": str(uuid.uuid4()),
        "term": said("term"),
        "description": said("description"),
        "started_on": f"{timezone.now() - timedelta(days=1):%Y-%m-%d}",
        "severity": "mild",
        "relatedness": "unrelated",
        "outcome": "recovering",
        "action_taken": "none",
    }


def what_breaks(
    phone: Phone,
    coordinator: Browser,
    study: Study,
    person: Participant,
    prompts: list[Prompt],
    watched: Watched,
) -> None:
    """The database refuses what it is given: 500 for phones and people, a task that fails."""
    sent = phone.send("POST", "me/submissions:batch", batch(item(prompts[4]), item(prompts[5])))
    assert sent.status_code == 500
    event = {"id": str(uuid.uuid4()), "kind": "zone_changed", "at": timezone.now().isoformat()}
    events = {"items": [event | {"tz": f"{CANARY}/Elsewhere"}]}
    assert phone.send("POST", "me/events:batch", events).status_code == 500
    form = {"number": f"{CANARY}-10", "outcome": "other", "reason": said("reason")}
    form |= {"screened_on": "2026-03-01", "site": str(study.sites.get().pk)}
    for path, written in (("screening", form), ("adverse-events/report", adverse_event(person))):
        answer = coordinator.post(f"/studies/{study}/{path}/", **written)
        assert watched.keep(path, answer).status_code == 500


def fails_to_tell(person: Participant) -> None:
    """Links and escalations go to a mail server that is not there."""
    now = timezone.now()
    to_come = Prompt.objects.filter(participant=person, due_at__gt=now).earliest("due_at")
    to_come.due_at, to_come.expires_at = now, now + timedelta(hours=1)
    to_come.save(update_fields=["due_at", "expires_at"])
    earlier = now - timedelta(hours=3)
    Alert.objects.update(occurred_at=earlier, known_at=earlier, raised_at=earlier)
    for tried in (Delivery.objects, AlertMessage.objects):
        wait_until(tried.filter(attempts__gt=0, sent_at=None).exists, "is tried", seconds=60)


def acknowledge(coordinator: Browser) -> None:
    alert = Alert.objects.earliest("pk")
    page = f"/studies/{alert.rule.study}/alerts/{alert.pk}/"
    coordinator.get(page)
    answer = coordinator.post(f"{page}acknowledge/", action="called", text=said("what was done"))
    assert answer.status_code == 302, answer.status_code
    assert coordinator.post(f"{page}note/", text=said("a note on an alert")).status_code == 302


def plant(servers: Servers, http: httpx.Client, watched: Watched) -> None:
    """What the search must find: in the logs of web and worker, in the broker, on a page."""
    watched.keep("planted", http.get(f"/{PLANTED}/"))
    watched.pages.append(("planted", 404, f"<p>{PLANTED}</p>"))
    Celery(broker=servers.environ["REDIS_URL"].replace("unix://", "redis+socket://", 1)).send_task(
        f"{PLANTED}.task", args=[PLANTED], queue="trial"
    )
    wait_until(lambda: any("worker" in hit for hit in watched.hits(PLANTED)), "are found")
    wait_until(lambda: any("broker" in hit for hit in watched.hits(PLANTED)), "are found")


def everything_stored() -> str:
    """So that a canary that is not found was written."""
    rows: list[Any] = [*Response.objects.values_list("answers", flat=True)]
    rows += AuditEvent.objects.values_list("reason", flat=True)
    rows += AdverseEvent.objects.values_list("term", flat=True)
    rows += Screening.objects.values_list("reason", flat=True)
    rows += PushRegistration.objects.values_list("address", flat=True)
    rows += Alert.objects.values_list("action_text", flat=True)
    rows += Quarantine.objects.values_list("resolution", flat=True)
    rows += Participant.objects.values_list("consents__version", flat=True)
    rows += Participant.objects.values_list("devices__app", flat=True)
    return json.dumps(rows, ensure_ascii=False)
