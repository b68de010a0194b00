"""Who is enrolled: zones that the planner knows, codes that are safe everywhere."""

from datetime import timedelta

import pytest
import tzdata
from django.utils import timezone

from ema import enrolment, zone_names
from ema.models import Participant
from scheduler import zones
from tests import trial
from tests.ema.test_admin import page, sign_in

ODD = [
    "",
    "Factory",
    "factory",
    "localtime",
    "posixrules",
    "right/UTC",
    "tzdata.zi",
    "../x",
    "CEST",
]


def accepted(name: str) -> dict[str, bool]:
    """Whether enrolment and the planner take a zone."""
    found = {}
    for who, zone_named in {"ema": zone_names.zone_named, "plan": zones.zone_named}.items():
        try:
            found[who] = str(zone_named(name)) == name
        except ValueError:
            found[who] = False
    return found


def test_enrolment_and_the_planner_know_the_same_zones() -> None:
    assert tzdata.IANA_VERSION == zones.TZDATA_VERSION
    assert zone_names.zone_names() == zones.zone_names()
    for name in zones.zone_names():
        assert accepted(name) == {"ema": True, "plan": True}, name
    for name in ODD:
        assert accepted(name) == {"ema": False, "plan": False}, name


@pytest.mark.django_db
@pytest.mark.parametrize(
    "code", ["=1+1", "-1", "+1", "@sum", "a b", "a\nb", "a\n", "", "a/b", "<b>", "_x"]
)
def test_a_code_that_is_not_safe_everywhere_is_refused(code: str) -> None:
    study = trial.make_study()
    with pytest.raises(enrolment.EnrolmentRefused, match="begin with a letter or digit"):
        trial.enrol(study, code, "UTC", timezone.now())
    assert not Participant.objects.exists()


@pytest.mark.django_db
def test_codes_as_trials_write_them_are_taken() -> None:
    study = trial.make_study()
    for code in ("L101", "E001", "B10720", "S1-003", "a.b_c", "José"):
        trial.enrol(study, code, "UTC", timezone.now())
    assert Participant.objects.count() == 6


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"zone": "Factory"}, "zone &#x27;Factory&#x27; is unknown"),
        ({"zone": ""}, "This field is required."),
        ({"code": "=1+1"}, "begin with a letter or digit."),
    ],
)
def test_the_form_says_what_is_wrong_once(change: dict[str, str], sentence: str) -> None:
    study = trial.make_study()
    client = sign_in("cora", study, "coordinator")
    form = {"site": study.sites.get().pk, "code": "S1-003", "zone": "UTC", "language": "en"}
    said = page(client.post("/admin/ema/participant/add/", {**form, **change}))
    assert said.count('class="errorlist"') == 1
    assert said.count(sentence) == 1
    assert not Participant.objects.exists()


@pytest.mark.django_db
def test_nobody_enrols_before_the_study_started() -> None:
    study = trial.make_study()
    assert study.started_at
    with pytest.raises(enrolment.EnrolmentRefused, match="is before study demo started"):
        trial.enrol(study, "S1-001", "UTC", study.started_at - timedelta(days=1))
    trial.enrol(study, "S1-001", "UTC", study.started_at)
