"""Where signing in leads, and what Today says of backups."""

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from ema.models import Study
from tests import trial
from tests.analytics.answers import make_user
from tests.ema.test_admin import page, sign_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    return trial.make_study()


def test_landing_is_today_of_an_only_study(study: Study) -> None:
    user, client = make_user("ines", study, "investigator"), Client()
    client.force_login(user)
    assert client.get("/studies/landing/")["Location"] == "/studies/demo/today/"
    trial.make_study("other").memberships.create(user=user, role="investigator")
    assert client.get("/studies/landing/")["Location"] == "/"
    assert sign_in("pia", study, "pharmacist").get("/studies/landing/")["Location"] == "/"


def test_signing_in_leads_there(study: Study) -> None:
    make_user("ines", study, "investigator")
    form = {"username": "ines", "password": "correct horse"}
    assert Client().post("/admin/login/", form)["Location"] == "/studies/landing/"


def test_today_knows_of_a_backup_once_somebody_noted_it(study: Study) -> None:
    client = sign_in("cora", study, "coordinator")
    assert "Last backup: not known." in page(client.get("/studies/demo/today/"))
    call_command("note_backup", at="2026-03-02T04:00Z")
    assert "Last backup: 2026-03-02 04:00:00 UTC" in page(client.get("/studies/demo/today/"))


@pytest.mark.parametrize("wrong", ["yesterday", "2026-03-02T04:00", "2999-01-01T00:00Z"])
def test_a_backup_has_a_time_that_was(wrong: str) -> None:
    with pytest.raises(CommandError):
        call_command("note_backup", at=wrong)
