"""A report is kept as long as nothing it depends on changes, and made before anybody asks."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from analytics import report_cache, tasks
from analytics.comparison import compare
from analytics.coupling import estimate_couplings
from analytics.models import Coupling, Snapshot
from analytics.report_cache import kept_report, renew_reports
from ema.models import Questionnaire, QuestionnaireVersion, Site, Study
from tests.analytics.answers import add_participant, answer, make_study, make_trial, pairs_drawn

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_cache, "REST", 0)


def is_kept(study: Study) -> bool:
    """Whether the report is had without asking for a participant's sums."""
    seen: list[str] = []

    def listen(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        seen.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(listen):
        kept_report(study, None)
    return not any("FROM analytics_moments" in sql for sql in seen)


def test_whoever_looks_first_finds_the_report_that_a_worker_made() -> None:
    study = make_trial()
    tasks.estimate_couplings()
    tasks.renew_reports()
    assert is_kept(study)
    assert kept_report(study, None) == compare(study, participants=True)


def test_a_report_is_made_once_and_again_after_an_estimate() -> None:
    study = make_trial()
    estimate_couplings(timezone.now())
    assert (renew_reports(), renew_reports()) == (1, 0)
    answer(study.participants.get(code="P03"), pairs_drawn(0.2, 4, seed=9))
    estimate_couplings(timezone.now() + timedelta(seconds=1))
    assert renew_reports() == 1
    assert kept_report(study, None)["arms"] == compare(study)["arms"]


def test_a_report_that_somebody_had_made_is_not_made_again() -> None:
    study = make_trial()
    estimate_couplings(timezone.now())
    kept_report(study, None)
    assert renew_reports() == 0


def test_a_worker_rests_after_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_cache, "REST", 100_000)
    study = make_trial()
    estimate_couplings(timezone.now())
    assert renew_reports() == 1
    Coupling.objects.update(estimated_at=timezone.now())
    assert renew_reports() == 0
    assert not is_kept(study)


def test_studies_that_cannot_be_compared_yet_keep_nothing_and_stop_nobody() -> None:
    few = make_study("few")
    answer(add_participant(few, "P1", "placebo"), pairs_drawn(0.5, 4, seed=1))
    study = make_trial()
    make_study("empty")
    estimate_couplings(timezone.now())
    assert renew_reports() == 1
    assert is_kept(study)


def build_snapshot(study: Study) -> None:
    Snapshot.objects.create(study=study, built_at=timezone.now(), sha256="0" * 64)


def rename_site(study: Study) -> None:
    Site.objects.filter(study=study).update(code="elsewhere")


def publish(study: Study) -> None:
    form = Questionnaire.objects.create(study=study, key="other", title="Other")
    now = timezone.now()
    QuestionnaireVersion.objects.create(
        questionnaire=form, published_at=now, sha256="0" * 64, published_content="{}"
    )


def mark_estimated(study: Study) -> None:
    Coupling.objects.update(estimated_at=timezone.now())


@pytest.mark.parametrize("change", [build_snapshot, rename_site, publish, mark_estimated])
def test_what_a_report_depends_on_is_in_its_key(change: Callable[[Study], None]) -> None:
    study = make_trial()
    estimate_couplings(timezone.now())
    kept_report(study, None)
    assert is_kept(study)
    change(study)
    assert not is_kept(study)
