"""A wrong date of a visit is corrected with a reason; what was planned stands."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from ema import audit, visits
from ema.models import AuditEvent, Participant, Phase, PhaseStart, Visit
from tests import trial
from tests.ema.test_admin import page, sign_in

pytestmark = pytest.mark.django_db

ENROLLED = datetime(2026, 6, 1, 12, tzinfo=UTC)
NOW = ENROLLED + timedelta(days=30)
BY: Any = {"now": NOW, "actor": audit.COMMAND}


@pytest.fixture
def visit() -> Visit:
    study = trial.make_study()
    Phase.objects.update(starts="visit", visit="discharge")
    person = trial.enrol(study, "S1-001", "Europe/Brussels", ENROLLED)
    return visits.record_visit(participant=person, key="discharge", on_date=date(2026, 6, 20), **BY)


def test_a_corrected_date_stands_and_the_old_one_is_kept_with_the_reason(visit: Visit) -> None:
    assert not visits.correct_visit(
        visit=visit, on_date=date(2026, 6, 21), reason=" read 20 for 21 ", **BY
    )
    visit.refresh_from_db()
    assert visit.on_date == date(2026, 6, 21)
    event = AuditEvent.objects.get(action="visit.corrected")
    assert event.before == {"key": "discharge", "on_date": "2026-06-20"}
    assert event.after == {"key": "discharge", "on_date": "2026-06-21"}
    assert (event.reason, event.site) == ("read 20 for 21", visit.participant.site)


@pytest.mark.parametrize(
    ("on_date", "reason", "sentence"),
    [
        (date(2026, 6, 21), "  ", "Say why the date is corrected: it was recorded as 2026-06-20"),
        (date(2026, 6, 20), "twice", "is recorded on 2026-06-20 already"),
        (date(2026, 5, 1), "typed", "A visit lies between enrolment"),
        (date(2026, 8, 1), "typed", "A visit lies between enrolment"),
    ],
)
def test_a_correction_that_cannot_be_is_refused(
    visit: Visit, on_date: date, reason: str, sentence: str
) -> None:
    with pytest.raises(visits.VisitRefused, match=sentence):
        visits.correct_visit(visit=visit, on_date=on_date, reason=reason, **BY)
    visit.refresh_from_db()
    assert visit.on_date == date(2026, 6, 20)
    assert not AuditEvent.objects.filter(action="visit.corrected").exists()


def test_a_coordinator_corrects_a_date_and_is_told_what_stays(visit: Visit) -> None:
    Participant.objects.update(enrolled_on=timezone.now().date() - timedelta(days=30))
    today = timezone.now().date().isoformat()
    PhaseStart.objects.create(
        participant=visit.participant,
        phase=Phase.objects.get(),
        begins_on=date(2026, 6, 20),
        known_at=NOW,
    )
    client = sign_in("cora", visit.participant.study, "coordinator")
    path = f"/admin/ema/visit/{visit.pk}/change/"
    assert "This field is required" in page(client.post(path, {"on_date": today}))
    form = {"on_date": today, "reason": "the letter says so"}
    said = page(client.post(path, form, follow=True))
    assert "Phase treatment was planned from 2026-06-20 by the date before, and stays so" in said
    visit.refresh_from_db()
    assert visit.on_date.isoformat() == today
    assert AuditEvent.objects.get(action="visit.corrected").reason == "the letter says so"


def test_an_investigator_reads_visits_and_corrects_none(visit: Visit) -> None:
    client = sign_in("ines", visit.participant.study, "investigator")
    path = f"/admin/ema/visit/{visit.pk}/change/"
    assert "Reason for the correction" not in page(client.get(path))
    assert client.post(path, {"on_date": "2026-06-21", "reason": "x"}).status_code == 403
