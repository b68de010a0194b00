"""What a rule of alerts may say, who may say it, and what is kept of it."""

import re
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from ema import alert_rules, audit
from ema.models import AlertRule, AuditEvent, Study
from tests import trial
from tests.ema.alert_rules import CHANGE, SUICIDALITY, TODO, a_rule, add_rule, safety_questionnaire
from tests.ema.test_admin import page, sign_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def study(settings: Any) -> Study:
    settings.ALERT_WEBHOOK_HOSTS = ["10.0.0.1:8080", "*.clinic.test"]
    study = trial.make_study()
    safety_questionnaire(study)
    return study


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"item": "crave"},
            "No published questionnaire of study demo has an item 'crave'. Published items: ",
        ),
        ({"value": "lots"}, "Item 'craving' is a number, and 'lots' is none."),
        ({"value": "190"}, "Item 'craving' goes from 0 to 100: 190 is outside."),
        ({"value": ""}, "A rule of kind 'answer' needs value."),
        ({"amount": 3}, "A rule of kind 'answer' has no amount: leave it empty."),
        ({**SUICIDALITY, "value": "maybe"}, "is answered yes or no, not 'maybe'"),
        ({**SUICIDALITY, "operator": "at_least", "value": "1"}, "'suicidality' is no number"),
        (
            {**SUICIDALITY, "item": "place", "value": "bar"},
            "Item 'place' has the choices home, work, street.",
        ),
        ({**SUICIDALITY, "item": "note", "value": "x"}, "has no choices that a rule could look"),
        ({**CHANGE, "item": "place"}, "Item 'place' is no number"),
        ({**CHANGE, "operator": "is"}, "A change is at least (above the mean) or at most"),
        ({**CHANGE, "amount": 0.1}, "The amount is 0.5 to 10 standard deviations, not 0.1."),
        ({**CHANGE, "least_answers": 1}, "A mean takes 2 to 1000 earlier answers"),
        ({"kind": "missed", "amount": 2.5}, "The amount is a whole number of prompts, not 2.5."),
        ({"kind": "missed"}, "A rule of kind 'missed' needs amount."),
        ({"kind": "silent", "amount": 1000}, "The amount is 1 to 720 hours, not 1000."),
        ({"kind": "silent", "amount": 5, "item": "craving"}, "has no item: leave it empty"),
        ({"todo": "  "}, "Write what is to be done when the rule holds."),
        ({"escalate_after_hours": 4}, "Say who is told when nobody acknowledges"),
        ({"escalate_mail": ["a@b.org"]}, "Say after how many hours"),
        ({"escalate_after_hours": 4, "escalate_mail": ["nobody"]}, "'nobody' is no e-mail address"),
        (
            {"escalate_after_hours": 4, "escalate_mail": ["a@b.org"]},
            "E-mail is not set up here: an administrator sets EMAIL_URL.",
        ),
    ],
)
def test_a_rule_that_cannot_work_is_refused_in_a_sentence(
    study: Study, fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(alert_rules.RuleRefused, match=re.escape(sentence)):
        alert_rules.save(
            rule=a_rule(study, **fields), is_active=True, now=timezone.now(), actor=audit.COMMAND
        )
    assert not AlertRule.objects.exists()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("https://hooks.example.org/a?b=c", None),
        ("https://hooks.example.org:8443/", None),
        ("http://10.0.0.1:8080/in", None),
        ("https://alerts.clinic.test/x", None),
        ("http://hooks.example.org/", "is called by https"),
        ("https://user:secret@example.org/", "without user name"),
        ("ftp://example.org/", "is an https address"),
        ("https://127.0.0.1/", "is no public host name"),
        ("https://2130706433/", "is no public host name"),
        ("https://0x7f.1/", "is no public host name"),
        ("https://localhost/", "is no public host name"),
        ("https://db.internal/", "is no public host name"),
        ("http://10.0.0.1:9090/in", "is called by https"),
    ],
)
def test_a_webhook_is_https_at_a_public_name_unless_it_is_listed(
    study: Study, url: str, sentence: str | None
) -> None:
    rule = a_rule(study, escalate_after_hours=4, escalate_webhook=url)
    found = " ".join(alert_rules.problems(rule))
    assert (sentence in found) if sentence else not found


STATED = {
    "is_active": True,
    "escalate_after_hours": 2,
    "escalate_mail": [],
    "escalate_webhook": "https://a.clinic.test/…",
}


def test_a_rule_is_kept_with_its_hash_and_its_changes_are_audited(study: Study) -> None:
    rule = add_rule(study, escalate_after_hours=2, escalate_webhook="https://a.clinic.test/key")
    before = rule.content_hash()
    rule.value = "80"
    alert_rules.save(rule=rule, is_active=True, now=timezone.now(), actor=audit.COMMAND)
    alert_rules.save(rule=rule, is_active=True, now=timezone.now(), actor=audit.COMMAND)
    assert rule.content_hash() != before
    added, changed = AuditEvent.objects.filter(action__startswith="alert_rule").order_by("pk")
    assert (added.action, changed.action) == ("alert_rule.added", "alert_rule.changed")
    assert added.after == changed.before
    assert changed.before == {**rule.content(), **STATED, "value": "90", "sha256": before}
    assert changed.after == {**rule.content(), **STATED, "sha256": rule.content_hash()}
    kept = str([added.after, changed.after])
    assert rule.webhook_key not in kept


def test_a_rule_watches_from_when_it_was_switched_on(study: Study) -> None:
    rule, now = a_rule(study), timezone.now()
    alert_rules.save(rule=rule, is_active=False, now=now, actor=audit.COMMAND)
    assert AlertRule.objects.filter(active_since=None).exists()
    alert_rules.save(rule=rule, is_active=True, now=now, actor=audit.COMMAND)
    assert AlertRule.objects.filter(active_since=now, watched_until=now).exists()


def test_what_is_offered_would_work_and_is_added_switched_off(study: Study) -> None:
    offered = [rule.title for rule in alert_rules.offered(study)]
    assert "Thoughts of suicide" in offered
    plain = [rule.title for rule in alert_rules.offered(trial.make_study("plain"))]
    assert "Thoughts of suicide" not in plain  # it has no such item
    added = alert_rules.add_offered(study=study, now=timezone.now(), actor=audit.COMMAND)
    assert [rule.title for rule in added] == offered
    assert not AlertRule.objects.exclude(active_since=None).exists()
    assert alert_rules.offered(study) == []


# --- the admin --------------------------------------------------------------------------

FORM: dict[str, Any] = {
    "title": "Craving",
    "kind": "answer",
    "item": "craving",
    "operator": "at_least",
    "value": "90",
    "severity": "serious",
    "todo": TODO,
    "is_active": "on",
}
ADD = "/admin/ema/alertrule/add/"


@pytest.mark.parametrize("role", ["investigator", "administrator"])
def test_an_investigator_or_administrator_adds_and_changes_rules(study: Study, role: str) -> None:
    client = sign_in("ines", study, role) if role != "administrator" else sign_in("root")
    assert "Raises" not in page(client.get(ADD))
    said = page(client.post(ADD, {**FORM, "study": study.pk, "item": "crave"}))
    assert "Published items: stress, craving" in said
    assert client.post(ADD, {**FORM, "study": study.pk}).status_code == 302
    rule = AlertRule.objects.get()
    assert rule.active_since is not None
    path = f"/admin/ema/alertrule/{rule.pk}/change/"
    assert rule.webhook_key in page(client.get(path))
    off = {name: value for name, value in FORM.items() if name != "is_active"}
    assert client.post(path, {**off, "value": "80"}).status_code == 302
    rule.refresh_from_db()
    assert rule.value == "80"
    assert not AlertRule.objects.exclude(active_since=None).exists()
    assert AuditEvent.objects.filter(action="alert_rule.changed", door="admin").count() == 1
    again = page(client.post(ADD, {**FORM, "study": study.pk}))
    assert "This study has a rule with this title already." in again


@pytest.mark.parametrize("role", ["coordinator", "statistician", "pharmacist", "auditor"])
def test_other_roles_change_no_rules(study: Study, role: str) -> None:
    rule, client = add_rule(study), sign_in("cora", study, role)
    path = f"/admin/ema/alertrule/{rule.pk}/change/"
    assert client.get(ADD).status_code == 403
    assert client.post(ADD, {**FORM, "study": study.pk}).status_code == 403
    assert client.post(path, FORM).status_code in (302, 403)
    shown = client.get(path)
    assert rule.webhook_key not in shown.content.decode()
    assert shown.status_code == (200 if role == "coordinator" else 403)
    rule.refresh_from_db()
    assert rule.value == "90"


def test_an_investigator_of_another_study_reaches_no_rule_here(study: Study) -> None:
    rule = add_rule(study)
    client: Client = sign_in("hattie", trial.make_study("other"), "investigator")
    assert client.get(f"/admin/ema/alertrule/{rule.pk}/change/").status_code == 302
    refused = page(client.post(ADD, {**FORM, "study": study.pk}))
    assert "Select a valid choice" in refused
