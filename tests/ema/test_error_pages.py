"""Pages for people where something is not there, not open, not sent right, or broken."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from ema.models import Membership
from ema.models.study import Role
from tests import trial

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client: Client) -> Client:
    auditor = User.objects.create_user("auditor")
    Membership.objects.create(user=auditor, study=trial.make_study(), role=Role.AUDITOR)
    client.force_login(auditor)
    return client


def test_what_is_not_there_leads_back_to_the_studies(client: Client) -> None:
    answer = client.get("/nowhere/")
    assert answer.status_code == 404
    page = answer.content.decode()
    assert "There is nothing here" in page
    assert 'href="/"' in page
    assert "nowhere" not in page


def test_what_a_role_does_not_allow_says_so(operator: Client) -> None:
    answer = operator.get("/admin/ema/study/add/")
    assert answer.status_code == 403
    assert "Your role does not allow it" in answer.content.decode()


def test_a_form_that_is_too_old_says_what_to_do() -> None:
    answer = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "anybody"})
    assert answer.status_code == 403
    assert "load the page again" in answer.content.decode()


def test_a_server_asked_for_by_another_name_says_so(client: Client) -> None:
    answer = client.get("/admin/login/", headers={"host": "elsewhere.example"})
    assert answer.status_code == 400
    assert "a name that is not its own" in answer.content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_defect_says_that_it_was_ours_and_nothing_of_it(operator: Client) -> None:
    operator.raise_request_exception = False
    with trial.without("ema_membership"):
        answer = operator.get("/studies/")
    assert answer.status_code == 500
    page = answer.content.decode()
    assert "This went wrong on our side" in page
    assert "membership" not in page
