"""What the pages of set-up and enrolment do, by command."""

from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from ema import enrolment
from ema.models import Participant, Study
from tests import trial

pytestmark = pytest.mark.django_db


def said(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def test_a_study_is_started_once_nothing_is_missing() -> None:
    trial.make_study("fresh", has_started=False)
    assert "Sites: done" in said("start", "fresh", "--check")
    assert said("start", "fresh") == "Study fresh has started.\n"
    with pytest.raises(CommandError, match="has started already"):
        said("start", "fresh")


def test_what_is_missing_is_said_and_nothing_starts() -> None:
    Study.objects.create(slug="bare", title="Bare")
    with pytest.raises(CommandError, match=r"It needs a site\. It needs a phase\."):
        said("start", "bare")
    with pytest.raises(CommandError, match="cannot start yet"):
        said("start", "bare", "--check")
    assert Study.objects.get().started_at is None


def test_a_participant_is_enrolled_with_a_code_that_works_and_gets_another() -> None:
    trial.make_study("demo")
    consent = ("--consent-version", "2.0", "--consented-on", "2026-03-01")
    name, code = said("enrol", "demo", "S1", *consent).split()
    assert name == "S1-001"
    assert str(Participant.objects.get().consents.get()) == "2.0 on 2026-03-01"
    _, another = said("enrol", "demo", "S1", "--code", name, "--again").split()
    now = Participant.objects.get().enrolled_at
    with pytest.raises(enrolment.CodeUnknown):
        enrolment.redeem(typed=code, installation=uuid4(), now=now)
    assert enrolment.redeem(typed=another, installation=uuid4(), now=now).access_token


@pytest.mark.parametrize(
    ("words", "sentence", "code"),
    [
        (["demo", "S9"], "There is no site of demo", 2),
        (["demo", "S1", "--again"], "--again needs --code", 2),
        (["demo", "S1", "--again", "--code", "X"], "There is no participant of S1", 2),
        (["demo", "S1", "--consent-version", "1"], "together", 2),
        (["demo", "S1", "--zone", "Mars/Olympus"], "write an IANA name", 1),
    ],
)
def test_a_wrong_enrolment_is_refused(words: list[str], sentence: str, code: int) -> None:
    trial.make_study("demo")
    with pytest.raises(CommandError, match=sentence) as refused:
        said("enrol", *words)
    assert refused.value.returncode == code
    assert not Participant.objects.exists()
