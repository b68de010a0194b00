"""The inbox of safety alerts, by role and site, through HTTP; and in a real browser."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ema import alert_messages, alerts, audit, heartbeat
from ema.models import Alert, AlertRule, AuditEvent, Site, Study
from tests import trial
from tests.ema.alert_rules import add_rule, an_answer
from tests.ema.test_admin import page, sign_in

pytestmark = pytest.mark.django_db
INBOX = "/studies/demo/alerts/"


@pytest.fixture
def study() -> Study:
    """Two sites with a participant each, who both answered what a rule looks for."""
    study = trial.make_study()
    second = Site.objects.create(study=study, code="S2", title="Second site")
    people = [
        trial.enrol_at(study.sites.get(code="S1"), "S1-001"),
        trial.enrol_at(second, "S2-001"),
    ]
    add_rule(study, title="Strong craving", severity="urgent")
    for number, person in enumerate(people):
        trial.redeem(person)
        an_answer(person, craving=95 + number)
    alerts.find_alerts(timezone.now())
    heartbeat.beat(alert_messages.HEARTBEAT, timezone.now())
    return study


def alert_of(code: str) -> Alert:
    return Alert.objects.get(participant__code=code)


def done(code: str, **said: str) -> dict[str, str]:
    return {"action": "called", "text": f"Called {code}.", **said}


def post(client: Client, code: str, door: str = "acknowledge", **said: str) -> Any:
    return client.post(f"{INBOX}{alert_of(code).pk}/{door}/", said, follow=True)


@pytest.mark.parametrize(
    ("role", "status"),
    [
        ("coordinator", 200),
        ("investigator", 200),
        ("statistician", 404),
        ("pharmacist", 404),
        ("auditor", 404),
        ("", 404),
    ],
)
def test_the_inbox_is_for_who_looks_after_participants(
    study: Study, role: str, status: int
) -> None:
    client = sign_in("cora", study, role) if role else sign_in("root")
    number = alert_of("S1-001").pk
    for path in (INBOX, f"{INBOX}rules/", f"{INBOX}{number}/"):
        assert client.get(path).status_code == status, path
    for door in ("acknowledge", "note"):
        answer = client.post(f"{INBOX}{number}/{door}/", done("x"))
        assert answer.status_code == (302 if status == 200 else 404), door
    assert (INBOX in page(client.get("/studies/"))) is (status == 200)


def test_whoever_is_not_signed_in_is_asked_to(study: Study) -> None:
    assert Client().get(INBOX).headers["Location"].startswith("/admin/login/")


def test_a_coordinator_of_a_site_sees_and_acknowledges_that_sites_alerts(study: Study) -> None:
    client = sign_in("cora", study, "coordinator", site=study.sites.get(code="S1"))
    shown = page(client.get(INBOX))
    assert "S1-001" in shown
    assert "S2-001" not in shown
    assert "Only alerts of your site: S1." in shown
    assert "craving: 95" in shown
    assert '<span class="pill pill-waiting">1<' in shown
    other = alert_of("S2-001")
    for door in ("", "acknowledge/", "note/"):
        path = f"{INBOX}{other.pk}/{door}"
        answer = client.post(path, done("x")) if door else client.get(path)
        assert answer.status_code == 404
    other.refresh_from_db()
    assert other.acknowledged_at is None
    assert "is acknowledged" in page(post(client, "S1-001", **done("S1-001")))
    assert "pill-waiting" not in page(client.get(INBOX))


def test_an_acknowledged_alert_says_who_did_what_and_stays(study: Study) -> None:
    client = sign_in("cora", study, "coordinator")
    Alert.objects.update(
        raised_at=timezone.now() - timedelta(hours=3, minutes=1),
        known_at=timezone.now() - timedelta(hours=4),
    )
    assert "open for <span" in page(client.get(INBOX))
    said = page(post(client, "S1-001", **done("S1-001", text="Called <them>.")))
    assert "S2-001" in said
    listed = page(client.get(f"{INBOX}?state=acknowledged"))
    assert "S2-001" not in listed
    for words in ("cora, ", "called the participant", "Called &lt;them&gt;.", "after 3 h 1 min"):
        assert words in listed, words
    detail = f"{INBOX}{alert_of('S1-001').pk}/"
    assert "Choose …" not in page(client.get(detail))
    again = client.post(f"{detail}acknowledge/", done("x"))
    assert again.status_code == 400
    assert "was acknowledged by cora" in again.content.decode()
    assert "Called again." in page(post(client, "S1-001", "note", text="Called again."))
    events = AuditEvent.objects.filter(door="page").order_by("pk").values_list("action", flat=True)
    assert list(events) == ["alert.acknowledged", "alert.noted"]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"action": "", "text": "x"}, "Say what was done: one of called"),
        ({"action": "called", "text": " "}, "Say in words what was done."),
    ],
)
def test_an_incomplete_acknowledgement_keeps_what_was_typed(
    study: Study, said: dict[str, str], sentence: str
) -> None:
    answer = post(sign_in("cora", study, "coordinator"), "S1-001", **said)
    shown = answer.content.decode()
    assert answer.status_code == 400
    assert sentence in shown
    assert said["action"] == "" or 'value="called" selected' in shown
    assert Alert.objects.open().count() == 2


@pytest.mark.parametrize(
    ("query", "codes"),
    [
        ("", ["S1-001", "S2-001"]),
        ("site=S2", ["S2-001"]),
        ("participant=s1-", ["S1-001"]),
        ("severity=urgent", ["S1-001", "S2-001"]),
        ("severity=notice", []),
        ("state=acknowledged", []),
        ("state=all&site=S1", ["S1-001"]),
        ("rule=999999", []),
    ],
)
def test_alerts_are_chosen_by_filters(study: Study, query: str, codes: list[str]) -> None:
    shown = page(sign_in("ines", study, "investigator").get(f"{INBOX}?{query}"))
    assert [code for code in ("S1-001", "S2-001") if f">{code}<" in shown] == codes
    assert codes or "No alert is like this." in shown


@pytest.mark.parametrize("query", ["state=odd", "severity=odd", "rule=odd", "rule=99999999999"])
def test_a_filter_that_cannot_be_is_refused_in_a_sentence(study: Study, query: str) -> None:
    answer = sign_in("ines", study, "investigator").get(f"{INBOX}?{query}")
    assert answer.status_code == 400
    assert "not" in answer.content.decode() or "there are:" in answer.content.decode()


def test_open_alerts_come_first_the_most_severe_and_oldest_ahead(study: Study) -> None:
    client = sign_in("ines", study, "investigator")
    add_rule(study, title="Notice", severity="notice", value="10")
    alerts.find_alerts(timezone.now())
    first = Alert.objects.filter(severity="urgent").earliest("pk")
    alerts.acknowledge(
        alert=first,
        action="seen",
        text="x",
        now=timezone.now(),
        actor=audit.Actor(user=User.objects.get(username="ines"), door="page"),
    )
    shown = page(client.get(f"{INBOX}?state=all"))
    order = [shown.index(f"alert {pk}<") for pk in in_order(first)]
    assert order == sorted(order)


def in_order(acknowledged: Alert) -> list[int]:
    rest = Alert.objects.exclude(pk=acknowledged.pk)
    urgent = rest.filter(severity="urgent").order_by("raised_at", "pk").values_list("pk", flat=True)
    notice = rest.filter(severity="notice").order_by("raised_at", "pk").values_list("pk", flat=True)
    return [*urgent, *notice, acknowledged.pk]


def test_the_inbox_says_when_rules_are_not_looked_at(study: Study) -> None:
    client = sign_in("cora", study, "coordinator")
    assert 'class="card bad"' not in page(client.get(INBOX))
    heartbeat.beat(alerts.HEARTBEAT, timezone.now() - timedelta(hours=1))
    assert "Rules are not looked at: the last time was" in page(client.get(INBOX))


def test_a_study_without_rules_says_so_and_offers_some(study: Study) -> None:
    trial.make_study("plain")
    client = sign_in("ines", Study.objects.get(slug="plain"), "investigator")
    assert "No rule is switched on" in page(client.get("/studies/plain/alerts/"))
    rules = "/studies/plain/alerts/rules/"
    assert "Very strong craving: craving is at least 90." in page(client.get(rules))
    said = page(client.post(f"{rules}offered/", follow=True))
    assert "rules were added, switched off" in said
    assert not AlertRule.objects.filter(study__slug="plain").exclude(active_since=None).exists()
    cora = sign_in("cora", Study.objects.get(slug="plain"), "coordinator")
    assert cora.post(f"{rules}offered/").status_code == 404


def test_many_alerts_are_shown_a_page_at_a_time_with_as_many_queries(study: Study) -> None:
    person = alert_of("S1-001").participant
    for number in range(60):
        an_answer(person, craving=90 + number % 10)
    alerts.find_alerts(timezone.now())
    client = sign_in("cora", study, "coordinator")
    page(client.get(INBOX))  # the session's own queries
    asked = {}
    for query in ("site=S2", "page=2", "page=1"):
        with CaptureQueriesContext(connection) as queries:
            shown = page(client.get(f"{INBOX}?{query}"))
        asked[query] = (shown.count("Acknowledge<span"), len(queries))
    assert "Page 1 of 2" in shown
    assert [alerts for alerts, _ in asked.values()] == [1, 12, 50]
    assert len({queries for _, queries in asked.values()}) == 1
