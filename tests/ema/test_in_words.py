"""What is stored in ways that words do not tell apart stays as it is, until it is changed."""

from typing import Any

import pytest
from django.test import Client

from ema.models import AuditEvent, Phase, Study
from tests import trial
from tests.ema.test_admin import sign_in
from tests.ema.test_phases import form_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    return trial.make_study(has_started=False)


@pytest.fixture
def root() -> Client:
    return sign_in("root")


def shown(client: Client, study: Study) -> dict[str, Any]:
    """The form as a browser sends it that changes nothing."""
    page = client.get(f"/admin/ema/study/{study.pk}/change/")
    assert page.status_code == 200
    form, (_, _, phases) = page.context["adminform"].form, page.context["inline_admin_formsets"]
    of_phase = phases.formset.forms[0]
    written = ("windows", "fixed_times", "reminders_after")
    return {
        **form_of(study, **{name: of_phase[name].value() or "" for name in written}),
        **{name: form[name].value() for name in ("contact", "instructions", "urine_weekdays")},
    }


def save(client: Client, study: Study, form: dict[str, Any]) -> str:
    answer = client.post(f"/admin/ema/study/{study.pk}/change/", form)
    return "" if answer.status_code == 302 else answer.content.decode()


def every_day(start: str, end: str) -> list[dict[str, Any]]:
    return [{"weekdays": [1, 2, 3, 4, 5, 6, 7], "start": start, "end": end}]


@pytest.mark.parametrize(
    ("stored", "times"),
    [
        ([{"weekdays": [1, 1, 2], "start": "08:00", "end": "22:00"}], []),
        (every_day("08", "2200"), []),
        (every_day("08:00:00", "22:00:30"), []),
        ([*every_day("08:00", "12:00"), *every_day("13:00", "14:00")], ["09:00:30", "2100"]),
    ],
)
def test_times_are_not_changed_by_saving_what_is_shown(
    root: Client, study: Study, stored: Any, times: list[str]
) -> None:
    design = "fixed" if times else "circle"
    phases = Phase.objects.filter(study=study)
    phases.update(windows=stored, fixed_times=times, design=design)
    assert save(root, study, shown(root, study)) == ""
    phase = phases.get()
    assert (phase.windows, phase.fixed_times) == (stored, times)
    assert not AuditEvent.objects.filter(action="phase.changed").exists()


def test_texts_and_weekdays_are_not_changed_by_saving_what_is_shown(
    root: Client, study: Study
) -> None:
    stored = {"en": " Call\r\nus. "}, [5, 3, 1]
    study.contact, study.urine_weekdays = stored
    study.save()
    assert save(root, study, shown(root, study)) == ""
    study.refresh_from_db()
    assert (study.contact, study.urine_weekdays) == stored
    assert not AuditEvent.objects.filter(action="study.changed").exists()


@pytest.mark.parametrize("weekdays", [[], [8]])
def test_a_window_that_has_no_words_is_shown_as_it_is_stored(
    root: Client, study: Study, weekdays: list[int]
) -> None:
    wrong = [{"weekdays": weekdays, "start": "08:00", "end": "22:00"}]
    Phase.objects.filter(study=study).update(windows=wrong)
    form = shown(root, study)
    assert "is not a window. Write one a line" in save(root, study, form)
    assert save(root, study, form | {"phases-0-windows": "every day: 9:00 to 21:00"}) == ""
    assert Phase.objects.get(study=study).windows == every_day("09:00", "21:00")
