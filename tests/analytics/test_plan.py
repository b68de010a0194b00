"""Analysis plans: what is a plan, who locks it, and what counts as specified before."""

import io
import json
import re
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from analytics import plan as plans
from analytics.coupling import estimate_couplings
from analytics.freezing import freeze
from analytics.models import AnalysisPlan
from analytics.plan import STANDARD, Moderator, Plan, PlanRefused, read, read_text
from analytics.plan_fields import FIELDS, FORMAT, faults
from analytics.plan_help import HELP
from analytics.plans import UnknownPlan, lock, notes_on, plan_named, save
from ema.audit import COMMAND
from ema.models import AuditEvent, Study
from tests.analytics.answers import make_study, make_trial, make_user

PLANS = "/studies/relief/plans/"


def kept(study: Study, key: str = "primary", **changes: Any) -> AnalysisPlan:
    return save(study=study, key=key, plan=Plan(**changes), actor=COMMAND, now=timezone.now())


def locked(study: Study, key: str = "primary", **changes: Any) -> AnalysisPlan:
    stored = kept(study, key, **changes)
    return lock(stored=stored, actor=COMMAND, now=timezone.now())


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("analysis_plan", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def signed_in(study: Study, role: str) -> Client:
    client = Client()
    client.force_login(make_user(role, study, role))
    return client


def test_an_empty_plan_is_the_standard_analysis() -> None:
    assert read({"format": FORMAT}) == STANDARD
    assert read_text(plans.canonical(STANDARD)) == STANDARD


def test_equal_plans_have_one_hash_however_they_are_written() -> None:
    one = read(
        {"format": FORMAT, "adjust_for": ["weekday", "study_day"], "doses": {"b": 1, "a": 0}}
    )
    other = read(
        {"doses": {"a": 0.0, "b": 1}, "adjust_for": ["study_day", "weekday"], "format": FORMAT}
    )
    assert plans.digest(one) == plans.digest(other) != plans.digest(STANDARD)


def test_fields_that_came_later_change_no_hash_of_before() -> None:
    """A locked plan is known by its hash: these two were made before there were later fields."""
    moderators = (Moderator("site"),)
    other = Plan(
        predictor="pain",
        adjust_for=("study_day",),
        lag=1,
        doses={"a": 0.0, "b": 1.0},
        moderators=moderators,
    )
    assert plans.digest(STANDARD) == (
        "2b9ac87b3ec276e50db650a1f1a17c24e783edb2a68f5a718c85c36cc97a32de"
    )
    assert plans.digest(other) == (
        "ea22aaa3d5e9a324d64676a4972cd2f553de833ab5e6b3d03075019b392ed579"
    )
    for name in plans.LATER:
        written = STANDARD.written_out()
        assert read(STANDARD.content() | {name: written[name]}) == STANDARD


def test_every_field_is_explained_where_plans_are_written() -> None:
    assert (
        list(HELP) == list(FIELDS) == [name for name in STANDARD.written_out() if name != "format"]
    )
    listed = Path("docs/coupling.md").read_text(encoding="utf-8")
    assert [name for name in FIELDS if f"`{name}`" not in listed] == []


def test_a_plan_survives_being_written_and_read() -> None:
    plan = Plan(
        predictor="pain",
        phases=("treatment",),
        adjust_for=("study_day",),
        moderators=(Moderator("baseline", "craving", "baseline"), Moderator("site")),
        doses={"high": 2.0, "placebo": 0.0},
        all_pairs=True,
        method="kenward_roger",
        permutation_seed=7,
        residuals="ar1",
        quadratic=True,
        compliance_sensitivity=True,
    )
    assert read_text(plans.canonical(plan)) == plan
    other = Plan(phases=("run-in", "treatment"), baseline_phase="run-in")
    assert read_text(plans.canonical(other)) == other
    crossed = Plan(design="crossover", reference_treatment="placebo")
    assert read_text(plans.canonical(crossed)) == crossed


@pytest.mark.parametrize(
    ("field", "value", "pointer", "words"),
    [
        ("predictor", 3, "/predictor", "Name an item"),
        ("outcome", "stress", "/outcome", "another item than the predictor"),
        ("phases", "treatment", "/phases", "as a list"),
        ("phases", ["a", "a"], "/phases/1", "there twice"),
        ("adjust_for", ["mood"], "/adjust_for/0", "can be adjusted for"),
        ("adjust_for", ["previous_outcome"], "/adjust_for", 'needs "lag": 1'),
        ("lag", 2, "/lag", "0 (the same prompt) or 1"),
        ("lag", True, "/lag", "0 (the same prompt) or 1"),
        ("moderators", [{"kind": "mood"}], "/moderators/0", "one of baseline, site, moment"),
        ("moderators", [{"kind": "moment"}], "/moderators/0/item", "Name the item"),
        ("moderators", [{"kind": "site", "x": 1}], "/moderators/0/x", "has the fields kind"),
        ("moderators", [{"kind": "moment", "item": "stress"}], "/moderators/0/item", "another"),
        ("doses", {"a": "x"}, "/doses/a", "A dose is a number."),
        ("moderators", [{"kind": []}], "/moderators/0", "one of baseline, site, moment"),
        ("doses", {"a": 10**400, "b": 1}, "/doses/a", "A dose is a number."),
        ("doses", {"a": float("nan"), "b": 1}, "/doses/a", "A dose is a number."),
        ("doses", {"a": 1}, "/doses", "doses of all arms"),
        ("all_pairs", 1, "/all_pairs", "true or false"),
        ("method", "anova", "/method", "one of CR2"),
        ("permutation_draws", 10, "/permutation_draws", "from 99 to 1000000"),
        ("permutation_seed", -1, "/permutation_seed", "a whole number"),
        ("missed_after_dropout_counts", None, "/missed_after_dropout_counts", "true or false"),
        ("residuals", "white", "/residuals", "one of independent, ar1, day"),
        ("residuals", [], "/residuals", "one of independent, ar1, day"),
        ("quadratic", 1, "/quadratic", "true or false"),
        ("compliance_sensitivity", 50, "/compliance_sensitivity", "true or false"),
        ("baseline_phase", "run in", "/baseline_phase", "Name a phase by its key"),
        ("baseline_phase", 1, "/baseline_phase", "Name a phase by its key"),
        ("design", "factorial", "/design", "one of parallel, crossover"),
        ("design", "crossover", "/reference_treatment", "compares treatments with one of them"),
        ("reference_treatment", "placebo", "/reference_treatment", '"design": "crossover" only'),
        ("carryover", True, "/carryover", '"design": "crossover" only'),
        ("carryover", "yes", "/carryover", "Write true or false"),
        ("reference_treatment", [1], "/reference_treatment", "Name a treatment by its key"),
        ("colour", "red", "/colour", "There is no field 'colour'"),
        ("title", "a\nb", "/title", "one line"),
    ],
)
def test_a_wrong_field_is_pointed_at_in_a_sentence(
    field: str, value: object, pointer: str, words: str
) -> None:
    with pytest.raises(PlanRefused) as caught:
        read({"format": FORMAT, field: value})
    assert pointer in [fault.pointer for fault in caught.value.faults]
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "pointer", "words"),
    [
        ({"phases": ["treatment"]}, "/phases", "must hold the baseline phase and another"),
        ({"phases": ["run-in"]}, "/phases", "must hold the baseline phase and another"),
        ({"moderators": [{"kind": "site"}]}, "/moderators", "goes without moderators"),
        ({"quadratic": True}, "/quadratic", "goes without quadratic"),
    ],
)
def test_what_does_not_go_with_a_baseline_phase_is_pointed_at(
    fields: dict[str, Any], pointer: str, words: str
) -> None:
    with pytest.raises(PlanRefused, match=words) as caught:
        read({"format": FORMAT, "baseline_phase": "run-in"} | fields)
    assert [fault.pointer for fault in caught.value.faults] == [pointer]


@pytest.mark.parametrize(
    "fields",
    [
        {"moderators": [{"kind": "site"}]},
        {"quadratic": True},
        {"baseline_phase": "first"},
        {"doses": {"a": 0, "b": 1}},
    ],
)
def test_what_does_not_go_with_a_crossover_is_pointed_at(fields: dict[str, Any]) -> None:
    document = {"format": FORMAT, "design": "crossover", "reference_treatment": "placebo"}
    with pytest.raises(PlanRefused, match="A crossover goes without") as caught:
        read(document | fields)
    assert [fault.pointer for fault in caught.value.faults] == [f"/{name}" for name in fields]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*FIELDS, "format", "other"]), JSON, max_size=6) | JSON)
def test_whatever_is_no_plan_is_refused_in_words(document: Any) -> None:
    said = list(faults(document))
    if said:
        assert all(fault.detail.endswith((".", "…}.")) for fault in said)
    else:
        assert read_text(plans.canonical(read(document))) == read(document)


def test_text_that_is_not_json_is_refused() -> None:
    with pytest.raises(PlanRefused, match="This is not JSON"):
        read_text("{")


@pytest.mark.django_db
def test_names_that_the_study_lacks_are_refused_with_those_it_has() -> None:
    study = make_study()
    with pytest.raises(PlanRefused) as caught:
        kept(
            study,
            outcome="mood",
            phases=("washout",),
            moderators=(Moderator("baseline", "joy", "run-in"),),
            doses={"placebo": 0.0, "lofexidine": 1.0},
        )
    with pytest.raises(PlanRefused, match=r"^/baseline_phase: The study has no phase 'run-in'"):
        kept(study, baseline_phase="run-in")
    assert [fault.pointer for fault in caught.value.faults] == [
        "/outcome",
        "/moderators/0/item",
        "/phases/0",
        "/moderators/0/phase",
        "/doses/lofexidine",
        "/doses",
    ]
    assert "has no phase 'washout'; there are: baseline, treatment." in str(caught.value)


@pytest.mark.django_db
def test_a_draft_changes_and_beside_a_locked_version_there_is_a_new_one() -> None:
    study = make_study()
    first = kept(study)
    assert kept(study, outcome="pain").pk == first.pk
    lock(stored=first, actor=COMMAND, now=timezone.now())
    second = kept(study, all_pairs=True)
    assert (str(first), str(second)) == ("primary v1", "primary v2")
    assert plan_named(study, "primary") == second
    assert plan_named(study, "primary@1").plan == Plan(outcome="pain")
    with pytest.raises(UnknownPlan, match=r"has no plan 'second'. There are: primary."):
        plan_named(study, "second")
    actions = list(AuditEvent.objects.order_by("pk").values_list("action", flat=True))
    assert actions[-4:] == ["plan.added", "plan.changed", "plan.locked", "plan.changed"]


@pytest.mark.django_db
def test_the_database_refuses_to_change_or_remove_a_locked_plan() -> None:
    study = make_study()
    draft = kept(study, "draft")
    locked(study)
    chosen = AnalysisPlan.objects.filter(key="primary")
    for change in (
        lambda: chosen.update(content="{}"),
        lambda: chosen.update(locked_at=None),
        chosen.delete,
    ):
        with pytest.raises(DatabaseError, match="never changed or removed"), transaction.atomic():
            change()
    assert AnalysisPlan.objects.filter(pk=draft.pk).delete()[0] == 1


@pytest.mark.django_db
def test_what_counts_as_specified_before() -> None:
    study = make_trial(masking="double_blind", n=6)
    assert notes_on(None, study) == (
        True,
        ["Exploratory: no analysis plan was locked before this comparison was made."],
    )
    draft = kept(study)
    assert notes_on(draft, study) == (True, ["Exploratory: plan primary v1 is not locked."])
    stored = lock(stored=draft, actor=COMMAND, now=timezone.now())
    is_exploratory, said = notes_on(stored, study)
    assert not is_exploratory
    assert said[0].startswith("Specified before: plan primary v1 was locked on ")
    assert "locked in this study: primary" in notes_on(None, study)[1][0]
    study.unmasked_at = timezone.now() - timedelta(hours=1)
    assert notes_on(stored, study)[1] == [
        "Exploratory: plan primary v1 was locked after the arms were unmasked."
    ]


@pytest.mark.django_db
def test_in_an_open_study_the_first_frozen_comparison_is_what_counts() -> None:
    study = make_trial(n=6)
    before = locked(study, "before")
    estimate_couplings(timezone.now())
    freeze(study, COMMAND, timezone.now())
    after = locked(study, "after")
    assert notes_on(before, study)[0] is False
    assert notes_on(after, study) == (
        True,
        ["Exploratory: plan after v1 was locked after a comparison of this study was frozen."],
    )


@pytest.mark.django_db
def test_the_command_shows_imports_lists_and_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study()
    assert "has no plans yet" in run("list", "relief")
    document = json.loads(run("show", "relief")) | {"predictor": "pain"}
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(document))
    assert "primary v1 is a draft under" in run("import", "relief", "primary", str(file))
    assert json.loads(run("show", "relief", "primary"))["predictor"] == "pain"
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    with pytest.raises(CommandError, match="Nothing was locked"):
        run("lock", "relief", "primary")
    assert "Specified before" in run("lock", "relief", "primary", "--yes")
    assert "primary v1  locked" in run("list", "relief")
    with pytest.raises(CommandError, match="is locked already"):
        run("lock", "relief", "primary", "--yes")
    file.write_text(json.dumps(document | {"lag": 9}))
    with pytest.raises(CommandError, match=r"^/lag: A lag is 0"):
        run("import", "relief", "primary", str(file))
    with pytest.raises(CommandError, match="no plan 'other'") as caught:
        run("show", "relief", "other")
    assert caught.value.returncode == 2
    assert plan_named(study, "primary").plan.predictor == "pain"


@pytest.mark.django_db
def test_a_plan_is_written_changed_and_locked_on_its_pages() -> None:
    study = make_study()
    client = signed_in(study, "investigator")
    assert "Analysis plans" in client.get("/studies/").content.decode()
    assert "None yet" in client.get(PLANS).content.decode()
    form = client.get(f"{PLANS}write/").content.decode()
    assert "fourbeat-analysis-plan/1" in form
    assert "AR(1) within the study day" in form
    wrong = client.post(f"{PLANS}write/", {"key": "primary", "content": '{"lag": 3}'})
    assert wrong.status_code == 400
    assert "/lag" in wrong.content.decode()
    document = json.dumps({"format": FORMAT, "predictor": "pain"})
    made = client.post(f"{PLANS}write/", {"key": "primary", "content": document})
    assert made["Location"] == f"{PLANS}primary/1/"
    assert "is not locked" in client.get(f"{PLANS}primary/1/").content.decode()
    client.post(f"{PLANS}primary/1/lock/")
    assert not AnalysisPlan.objects.get().locked_at
    client.post(f"{PLANS}primary/1/lock/", {"confirm": "on"})
    assert AnalysisPlan.objects.get().locked_by is not None
    page = client.get(f"{PLANS}primary/1/").content.decode()
    assert "Specified before" in page
    assert "Write a new version" in page
    assert re.search(r"locked \d{4}-", client.get(PLANS).content.decode())
    assert client.get(f"{PLANS}primary/2/").status_code == 404


@pytest.mark.django_db
def test_a_draft_is_deleted_by_who_means_it_and_a_locked_plan_never() -> None:
    study = make_study()
    locked(study)
    kept(study, all_pairs=True)
    client, path = signed_in(study, "statistician"), f"{PLANS}primary/2/"
    assert "Delete the draft primary v2" in client.get(path).content.decode()
    assert "Delete" not in client.get(f"{PLANS}primary/1/").content.decode()
    unsure = client.post(f"{path}delete/", follow=True).content.decode()
    assert "Nothing was deleted: tick the box to confirm." in unsure
    done = client.post(f"{path}delete/", {"confirm": "on"}, follow=True).content.decode()
    assert "The draft primary v2 is deleted." in done
    written = AuditEvent.objects.filter(action="plan.deleted").get()
    assert written.before is not None
    assert json.loads(written.before["content"])["all_pairs"] is True
    assert written.subject == "plan primary v2"
    refused = client.post(f"{PLANS}primary/1/delete/", {"confirm": "on"}, follow=True)
    assert "Plan primary v1 is locked, so it is never deleted." in refused.content.decode()
    assert client.post(f"{path}delete/", {"confirm": "on"}).status_code == 404
    assert str(AnalysisPlan.objects.get()) == "primary v1"


@pytest.mark.django_db
def test_the_command_deletes_drafts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study()
    kept(study)
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    with pytest.raises(CommandError, match="Nothing was deleted"):
        run("delete", "relief", "primary")
    assert "The draft primary v1 is deleted." in run("delete", "relief", "primary", "--yes")
    with pytest.raises(CommandError, match="no plan 'primary'"):
        run("delete", "relief", "primary", "--yes")
    locked(study)
    with pytest.raises(CommandError, match="is locked, so it is never deleted"):
        run("delete", "relief", "primary")
    assert AnalysisPlan.objects.count() == 1


@pytest.mark.django_db
def test_who_writes_no_plan_finds_no_pages() -> None:
    study = make_study()
    kept(study)
    coordinator = signed_in(study, "coordinator")
    for path in (PLANS, f"{PLANS}write/", f"{PLANS}primary/1/"):
        assert coordinator.get(path).status_code == 404
    for what in ("lock", "delete"):
        tried = coordinator.post(f"{PLANS}primary/1/{what}/", {"confirm": "on"})
        assert tried.status_code == 404
    assert AnalysisPlan.objects.get().locked_at is None
