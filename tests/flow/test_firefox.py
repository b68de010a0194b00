"""From a due prompt to a notification in a real Firefox, which subscribes and decrypts itself."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.utils import timezone

from ema import stack, vapid
from ema.models import Participant, Prompt, PushRegistration
from ema.tokens import Admission
from scheduler.delivery import Dispatched, dispatch_due
from scheduler.models import Delivery
from scheduler.planning import plan_prompts
from tests import trial
from tests.flow import firefox, web_app
from tests.flow.conftest import database_url, wait_until
from tests.flow.firefox import Firefox
from tests.scheduler.fakes import mozilla, tls
from tests.scheduler.fakes.mozilla import Autopush

pytestmark = [
    pytest.mark.skipif(
        firefox.FIREFOX is None, reason="firefox-esr is not installed: no push is shown"
    ),
    pytest.mark.flow,
    pytest.mark.django_db(transaction=True),
]

DELIVERED = 100  # Firefox acknowledges: decrypted, and the service worker was told
REMINDER_AFTER = timedelta(minutes=10)
HEARD = "() => window.heard"
SHOWN = """async () => {
    const worker = await navigator.serviceWorker.ready;
    const shown = await worker.getNotifications();
    return shown.map(({ tag, title, body, data }) => ({ tag, title, body, data }));
}"""
REGISTER = "(how) => window.app.register(how)"
UNREGISTER = "(how) => window.app.unregister(how)"
UNSUBSCRIBE = """async () => {
    const { pushManager } = await navigator.serviceWorker.ready;
    return (await pushManager.getSubscription()).unsubscribe();
}"""


@pytest.fixture
def autopush(tmp_path: Path, settings: Any) -> Iterator[Autopush]:
    certificate, found = tls.make_certificate(tmp_path), Autopush()
    settings.VAPID_PRIVATE_KEY = vapid.new_private_key()
    settings.VAPID_SUBJECT = "mailto:trial@example.org"
    with tls.trusted(certificate), tls.served(found, certificate), mozilla.listening(found):
        settings.PUSH_HOSTS = [found.origin.removeprefix("https://")]
        yield found


@pytest.fixture
def app(transactional_db: None, autopush: Autopush) -> Iterator[str]:
    """The web app, and the real API below it."""
    environ = {
        "ALLOWED_HOSTS": "127.0.0.1",
        "DATABASE_URL": database_url(),
        "REDIS_URL": configured.CACHES["default"]["LOCATION"],
        "SECRET_KEY": configured.SECRET_KEY,
        "PUSH_HOSTS": ",".join(configured.PUSH_HOSTS),
    }
    with stack.web(environ=environ) as api, web_app.served(api) as url:
        yield url


@pytest.fixture
def browser(app: str, autopush: Autopush) -> Iterator[Firefox]:
    """The app in Firefox, whose participant allows notifications."""
    preferences = {
        "dom.push.serverURL": autopush.address,
        "dom.push.testing.allowInsecureServerURL": True,
        "dom.push.retryBaseInterval": 200,
    }
    with firefox.running(preferences) as found:
        found.allow_notifications(app)
        found.open(app)
        yield found


def test_a_prompt_shows_in_firefox_once_and_tells_nothing_of_the_trial(
    browser: Firefox, autopush: Autopush, app: str
) -> None:
    # The app subscribes in the browser and registers the subscription at the API.
    phone = someone()
    participant = phone.device.participant
    how = {"server": app, "accessToken": phone.access_token, "applicationServerKey": public_key()}
    browser.call(REGISTER, how)
    registration = PushRegistration.objects.get(device=phone.device)
    assert registration.address.startswith(f"{autopush.origin}/push/")

    # A prompt is due: Firefox decrypts it, and its service worker shows it.
    prompt = due_prompt(participant)
    assert dispatch().sent == 1
    wait_until(lambda: len(browser.call(HEARD)) == 1, "is heard")
    (heard,) = browser.call(HEARD)
    assert heard == {
        "prompt_id": str(prompt.pk),
        "kind": "prompt",
        "title": "Check-in",
        "due_at": prompt.due_at.isoformat(),
        "expires_at": prompt.expires_at.isoformat(),
    }
    (shown,) = browser.call(SHOWN)
    assert shown == {"tag": str(prompt.pk), "title": "Check-in", "body": "", "data": heard}
    assert_is_neutral(json.dumps(shown), participant)
    wait_until(lambda: autopush.acks == [DELIVERED], "are acknowledged")
    prompt.refresh_from_db()
    assert prompt.sent_at is not None
    assert prompt.deliveries.get().sent_at == prompt.sent_at

    # The dispatcher died before it wrote that down: the next one sends again, one is shown.
    Delivery.objects.update(sent_at=None)
    assert dispatch().sent == 1
    wait_until(lambda: len(browser.call(HEARD)) == 2, "is heard")
    assert browser.call(HEARD) == [heard, heard]
    assert browser.call(SHOWN) == [shown]
    wait_until(lambda: autopush.acks == [DELIVERED] * 2, "are acknowledged")

    # The phone is cut off: of the same announcement and its reminder only the reminder waits.
    autopush.hang_up()
    Delivery.objects.update(sent_at=None)
    assert dispatch().sent == 1
    assert dispatch(after=REMINDER_AFTER).sent == 1
    autopush.come_back()
    wait_until(lambda: len(browser.call(HEARD)) == 3, "is heard")
    assert browser.call(HEARD)[2] == {**heard, "kind": "reminder"}
    assert [each["tag"] for each in browser.call(SHOWN)] == [str(prompt.pk)]
    wait_until(lambda: autopush.acks == [DELIVERED] * 3, "are acknowledged")

    # The participant takes the subscription back in the browser: the service answers 410.
    assert browser.call(UNSUBSCRIBE) is True
    other = due_prompt(participant)
    assert dispatch().failed == 1
    registration.refresh_from_db()
    assert registration.died_at is not None
    assert "410" in registration.death
    other.refresh_from_db()
    assert (other.sent_at, other.undelivered) == (None, "channel_failed")

    # The app starts again and registers anew: the next prompt arrives.
    browser.call(REGISTER, how)
    last = due_prompt(participant)
    assert dispatch().sent == 1
    wait_until(lambda: len(browser.call(HEARD)) == 4, "is heard")
    assert browser.call(HEARD)[3]["prompt_id"] == str(last.pk)
    assert autopush.refused == []
    assert len(autopush.sent) == 4

    # The participant signs out: neither the server nor the push service knows the browser.
    browser.call(UNREGISTER, how)
    assert not PushRegistration.objects.exists()
    assert autopush.channels == {}


def someone() -> Admission:
    """A participant of an arm, with a phone and prompts from tomorrow on."""
    now = timezone.now()
    study = trial.make_study(reminders_after=[REMINDER_AFTER / timedelta(minutes=1)])
    participant = trial.enrol(study, "S1-001", "Europe/Brussels", now)
    trial.allocate(participant, "clonidine")
    phone = trial.redeem(participant)
    participant.devices.update(enrolled_at=now - timedelta(hours=1))
    plan_prompts(now)
    participant.prompts.filter(due_at__lt=now + timedelta(days=1)).delete()
    return phone


def due_prompt(participant: Participant) -> Prompt:
    """Their next prompt: it is due since a second ago."""
    prompt = participant.prompts.filter(deliveries=None).order_by("due_at")[0]
    prompt.due_at = timezone.now() - timedelta(seconds=1)
    prompt.expires_at = prompt.due_at + timedelta(minutes=30)
    prompt.save()
    return prompt


def dispatch(after: timedelta = timedelta(0)) -> Dispatched:
    at = timezone.now() + after
    return dispatch_due(at, clock=lambda: at)


def public_key() -> str:
    return vapid.public_key(vapid.private_key(configured.VAPID_PRIVATE_KEY))


def assert_is_neutral(text: str, participant: Participant) -> None:
    study = participant.study
    telling = [study.slug, study.title, participant.code, "placebo", "clonidine", "trial", "study"]
    for word in telling:
        assert word.lower() not in text.lower()
