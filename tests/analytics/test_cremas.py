"""Reporting numbers: the page, its files, the command and the API tell what a snapshot tells."""

import csv
import json
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from analytics.coupling import estimate_couplings
from analytics.cremas import HEAD, Cremas, Tally, as_json, csv_rows, markdown, report_of
from analytics.cremas_counts import KEEP_FOR, count, kept
from analytics.datasets.building import build_snapshot
from analytics.datasets.snapshots import request_snapshot
from analytics.figures_cremas import compliance_bars, compliance_rows
from ema.audit import COMMAND
from ema.models import Membership, Participant, Prompt, Site, Study
from tests.analytics.answers import START, add_participant, add_prompt, make_trial, make_user
from tests.analytics.answers import respond as answered

pytestmark = pytest.mark.django_db
PAGE = "/studies/relief/cremas/"


@pytest.fixture
def study() -> Study:
    """Eight who answered twelve prompts each; one with a late answer, and every other end."""
    study = make_trial(masking="double_blind", n=8)
    someone = add_participant(study, "=1+1", "placebo")
    prompts = [add_prompt(someone, number) for number in range(9)]
    answered(prompts[0], 40, 30)
    answered(prompts[1], 50, 20, after=timedelta(hours=1), flags=["after_expiry"])
    answered(prompts[2], 50, 20, after=timedelta(milliseconds=59_999))
    late = {"sent_at": None, "armed_at": None}
    of = Prompt.objects.filter
    of(pk=prompts[4].pk).update(undelivered="no_device", **late)
    of(pk=prompts[5].pk).update(cancelled_at=START, cancel_reason="paused", **late)
    of(pk=prompts[6].pk).update(**late)
    of(pk=prompts[7].pk).update(zone="Asia/Kathmandu")
    leaver = study.participants.get(code="P01")
    leaver.withdrawn_at = START + timedelta(days=9)
    leaver.save()
    return study


def everybody(study: Study) -> QuerySet[Participant]:
    return Participant.objects.filter(study=study)


def signed_in(study: Study, role: str) -> Client:
    client = Client()
    client.force_login(make_user(role, study, role))
    return client


@pytest.mark.django_db(transaction=True)
def test_the_database_counts_what_a_snapshot_counts(
    study: Study, settings: Settings, tmp_path: Path
) -> None:
    settings.SNAPSHOT_DIR = tmp_path
    estimate_couplings(timezone.now())
    package = build_snapshot(request_snapshot(study, COMMAND, "masked", timezone.now()))
    told = (package.directory / "CREMAS.md").read_text()
    ledger, rest = told.split("\n\n`data/prompts.csv` has ")
    now = f"{ledger}\n\n## Not answered{rest.partition('## Not answered')[2]}"
    assert markdown(count(everybody(study), timezone.now())) == now
    assert "| scheduled, the sum of these | 105 |" in ledger
    for line in ("cancelled: paused", "not_delivered: no_device", "not_delivered: system"):
        assert f"| {line} | 1 |" in told


def test_latencies_are_whole_seconds_cut_after_milliseconds(study: Study) -> None:
    Prompt.objects.exclude(participant__code="=1+1").update(answered_at=None)
    latency = count(everybody(study), timezone.now()).latency
    assert latency == (59, 59, 120, 2)


def test_the_page_shows_the_numbers_and_nothing_of_answers_or_arms(study: Study) -> None:
    page = signed_in(study, "investigator").get(PAGE).content.decode()
    assert "Median 120 s" in page
    assert "9 enrolled, 1 withdrew." in page
    assert "by the end of week 2: 1 had withdrawn, 8 were in" in page
    assert "<svg" in page
    for hidden in ("placebo", "clonidine", "stress", "craving"):
        assert hidden not in page


def test_a_study_without_prompts_has_a_page_that_says_so() -> None:
    study = make_trial(n=0, masking="double_blind")
    client = signed_in(study, "coordinator")
    assert "No prompt was planned yet: 0 enrolled." in client.get(PAGE).content.decode()
    assert client.get(f"{PAGE}report.md").status_code == 200
    assert b"No prompt has ended yet." in client.get(f"{PAGE}compliance.svg").content


def test_the_files_hold_the_same_numbers(study: Study) -> None:
    client = signed_in(study, "coordinator")
    report = count(everybody(study), timezone.now())
    assert client.get(f"{PAGE}report.md").content.decode() == markdown(report)
    rows = list(csv.reader(StringIO(client.get(f"{PAGE}report.csv").content.decode())))
    assert rows[0] == list(HEAD)
    assert ["whole study", "all", "in_time", str(report.whole.in_time)] in rows
    assert ["attrition", "by the end of week 2", "withdrawn", "1"] in rows
    assert len(rows) == 1 + len(list(csv_rows(report)))
    [first, *_] = csv.DictReader(StringIO(client.get(f"{PAGE}compliance.csv").content.decode()))
    assert (first["study_week"], float(first["compliance"])) == ("1", compliance(report))
    for name in ("report.pdf", "compliance.md"):
        answer = client.get(f"{PAGE}{name}")
        assert answer.status_code == 404
        assert "csv, not as" in answer.content.decode()


def compliance(report: Cremas) -> float:
    return round(report.weeks["1"].compliance or 0.0, 4)


def test_whoever_is_kept_to_a_site_gets_its_numbers(study: Study) -> None:
    other = Site.objects.create(study=study, code="S2", zone="UTC")
    study.participants.filter(code="=1+1").update(site=other)
    for site, people in (("S1", 8), ("S2", 1)):
        user = make_user(f"of {site}", study, "coordinator")
        Membership.objects.filter(user=user).update(site=study.sites.get(code=site))
        client = Client()
        client.force_login(user)
        page = client.get(PAGE).content.decode()
        assert f"Only participants of your site: {site}." in page
        assert f"{people} enrolled" in page


def test_numbers_are_kept_for_five_minutes(study: Study) -> None:
    now = timezone.now()
    first = kept(study, everybody(study), [], now)
    Prompt.objects.all().update(answered_at=None)
    assert kept(study, everybody(study), [], now + timedelta(minutes=1)) == first
    later = kept(study, everybody(study), [], now + KEEP_FOR)
    assert later.at == now + KEEP_FOR
    assert later.report.whole.answered == 0
    assert first.report.whole.answered > 0


def test_more_participants_cost_no_more_statements(study: Study) -> None:
    with CaptureQueriesContext(connection) as few:
        count(everybody(study), timezone.now())
    for number in range(5):
        add_prompt(add_participant(study, f"more {number}", "placebo"), 1)
    with CaptureQueriesContext(connection) as many:
        count(everybody(study), timezone.now())
    assert len(few) == len(many) == 3


def test_the_command_and_the_api_tell_the_same(study: Study) -> None:
    report = count(everybody(study), timezone.now())
    assert command("relief") == markdown(report)
    told = json.loads(json.dumps(as_json(report)))
    assert json.loads(command("relief", "--json")) == told
    answer = signed_in(study, "statistician").get("/api/v1/studies/relief/cremas").json()
    assert {name: answer[name] for name in told} == told
    assert answer["only_sites"] == []
    assert command("relief", "--csv").startswith("section,name,measure,value\nwhole study,all,")
    with pytest.raises(CommandError, match="no study 'nowhere'"):
        command("nowhere")


def command(*arguments: str) -> str:
    out = StringIO()
    call_command("cremas", *arguments, stdout=out)
    return out.getvalue()


def test_a_chart_of_many_weeks_names_some_of_them() -> None:
    tally = Tally()
    for day in range(1, 7 * 30):
        tally.add("answered", None, day=day, hour=9)
        tally.add("missed", None, day=day, hour=12)
    tally.add("planned", None, day=7 * 31, hour=9)
    report = report_of(tally)
    drawn = compliance_bars(report)
    assert drawn.count('<rect class="estimate"') == len(compliance_rows(report)) == 30
    assert drawn.count('class="tick"') == 6 + 10 + 1  # shares, every third week, the axis' name
    assert "week 30: 50.0 %" in drawn
    assert report.weeks["31"].compliance is None
