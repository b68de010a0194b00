"""What an administrator may set up, what is settled, and what it leaves in the audit trail."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.test import Client

from ema import audit, set_up, studies
from ema.models import Arm, AuditEvent, Membership, Phase, Questionnaire, Site, Study
from tests import trial
from tests.ema.test_admin import page, sign_in
from tests.ema.test_phases import form_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def root() -> Client:
    return sign_in("root")


def role_form(user: User, study: Study, role: str, **more: Any) -> dict[str, Any]:
    """The operator's admin form, with one more role."""
    prefix, count = "memberships", user.memberships.count()
    return {
        "username": user.username,
        "is_active": "on",
        f"{prefix}-TOTAL_FORMS": count + 1,
        f"{prefix}-INITIAL_FORMS": count,
        f"{prefix}-{count}-user": user.pk,
        f"{prefix}-{count}-study": study.pk,
        f"{prefix}-{count}-role": role,
        **more,
    }


def save_user(client: Client, user: User, form: dict[str, Any]) -> str:
    return page(client.post(f"/admin/auth/user/{user.pk}/change/", form, follow=True))


def actions() -> list[str]:
    found = AuditEvent.objects.exclude(action__in=["study.started", "questionnaire.published"])
    return list(found.order_by("pk").values_list("action", flat=True))


def test_a_role_given_and_taken_in_the_admin_is_audited(root: Client) -> None:
    study, ada = trial.make_study(), User.objects.create_user("ada")
    save_user(root, ada, role_form(ada, study, "statistician"))
    held = Membership.objects.get()
    granted = AuditEvent.objects.get(action="role.granted")
    assert (granted.subject, str(granted.actor), granted.door) == ("user ada", "root", "admin")
    gone = {
        "username": "ada",
        "is_active": "on",
        "memberships-TOTAL_FORMS": 1,
        "memberships-INITIAL_FORMS": 1,
        "memberships-0-id": held.pk,
        "memberships-0-user": ada.pk,
        "memberships-0-DELETE": "on",
    }
    save_user(root, ada, gone)
    assert not Membership.objects.exists()
    revoked = AuditEvent.objects.get(action="role.revoked")
    assert revoked.before == {"role": "statistician", "site": None}


def test_a_role_is_not_changed_in_place(root: Client) -> None:
    study, ada = trial.make_study(), User.objects.create_user("ada")
    held = Membership.objects.create(user=ada, study=study, role="investigator")
    form = role_form(ada, study, "") | {
        "memberships-TOTAL_FORMS": 1,
        "memberships-0-id": held.pk,
        "memberships-0-role": "statistician",
    }
    form["memberships-INITIAL_FORMS"] = 1
    save_user(root, ada, form)
    held.refresh_from_db()
    assert held.role == "investigator"


def test_nobody_gives_a_role_to_themselves(root: Client) -> None:
    study, own = trial.make_study(), User.objects.get(username="root")
    said = save_user(root, own, role_form(own, study, "statistician") | {"is_superuser": "on"})
    assert "Nobody gives a role to themselves" in said
    assert not Membership.objects.exists()
    with pytest.raises(studies.RoleRefused, match="to themselves"):
        studies.grant(
            user=own,
            role="statistician",
            study=study,
            site=None,
            actor=audit.Actor(user=own, door="page"),
        )


@pytest.mark.parametrize("role", ["investigator", "statistician"])
def test_only_a_coordinator_is_kept_to_a_site(root: Client, role: str) -> None:
    study, ada = trial.make_study(), User.objects.create_user("ada")
    site = study.sites.get()
    with pytest.raises(
        CommandError, match="Only a coordinator or a pharmacist is kept to a site"
    ) as refused:
        call_command("grant", role, "ada", study="demo", site="S1")
    assert refused.value.returncode == 2
    said = save_user(root, ada, role_form(ada, study, role) | {"memberships-0-site": site.pk})
    assert "Only a coordinator or a pharmacist is kept to a site" in said
    with (
        pytest.raises(IntegrityError, match="only_who_works_at_a_site_is_kept_to_one"),
        transaction.atomic(),
    ):
        Membership.objects.create(user=ada, study=study, site=site, role=role)


def test_a_coordinator_is_kept_to_a_site_of_their_study(root: Client) -> None:
    study, ada = trial.make_study(), User.objects.create_user("ada")
    elsewhere = trial.make_study("other").sites.get()
    form = role_form(ada, study, "coordinator") | {"memberships-0-site": elsewhere.pk}
    assert "Site S1 is not a site of study demo" in save_user(root, ada, form)
    save_user(root, ada, form | {"memberships-0-site": study.sites.get().pk})
    assert Membership.objects.get().site == study.sites.get()


def save_study(client: Client, study: Study, **changes: Any) -> str:
    form = form_of(study) | changes
    answer = client.post(f"/admin/ema/study/{study.pk}/change/", form, follow=True)
    study.refresh_from_db()
    return page(answer)


def test_masking_is_settled_when_the_study_starts(root: Client) -> None:
    study = trial.make_study(has_started=False)
    save_study(root, study, masking="open", slug="renamed")
    assert (study.masking, study.slug) == ("open", "renamed")
    [event] = AuditEvent.objects.filter(action="study.changed")
    assert event.before
    assert event.after
    assert (event.before["masking"], event.after["masking"]) == ("double_blind", "open")
    studies.start(study=study, now=study.created_at, actor=audit.COMMAND)
    save_study(root, study, masking="double_blind", slug="again", title="New title")
    assert (study.masking, study.slug, study.title) == ("open", "renamed", "New title")
    study.masking = "double_blind"
    with pytest.raises(studies.NotReady, match="has started: its masking stays as it is"):
        studies.save(study=study, actor=audit.COMMAND)


def arm_form(study: Study, **changes: Any) -> dict[str, Any]:
    found = list(study.arms.order_by("key"))
    form: dict[str, Any] = {"arms-TOTAL_FORMS": len(found), "arms-INITIAL_FORMS": len(found)}
    for number, arm in enumerate(found):
        own = {"id": arm.pk, "study": study.pk, "key": arm.key, "title": arm.title}
        form |= {f"arms-{number}-{name}": value for name, value in own.items()}
        if arm.is_reference:
            form[f"arms-{number}-is_reference"] = "on"
    return {name: value for name, value in {**form, **changes}.items() if value is not None}


def test_arms_are_settled_when_the_study_starts(root: Client) -> None:
    study = trial.make_study()
    for changes, sentence in (
        ({"arms-1-is_reference": None}, "placebo stays its reference arm"),
        ({"arms-0-is_reference": "on", "arms-1-is_reference": None}, "stays its reference arm"),
        ({"arms-0-key": "other"}, "arm clonidine keeps its key"),
    ):
        assert sentence in save_study(root, study, **arm_form(study, **changes))
    assert study.arms.get(is_reference=True).key == "placebo"
    assert not actions()
    save_study(root, study, **arm_form(study, **{"arms-0-title": "Clonidine 0.1 mg"}))
    assert actions() == ["arm.changed"]


def step_of(study: Study, key: str) -> set_up.Step:
    return next(one for one in set_up.steps(study, study.created_at) if one.key == key)


def test_treatments_of_a_sequence_are_set_with_the_arm_and_settled_by_the_start(
    root: Client,
) -> None:
    study = trial.make_study(has_started=False)
    for written, sentence in {
        "first": "&#x27;first&#x27; is not a phase and its treatment: write first: placebo",
        "first: two words": "is not a phase and its treatment",
        "first: placebo\nfirst: clonidine": "Phase first is there twice.",
    }.items():
        said = save_study(root, study, **arm_form(study, **{"arms-0-treatments": written}))
        assert sentence in said
    words = "treatment: clonidine\n second :placebo"
    save_study(root, study, **arm_form(study, **{"arms-0-treatments": words}))
    arm = study.arms.get(key="clonidine")
    assert arm.treatments == {"treatment": "clonidine", "second": "placebo"}
    after = AuditEvent.objects.get(action="arm.changed").after
    assert after is not None
    assert after["treatments"] == arm.treatments
    nowhere = "Arm clonidine has a treatment in phase 'second', which the study does not have."
    assert step_of(study, "arms").missing == [nowhere]
    with pytest.raises(studies.NotReady, match=nowhere):
        studies.start(study=study, now=study.created_at, actor=audit.COMMAND)
    given = {"treatment": "clonidine"}
    right = arm_form(study, **{"arms-0-treatments": "treatment: clonidine"})
    save_study(root, study, **right)
    advised = ["Other arms have treatments by phase, but not placebo."]
    assert step_of(study, "arms")[-2:] == ([], advised)
    studies.start(study=study, now=study.created_at, actor=audit.COMMAND)
    other = arm_form(study, **{"arms-0-treatments": "first: placebo"})
    assert "arm clonidine keeps its treatments" in save_study(root, study, **other)
    assert study.arms.get(key="clonidine").treatments == given


def test_a_reference_arm_may_still_be_named_where_there_is_none(root: Client) -> None:
    study = trial.make_study()
    study.arms.update(is_reference=False)
    save_study(root, study, **arm_form(study, **{"arms-1-is_reference": "on"}))
    assert study.arms.get(is_reference=True).key == "placebo"


@pytest.mark.parametrize("has_started", [True, False])
def test_an_arm_is_not_deleted_in_the_admin(root: Client, has_started: bool) -> None:
    study = trial.make_study(has_started=has_started)
    save_study(root, study, **arm_form(study, **{"arms-0-DELETE": "on", "arms-1-DELETE": "on"}))
    assert Arm.objects.count() == 2


def test_the_key_of_a_phase_stays_after_the_start(root: Client) -> None:
    study = trial.make_study()
    said = save_study(root, study, **{"phases-0-key": "renamed"})
    assert "Study demo has started: phase treatment keeps its key." in said
    assert Phase.objects.get().key == "treatment"


def test_the_key_of_a_published_questionnaire_stays(root: Client) -> None:
    study = trial.make_study(has_started=False)
    published = study.questionnaires.get()
    draft = Questionnaire.objects.create(study=study, key="draft", title="Draft")
    for one, key in ((published, "hourly"), (draft, "renamed")):
        path = f"/admin/ema/questionnaire/{one.pk}/change/"
        root.post(path, {"study": study.pk, "key": "renamed", "title": "Title"})
        one.refresh_from_db()
        assert (one.key, one.title) == (key, "Title")


def test_a_new_study_is_audited(root: Client) -> None:
    form = {
        "slug": "fresh",
        "title": "Fresh",
        "masking": "open",
        "closed_labels": "named",
        "zone": "UTC",
    }
    form["travel"] = "follow_phone"
    for prefix in ("sites", "arms", "phases"):
        form |= {f"{prefix}-TOTAL_FORMS": "0", f"{prefix}-INITIAL_FORMS": "0"}
    form |= {"arms-TOTAL_FORMS": "1", "arms-0-key": "placebo", "arms-0-is_reference": "on"}
    form |= {"sites-TOTAL_FORMS": "1", "sites-0-code": "S1", "sites-0-title": "Site"}
    form |= {"sites-0-zone": "UTC"}
    page(root.post("/admin/ema/study/add/", form, follow=True))
    assert actions() == ["study.added", "arm.added"]
    assert Site.objects.get().study.slug == "fresh"


def test_a_site_of_an_allocation_list_keeps_its_code(root: Client) -> None:
    study = trial.make_study(has_started=False)
    form = form_of(study) | {"sites-0-code": "north"}
    address = f"/admin/ema/study/{study.pk}/change/"
    sealed = trial.seal(study, factors={"sex": ["female", "male"]})
    said = root.post(address, form).content.decode()
    assert "Site S1 is on an allocation list: it keeps its code." in said
    with trial.triggers_off():
        sealed.slots.all().delete()
    assert root.post(address, form).status_code == 302
    assert study.sites.get().code == "north"
