"""Verification: what the seed drew is what is stored, and whoever has the seed can tell."""

import json
import random
import re
import shutil
import subprocess
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db.models import F
from django.utils import timezone

from ema import audit, studies, withdrawal
from ema.models import AuditEvent, Participant, Phase, Prompt, Study
from scheduler import verification
from scheduler.day import Protocol, draw_day
from scheduler.management.commands.verify_schedule import wheel
from scheduler.planning import plan_prompts
from scheduler.sampling import draws_needed, sample, seeded_draws
from scheduler.verification import Verified, verify_schedule
from scheduler.zones import (
    EVERY_DAY,
    TZDATA_VERSION,
    Window,
    elapsed_seconds,
    study_day_windows,
    zone_named,
)
from tests import trial

VERIFY_JS = Path(settings.BASE_DIR) / "docs/verify/verify.js"
MIDNIGHT = datetime(2026, 3, 16, tzinfo=UTC)  # two weeks later Europe's clocks go forward
NOON = MIDNIGHT + timedelta(hours=12)
LATER = NOON + timedelta(days=4)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
NIGHTS = [{"weekdays": [1, 2, 3, 4, 5, 6, 7], "start": "22:00", "end": "06:00"}]

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    """Planned on two days: four people in three zones, one by night, one who withdrew."""
    study = trial.make_study()
    for code, zone in (("S1", "Europe/Brussels"), ("S2", "Asia/Tokyo"), ("S3", "America/New_York")):
        trial.enrol(study, code, zone, NOON - 2 * DAY)
    Participant.objects.filter(code="S2").update(windows=NIGHTS)
    gone = trial.enrol(study, "S4", "UTC", NOON - 2 * DAY)
    plan_prompts(NOON)
    withdrawal.withdraw(participant=gone, reason="moved", now=NOON + DAY, actor=audit.COMMAND)
    plan_prompts(LATER)
    return study


def some(code: str = "S1", day: int = 5, ordinal: int = 2) -> Any:
    return Prompt.objects.filter(participant__code=code, study_day=day, ordinal=ordinal)


def run(*arguments: str) -> tuple[str, str, int]:
    """Output, warnings and exit code of a command."""
    out, err, code = StringIO(), StringIO(), 0
    try:
        call_command(*arguments, stdout=out, stderr=err)
    except CommandError as error:
        err.write(str(error))
        code = error.returncode
    return out.getvalue(), err.getvalue(), code


def found(verified: Verified) -> list[tuple[str, int, str]]:
    return [(each.participant, each.ordinal, each.kind) for each in verified.differences]


def causes(verified: Verified) -> set[str]:
    return {each.cause for each in verified.differences}


# What was planned is what the seed drew


def test_what_the_planner_wrote_is_what_the_seed_drew(study: Study) -> None:
    out, err, code = run("verify_schedule", "demo")
    stored = Prompt.objects.count()
    assert out.startswith(f"{stored} prompts of 4 participants on {stored // 4} days recomputed;")
    assert "The seed is the one committed to at the start" in out
    assert f"Drawn by tzdata {TZDATA_VERSION} ({stored}); installed is the same." in out
    assert out.endswith("No differences.\n")
    assert (err, code) == ("", 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"design": "uniform", "prompts_per_day": 9},
        {"design": "stratified", "prompts_per_day": 7},
        {"design": "stratified_rotated", "windows": NIGHTS},
        {"design": "fixed", "fixed_times": ["09:00", "21:00"]},
        {"windows": [{"weekdays": [2, 4], "start": "08:00", "end": "09:00"}]},
        {"expires_after": timedelta(minutes=90), "minimum_gap": timedelta(hours=3)},
        {"expires_after": timedelta(hours=8), "expires_by_window_end": True},
    ],
)
def test_every_design_verifies(fields: dict[str, Any]) -> None:
    study = trial.make_study(**fields)
    trial.enrol(study, "S1", "Europe/Brussels", NOON)
    plan_prompts(NOON)
    plan_prompts(NOON + 20 * DAY)
    verified = verify_schedule(study)
    assert verified.all_equal
    assert verified.prompts == Prompt.objects.count() > 0


def test_a_prompt_may_close_with_its_window() -> None:
    study = trial.make_study(expires_after=timedelta(hours=15), expires_by_window_end=True)
    trial.enrol(study, "S1", "Europe/Brussels", MIDNIGHT)
    plan_prompts(NOON)
    brussels = ZoneInfo("Europe/Brussels")
    assert {p.expires_at.astimezone(brussels).hour for p in Prompt.objects.all()} == {22}
    Phase.objects.update(expires_by_window_end=False)
    verified = verify_schedule(study)
    assert set(verified.kinds) == {"expires_at"}
    assert "was the phase's expiry changed after this was planned?" in causes(verified)


def test_phases_in_turn_and_imported_ones_are_told_apart() -> None:
    study = trial.make_study(phase_days=3)
    version = Phase.objects.get(study=study).questionnaire
    more = {"study": study, "days": 2, "questionnaire": version}
    past = Phase.objects.create(key="past", position=2, design="imported", **more)
    Phase.objects.create(key="after", position=3, prompts_per_day=2, **more)
    trial.enrol(study, "S1", "UTC", MIDNIGHT)
    plan_prompts(NOON)
    Prompt.objects.filter(study_day=2).update(phase=past)
    Prompt.objects.filter(study_day=2).update(study_on=date(2026, 3, 19))
    verified = verify_schedule(study)
    assert (verified.prompts, verified.not_drawn) == (3 * 4, 4)
    assert verified.kinds == {"missing": 4}  # those that were made into imported ones


def test_a_participant_whom_nobody_planned_yet_lacks_nothing(study: Study) -> None:
    trial.enrol(study, "S5", "UTC", LATER - 2 * DAY)
    assert verify_schedule(study).all_equal


def test_moving_to_another_zone_leaves_what_was_planned(study: Study) -> None:
    Participant.objects.filter(code="S1").update(zone="Asia/Kathmandu")
    plan_prompts(LATER + 3 * DAY)
    assert set(Prompt.objects.filter(participant__code="S1").values_list("zone", flat=True)) == {
        "Europe/Brussels",
        "Asia/Kathmandu",
    }
    assert verify_schedule(study).all_equal


# What was changed is found


def test_a_prompt_that_was_moved_is_named(study: Study) -> None:
    some().update(due_at=F("due_at") - MINUTE)
    moved = some().get()
    out, err, code = run("verify_schedule", "demo")
    assert (
        f"S1, treatment, {moved.study_on} #2 is due at another time: stored "
        f"{moved.due_at:%Y-%m-%dT%H:%M:%SZ}, drawn {moved.due_at + MINUTE:%Y-%m-%dT%H:%M:%SZ}\n"
    ) in out
    assert "Differences: 1 (1 due_at); 1 listed." in out
    assert (err, code) == ("The schedule is not what the seed has.", 1)


def test_another_expiry_is_found(study: Study) -> None:
    some().update(expires_at=F("expires_at") + MINUTE)
    assert found(verify_schedule(study)) == [("S1", 2, "expires_at")]


def test_another_inclusion_probability_is_found_and_none_is_of_an_older_release(
    study: Study,
) -> None:
    some().update(inclusion_probability=0.5)
    some(code="S2").update(inclusion_probability=None)
    verified = verify_schedule(study)
    assert found(verified) == [("S1", 2, "inclusion_probability")]
    assert verified.content()["differences"][0]["stored"] == 0.5
    out, _, code = run("verify_schedule", "demo")
    assert "has another inclusion probability: stored 0.5, drawn 0.0" in out
    assert code == 1


def test_a_deleted_prompt_and_a_deleted_day_are_found(study: Study) -> None:
    some("S2").delete()
    Prompt.objects.filter(participant__code="S3", study_day=4).delete()
    missing = [("S3", n, "missing") for n in (1, 2, 3, 4)]
    assert found(verify_schedule(study)) == [("S2", 2, "missing"), *missing]


def test_deleted_last_days_are_found() -> None:
    study = trial.make_study(phase_days=20)
    trial.enrol(study, "S1", "UTC", NOON)
    for days in range(8):
        plan_prompts(NOON + days * DAY)
    assert verify_schedule(study).all_equal
    trial.enrol(study, "S2", "UTC", NOON)
    plan_prompts(NOON + 8 * DAY)
    Prompt.objects.filter(participant__code="S1", study_day__gte=19).delete()
    assert verify_schedule(study).kinds == {"missing": 8}
    Prompt.objects.filter(participant__code="S1", study_day__gte=2).delete()
    assert verify_schedule(study).kinds == {"missing": 19 * 4}


def test_everything_deleted_of_somebody_is_found() -> None:
    study = trial.make_study(phase_days=3)
    enrolled_at = timezone.now()
    for code in ("S1", "S2"):
        trial.enrol(study, code, "UTC", enrolled_at)
    plan_prompts(enrolled_at + DAY)
    Prompt.objects.filter(participant__code="S2").delete()
    assert verify_schedule(study).kinds == {"missing": 3 * 4}


def test_an_inserted_prompt_is_found(study: Study) -> None:
    extra = some(ordinal=4).get()
    extra.pk, extra.ordinal = uuid.uuid4(), 5
    extra.save(force_insert=True)
    assert found(verify_schedule(study)) == [("S1", 5, "extra")]


def test_prompts_outside_the_phase_or_of_another_study_are_found(study: Study) -> None:
    other = trial.make_study("other")
    some("S1").update(phase=Phase.objects.get(study=other))
    some("S2").update(study_on=date(2025, 1, 1))
    assert sorted(found(verify_schedule(study))) == [
        ("S1", 2, "extra"),
        ("S1", 2, "missing"),
        ("S2", 2, "extra"),
        ("S2", 2, "missing"),
    ]


def test_another_seed_is_found(study: Study) -> None:
    committed = study.seed_commitment
    Study.objects.update(seed=bytes(32))
    out, _, code = run("verify_schedule", "demo", "--limit", "3")
    assert "The seed is not the one committed to: its SHA-256 is 66687aad" in out
    assert f"the commitment {committed}." in out
    assert out.count("(the seed is another)") == 3
    [differ] = re.findall(r"Differences: (\d+) ", out)
    assert int(differ) > 0.95 * Prompt.objects.count()  # now and then two seeds agree on a prompt
    assert code == 1


def test_a_seed_nobody_committed_to_is_found(study: Study) -> None:
    unsworn = Study.objects.create(slug="unsworn", title="", started_at=NOON)
    out, _, code = run("verify_schedule", unsworn.slug)
    assert "The audit trail holds no commitment to a seed." in out
    assert code == 1


# What may explain it


def test_other_zone_data_is_named_as_the_cause(study: Study) -> None:
    day = Prompt.objects.filter(participant__code="S1", study_day=5)
    hour = timedelta(hours=1)
    day.update(tzdata="2019b", due_at=F("due_at") + hour, expires_at=F("expires_at") + hour)
    out, _, code = run("verify_schedule", "demo")
    assert f"2019b (4), {TZDATA_VERSION}" in out
    assert f"installed is {TZDATA_VERSION}." in out
    assert "Another tzdata explains 4 differences: verify with tzdata==2019.2." in out
    assert "(drawn by tzdata 2019b: the same draws at another UTC offset)" in out
    assert code == 1


def test_other_zone_data_does_not_excuse_a_single_prompt(study: Study) -> None:
    Prompt.objects.update(tzdata="2019b")
    assert verify_schedule(study).all_equal
    some().update(due_at=F("due_at") - MINUTE)
    verified = verify_schedule(study)
    assert verified.by_tzdata == 0
    assert causes(verified) == {""}


def test_a_release_of_zone_data_has_its_wheel() -> None:
    assert wheel("2025b") == "tzdata==2025.2"
    assert wheel("unknown") == "tzdata of unknown"


def test_own_hours_that_were_set_later_are_named_as_the_cause(study: Study) -> None:
    Participant.objects.filter(code="S1").update(windows=NIGHTS)
    Participant.objects.filter(code="S2").update(
        windows=[{"weekdays": [1, 2, 3, 4, 5, 6, 7], "start": "20:00", "end": "04:00"}]
    )
    verified = verify_schedule(study, limit=10_000)
    by_person = {each.participant: each.cause for each in verified.differences}
    assert by_person == {
        "S1": "drawn in the phase's hours: the participant's own were set later",
        "S2": "were the participant's own hours, or the protocol, changed after this was planned?",
    }


def test_an_edited_protocol_is_named_as_a_possible_cause(study: Study) -> None:
    Phase.objects.update(expires_after=timedelta(minutes=45))
    verified = verify_schedule(study)
    assert causes(verified) == {"was the phase's expiry changed after this was planned?"}
    Phase.objects.update(minimum_gap=timedelta(minutes=45))
    assert causes(verify_schedule(study, limit=4)) <= {
        "was the phase's protocol changed after this was planned?",
        "",
    }


def test_what_cannot_be_recomputed_is_named(study: Study) -> None:
    some("S1").update(zone="Mars/Olympus")
    Participant.objects.filter(code="S3").update(windows=[])
    verified = verify_schedule(study, limit=10_000)
    assert verified.kinds["not_recomputable"] == verified.kinds.total()
    assert found(verified)[0] == ("S1", 2, "not_recomputable")
    assert "There is no time zone named 'Mars/Olympus'." in causes(verified)


# The command


def test_the_result_is_also_json(study: Study) -> None:
    some().update(due_at=F("due_at") - MINUTE)
    out, _, code = run("verify_schedule", "demo", "--json", "--limit", "0")
    content = json.loads(out)
    assert content["all_equal"] is False
    assert content["seed_is_the_committed_one"] is True
    assert content["difference_counts"] == {"all": 1, "due_at": 1}
    assert content["differences"] == []
    assert code == 1
    (difference,) = json.loads(run("verify_schedule", "demo", "--json")[0])["differences"]
    assert (difference["kind"], difference["ordinal"]) == ("due_at", 2)


def test_progress_is_told_in_chunks(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "CHUNK", 3)
    told: list[tuple[int, int]] = []
    assert verify_schedule(study, progress=lambda *now: told.append(now)).all_equal
    assert told == [(3, 4), (4, 4)]


def test_wrong_usage_is_told_apart_from_differences(study: Study) -> None:
    assert run("verify_schedule", "dmeo")[1:] == (
        "There is no study 'dmeo'. There are: demo.",
        2,
    )
    with pytest.raises(CommandError, match="'-1' is not a number of differences"):
        call_command("verify_schedule", "demo", "--limit=-1")
    trial.make_study("idle", has_started=False)
    assert run("verify_schedule", "idle")[2] == 1


# The seed is told after the end


def test_the_seed_stays_secret_until_the_study_is_locked(study: Study) -> None:
    out, err, code = run("reveal_seed", "demo")
    assert (out, code) == ("", 1)
    assert err.startswith("Study demo is not locked, and whoever knows its seed can predict")
    assert not AuditEvent.objects.filter(action="study.seed_revealed").exists()


def test_the_seed_of_a_locked_study_is_told_with_its_commitment(study: Study) -> None:
    run("lock", "demo", "--reason", "last visit done", "--yes")
    for _ in range(2):
        out, _, code = run("reveal_seed", "demo")
        assert out.split() == [
            *("seed", bytes(study.seed).hex()),
            *("SHA-256", study.seed_commitment),
            *("commitment", study.seed_commitment),
        ]
        assert code == 0
    assert AuditEvent.objects.filter(action="study.seed_revealed").count() == 1
    Study.objects.update(seed=bytes(32))
    _, err, code = run("reveal_seed", "demo")
    assert (err, code) == ("This is not the seed committed to at the start.", 1)


def test_what_was_revealed_is_enough_to_recompute(study: Study) -> None:
    run("lock", "demo", "--reason", "last visit done", "--yes")
    recipe = json.loads(run("reveal_seed", "demo", "--json")[0])
    (phase,) = recipe["phases"]
    person = next(each for each in recipe["participants"] if each["participant_id"] == "S1")
    draws = seeded_draws(
        bytes.fromhex(recipe["seed"]), phase["key"], uuid.UUID(person["uuid"]), date(2026, 3, 17), 4
    )
    drawn = sample(
        phase["design"],
        length=14 * 3600,
        prompts=phase["prompts_per_day"],
        minimum_gap=phase["minimum_gap_s"],
        draws=draws,
    )
    opens_at = datetime(2026, 3, 17, 7, tzinfo=UTC)
    stored = Prompt.objects.filter(participant__code="S1", study_on="2026-03-17")
    assert [opens_at + timedelta(seconds=s) for s in drawn.offsets] == [
        prompt.due_at for prompt in stored.order_by("ordinal")
    ]


def test_a_study_is_locked_once_with_a_reason(study: Study) -> None:
    trial.make_study("idle", has_started=False)
    said, _, code = run("lock", "demo", "--reason", "last visit done", "--yes")
    assert (said, code) == ("Study demo is locked.\n", 0)
    event = AuditEvent.objects.get(action="study.locked")
    assert (event.study, event.reason, event.door) == (study, "last visit done", "command")
    assert plan_prompts(LATER + 9 * DAY).prompts == 0
    for slug, reason, sentence in (
        ("demo", "again", "Study demo is locked already."),
        ("idle", "why not", "Study idle has not started; only a study that ran is locked."),
        ("demo", " ", "Say in words why the study is locked."),
    ):
        assert run("lock", slug, "--reason", reason, "--yes")[1:] == (sentence, 1)
    assert AuditEvent.objects.filter(action="study.locked").count() == 1


@pytest.mark.parametrize(("typed", "is_locked"), [("demo", True), ("y", False), (None, False)])
def test_locking_asks_for_the_studys_name(
    study: Study, monkeypatch: pytest.MonkeyPatch, typed: str | None, is_locked: bool
) -> None:
    def answer() -> str:
        if typed is None:
            raise EOFError
        return typed

    monkeypatch.setattr("builtins.input", answer)
    _, err, code = run("lock", "demo", "--reason", "last visit done")
    assert "There is no way back." in err
    assert code == (0 if is_locked else 1)
    study.refresh_from_db()
    assert (study.locked_at is not None) is is_locked


def test_a_study_is_locked_by_the_step_alone() -> None:
    study = trial.make_study()
    studies.lock(study=study, now=LATER, actor=audit.COMMAND, reason="done")
    assert study.locked_at == LATER
    with pytest.raises(studies.NotReady, match="locked already"):
        studies.lock(study=study, now=NOON, actor=audit.COMMAND, reason="done")


# Another language


@pytest.fixture(scope="module")
def verify_js() -> Callable[..., tuple[int, str]]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node here: the JavaScript verifier is not run")

    def verify(*files: Path) -> tuple[int, str]:
        ran = subprocess.run(
            [node, VERIFY_JS, *files], capture_output=True, text=True, check=False, timeout=60
        )
        return ran.returncode, ran.stdout + ran.stderr

    return verify


def test_javascript_agrees_on_the_vectors(verify_js: Callable[..., tuple[int, str]]) -> None:
    code, said = verify_js()
    assert "21 equal, 0 different, 1 not drawn" in said
    assert code == 0


def test_javascript_agrees_on_random_days(
    verify_js: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    chance = random.Random(1)
    days = [random_day(chance) for _ in range(200)]
    assert len({day["design"] for day in days}) == 4
    assert {day["gap_relaxed"] for day in days} == {True, False}
    path = tmp_path / "days.json"
    path.write_text(json.dumps({"days": days}))
    code, said = verify_js(path)
    assert "200 equal, 0 different, 0 not drawn" in said
    assert code == 0


@pytest.mark.parametrize("field", ["draws", "offsets", "length", "gap_relaxed", "due_at"])
def test_javascript_finds_what_differs(
    verify_js: Callable[..., tuple[int, str]], tmp_path: Path, field: str
) -> None:
    day, other = random_day(random.Random(2)), random_day(random.Random(3))
    day[field] = not day[field] if field == "gap_relaxed" else other[field]
    path = tmp_path / "days.json"
    path.write_text(json.dumps({"days": [day]}))
    code, said = verify_js(path)
    assert f"\n  {field}: " in said
    assert "0 equal, 1 different" in said
    assert code == 1


def test_javascript_is_not_content_with_nothing(
    verify_js: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    path = tmp_path / "days.json"
    path.write_text('{"days": []}')
    assert verify_js(path)[0] == 1


def random_day(chance: random.Random) -> dict[str, Any]:
    """A day of any design, zone, date, gap and one or two windows, as Python draws it."""
    zone = zone_named(chance.choice(["Europe/Brussels", "Australia/Lord_Howe", "Asia/Kathmandu"]))
    begin, middle, end = sorted(chance.sample(range(24 * 60), 3))
    parts = [(begin, end)] if chance.random() < 0.7 else [(begin, middle), (middle, end)]
    protocol = Protocol(
        prompts_per_day=chance.randint(1, 12),
        design=chance.choice(["circle", "uniform", "stratified", "stratified_rotated"]),
        minimum_gap=timedelta(seconds=chance.randint(0, 7200)),
        windows=tuple(Window(EVERY_DAY, clock(a), clock(b)) for a, b in parts),
        expires_after=timedelta(minutes=chance.randint(1, 90)),
        expires_by_window_end=chance.random() < 0.3,
    )
    seed, participant = chance.randbytes(32), uuid.UUID(bytes=chance.randbytes(16), version=4)
    stream = chance.choice(["treatment", "ligne-de-base-é", "療法"])
    study_on = date(2024, 1, 1) + chance.randint(0, 2000) * DAY
    return as_vector(seed, stream, participant, study_on, protocol, zone)


def as_vector(
    seed: bytes, stream: str, participant: uuid.UUID, study_on: date, protocol: Protocol, zone: Any
) -> dict[str, Any]:
    spans = study_day_windows(study_on, protocol.windows, zone)
    plan = draw_day(seed, stream, participant, study_on, protocol, zone)
    count = draws_needed(protocol.design, protocol.prompts_per_day)
    draws = seeded_draws(seed, stream, participant, study_on, count)
    gap = protocol.minimum_gap // timedelta(seconds=1)
    length = elapsed_seconds(spans)
    placed = sample(
        protocol.design,
        length=length,
        prompts=protocol.prompts_per_day,
        minimum_gap=gap,
        draws=draws,
    )
    return {
        "seed": seed.hex(),
        "stream": stream,
        "participant": str(participant),
        "study_on": study_on.isoformat(),
        "design": protocol.design,
        "prompts": protocol.prompts_per_day,
        "minimum_gap": gap,
        "expires_after": protocol.expires_after // timedelta(seconds=1),
        "expires_by_window_end": protocol.expires_by_window_end,
        "window_instants": [[utc(start), utc(end)] for start, end in spans],
        "draws": [str(u) for u in draws],
        "length": length,
        "offsets": list(placed.offsets),
        "gap_relaxed": plan.gap_relaxed,
        "due_at": [utc(at) for at in plan.due_at],
        "expires_at": [utc(at) for at in plan.expires_at],
    }


def clock(minute: int) -> time:
    return time(minute // 60, minute % 60)


def utc(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
