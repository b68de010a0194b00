"""Commands of the records: granting roles, serving."""

import re
import socket

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from ema.models import AuditEvent, Membership
from ema.models.study import Role
from tests import trial
from tests.ema.test_settings import manage

pytestmark = pytest.mark.django_db


def test_a_role_is_granted_once(capsys: pytest.CaptureFixture[str]) -> None:
    trial.make_study()
    User.objects.create_user("ada")
    for said in ("is now", "was already"):
        call_command("grant", "statistician", "ada", study="demo")
        assert f"ada {said} statistician of demo." in capsys.readouterr().out
    call_command("grant", "coordinator", "ada", study="demo", site="S1")
    assert Membership.objects.count() == 2


def test_a_role_is_taken_away_where_it_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    trial.make_study()
    User.objects.create_user("ada")
    call_command("grant", "pharmacist", "ada", study="demo", site="S1")
    with pytest.raises(CommandError) as refused:
        call_command("revoke", "pharmacist", "ada", study="demo")
    assert str(refused.value) == "ada is not pharmacist of demo. They are pharmacist of S1."
    assert refused.value.returncode == 1
    call_command("revoke", "pharmacist", "ada", study="demo", site="S1")
    assert "ada is no longer pharmacist of S1." in capsys.readouterr().out
    assert not Membership.objects.exists()
    [given, taken] = AuditEvent.objects.filter(action__startswith="role.").order_by("id")
    assert taken.before == given.after == {"role": "pharmacist", "site": "S1"}
    with pytest.raises(CommandError, match="They hold no role in this study"):
        call_command("revoke", "auditor", "ada", study="demo")


@pytest.mark.parametrize("role", ["investigator", "statistician", "auditor"])
def test_a_role_of_the_whole_study_has_no_site(role: str) -> None:
    trial.make_study()
    User.objects.create_user("ada")
    with pytest.raises(CommandError, match="Only a coordinator or a pharmacist is kept to a site"):
        call_command("grant", role, "ada", study="demo", site="S1")
    assert not Membership.objects.exists()


@pytest.mark.parametrize("command", ["grant", "revoke"])
def test_help_says_what_each_role_is_for(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call_command(command, "--help")
    said = capsys.readouterr().out
    assert [role for role in Role.values if f"\n  {role} " not in said] == []


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


def test_a_host_of_another_machine_is_not_called_a_port_in_use() -> None:
    with pytest.raises(CommandError, match=r"Nothing can listen on 192\.0\.2\.1, port 8000"):
        call_command("web", host="192.0.2.1")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["serve", "--port", "70000"], "'70000' is not a whole number from 1 to 65535"),
        (["serve", "--port", "0"], "'0' is not a whole number from 1 to 65535"),
        (["web", "--port", "http"], "'http' is not a whole number from 1 to 65535"),
        (["web", "--workers", "0"], "'0' is not a whole number from 1"),
        (["web", "--threads", "65"], "'65' is not a whole number from 1 to 64"),
        (["worker", "--concurrency", "-1"], "'-1' is not a whole number from 1"),
        (["worker", "--queues", "foo,"], "there is no queue 'foo' in 'foo,': write trial or"),
        (["worker", "--queues", "trial,"], "there is no queue '' in 'trial,'"),
    ],
)
def test_an_option_out_of_range_is_refused_in_a_sentence(
    arguments: list[str], sentence: str
) -> None:
    with pytest.raises(CommandError, match=re.escape(sentence)):
        call_command(*arguments)


def test_the_command_line_ends_with_2_when_it_is_used_wrongly() -> None:
    for arguments, sentence in {
        ("nosuch",): "Unknown command: 'nosuch'",
        ("serve", "--port", "70000"): "argument --port: '70000' is not",
    }.items():
        ended = manage(*arguments)
        assert ended.returncode == 2
        assert sentence in ended.stderr
        assert "Traceback" not in ended.stderr
