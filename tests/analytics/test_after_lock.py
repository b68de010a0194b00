"""What arrives after a study was locked is stored, and changes no number of it."""

import csv
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone
from pytest_django import Settings

from analytics.comparison import compare
from analytics.coupling import estimate_couplings
from analytics.datasets.building import build_snapshot
from analytics.datasets.snapshots import request_snapshot
from analytics.models import Coupling, CouplingShard, LeftOut, Moments
from analytics.plan import STANDARD, Plan
from analytics.plan_sums import Sources
from analytics.usable import Kept, Usable
from ema import studies
from ema.audit import COMMAND
from ema.models import Phase, Prompt, Response, Study
from tests import trial
from tests.analytics.answers import add_prompt, answer, make_trial, make_user, respond
from tests.analytics.test_migrations import at
from tests.ema.uploading import item, make_prompt, submit

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
BASELINE = Plan(phases=("baseline",))


def lock(study: Study) -> None:
    Study.objects.filter(pk=study.pk).update(started_at=timezone.now() - 99 * MINUTE)
    study.refresh_from_db()
    studies.lock(study=study, now=timezone.now(), actor=COMMAND, reason="last visit done")


def estimated() -> None:
    estimate_couplings(timezone.now() + MINUTE)


def couplings(study: Study) -> list[dict[str, Any]]:
    rows = Coupling.objects.filter(participant__study=study).order_by("participant__code")
    return [{k: v for k, v in row.items() if k != "estimated_at"} for row in rows.values()]


def moments(study: Study) -> list[dict[str, Any]]:
    rows = Moments.objects.filter(participant__study=study).order_by("participant", "phase")
    return [
        {k: bytes(v) if isinstance(v, memoryview) else v for k, v in row.items() if k != "id"}
        for row in rows.values("participant", "phase", "n", "stress", "craving", "follows", "id")
    ]


def lock_and_answer(study: Study, then: Callable[[], Any] = lambda: None) -> tuple[int, Any]:
    """P03 answers after the lock in every way: usable but for the lock, and not so; how many
    answers, and what `then` says before they come."""
    person = study.participants.get(code="P03")
    start = person.prompts.count()
    late = [add_prompt(person, start + number) for number in range(3)]
    Prompt.objects.filter(pk=late[0].pk).update(sent_at=None)
    late[0].refresh_from_db()
    lock(study)
    before = then()
    respond(late[0], 90, 5)
    respond(late[1], 80, 1, after=timedelta(hours=2))
    respond(late[2], None, 3)
    first = person.prompts.earliest("due_at")
    respond(first, 1, 1, flags=["duplicate_prompt"])
    respond(first, 1, 1, trigger="self_initiated")
    estimated()
    return 5, before


def without_counts(report: dict[str, Any]) -> dict[str, Any]:
    """A report without what may differ: when, and what was left out since."""
    return {k: v for k, v in report.items() if k not in {"n_excluded", "made_at"}}


@pytest.fixture
def study() -> Study:
    study = make_trial()
    estimated()
    return study


def test_an_answer_sent_after_the_lock_is_stored_and_enters_no_coupling() -> None:
    study = trial.make_study()
    person = trial.enrol(study, "S1-001", "Europe/Brussels", timezone.now() - timedelta(days=3))
    phone = trial.redeem(person)
    due = timezone.now() - timedelta(hours=3)
    prompts = [
        make_prompt(person, due + number * timedelta(minutes=20), number + 1) for number in range(6)
    ]
    for number, prompt in enumerate(prompts[:4]):
        said = [
            {"item": "stress", "value": (40, 10, 70, 30)[number]},
            {"item": "craving", "value": (15, 10, 40, 5)[number]},
        ]
        assert submit(phone, [item(prompt, answers=said)]).status_code == 200
    estimated()
    before, rows = couplings(study), moments(study)
    assert before[0]["n_pairs"] == 4
    study.refresh_from_db()
    studies.lock(study=study, now=timezone.now(), actor=COMMAND, reason="last visit done")
    sent = submit(phone, [item(prompts[4]), item(prompts[5])])
    assert [one["status"] for one in sent.json()["items"]] == ["created", "created"]
    assert Response.objects.count() == 6
    estimated()
    assert (couplings(study), moments(study)) == (before, rows)
    left = LeftOut.objects.get(participant=person)
    assert (left.reason, left.n, left.phase) == ("after_lock", 2, Phase.objects.get())


@pytest.mark.parametrize("plan", [STANDARD, BASELINE, Plan(lag=1)])
def test_kept_rows_and_responses_agree_on_what_came_after_the_lock(
    study: Study, plan: Plan
) -> None:
    usable = Usable(Sources(study, plan)).counted.usable
    sent, _ = lock_and_answer(study)
    sources = Sources(study, plan)
    asked = Usable(sources).counted
    assert asked.usable == usable
    assert asked.by_reason["after_lock"] == {"P03": sent}
    if plan.is_of_moments:
        assert Kept(study, sources).counted.by_reason == asked.by_reason
    said = StringIO()
    call_command("rebuild_moments", study.slug, "--check", stdout=said)
    assert "every sum is equal" in said.getvalue()


def test_a_comparison_counts_them_among_the_exclusions_and_stays_as_it_was(study: Study) -> None:
    sent, before = lock_and_answer(study, lambda: compare(study))
    after = compare(study)
    assert after["n_excluded"] == before["n_excluded"] | {"after_lock": sent}
    assert without_counts(after) == without_counts(before)


def test_what_arrived_before_the_lock_counts_whenever_it_is_summed(study: Study) -> None:
    person = study.participants.get(code="P03")
    answer(person, [(50, 20)])
    lock(study)
    estimated()
    assert Coupling.objects.get(participant=person).n_pairs == 13
    assert not LeftOut.objects.filter(reason="after_lock").exists()


def test_the_page_says_it_in_words(study: Study, client: Any) -> None:
    lock_and_answer(study)
    client.force_login(make_user("stella", study, "statistician"))
    page = client.get(f"/studies/{study.slug}/comparison/").content.decode()
    assert "arrived after the study was locked" in page


def test_a_masked_reader_of_a_locked_blind_study_learns_no_arm(client: Any) -> None:
    study = make_trial(masking="double_blind")
    estimated()
    lock_and_answer(study)
    client.force_login(make_user("ines", study, "investigator"))
    assert client.get(f"/studies/{study.slug}/comparison/").status_code in (403, 404)


@pytest.mark.django_db(transaction=True)
def test_a_snapshot_shows_them_with_a_flag_and_counts_no_pairs_of_them(
    study: Study, settings: Settings, tmp_path: Path
) -> None:
    settings.SNAPSHOT_DIR = tmp_path
    lock_and_answer(study)
    built = build_snapshot(request_snapshot(study, COMMAND, "masked", timezone.now())).directory
    rows = _table(built, "prompts")
    flagged = [row for row in rows if row["flags"] == "after_lock"]
    assert {row["participant_id"] for row in flagged} == {"P03"}
    assert [row["status"] for row in flagged] == ["answered", "answered_late", "answered"]
    assert {row["n_pairs"] for row in _table(built, "coupling")} == {"12"}
    assert {row["n_days"] for row in _table(built, "coupling")} == {"3"}
    namespace: dict[str, Any] = {"__file__": str(built / "read.py"), "__name__": "read"}
    exec(compile((built / "read.py").read_text(), "read.py", "exec"), namespace)  # noqa: S102
    pairs = namespace["analysed"](namespace["tables"]())
    assert {len(one) for one in pairs.values()} == {12}


def test_databases_that_analysed_them_before_sum_their_participants_anew() -> None:
    study = make_trial(n=4)
    person = study.participants.get(code="P03")
    answer(person, [(90, 5)])
    estimate_couplings(timezone.now() - 60 * MINUTE)
    assert Coupling.objects.get(participant=person).n_pairs == 13
    Study.objects.filter(pk=study.pk).update(locked_at=timezone.now() - 5 * MINUTE)
    Response.objects.exclude(pk=Response.objects.latest("received_at").pk).update(
        received_at=timezone.now() - 10 * MINUTE
    )
    Coupling.objects.update(estimated_at=timezone.now() + 99 * MINUTE)
    at([("analytics", "0006_rows_as_bytes")])
    at([("analytics", "0007_answers_after_lock")])
    assert CouplingShard.objects.get().participants == [person.pk]
    estimate_couplings(timezone.now() + 100 * MINUTE)
    assert Coupling.objects.get(participant=person).n_pairs == 12


def _table(directory: Path, name: str) -> list[dict[str, str]]:
    with (directory / "data" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))
