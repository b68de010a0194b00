"""Commands of the records: granting roles, serving."""

import socket

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from ema.models import Membership
from tests import trial

pytestmark = pytest.mark.django_db


def test_a_role_is_granted_once(capsys: pytest.CaptureFixture[str]) -> None:
    trial.make_study()
    User.objects.create_user("ada")
    for said in ("is now", "was already"):
        call_command("grant", "statistician", "ada", study="demo")
        assert f"ada {said} statistician of demo." in capsys.readouterr().out
    call_command("grant", "coordinator", "ada", study="demo", site="S1")
    assert Membership.objects.count() == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("ada", "dmeo", None), "There is no study 'dmeo'. There are: demo."),
        (("bob", "demo", None), "There is no user 'bob'. There are: ada."),
        (("ada", "demo", "S9"), "There is no site 'S9'. There are: S1."),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(
    arguments: tuple[str, str, str | None], sentence: str
) -> None:
    trial.make_study()
    User.objects.create_user("ada")
    user, study, site = arguments
    with pytest.raises(CommandError) as refused:
        call_command("grant", "coordinator", user, study=study, site=site)
    assert str(refused.value) == sentence
    assert refused.value.returncode == 2


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"Port {port} of 127.0.0.1 is in use"):
            call_command("web", port=port)
