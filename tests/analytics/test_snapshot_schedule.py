"""The table of prompts beside the schedule recomputed from the seed, and its ledger."""

import csv
import hmac
import json
import re
import struct
import uuid
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone
from pytest_django import Settings

from analytics.datasets.building import build_snapshot
from analytics.datasets.ledger import LedgerUnbalanced, hold_to
from analytics.datasets.snapshots import request_snapshot
from analytics.models import Snapshot
from ema import audit, pauses, travel, withdrawal
from ema.models import Participant, Prompt, Study
from scheduler.planning import plan_prompts
from tests import trial
from tests.analytics.answers import make_trial, respond

pytestmark = pytest.mark.django_db(transaction=True)
NOON = datetime(2026, 3, 25, 12, tzinfo=UTC)  # Europe's clocks go forward four days later
DAY = timedelta(days=1)
DAYS, PER_DAY, GAP = 7, 5, 5400
OPEN, CLOSE = time(8), time(22)
Rows = list[dict[str, str]]


@pytest.fixture(autouse=True)
def _snapshot_dir(settings: Settings, tmp_path: Path) -> None:
    settings.SNAPSHOT_DIR = tmp_path / "snapshots"


@pytest.fixture
def study() -> Study:
    """Four people: one answers, also late; one is paused, one leaves, one moves to Tokyo."""
    gap = timedelta(seconds=GAP)
    study = trial.make_study(phase_days=DAYS, prompts_per_day=PER_DAY, minimum_gap=gap)
    for code in ("S1", "S2", "S3", "S4"):
        someone = trial.enrol(study, code, "Europe/Brussels", NOON - DAY)
        trial.redeem(someone)
    plan_prompts(NOON)
    answers(of(study, "S1"))
    who, now = audit.COMMAND, NOON + 2 * DAY
    pauses.pause(participant=of(study, "S2"), now=now, ends_at=now + DAY, actor=who)
    withdrawal.withdraw(participant=of(study, "S3"), reason="moved", now=now, actor=who)
    travel.move(participant=of(study, "S4"), zone="Asia/Tokyo", now=now, actor=who)
    plan_prompts(now)
    return study


def of(study: Study, code: str) -> Participant:
    return study.participants.get(code=code)


def answers(someone: Participant) -> None:
    """Three in time, two late, two that reached a phone and were missed."""
    prompts = list(someone.prompts.order_by("due_at"))
    for prompt in prompts[:3]:
        respond(prompt, 40, 30)
    for prompt in prompts[3:5]:
        respond(prompt, 40, 30, after=timedelta(hours=2))
    for prompt in prompts[5:7]:
        Prompt.objects.filter(pk=prompt.pk).update(sent_at=prompt.due_at)


def built(study: Study) -> Path:
    snapshot = request_snapshot(study, audit.COMMAND, "masked", timezone.now())
    return build_snapshot(snapshot).directory


def table(directory: Path, name: str = "prompts") -> Rows:
    with (directory / f"data/{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def provenance(directory: Path) -> Any:
    return json.loads((directory / "provenance.json").read_text())


# The schedule once more, from the words of docs/sampling.md, with nothing of the planner


def drawn_again(seed: bytes, stream: str, person: uuid.UUID, on: date, zone: str) -> list[datetime]:
    """The circle design: k prompts at least a gap apart within the day's waking hours."""
    here = ZoneInfo(zone)
    opens = datetime.combine(on, OPEN, here).astimezone(UTC)
    length = int((datetime.combine(on, CLOSE, here).astimezone(UTC) - opens).total_seconds())
    draws = [integer(seed, stream, person, on, place) for place in range(PER_DAY)]
    turn, spare = draws[0] * length >> 64, length - PER_DAY * GAP
    slack = [0, *sorted(u * (spare + 1) >> 64 for u in draws[1:])]
    offsets = sorted((turn + s + i * GAP) % length for i, s in enumerate(slack))
    return [opens + timedelta(seconds=offset) for offset in offsets]


def integer(seed: bytes, stream: str, person: uuid.UUID, on: date, place: int) -> int:
    """The place-th unsigned 64-bit integer of one participant, stream and day."""
    message = f"fourbeat-schedule/1\0{stream}|{person}|{on.isoformat()}\0{place // 4}"
    block = hmac.digest(seed, message.encode(), "sha256")
    found: int = struct.unpack(">4Q", block)[place % 4]
    return found


def the_schedule(study: Study) -> dict[tuple[str, str, str], datetime]:
    """Instants by participant, study day and number of the prompt."""
    found = {}
    for person in study.participants.all():
        first = date(2026, 3, 24)  # S1's and everybody's first day, where they lived
        for number in range(DAYS):
            on = first + number * DAY
            moved = person.code == "S4" and on > NOON.date() + 2 * DAY
            zone = "Asia/Tokyo" if moved else "Europe/Brussels"
            drawn = drawn_again(bytes(study.seed), "treatment", person.uuid, on, zone)
            for place, instant in enumerate(drawn, start=1):
                found[person.code, str(number + 1), str(place)] = instant
    return found


def test_the_rows_are_the_prompts_that_the_seed_draws_and_those_superseded(study: Study) -> None:
    rows = table(built(study))
    standing = [row for row in rows if row["missing_reason"] != "superseded"]
    stored = {
        (row["participant_id"], row["study_day"], row["prompt_no"]): datetime.fromisoformat(
            row["scheduled_at_utc"]
        )
        for row in standing
    }
    assert len(standing) == len(stored) == 4 * DAYS * PER_DAY
    assert stored == the_schedule(study)
    superseded = [row for row in rows if row["missing_reason"] == "superseded"]
    assert {row["participant_id"] for row in superseded} == {"S4"}
    assert len(superseded) == 3 * PER_DAY  # the days after the move, planned in Brussels


def test_the_ledger_in_the_file_balances_and_is_that_of_the_rows(study: Study) -> None:
    directory = built(study)
    rows, told = table(directory), provenance(directory)["ledger"]
    counted = Counter(
        f"{row['status']}: {row['missing_reason']}" if row["missing_reason"] else row["status"]
        for row in rows
    )
    assert counted == told["ends"] | told["open"]
    assert told["scheduled"] == len(rows) == sum(counted.values())
    assert told["balances"] is True
    assert (counted["answered"], counted["answered_late"], counted["missed"]) == (3, 2, 2)
    reasons = {"withdrawn", "paused", "superseded"}
    assert all(counted[f"cancelled: {reason}"] > 0 for reason in reasons)
    report = (directory / "CREMAS.md").read_text()
    section = report.partition("## Ledger")[2].partition("\n## ")[0]
    listed = {name: int(n) for name, n in re.findall(r"\| ([a-z_: ,]+) \| (\d+) \|", section)}
    assert listed.pop("scheduled, the sum of these") == len(rows) == sum(listed.values())
    assert f"`data/prompts.csv` has {len(rows)} rows: the ledger balances." in section


def test_a_package_says_how_many_prompts_the_seed_draws(study: Study) -> None:
    directory = built(study)
    told = provenance(directory)
    assert told["schedule"] == {
        "recomputed": True,
        "drawn": 4 * DAYS * PER_DAY,
        "superseded": 3 * PER_DAY,
        "imported": 0,
        "missing": 0,
        "extra": 0,
        "otherwise": 0,
        "seed_is_the_committed_one": True,
        "expected": 155,
        "rows": 155,
    }
    assert told["warnings"] == []
    assert "Recomputed from the study's seed: 140 drawn, 15 superseded" in (
        (directory / "CREMAS.md").read_text()
    )


def test_a_prompt_that_was_deleted_or_added_is_warned_of(study: Study) -> None:
    study.participants.get(code="S1").prompts.latest("due_at").delete()
    told = provenance(built(study))
    assert (told["schedule"]["missing"], told["schedule"]["extra"]) == (1, 0)
    (sentence,) = told["warnings"]
    assert "has 154 rows" in sentence
    assert "recomputed from the study's seed 155: 1 are missing and 0 are" in sentence
    assert sentence in Snapshot.objects.get().warnings
    more = study.participants.get(code="S2").prompts.latest("due_at")
    more.pk, more.ordinal = uuid.uuid4(), PER_DAY + 1
    more.save(force_insert=True)
    told = provenance(built(study))  # as many rows as there must be, and yet not the same
    assert (told["schedule"]["rows"], told["schedule"]["expected"]) == (155, 155)
    assert "1 are missing and 1 are not drawn by it" in told["warnings"][0]


def test_a_seed_that_nobody_committed_to_is_warned_of(study: Study) -> None:
    Study.objects.update(seed=bytes(32))
    study.refresh_from_db()
    assert "not the one that was committed to" in provenance(built(study))["warnings"][0]


def test_a_study_that_drew_nothing_says_so() -> None:
    directory = built(make_trial(n=2))
    told = provenance(directory)
    assert told["schedule"]["recomputed"] is False
    assert told["ledger"]["balances"] is True
    assert "The schedule was not recomputed from a seed" in (directory / "CREMAS.md").read_text()


@pytest.mark.parametrize(("rows", "ended", "still_open"), [(9, 7, 3), (11, 7, 3)])
def test_a_ledger_that_does_not_balance_is_no_package(
    rows: int, ended: int, still_open: int
) -> None:
    hold_to(ended + still_open, ended=ended, still_open=still_open)
    with pytest.raises(LedgerUnbalanced, match=f"the table has {rows} rows"):
        hold_to(rows, ended=ended, still_open=still_open)
