"""Alerts by command and by program: the same as on the page, for the same people."""

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from ema import alert_messages, alerts, heartbeat
from ema.models import Alert, AlertRule, AuditEvent, Site, Study
from tests import trial
from tests.ema.alert_rules import add_rule, an_answer
from tests.ema.test_admin import page, sign_in

pytestmark = pytest.mark.django_db
DOOR = "/api/v1/studies/demo/alerts"


@pytest.fixture
def study() -> Study:
    study = trial.make_study()
    second = Site.objects.create(study=study, code="S2", title="Second site")
    add_rule(study, title="Strong craving")
    for site, craving in ((study.sites.get(code="S1"), 95), (second, 96)):
        person = trial.enrol_at(site, f"{site.code}-001")
        trial.redeem(person)
        an_answer(person, craving=craving)
    alerts.find_alerts(timezone.now())
    heartbeat.beat(alert_messages.HEARTBEAT, timezone.now())
    sign_in("cora", study, "coordinator", site=study.sites.get(code="S1"))
    return study


def number(code: str) -> int:
    return Alert.objects.get(participant__code=code).pk


def run(command: str, *words: Any) -> str:
    said = io.StringIO()
    call_command(command, *map(str, words), stdout=said, stderr=said)
    return said.getvalue()


def refused(command: str, *words: Any) -> tuple[int, str]:
    with pytest.raises(CommandError) as error:
        run(command, *words)
    return error.value.returncode, str(error.value)


def test_a_command_lists_and_acknowledges_and_notes(study: Study) -> None:
    first = number("S1-001")
    listed = run("alerts", "demo")
    assert f"{first}  serious  S1-001 (S1)" in listed
    assert "craving: 96  [open]" in listed
    doing = ("--text", "Spoke to them.", "--as", "cora")
    done = run("alerts", "demo", "--acknowledge", first, "--action", "called", *doing)
    assert done == f"Alert {first} is acknowledged.\n"
    assert run("alerts", "demo", "--note", first, *doing) == f"Alert {first} has another note.\n"
    assert "S1-001" not in run("alerts", "demo", "--open")
    assert "cora, " in run("alerts", "demo")
    *_, last = json.loads(run("alerts", "demo", "--json"))
    assert (last["number"], last["action"], last["notes"][0]["author"]) == (first, "called", "cora")
    assert set(AuditEvent.objects.filter(action__startswith="alert.").values_list("door")) == {
        ("command",)
    }


def test_a_command_that_cannot_do_it_says_why(study: Study) -> None:
    first, other = number("S1-001"), number("S2-001")
    doing = ("--action", "called", "--text", "Spoke.")
    assert refused("alerts", "demo", "--acknowledge", first, *doing)[0] == 2
    code, why = refused("alerts", "demo", "--acknowledge", other, *doing, "--as", "cora")
    assert (code, why) == (2, f"There is no alert {other} in study 'demo' that you look after.")
    assert (
        "There is no user 'nobody'"
        in refused("alerts", "demo", "--note", first, "--text", "x", "--as", "nobody")[1]
    )
    code, why = refused("alerts", "demo", "--acknowledge", first, "--text", "x", "--as", "cora")
    assert (code, why[:30]) == (1, "Say what was done: one of call")
    assert "Say which alert" in refused("alerts", "demo", "--text", "x")[1]
    assert "There is no study 'nope'" in refused("alerts", "nope")[1]
    assert Alert.objects.open().count() == 2


def test_a_command_lists_offers_and_switches_rules(study: Study) -> None:
    said = run("alert_rules", "demo")
    assert "on   serious  Strong craving: craving is at least 90" in said
    assert "offered: Very strong craving: craving is at least 90" in said
    said = run("alert_rules", "demo", "--add-offered")
    assert "off  serious  Very strong craving" in said
    assert "on   serious  Very strong craving" in run(
        "alert_rules", "demo", "--on", "Very strong craving"
    )
    run("alert_rules", "demo", "--off", "Strong craving")
    on = AlertRule.objects.exclude(active_since=None)
    assert [rule.title for rule in on] == ["Very strong craving"]
    listed = json.loads(run("alert_rules", "demo", "--json"))
    assert {"sha256", "is_active", "title"} <= set(listed[0])
    assert "There is no rule 'Odd'" in refused("alert_rules", "demo", "--on", "Odd")[1]


def test_a_program_lists_the_alerts_of_its_users_sites(study: Study) -> None:
    ines = sign_in("ines", study, "investigator")
    sia = sign_in("sia", study, "coordinator", site=Site.objects.get(code="S2"))
    assert [each["participant"] for each in ines.get(DOOR).json()] == ["S1-001", "S2-001"]
    [only] = sia.get(DOOR).json()
    assert (only["participant"], only["finding"], only["acknowledged_at"]) == (
        "S2-001",
        "craving: 96",
        None,
    )
    assert only["rule"]["sha256"] == AlertRule.objects.get().content_hash()
    assert ines.get(f"{DOOR}?site=S1&state=all").json()[0]["site"] == "S1"
    assert ines.get(f"{DOOR}?state=acknowledged").json() == []
    wrong = ines.get(f"{DOOR}?state=odd")
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid")


@pytest.mark.parametrize("role", ["statistician", "pharmacist", "auditor", ""])
def test_other_roles_read_no_alerts_by_program(study: Study, role: str) -> None:
    client = sign_in("other", study, role) if role else sign_in("root")
    assert client.get(DOOR).status_code == 404
    assert "Safety alerts" not in page(client.get("/studies/"))
    assert Client().get(DOOR).status_code == 401
