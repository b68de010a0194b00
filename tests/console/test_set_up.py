"""Setting up a study from its pages alone: what is missing is said until it can start."""

import pytest
from django.test import Client
from django.utils import timezone

from ema import audit, studies
from ema.models import AuditEvent, Phase, QuestionnaireVersion, Study
from ema.questionnaires import drafts
from tests import trial
from tests.ema.test_admin import page, sign_in

pytestmark = pytest.mark.django_db
SET_UP = "/studies/fresh/setup/"
STUDY = {"title": "A fresh trial", "slug": "fresh", "masking": "double_blind", "zone": "UTC"}
ARM = {"key": "placebo", "is_reference": "on"}
SITE = {"code": "S1", "title": "First site", "zone": "Europe/Brussels"}


@pytest.fixture
def root() -> Client:
    return sign_in("root")


def phase(version: QuestionnaireVersion, **change: str) -> dict[str, str]:
    form = {"key": "treatment", "days": "28", "prompts_per_day": "4", "gap_minutes": "60"}
    form |= {"expiry_minutes": "30", "awake_from": "08:00", "awake_until": "22:00"}
    return form | {"questionnaire": str(version.pk), **change}


def test_a_study_is_set_up_and_started_step_by_step(root: Client) -> None:
    assert "New study" in page(root.get("/studies/"))
    said = page(root.post("/studies/new/", STUDY, follow=True))
    assert "It needs a site." in said
    assert "It needs a phase." in said
    assert "needs two arms or more" in said
    assert "Start the study now" not in said
    page(root.post(f"{SET_UP}arms/", ARM, follow=True))
    page(root.post(f"{SET_UP}arms/", {"key": "clonidine"}, follow=True))
    assert "has no coordinator" in page(root.post(f"{SET_UP}sites/", SITE, follow=True))
    study = Study.objects.get()
    version = drafts.start_from_default(study=study, actor=audit.COMMAND)
    said = page(root.post(f"{SET_UP}phases/", phase(version), follow=True))
    assert "which is not published" in said
    root.post(f"{SET_UP}start/", {"confirm": "on"})
    studies.publish(version=version, now=timezone.now(), actor=audit.COMMAND)
    assert "Start the study now" in page(root.get(SET_UP))
    assert "tick the box" in page(root.post(f"{SET_UP}start/", follow=True))
    assert "Study fresh has started." in page(
        root.post(f"{SET_UP}start/", {"confirm": "on"}, follow=True)
    )
    made = Phase.objects.get()
    assert (made.position, made.minimum_gap.seconds, made.windows[0]["end"]) == (1, 3600, "22:00")
    actions = AuditEvent.objects.filter(door="page").order_by("pk").values_list("action", flat=True)
    wanted = ["study.added", "arm.added", "arm.added", "site.added", "phase.added", "study.started"]
    assert list(actions) == wanted


@pytest.mark.parametrize(
    ("step", "form", "sentence"),
    [
        ("arms", {"key": ""}, "This field is required"),
        ("arms", ARM | {"key": "other"}, "already has a reference arm"),
        ("arms", {"key": "placebo"}, "already exists"),
        ("sites", SITE, "already exists"),
        ("sites", SITE | {"zone": "Mars"}, "Select a valid choice"),
        ("phases", {"prompts_per_day": "12"}, "gap"),
        ("phases", {"key": "treatment"}, "already exists"),
        ("phases", {"awake_until": "08:00"}, "indow"),
    ],
)
def test_what_cannot_work_is_refused_beside_its_step(
    root: Client, step: str, form: dict[str, str], sentence: str
) -> None:
    study = trial.make_study("fresh", has_started=False)
    if step == "phases":
        version = QuestionnaireVersion.objects.get()
        form = phase(version, key="later", gap_minutes="120") | form
    before = {name: getattr(study, name).count() for name in ("arms", "sites", "phases")}
    answer = root.post(f"{SET_UP}{step}/", form)
    assert answer.status_code == 400
    assert sentence in answer.content.decode()
    assert before == {name: getattr(study, name).count() for name in before}


def test_a_started_study_takes_no_other_reference_arm(root: Client) -> None:
    trial.make_study("fresh")
    answer = root.post(f"{SET_UP}arms/", {"key": "third", "is_reference": "on"})
    assert answer.status_code == 400
    assert Study.objects.get().arms.count() == 2
    assert "has started already" in page(
        root.post(f"{SET_UP}start/", {"confirm": "on"}, follow=True)
    )


def test_only_administrators_set_up(root: Client) -> None:
    study = trial.make_study("fresh")
    assert root.post(f"{SET_UP}people/").status_code == 404
    for role in ("coordinator", "investigator", "statistician"):
        client = sign_in(role, study, role)
        assert "Set-up" not in page(client.get("/studies/"))
        assert client.get(SET_UP).status_code == 404
        assert client.get("/studies/new/").status_code == 404
        assert client.post(f"{SET_UP}arms/", {"key": "x"}).status_code == 404
    assert study.arms.count() == 2


def test_an_administrator_is_led_to_set_up_and_to_no_participant(root: Client) -> None:
    trial.make_study("fresh")
    listed = page(root.get("/studies/"))
    assert SET_UP in listed
    for name in ("enrol", "allocation/of", "phones", "ledger", "comparison"):
        assert f"/studies/fresh/{name}" not in listed
