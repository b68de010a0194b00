"""Real data through the phones' API agree with lme4; the command says what it did and refused."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from pytest_django.plugin import DjangoDbBlocker

from analytics.management.commands.replay import OWN_SERVER
from ema import embedded, stack
from tests.analytics.replay_files import GOOD, file_of
from tests.flow.conftest import database_url
from tests.real_data import real_data


@pytest.fixture(scope="module")
def _started(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """A web server on the tests' database: started once, as each replay of a file is its own."""
    with django_db_blocker.unblock():
        environ = OWN_SERVER | {"DATABASE_URL": database_url(), "SECRET_KEY": settings.SECRET_KEY}
    with stack.web(environ=environ) as url:
        yield url


@pytest.fixture
def server(_started: str, transactional_db: None) -> str:
    return _started


def run(server: str, *arguments: str | Path) -> str:
    """What a replay to this server says."""
    said = StringIO()
    call_command("replay", *map(str, arguments), f"--url={server}", stdout=said)
    return said.getvalue()


def replayed(server: str, *arguments: str | Path) -> dict[str, Any]:
    """The report of a replay."""
    report: dict[str, Any] = json.loads(run(server, *arguments, "--json"))
    return report


LEUVEN = [
    "--participant=participant_id",
    "--arm=arm",
    "--stress=anhedonia",
    "--craving=negative_affect",
    "--day=day",
    "--prompt=prompt_no",
    "--status=status",
    "--reference=control",
]
BRINGMANN = [
    "--participant=participant_id",
    "--arm=arm",
    "--stress=worried",
    "--craving=sad",
    "--day=day",
    "--prompt=prompt_no",
    "--status=status",
    "--reference=waitlist",
    "--padded",
]
FRIED = [
    "--participant=participant_id",
    "--stress=worry",
    "--craving=irritable",
    "--day=day",
    "--prompt=prompt_no",
    "--status=status",
    "--at=issued",
    "--answered-at=responded_or_expired",
    "--planned-at=scheduled_local",
    "--zone=Europe/Amsterdam",
]


def golden(folder: str, model: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """R's model of a data set, and its REML fit by lme4."""
    found = json.loads((real_data(folder) / "reference_lme4.json").read_text())[model]
    return found, found["lme4_REML"]


def agrees_with_lme4(report: dict[str, Any], folder: str, model: str) -> None:
    """Fixed effects and standard errors to 1e-4, variance components to 1e-4, logLik to 1e-3."""
    data, fit = golden(folder, model)
    assert report["n_participants"] == data["n_participants"]
    assert report["n_pairs"] == data["n_complete_pairs"]
    assert report["log_likelihood"] == pytest.approx(fit["logLik"], abs=1e-3)
    assert len(report["fixed"]) == len(fit["fixed"])
    for ours in report["fixed"]:
        theirs = fit["fixed"][name_in_r(ours["term"])]
        assert ours["estimate"] == pytest.approx(theirs["estimate"], rel=1e-4)
        assert ours["model_standard_error"] == pytest.approx(theirs["se"], rel=1e-4)
        assert ours["model_df"] == pytest.approx(theirs["df_satterthwaite"], rel=1e-3)
    random, ours = fit["random"], report["random"]
    spreads = {"(Intercept)": "sd_intercept", "x_w": "sd_slope", "residual": "sd_residual"}
    for name, key in spreads.items():
        assert ours[key] == pytest.approx(random[name]["sd_or_cor"], rel=1e-4)
    correlation = random["cor_(Intercept)__x_w"]["sd_or_cor"]
    assert ours["correlation"] == pytest.approx(correlation, rel=1e-3, abs=1e-5)


def name_in_r(term: str) -> str:
    """Terms that are not named here are the arm and its slope, as in `arm[MDD]`."""
    named = {"intercept": "(Intercept)", "stress_within": "x_w", "stress_between": "x_b"}
    return named.get(term, "x_w:arm01" if term.startswith("stress_within") else "arm01")


@pytest.mark.long
def test_leuven_agrees_with_lme4(server: str) -> None:
    report = replayed(server, real_data("leuven2019_clinical") / "canonical.csv", *LEUVEN)

    agrees_with_lme4(report, "leuven2019_clinical", "primary")
    told = report["replay"]
    assert (told["answered"], told["missed"]) == (4831, 629)
    assert told["uploaded"] == {"created": 4831}
    assert told["items"]["craving"]["decimals"] == 1
    assert told["findings"] == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("period", "model", "unnumbered"),
    [("post", "primary_post", 36), ("baseline", "placebo_baseline", 6)],
)
def test_bringmann_agrees_with_lme4(server: str, period: str, model: str, unnumbered: int) -> None:
    file = real_data("bringmann2013_mindfulness") / "canonical.csv"

    report = replayed(server, file, *BRINGMANN, f"--where=period={period}")

    agrees_with_lme4(report, "bringmann2013_mindfulness", model)
    assert report["replay"]["missed"] == 0
    assert counts(report["replay"])["prompt_unreadable"] == unnumbered
    assert report["replay"]["uploaded"] == {"created": report["replay"]["answered"]}


@pytest.mark.long
def test_fried_agrees_with_lme4_and_its_traps_are_reported(server: str, tmp_path: Path) -> None:
    file, listed = real_data("fried2021_students") / "canonical.csv", tmp_path / "findings.csv"

    report = replayed(server, file, *FRIED, "--report", listed)

    agrees_with_lme4(report, "fried2021_students", "primary")
    found = counts(report["replay"])
    assert found["stamp_unset"] == 13
    assert found["stamp_missing"] == 74
    assert found["missed_with_expiry"] + found["missed_with_stamp"] == 351
    assert found["issued_late"] == 598
    assert report["replay"]["zones"].keys() == {"CET", "CEST", "EET", "EEST", "+03", "MSK"}
    with listed.open(newline="") as lines:
        assert len(list(csv.DictReader(lines))) == sum(found.values())


def counts(told: dict[str, Any]) -> dict[str, int]:
    return {finding["problem"]: finding["count"] for finding in told["findings"]}


# --- the command --------------------------------------------------------------------------


MESSY = [
    "--participant=who",
    "--arm=arm",
    "--day=day",
    "--prompt=prompt",
    "--status=status",
    "--stress=stress",
    "--craving=craving",
    "--reference=a",
]


def messy_file(tmp_path: Path) -> Path:
    rows = [
        f"p{n},{'ab'[n % 2]},{day},{prompt or ''},answered,,,{(7 * n + 13 * prompt + day) % 50},"
        f"{(3 * n + 17 * prompt * day) % 60}"
        for n in range(8)
        for day in (1, 2)
        for prompt in (1, 2, 2, 0)
    ]
    return file_of(tmp_path, *rows)


@pytest.mark.long
def test_a_messy_file_is_uploaded_to_the_last_answer(tmp_path: Path) -> None:
    """On a machine with nothing but a state directory: all servers are its own."""
    state = tmp_path / "state"
    embedded.ensure(state)
    try:
        assert manage(state, "migrate").returncode == 0
        ended = manage(state, "replay", messy_file(tmp_path), *MESSY, "--json")
    finally:
        embedded.stop_and_wait(state)

    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)["replay"]
    assert told["uploaded"] == {"created": 64}
    assert counts(told) == {"prompt_twice": 16, "prompt_unreadable": 16}


def manage(state: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """`manage.py` as a user has it."""
    servers = {"DATABASE_URL", "REDIS_URL"}
    environ = {key: value for key, value in os.environ.items() if key not in servers}
    return subprocess.run(
        [sys.executable, str(settings.BASE_DIR / "manage.py"), *map(str, arguments)],
        env={**environ, "FOURBEAT_STATE_DIR": str(state)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_study_that_is_there_is_never_added_to(server: str, tmp_path: Path) -> None:
    file = messy_file(tmp_path)
    run(server, file, *MESSY, "--study=messy")

    with pytest.raises(CommandError, match="--study 'messy' exists already") as refusal:
        run(server, file, *MESSY, "--study=messy")

    assert refusal.value.returncode == 2
    said = run(server, file, *MESSY)
    assert "trial.csv as study trial: 64 rows = 64 answered + 0 missed" in said
    assert "same participant, day and prompt again" in said


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["nowhere.csv"], 2, "there is no file 'nowhere.csv'"),
        (["{file}", "--arm=arm", "--reference=z"], 2, "has a, b"),
        (["{file}", "--zone=Nowhere"], 2, "--zone 'Nowhere' is unknown"),
        (["{file}", "--scale=9"], 1, "is not two whole numbers"),
        (["{file}", "--url=foo"], 2, "--url foo: no server answers there"),
        (["{file}", "--url=http://127.0.0.1:1"], 2, "--url http://127.0.0.1:1: no server answers"),
        (["{file}", "--where=who=nobody"], 2, "leaves no rows"),
        (["{file}", "--where=status=missed"], 1, "none of 1 rows has a participant with both"),
        (["{file}", "--report=/nowhere/at/all.csv"], 1, "cannot be written"),
    ],
)
def test_a_refusal_is_one_sentence_and_an_exit_code(
    tmp_path: Path, arguments: list[str], code: int, sentence: str
) -> None:
    path = file_of(tmp_path, *GOOD)
    given = [argument.format(file=path) for argument in arguments]

    with pytest.raises(CommandError) as refusal:
        call_command("replay", *given, "--participant=who", "--stress=stress", "--craving=craving")

    assert sentence in str(refusal.value)
    assert refusal.value.returncode == code
