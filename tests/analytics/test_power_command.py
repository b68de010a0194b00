"""manage.py power: its options and what it says, each wrong one in a sentence."""

import json
import xml.etree.ElementTree as ET
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, ManagementUtility, call_command
from django.db import connection

from analytics.mixed_model import Method
from analytics.plan import Plan
from analytics.plans import save
from ema import audit
from ema.models import Phase
from tests import trial

QUICK = ("--participants=12", "--trials=20", "--attenuation=0.5")


def told(*arguments: str) -> str:
    out = StringIO()
    call_command("power", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def refused(*arguments: str) -> str:
    with pytest.raises(CommandError) as caught:
        call_command("power", *arguments, stdout=StringIO(), stderr=StringIO())
    assert caught.value.returncode == 2
    return str(caught.value)


def refused_at_the_shell(*arguments: str) -> str:
    said = StringIO()
    with redirect_stderr(said), pytest.raises(SystemExit) as caught:
        ManagementUtility(["manage.py", "power", *arguments]).execute()
    assert caught.value.code == 2
    return said.getvalue().splitlines()[-1]


def test_the_command_prints_a_table() -> None:
    said = told(*QUICK, "--days=7")
    assert "6 control + 6 treated; 7 days of 4 prompts; 20 trials, seed 2026" in said
    assert "False positives: " in said
    assert said.splitlines()[2].split() == [
        "attenuation", "found", "95", "%", "interval", "difference", "SE", "refused",
    ]  # fmt: skip


def test_the_command_prints_json_and_draws(tmp_path: Path) -> None:
    file = tmp_path / "power.svg"
    said = json.loads(told(*QUICK, "--days=7", "--arms=2:1", "--json", f"--svg={file}"))
    assert [arm["participants"] for arm in said["arms"]] == [8, 4]
    assert [point["attenuation"] for point in said["points"]] == [0.0, 0.5]
    assert said["points"][0]["trials"] == said["trials"] == 20
    ET.parse(file)  # noqa: S314 - our own file


def test_of_several_arms_a_pair_or_all_of_them_may_be_tested() -> None:
    three = (*QUICK, "--days=7", "--arms=1:1:1", "--json")
    pair = json.loads(told(*three, "--test=treated 2:control"))
    assert pair["test"] == ["treated 2", "control"]
    assert pair["points"][1]["difference"] < 0
    every = json.loads(told(*three, "--test=omnibus"))
    assert (every["test"], every["points"][1]["difference"]) == ("omnibus", None)


def test_trials_of_which_none_can_be_analysed_are_said_to_be_too_small() -> None:
    with pytest.raises(CommandError, match="it takes more participants") as caught:
        told("--participants=4", "--days=1", "--prompts-per-day=1", "--trials=20")
    assert caught.value.returncode == 1


def test_shares_may_be_per_cent() -> None:
    said = json.loads(told(*QUICK, "--days=7", "--attenuation=20%, 0.4", "--json"))
    assert [point["attenuation"] for point in said["points"]] == [0.0, 0.2, 0.4]


def test_compliance_and_drop_out_are_as_asked() -> None:
    said = json.loads(told(*QUICK, "--days=7", "--compliance=0.5", "--drop-out=0", "--json"))
    assert said["compliance_logit"] < 0.5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--participants=3"], "'3' is not a whole number from 4"),
        (["--attenuation=0.2,much"], "'much' is not a share from -1 to 1"),
        (["--attenuation=20"], "'20' is not a share from -1 to 1: write 20 per cent as 0.2 or 20%"),
        (["--attenuation=0.2,,0.3"], "'' is not a share"),
        (["--attenuation=200%"], "'200%' is not a share"),
        (["--arms=1:0"], "'1:0' is no ratio"),
        (["--arms=1"], "'1' is no ratio"),
        (["--compliance=1.2"], "'1.2' is not a share from 0.05 to 0.99"),
        (["--alpha=nan"], "'nan' is not a number"),
        (["--trials=0"], "'0' is not a whole number from 20"),
        (["--method=guess"], "invalid choice: 'guess'"),
        (["--doses=0,1,1"], "--doses names 3 doses for 2 arms."),
        (["--doses=1,1"], "--doses starts with 0"),
        (["--arms=1:99"], "an arm would have 0 of the 12 participants"),
        (["--plan=primary"], "--plan belongs to a study"),
        (["--svg=/nowhere/at/all.svg"], "there is no directory /nowhere/at"),
        (["--test=best"], "'best' is no test: write trend, omnibus, or two arms with a colon"),
        (["--test=control:"], "'control:' is no test"),
        (["--test=control:drug"], "there is no arm 'drug'; the arms are control, treated"),
        (["--test=omnibus", "--method=CR1"], "an omnibus test is by kenward_roger or CR2"),
        (["--svg=/tmp"], "name a file that ends in .svg, not /tmp"),
        (["--svg=/tmp/power.png"], "name a file that ends in .svg"),
        (["--attenuation=" + ",".join(["0.1"] * 26)], "names more than 25 values"),
    ],
)
def test_each_wrong_option_is_one_sentence(arguments: list[str], sentence: str) -> None:
    assert sentence in refused_at_the_shell(*QUICK, *arguments)


@pytest.mark.django_db
def test_a_study_is_simulated_by_its_own_protocol() -> None:
    study = trial.make_study("relief", arms=("placebo", "low", "high"), phase_days=5)
    trial.add_phase(study, "follow-up", like=study.phases.get())
    Phase.objects.filter(study=study, key="follow-up").update(
        prompts_per_day=2,
        windows=[{"weekdays": [1, 2, 3, 4, 5], "start": "20:00", "end": "02:00"}],
    )
    said = json.loads(told("relief", *QUICK, "--json"))
    assert [arm["arm"] for arm in said["arms"]] == ["placebo", "high", "low"]
    assert said["stretches"] == [
        {"days": 5, "prompts_per_day": 4, "window": [8.0, 22.0], "gap_h": 1.0},
        {"days": 4, "prompts_per_day": 2, "window": [20.0, 26.0], "gap_h": 1.0},
    ]
    assert any("Days of the week without prompts" in note for note in said["notes"])


@pytest.mark.django_db
def test_a_plan_names_phases_doses_and_the_method() -> None:
    study = trial.make_study("relief", arms=("placebo", "low", "high"), phase_days=5)
    trial.add_phase(study, "follow-up", like=study.phases.get())
    plan = Plan(
        phases=("treatment",),
        doses={"placebo": 0.0, "low": 0.1, "high": 0.4},
        method=str(Method.KENWARD_ROGER),
        adjust_for=("study_day",),
    )
    save(study=study, key="primary", plan=plan, actor=audit.COMMAND, now=trial.STARTED_AT)
    said = json.loads(told("relief", *QUICK, "--plan=primary", "--json"))
    assert [arm["dose"] for arm in said["arms"]] == [0.0, 1.0, 0.25]
    assert len(said["stretches"]) == 1
    assert said["method"] == "kenward_roger"
    assert any("Adjustments" in note for note in said["notes"])


@pytest.mark.django_db
def test_a_study_that_cannot_be_simulated_is_refused_in_a_sentence() -> None:
    trial.make_study("alone", arms=("only",))
    trial.make_study("relief")
    assert "has 1 arms: there is nothing to compare" in refused("alone", *QUICK)
    assert "There is no study 'nowhere'" in refused("nowhere", *QUICK)
    assert "has no plan 'none'" in refused("relief", *QUICK, "--plan=none")
    assert "leave out --days" in refused("relief", *QUICK, "--days=7")
    assert "the study's arms are placebo, clonidine" in refused("relief", *QUICK, "--arms=1:1:1")


@pytest.mark.django_db
def test_a_database_without_tables_is_told_apart_from_one_without_the_study() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ema_study RENAME TO elsewhere")
    with pytest.raises(CommandError, match=r"run manage\.py migrate") as caught:
        told("nowhere", *QUICK)
    assert caught.value.returncode == 1
