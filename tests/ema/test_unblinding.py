"""Breaking the blind: of one participant by a pharmacist, of a study by two persons."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django import Settings

from ema import arm_labels, audit, second_factor, studies, unblinding
from ema.models import AuditEvent, EmergencyUnblinding, Participant, Site, Study, TrialUnblinding
from ema.models.study import Role
from tests import trial
from tests.ema.test_admin import page, sign_in
from tests.scheduler.fakes import mailbox, tls
from tests.scheduler.fakes.mailbox import MailServer

pytestmark = pytest.mark.django_db
PAGE, WHOLE = "/studies/demo/unblinding/", "/studies/demo/unblinding/study/"
ASKED = {"code": "S1-001", "reason": "anaphylaxis, ward asks", "confirm": "on"}
TO = ["safety@example.org", "dsmb@example.org"]


@pytest.fixture
def study() -> Study:
    study = trial.make_study()
    Study.objects.filter(pk=study.pk).update(masking="double_blind")
    trial.allocate(trial.enrol(study, "S1-001", "Europe/Brussels", timezone.now()), "clonidine")
    trial.enrol(study, "S1-002", "Europe/Brussels", timezone.now())
    return Study.objects.get(pk=study.pk)


def said_of(answer: Any) -> str:
    return str(answer.content.decode())


# --- one participant ----------------------------------------------------------------------


def test_a_pharmacist_is_told_one_arm_once(study: Study) -> None:
    client = sign_in("petra", study, "pharmacist")
    answer = client.post(PAGE, ASKED)
    assert "clonidine" in page(answer)
    assert "no-store" in answer.headers["Cache-Control"]
    assert "clonidine" not in page(client.get(PAGE))
    made = EmergencyUnblinding.objects.get()
    assert (made.participant.code, made.by.username) == ("S1-001", "petra")


def test_the_open_event_says_why_and_the_closed_one_which_arm(study: Study) -> None:
    sign_in("petra", study, "pharmacist").post(PAGE, ASKED)
    told = AuditEvent.objects.get(action="participant.unblinded")
    assert (told.is_closed, told.reason, told.after) == (False, ASKED["reason"], {"by": "petra"})
    closed = AuditEvent.objects.get(action="participant.arm_told")
    assert closed.is_closed
    assert closed.after == {"by": "petra", "arm": "clonidine"}
    for role, is_shown in (("auditor", False), ("statistician", True)):
        seen = page(sign_in(role, study, role).get("/admin/ema/auditevent/"))
        assert "participant.unblinded" in seen
        assert ("participant.arm_told" in seen) is is_shown


def test_the_closed_event_calls_the_arm_by_its_code_where_arms_are_coded(study: Study) -> None:
    Study.objects.update(closed_labels="coded")
    study.refresh_from_db()
    arm_labels.give_labels(study)
    assert "clonidine" in page(sign_in("petra", study, "pharmacist").post(PAGE, ASKED))
    told = AuditEvent.objects.values_list("after__arm", flat=True)
    code = arm_labels.names_shown(study)["clonidine"]
    assert told.get(action="participant.arm_told") == code != "clonidine"


@pytest.mark.parametrize("role", sorted(set(Role.values) - {"pharmacist"}))
def test_nobody_else_unblinds_a_participant(study: Study, role: str) -> None:
    answer = sign_in(role, study, role).post(PAGE, ASKED)
    assert answer.status_code == 404
    assert "clonidine" not in said_of(answer)
    assert not EmergencyUnblinding.objects.exists()


def test_a_superuser_without_the_role_sees_no_arm(study: Study) -> None:
    assert sign_in("root").post(PAGE, ASKED).status_code == 404
    assert not EmergencyUnblinding.objects.exists()


def test_a_pharmacist_of_another_site_is_told_nothing(study: Study) -> None:
    second = Site.objects.create(study=study, code="S2", title="Second site")
    answer = sign_in("petra", study, "pharmacist", site=second).post(PAGE, ASKED)
    assert answer.status_code == 400
    assert "There is no participant &#x27;S1-001&#x27; where you are" in said_of(answer)
    first = study.sites.get(code="S1")
    assert "clonidine" in page(sign_in("paul", study, "pharmacist", site=first).post(PAGE, ASKED))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"reason": " "}, "Say in words why."),
        ({"reason": "x" * 501}, "at most 500 characters"),
        ({"confirm": ""}, "Nothing was unblinded: tick the box to confirm."),
        ({"code": "S9-999"}, "There is no participant"),
        ({"code": "S1-002"}, "S1-002 is not allocated, so there is no arm to tell."),
    ],
)
def test_an_incomplete_request_tells_nothing(
    study: Study, wrong: dict[str, str], sentence: str
) -> None:
    answer = sign_in("petra", study, "pharmacist").post(PAGE, ASKED | wrong)
    assert answer.status_code == 400
    assert sentence in said_of(answer)
    assert "clonidine" not in said_of(answer)
    assert not AuditEvent.objects.filter(action__startswith="participant.unblind").exists()


def with_phone(client: Client) -> TOTPDevice:
    """The second factor of whoever signed in, shown."""
    user = User.objects.get(pk=client.session["_auth_user_id"])
    phone = second_factor.phone_to_enrol(user)
    phone.confirmed = True
    phone.save()
    session = client.session
    session["otp_device_id"] = phone.persistent_id
    session.save()
    return phone


def test_the_second_factor_is_asked_again(study: Study, settings: Settings) -> None:
    settings.MFA_REQUIRED = True
    client = sign_in("petra", study, "pharmacist")
    phone = with_phone(client)
    assert "This field is required" in said_of(client.post(PAGE, ASKED))
    right = totp(phone.bin_key)
    refused = client.post(PAGE, ASKED | {"second_factor": f"{(right + 1) % 1_000_000:06}"})
    assert refused.status_code == 400
    assert "clonidine" not in said_of(refused)
    TOTPDevice.objects.update(throttling_failure_count=0)
    unknown = client.post(PAGE, ASKED | {"code": "S9-999", "second_factor": f"{right:06}"})
    assert "There is no participant" in said_of(unknown)  # a typing error spends no code
    assert "clonidine" in page(client.post(PAGE, ASKED | {"second_factor": f"{right:06}"}))
    again = client.post(PAGE, ASKED | {"second_factor": f"{right:06}"})
    assert "was used already" in said_of(again)
    assert EmergencyUnblinding.objects.count() == 1


def unblinded(study: Study) -> EmergencyUnblinding:
    return unblinding.unblind(
        participant=Participant.objects.get(code="S1-001"),
        by=User.objects.create_user("petra"),
        reason="anaphylaxis",
        now=timezone.now(),
        actor=audit.COMMAND,
    ).unblinding


def test_named_people_are_told_without_the_arm(
    study: Study, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings.UNBLINDING_MAIL_TO, settings.EMAIL_FROM = TO, "trial@example.org"
    found, certificate = MailServer(), tls.make_certificate(tmp_path_factory.mktemp("tls"))
    in_the_clear = {"use_tls": False, "username": "", "password": ""}
    with mailbox.served(found, certificate, by="smtp") as server:
        settings.EMAIL_SERVER = server | in_the_clear
        assert unblinding.send_word(unblinded(study)) == ""
    [kept] = found.received
    assert kept.recipients == TO
    text = kept.mail.as_string()
    assert "S1-001" in text
    assert "anaphylaxis" in text
    assert "clonidine" not in text


@pytest.mark.parametrize(
    ("to", "server", "sentence"),
    [
        ([], {}, "Nobody is named to be told by e-mail (UNBLINDING_MAIL_TO)"),
        (TO, {}, "No mail server is set (EMAIL_URL): tell safety@example.org, dsmb@example.org"),
        (TO, {"host": "127.0.0.1", "port": 0}, "did not go ("),
    ],
)
def test_without_a_mail_server_the_arm_is_told_all_the_same(
    study: Study, settings: Settings, to: list[str], server: dict[str, Any], sentence: str
) -> None:
    if server:
        server = server | {"port": mailbox.free_port()}
    settings.UNBLINDING_MAIL_TO, settings.EMAIL_SERVER = to, server
    settings.EMAIL_FROM = "trial@example.org"
    said = page(sign_in("petra", study, "pharmacist").post(PAGE, ASKED))
    assert "clonidine" in said
    assert sentence in said


def test_redis_and_its_workers_may_be_away(study: Study, settings: Settings) -> None:
    nowhere = "redis://127.0.0.1:1/0"
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": nowhere}}
    settings.CELERY_BROKER_URL = nowhere
    assert "clonidine" in page(sign_in("petra", study, "pharmacist").post(PAGE, ASKED))


# --- the command --------------------------------------------------------------------------


def run(*words: str, **options: Any) -> None:
    call_command(*words, reason="ward asks", yes=True, **options)


def test_the_command_tells_the_arm_to_the_pharmacist(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    sign_in("petra", study, "pharmacist")
    run("unblind", "demo", "S1-001", by="petra")
    said = capsys.readouterr()
    assert said.out == "clonidine\n"
    assert "UNBLINDING_MAIL_TO" in said.err
    assert AuditEvent.objects.get(action="participant.unblinded").actor == User.objects.get()


@pytest.mark.parametrize("role", ["statistician", "coordinator", "auditor"])
def test_the_command_tells_nobody_else(
    study: Study, capsys: pytest.CaptureFixture[str], role: str
) -> None:
    sign_in("sam", study, role)
    with pytest.raises(CommandError, match="There is no participant 'S1-001' where you") as refused:
        run("unblind", "demo", "S1-001", by="sam")
    assert refused.value.returncode == 1
    assert "clonidine" not in capsys.readouterr().out


def test_the_command_asks_for_the_second_factor(study: Study, settings: Settings) -> None:
    settings.MFA_REQUIRED = True
    phone = with_phone(sign_in("petra", study, "pharmacist"))
    with pytest.raises(CommandError, match="This code is wrong"):
        run("unblind", "demo", "S1-001", by="petra", code="000000")
    TOTPDevice.objects.update(throttling_failure_count=0)
    run("unblind", "demo", "S1-001", by="petra", code=f"{totp(phone.bin_key):06}")
    assert EmergencyUnblinding.objects.count() == 1


# --- the whole study ----------------------------------------------------------------------


def lock(study: Study) -> None:
    studies.lock(study=study, now=timezone.now(), actor=audit.COMMAND, reason="last visit done")


def step(client: Client, name: str, reason: str = "analysis plan signed") -> Any:
    return client.post(WHOLE, {"step": name, "reason": reason, "confirm": "on"}, follow=True)


def is_unblinded() -> bool:
    return not Study.objects.get(slug="demo").arms_are_hidden


def test_two_persons_unblind_a_locked_study(study: Study) -> None:
    lock(study)
    first, second = sign_in("sam", study, "statistician"), sign_in("petra", study, "pharmacist")
    assert "Proposed: somebody else must confirm." in page(step(first, "propose"))
    assert not is_unblinded()
    assert "Proposed by sam" in page(second.get(WHOLE))
    assert "The blind is broken." in page(step(second, "confirm"))
    assert is_unblinded()
    events = AuditEvent.objects.filter(action__startswith="study.unblind").order_by("id")
    assert list(events.values_list("action", "after__by")) == [
        ("study.unblinding_proposed", "sam"),
        ("study.unblinded", "petra"),
    ]
    investigator = sign_in("ines", study, "investigator")
    assert investigator.get("/studies/demo/comparison/").status_code == 200


def test_the_same_person_does_not_confirm(study: Study) -> None:
    lock(study)
    client = sign_in("sam", study, "statistician")
    step(client, "propose")
    answer = step(client, "confirm")
    assert "sam proposed it: another statistician or pharmacist must confirm." in said_of(answer)
    assert not is_unblinded()


def test_the_database_refuses_the_same_person(study: Study) -> None:
    lock(study)
    step(sign_in("sam", study, "statistician"), "propose")
    sam = User.objects.get()
    with pytest.raises(IntegrityError, match="two_different_persons"), transaction.atomic():
        TrialUnblinding.objects.update(
            confirmed_by=sam, confirmed_at=timezone.now(), confirmation_reason="me again"
        )


def test_only_a_locked_study_with_a_blind_is_unblinded(study: Study) -> None:
    client = sign_in("sam", study, "statistician")
    assert "is not locked: a study is unblinded afterwards" in said_of(step(client, "propose"))
    lock(study)
    Study.objects.update(masking="open")
    assert "there is no blind to break" in said_of(step(client, "propose"))
    assert not TrialUnblinding.objects.exists()


def test_a_proposal_whose_author_lost_the_role_is_not_confirmed(study: Study) -> None:
    lock(study)
    step(sign_in("sam", study, "statistician"), "propose")
    study.memberships.all().delete()
    second = sign_in("petra", study, "pharmacist")
    assert "sam who proposed it has no role for it any more" in said_of(step(second, "confirm"))
    assert not is_unblinded()
    assert "The proposal is withdrawn." in page(step(second, "withdraw"))
    assert "Proposed: somebody else must confirm." in page(step(second, "propose"))


@pytest.mark.parametrize("role", ["coordinator", "investigator", "auditor"])
def test_other_roles_do_not_unblind_a_study(study: Study, role: str) -> None:
    lock(study)
    assert step(sign_in(role, study, role), "propose").status_code == 404


def test_a_role_at_one_site_does_not_unblind_a_study(study: Study) -> None:
    lock(study)
    client = sign_in("petra", study, "pharmacist", site=study.sites.get())
    answer = step(client, "propose")
    assert answer.status_code == 404
    assert "A role at one site does not unblind a study." in said_of(answer)


def test_the_command_unblinds_a_study_by_two_persons(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    lock(study)
    sign_in("sam", study, "statistician")
    sign_in("petra", study, "pharmacist")
    run("unblind_study", "demo", "propose", by="sam")
    with pytest.raises(CommandError, match="sam proposed it"):
        run("unblind_study", "demo", "confirm", by="sam")
    run("unblind_study", "demo", "confirm", by="petra")
    assert "Study demo is unblinded." in capsys.readouterr().out
    assert is_unblinded()
    with pytest.raises(CommandError, match="was unblinded at"):
        run("unblind_study", "demo", "propose", by="sam")
