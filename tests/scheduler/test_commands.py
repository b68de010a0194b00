"""The commands plan, run_dispatcher and ledger, as an operator runs them."""

import ast
import json
import os
import signal
import threading
from datetime import timedelta
from io import StringIO

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from ema.celery import app
from ema.models import Participant, Prompt, Study
from scheduler import tasks
from scheduler.planning import plan_prompts
from tests import trial

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    """A study of two participants with phones."""
    study = trial.make_study()
    for code in ("S1", "S2"):
        trial.redeem(trial.enrol(study, code, "UTC", timezone.now() - timedelta(days=1)))
    return study


def run(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command(*arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def make_one_due() -> Prompt:
    plan_prompts(timezone.now())
    prompt = Prompt.objects.filter(study_day=5).first()
    assert prompt is not None
    Prompt.objects.exclude(pk=prompt.pk).delete()
    now = timezone.now()
    Prompt.objects.update(due_at=now, expires_at=now + timedelta(minutes=30))
    return prompt


def test_plan_says_what_it_did(study: Study) -> None:
    out, err = run("plan")
    assert out.startswith("128 prompts planned for 2 participants; 0 cancelled")
    assert "Planned 2 of 2" in err
    assert run("plan")[0].startswith("0 prompts planned for 0 participants")


def test_plan_names_what_it_refuses(study: Study) -> None:
    Participant.objects.filter(code="S1").update(zone="Mars/Olympus")
    trial.make_study("tight", prompts_per_day=15)
    out, err = run("plan")
    assert out.startswith("64 prompts planned for 1 participants")
    assert "1 participants refused" in out
    assert "There is no time zone named 'Mars/Olympus'" in err
    assert "Study tight, phase treatment: 15 prompts at least 1 h apart" in err


def test_the_dispatcher_runs_once_when_asked(study: Study) -> None:
    prompt = make_one_due()
    assert run("run_dispatcher", "--once")[0].strip() == "1 queued, 1 sent"
    prompt.refresh_from_db()
    assert prompt.sent_at is not None
    assert run("run_dispatcher", "--once")[0] == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_dispatcher_stops_in_order(study: Study, number: signal.Signals) -> None:
    prompt, before = make_one_due(), signal.getsignal(number)
    threading.Timer(0.5, os.kill, [os.getpid(), number]).start()
    out, _ = run("run_dispatcher", "--every", "0.1")
    assert out.strip() == "1 queued, 1 sent"
    prompt.refresh_from_db()
    assert prompt.sent_at is not None
    assert signal.getsignal(number) is before


@pytest.mark.django_db(transaction=True)
def test_the_dispatcher_outlives_its_connection(
    study: Study, caplog: pytest.LogCaptureFixture
) -> None:
    prompt, soon = make_one_due(), timezone.now() + timedelta(seconds=0.8)
    Prompt.objects.update(due_at=soon, expires_at=soon + timedelta(minutes=30))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    parameters = connection.get_connection_params()

    def cut() -> None:
        names = {"dbname", "user", "password", "host", "port"}
        own = {name: value for name, value in parameters.items() if name in names}
        with psycopg.connect(**own) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [pid])

    threading.Timer(0.3, cut).start()
    threading.Timer(1.5, os.kill, [os.getpid(), signal.SIGTERM]).start()
    run("run_dispatcher", "--every", "0.1")
    prompt.refresh_from_db()
    assert prompt.sent_at is not None
    assert "The database is away" in caplog.text


def test_the_ledger_is_a_table_that_adds_up(study: Study) -> None:
    make_one_due()
    run("run_dispatcher", "--once")
    out, _ = run("ledger", "demo")
    lines = [line.split() for line in out.splitlines()]
    assert ["planned", "1"] in lines
    assert ["open:", "sent", "1"] in lines
    assert out.splitlines()[-1] == "1 planned = 0 ended + 1 open"


def test_the_ledger_goes_by_site_and_phase_and_explains_its_words(study: Study) -> None:
    run("plan")
    out, _ = run("ledger", "demo", "--by", "phase", "--explain")
    whole, part, words = out.strip().split("\n\n")
    assert part == f"phase treatment\n{whole}"
    assert "missed: A phone had it, and nobody answered before it expired." in words
    counted = json.loads(run("ledger", "demo", "--by", "site", "--json")[0])
    by_site = counted.pop("by_site")
    assert by_site == {"S1": counted}


def test_the_ledger_is_also_json(study: Study) -> None:
    run("plan")
    counted = json.loads(run("ledger", "demo", "--json")[0])
    assert counted["balances"] is True
    assert counted["planned"] == Prompt.objects.count() == 128
    ended = sum(counted[name] for name in ("answered", "answered_late", "missed"))
    for name in ("cancelled", "not_delivered", "open"):
        ended += sum(counted[name].values())
    assert ended == 128


def test_an_unknown_study_is_answered_with_the_known_ones(study: Study) -> None:
    trial.make_study("other")
    with pytest.raises(CommandError) as refused:
        run("ledger", "demmo")
    assert str(refused.value) == "There is no study 'demmo'. There are: demo, other."
    assert refused.value.returncode == 2


def test_the_beat_schedules_tasks_that_there_are() -> None:
    ours = {name for name in settings.CELERY_BEAT_SCHEDULE if name.startswith("scheduler.")}
    assert ours == {tasks.plan_prompts.name, tasks.dispatch_due.name}


def test_the_beat_knows_intervals_and_no_local_clock() -> None:
    """A crontab of a local zone dies, or fires twice, when clocks change."""
    assert settings.CELERY_TIMEZONE == "UTC"
    entries = app.conf.beat_schedule.values()
    assert len(entries) >= 2
    assert all(isinstance(each["schedule"], float) for each in entries)


def test_ticks_expire_but_not_before_two_hosts_agree_on_the_time() -> None:
    for entry in settings.CELERY_BEAT_SCHEDULE.values():
        assert max(60, entry["schedule"]) == entry["options"]["expires"]


def test_no_prompt_is_a_task_with_an_eta() -> None:
    """A broker hands out again what it keeps longer than its visibility timeout."""
    calls = [
        f"{path.name}:{node.lineno}"
        for package in ("ema", "scheduler", "analytics")
        for path in (settings.BASE_DIR / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (
            {keyword.arg for keyword in node.keywords} & {"eta", "countdown"}
            or (isinstance(node.func, ast.Attribute) and node.func.attr == "apply_async")
        )
    ]
    assert calls == []
