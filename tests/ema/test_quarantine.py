"""What could not be stored is released as a response, or discarded, by a coordinator."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from ema import audit, quarantine, studies
from ema.models import AuditEvent, Prompt, Quarantine, Response, Study
from ema.quarantine import QuarantineRefused
from tests import trial
from tests.ema.uploading import item, make_prompt, new_phone, submit

pytestmark = pytest.mark.django_db


@pytest.fixture
def prompt(study: Study) -> Prompt:
    """A prompt whose answer named a version that was never published."""
    phone = new_phone(study, "S1-001")
    prompt = make_prompt(phone.device.participant)
    submit(phone, [{**item(prompt), "questionnaire": {"key": "hourly", "version": 7}}])
    return prompt


def coordinator(study: Study, name: str = "cora") -> Client:
    user = User.objects.create_user(name)
    studies.grant(user=user, role="coordinator", study=study, site=None, actor=audit.COMMAND)
    client = Client()
    client.force_login(user)
    return client


def decide(client: Client, **form: Any) -> str:
    entry = Quarantine.objects.get()
    page = f"/admin/ema/quarantine/{entry.pk}/change/"
    said = {"item": quarantine.text_of(entry), "why": "the app was too new", **form}
    return str(client.post(page, said, follow=True).content.decode())


def corrected() -> str:
    raw = Quarantine.objects.get().raw
    return json.dumps({**raw, "questionnaire": {"key": "hourly", "version": 1}})


def test_a_corrected_item_becomes_the_response_to_its_prompt(study: Study, prompt: Prompt) -> None:
    decide(coordinator(study), decision="release", item=corrected())

    response, entry = Response.objects.get(), Quarantine.objects.get()
    assert response.received_at == entry.resolved_at
    assert (response.prompt, response.stress) == (prompt, 40)
    assert response.flags == ["released_from_quarantine"]
    assert (entry.response, entry.resolution) == (response, "the app was too new")
    assert entry.raw["questionnaire"]["version"] == 7
    prompt.refresh_from_db()
    assert prompt.answered_at
    event = AuditEvent.objects.get(action="quarantine.released")
    assert (event.reason, event.after) == ("the app was too new", {"response": str(response.pk)})


def test_what_is_still_broken_is_refused_beside_the_field(study: Study, prompt: Prompt) -> None:
    client = coordinator(study)
    said = decide(client, decision="release")
    assert "There is no published version 7 of &#x27;hourly&#x27;; published: 1." in said
    said = decide(client, decision="release", item="{}")
    assert "It cannot be read yet" in said
    assert not Response.objects.exists()
    assert Quarantine.objects.get().resolved_at is None


def test_a_discarded_item_is_kept_with_the_reason(study: Study, prompt: Prompt) -> None:
    said = decide(coordinator(study), decision="discard", why="a test of the app")
    assert "was changed successfully" in said
    entry = Quarantine.objects.get()
    assert (entry.resolution, entry.response) == ("a test of the app", None)
    assert AuditEvent.objects.filter(action="quarantine.discarded").exists()


def test_a_decision_needs_a_reason_and_is_made_once(study: Study, prompt: Prompt) -> None:
    client = coordinator(study)
    assert "This field is required" in decide(client, decision="discard", why="")
    entry = Quarantine.objects.get()
    about: Any = {"entry": entry, "now": timezone.now(), "actor": audit.COMMAND}
    quarantine.discard(reason="no answer", **about)
    with pytest.raises(QuarantineRefused, match="resolved already: no answer"):
        quarantine.release(reason="an answer", **about)


def test_the_second_content_of_an_id_is_released_under_another(study: Study) -> None:
    phone = new_phone(study, "S1-001")
    sent = item(make_prompt(phone.device.participant))
    submit(phone, [sent])
    submit(phone, [{**sent, "answers": [{"item": "stress", "value": 99}]}])

    decide(coordinator(study), decision="release")

    first, second = Response.objects.order_by("received_at", "stress")
    assert (str(first.pk), first.stress) == (sent["id"], 40)
    assert second.stress == 99
    assert set(second.flags) == {"duplicate_prompt", "released_from_quarantine"}


def test_only_the_coordinator_of_the_site_decides(study: Study, prompt: Prompt) -> None:
    entry = Quarantine.objects.get()
    page = f"/admin/ema/quarantine/{entry.pk}/change/"
    user = User.objects.create_user("ingrid")
    studies.grant(user=user, role="investigator", study=study, site=None, actor=audit.COMMAND)
    client = Client()
    client.force_login(user)
    form = {"item": "{}", "decision": "discard", "why": "mine"}
    assert client.post(page, form).status_code == 403
    assert coordinator(trial.make_study("other"), "carl").get(page).status_code == 302
    assert Quarantine.objects.get().resolved_at is None
