"""The screening log and the flow of participants: who is counted where, and who sees arms."""

import re
from datetime import timedelta
from xml.etree import ElementTree

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from analytics.coupling import estimate_couplings
from console.flow_counts import Flow, count, rows
from ema.arm_labels import give_labels, names_shown
from ema.models import AuditEvent, Participant, Screening, Site, Study
from tests.analytics.answers import DAY, START, add_participant, make_trial
from tests.ema.test_admin import page, sign_in

pytestmark = pytest.mark.django_db
HEAD = "number,site,screened_on,outcome,reason\n"
SCREENING, FLOW = "/studies/relief/screening/", "/studies/relief/flow/"


@pytest.fixture
def study() -> Study:
    """Eight allocated and analysed, one of whom withdrew; one enrolled only."""
    study = make_trial(n=8, masking="double_blind")
    add_participant(study, "P99")
    estimate_couplings(timezone.now())
    left = Participant.objects.filter(study=study, code="P00")
    left.update(withdrawn_at=timezone.now())
    return study


@pytest.fixture
def cora(study: Study) -> Client:
    return sign_in("cora", study, "coordinator")


def send(client: Client, text: str) -> str:
    sent = SimpleUploadedFile("log.csv", text.encode())
    answer = client.post(SCREENING, {"file": sent, "upload": "1"}, follow=True)
    return str(answer.content.decode())


def counted(study: Study, *, by_arm: bool = False, days: float = 0.0) -> Flow:
    return count(
        screenings=Screening.objects.filter(study=study),
        people=study.participants.all(),
        now=START + timedelta(days=days) if days else timezone.now(),
        arms=names_shown(study) if by_arm else None,
    )


def test_a_file_of_the_log_is_entered_whole_and_counted(study: Study, cora: Client) -> None:
    lines = ["1,S1,2026-03-01,eligible,", "2,S1,2026-03-02,not_eligible,pregnant"]
    lines += ["3,S1,2026-03-02,not_eligible,pregnant", "4,S1,2026-03-03,declined,no time"]
    assert "Entered: 4." in send(cora, HEAD + "\n".join(lines))
    flow = counted(study)
    assert (flow.screened, flow.eligible, flow.n_excluded) == (4, 1, 3)
    assert [(one.reason, one.n) for one in flow.excluded] == [("pregnant", 2), ("no time", 1)]
    entered = AuditEvent.objects.filter(action="screening.entered")
    assert {event.site for event in entered} == {study.sites.get()}
    assert entered.count() == 4


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("number,site\n1,S1\n", "missing: outcome, reason, screened_on."),
        (HEAD, "The file has no entries."),
        (HEAD + "1,S9,2026-03-01,eligible,\n", "Line 2: site &#x27;S9&#x27; is none of S1."),
        (HEAD + "1,S1,1/3/2026,eligible,\n", "write the date as 2026-03-31"),
        (HEAD + "1,S1,2999-03-01,eligible,\n", "is to come"),
        (HEAD + "1,S1,2026-03-01,maybe,\n", "the outcome is one of eligible"),
        (HEAD + "1,S1,2026-03-01,declined,\n", "give a reason to whoever is excluded"),
        (HEAD + "1,S1,2026-03-01,eligible,well\n", "none to the eligible"),
        (HEAD + "=1,S1,2026-03-01,eligible,\n", "use letters, digits"),
        (HEAD + "1,S1,2026-03-01,other," + "x" * 101 + "\n", "keep the reason to 100"),
        (HEAD + "1,S1,2026-03-01,eligible,\n" * 2, "Number 1 is in the log already."),
    ],
)
def test_a_wrong_file_enters_nobody(cora: Client, text: str, sentence: str) -> None:
    assert sentence in send(cora, text)
    assert not Screening.objects.exists()


def test_one_entry_is_entered_by_form(study: Study, cora: Client) -> None:
    form = {"number": "7", "site": study.sites.get().pk, "screened_on": "2026-03-01"}
    assert cora.post(SCREENING, form | {"outcome": "declined"}).status_code == 400
    said = cora.post(SCREENING, form | {"outcome": "declined", "reason": "moves"}, follow=True)
    assert "moves" in page(said)
    assert cora.post(SCREENING, form | {"outcome": "eligible"}).status_code == 400
    assert Screening.objects.get().reason == "moves"


def test_a_coordinator_of_a_site_enters_and_counts_that_site_only(study: Study) -> None:
    second = Site.objects.create(study=study, code="S2", title="Second site")
    sia = sign_in("sia", study, "coordinator", site=second)
    assert "none of S2." in send(sia, HEAD + "1,S1,2026-03-01,eligible,\n")
    assert "Entered: 1." in send(sia, HEAD + "1,S2,2026-03-01,eligible,\n")
    shown = page(sia.get(FLOW))
    assert "Of your sites only: S2" in shown
    assert "Enrolled: 0" in shown
    assert sign_in("ines", study, "investigator").get(SCREENING).status_code == 404


def test_everybody_is_counted_where_they_are(study: Study) -> None:
    flow = counted(study)
    assert (flow.enrolled, flow.not_randomised) == (9, 1)
    (everybody,) = flow.groups
    assert (everybody.randomised, everybody.withdrew, everybody.analysed) == (8, 1, 8)
    assert sum(n for stage, _, n in rows(flow) if stage == "randomised") == 8


def test_who_answers_nothing_for_four_weeks_is_silent_unless_nobody_asked(study: Study) -> None:
    assert counted(study, days=60).groups[0].silent == 0  # asked for three days only
    person = study.participants.get(code="P01")
    person.responses.update(completed_at_corrected=START - 40 * DAY)
    assert counted(study, days=60).groups[0].silent == 1
    assert counted(study, days=20).groups[0].silent == 0  # not asked for four weeks yet


@pytest.mark.parametrize("masking", ["open", "double_blind"])
@pytest.mark.parametrize("role", ["coordinator", "investigator", "statistician"])
def test_arms_are_told_to_whoever_may_compare(study: Study, role: str, masking: str) -> None:
    Study.objects.update(masking=masking)
    client = sign_in(role, study, role)
    may = role == "statistician" or (role, masking) == ("investigator", "open")
    for path in ("", "flow.svg", "flow.csv"):
        answer = client.get(FLOW + path)
        assert answer.status_code == 200
        assert ("clonidine" in answer.content.decode()) is may, path
    assert client.get(f"{FLOW}flow.pdf").status_code == 404


def test_the_figure_is_a_drawing_that_can_be_read_aloud(study: Study) -> None:
    client = sign_in("sam", study, "statistician")
    svg = client.get(f"{FLOW}flow.svg").content.decode()
    drawn = ElementTree.fromstring(svg)  # noqa: S314 - made here
    assert [child.tag.split("}")[1] for child in drawn][:2] == ["title", "desc"]
    assert "style" not in svg
    texts = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Enrolled: 9", "Not randomised: 1", "Randomised: 4"} <= set(texts)
    numbers = [int(n) for n in re.findall(r'y="(\d+)"', svg)]
    height = re.search(r'viewBox="0 0 640 (\d+)"', svg)
    assert height
    assert max(numbers) < int(height[1])


def test_numbers_that_do_not_add_up_are_said(cora: Client) -> None:
    assert "has 0 eligible, but 9 are enrolled" in page(cora.get(FLOW))


def test_where_arms_are_coded_the_flow_has_codes(study: Study) -> None:
    give_labels(study)
    Study.objects.filter(pk=study.pk).update(closed_labels="coded")
    study.refresh_from_db()
    assert [group.name for group in counted(study, by_arm=True).groups] == ["A", "B"]
