"""Setting up phases: what cannot work is refused in words, what changes is written down."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone
from hypothesis import example, given
from hypothesis import strategies as st

from ema import audit, hours, phases, studies
from ema.admin.text_fields import ParagraphsField
from ema.models import AuditEvent, Phase, Study
from scheduler.planning import plan_prompts
from tests import trial

pytestmark = pytest.mark.django_db


@pytest.fixture
def root() -> Client:
    client = Client()
    client.force_login(User.objects.create_user("root", is_superuser=True))
    return client


def is_tidy(text: str) -> bool:
    """Not empty, without blanks at either end, and with no other end of a line than a newline."""
    return text == text.strip() != "" and not {"\0", "\r"} & set(text)


def the_phase(study: Study) -> Phase:
    return Phase.objects.get(study=study)


def form_of(study: Study, **changes: Any) -> dict[str, Any]:
    """The study's admin form with its one phase, some fields of which are changed."""
    phase, site = the_phase(study), study.sites.get()
    fields = phases.protocol(phase) | changes
    if "windows" not in changes:
        fields["windows"] = hours.in_words(phase.windows)
    for name in {"fixed_times", "reminders_after"} - changes.keys():
        fields[name] = ", ".join(map(str, fields[name]))
    content = {f"phases-0-{name}": v for name, v in fields.items() if v is not None}
    content |= {"phases-0-id": phase.pk, "phases-0-study": study.pk}
    for prefix, count in {"sites": 1, "arms": 0, "phases": 1}.items():
        content |= {f"{prefix}-TOTAL_FORMS": count, f"{prefix}-INITIAL_FORMS": count}
    shown = {name: getattr(site, name) for name in ("id", "code", "title", "zone")}
    content |= {f"sites-0-{name}": value for name, value in shown.items()}
    own = {
        "slug": study.slug,
        "title": study.title,
        "masking": study.masking,
        "closed_labels": "named",
        "zone": study.zone,
    }
    own["travel"] = study.travel
    return {**content, **own}


def save(client: Client, study: Study, **changes: Any) -> str:
    answer = client.post(f"/admin/ema/study/{study.pk}/change/", form_of(study, **changes))
    return str(answer.content.decode()) if answer.status_code == 200 else ""


def test_a_protocol_that_cannot_work_is_refused_when_it_is_saved(root: Client) -> None:
    study = trial.make_study(has_started=False)
    said = save(root, study, prompts_per_day=15)
    assert "15 prompts at least 1 h apart need 15 h, but the windows last only" in said
    assert the_phase(study).prompts_per_day == 4
    said = save(root, study, windows="every day: 08:00 to 22:00\nFriday: 21:00 to 23:00")
    assert "overlap" in said


def test_a_window_without_length_is_refused(root: Client) -> None:
    study = trial.make_study(has_started=False)
    said = save(root, study, windows="Monday to Friday: 08:00 to 08:00")
    assert "The window 08:00–08:00 has no length: let it end after it starts" in said
    assert save(root, study, windows="Monday to Friday: 00:00 to 00:00") == ""


def test_times_are_written_in_words(root: Client) -> None:
    study = trial.make_study(has_started=False)
    words = {
        "windows": "Mon-Fri: 8:00 to 22:00\nSaturday and Sunday: 09:30 to 01:00",
        "reminders_after": "10, 20",
    }
    assert save(root, study, **words) == ""
    phase = the_phase(study)
    assert phase.windows == [
        {"weekdays": [1, 2, 3, 4, 5], "start": "08:00", "end": "22:00"},
        {"weekdays": [6, 7], "start": "09:30", "end": "01:00"},
    ]
    assert phase.reminders_after == [10, 20]
    assert save(root, study, design="fixed", fixed_times="9:00, 21:30") == ""
    assert the_phase(study).fixed_times == ["09:00", "21:30"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"windows": "every day 08:00 to 22:00"}, "is not a window. Write one a line, days first"),
        ({"windows": ""}, "This field is required."),
        ({"fixed_times": "09:00, noon"}, "&#x27;noon&#x27; is not a time of the day"),
        ({"fixed_times": "09:00+02:00"}, "&#x27;09:00+02:00&#x27; is not a time of the day"),
        ({"reminders_after": "10, -5"}, "&#x27;-5&#x27; is not a number of minutes"),
        ({"reminders_after": "0"}, "&#x27;0&#x27; is not a number of minutes"),
        ({"reminders_after": "9" * 5000}, "is not a number of minutes"),
        ({"reminders_after": "29, 30"}, "A reminder 30 minutes after the prompt is too late"),
    ],
)
def test_words_that_say_no_time_are_refused(
    root: Client, changes: dict[str, str], sentence: str
) -> None:
    study = trial.make_study(has_started=False)
    said = save(root, study, **changes)
    assert sentence in said
    assert next(iter(changes.values())) in said, "what was written is still there"


@pytest.mark.parametrize("whose", ["zone", "sites-0-zone"])
def test_an_unknown_zone_is_refused_when_it_is_saved(root: Client, whose: str) -> None:
    study = trial.make_study(has_started=False)
    form = form_of(study) | {whose: "Europe/Bruxelles"}
    said = root.post(f"/admin/ema/study/{study.pk}/change/", form).content.decode()
    assert "Europe/Bruxelles&#x27; is unknown: write an IANA name such as Europe/Brussels" in said


def test_a_phase_does_not_begin_before_what_it_starts_from(root: Client) -> None:
    study = trial.make_study(has_started=False)
    assert "greater than or equal to 0" in save(root, study, offset_days=-3)
    assert the_phase(study).offset_days == 0


def test_a_change_before_anybody_is_asked_is_saved_and_audited(root: Client) -> None:
    study = trial.make_study()
    assert save(root, study, prompts_per_day=6) == ""
    assert the_phase(study).prompts_per_day == 6
    event = AuditEvent.objects.get(action="phase.changed")
    assert (event.subject, event.study, event.door) == ("phase treatment", study, "admin")
    assert event.before
    assert event.after
    assert (event.before["prompts_per_day"], event.after["prompts_per_day"]) == (4, 6)


def test_saving_without_a_change_writes_nothing_down(root: Client) -> None:
    study = trial.make_study()
    trial.enrol(study, "S1", "UTC", timezone.now())
    plan_prompts(timezone.now())
    assert save(root, study) == ""
    assert not AuditEvent.objects.filter(action__startswith="phase.")


def test_a_phase_with_prompts_stays_as_it_is(root: Client) -> None:
    study = trial.make_study()
    trial.enrol(study, "S1", "UTC", timezone.now())
    plan_prompts(timezone.now())
    assert "Phase treatment has prompts already" in save(root, study, prompts_per_day=6)
    assert the_phase(study).prompts_per_day == 4


@pytest.mark.parametrize("change", ["expires_by_window_end", "self_initiated_daily_cap"])
def test_expiry_and_cap_are_settled_with_the_rest(root: Client, change: str) -> None:
    study = trial.make_study()
    assert save(root, study, self_initiated_daily_cap=3) == ""
    assert the_phase(study).self_initiated_daily_cap == 3
    trial.enrol(study, "S1", "UTC", timezone.now())
    plan_prompts(timezone.now())
    assert "Phase treatment has prompts already" in save(root, study, **{change: 5})
    assert "greater than or equal to 0" in save(root, study, self_initiated_daily_cap=-1)


def test_no_phase_goes_before_one_that_has_prompts() -> None:
    study = trial.make_study()
    phase = the_phase(study)
    Phase.objects.filter(pk=phase.pk).update(position=2)
    fields = {"study": study, "days": 3, "questionnaire": phase.questionnaire}
    earlier = Phase(key="baseline", position=1, **fields)
    assert phases.problems(earlier, timezone.now()) == []
    trial.enrol(study, "S1", "UTC", timezone.now())
    plan_prompts(timezone.now())
    (problem,) = phases.problems(earlier, timezone.now())
    assert problem.startswith("Phase treatment has prompts already: give phase baseline a position")
    later = Phase(key="follow-up", position=3, **fields)
    assert phases.problems(later, timezone.now()) == []


def test_a_study_with_a_protocol_that_cannot_work_does_not_start() -> None:
    study = trial.make_study(has_started=False, prompts_per_day=15)
    with pytest.raises(studies.NotReady, match="Phase treatment: 15 prompts at least 1 h apart"):
        studies.start(study=study, now=timezone.now(), actor=audit.COMMAND)
    study.refresh_from_db()
    assert study.started_at is None
    Phase.objects.filter(study=study).update(prompts_per_day=14)
    studies.start(study=study, now=timezone.now(), actor=audit.COMMAND)


@pytest.mark.parametrize("named", ["study", "site", "participant"])
def test_models_refuse_an_unknown_zone_and_take_old_names(named: str) -> None:
    study = trial.make_study()
    record: Any = {
        "study": study,
        "site": study.sites.get(),
        "participant": trial.enrol(study, "S1", "UTC", timezone.now()),
    }[named]
    for name in ("Asia/Calcutta", "Europe/Kiev"):
        record.zone = name
        record.full_clean()
    record.zone = "Atlantis/Main"
    with pytest.raises(ValidationError, match="zone 'Atlantis/Main' is unknown: write an IANA"):
        record.full_clean()


@pytest.mark.parametrize(
    ("field", "wrong", "words"),
    [
        ("contact", "Call us", "“Call us” names no language: write en: and the text after it."),
        ("contact", "en: Call us.\nen: Or do not.", "Language en is there twice."),
        ("contact", "en-q!: Call us.", "names no language"),
        ("contact", "en: Call us.\nDE: Rufen", "“DE: Rufen” begins as a language does"),
        ("contact", "en: Call us:\ntel: 0123", "“tel: 0123” begins as a language does"),
        ("contact", "en: Call\0us.", "Null characters are not allowed."),
        ("instructions", "en:", "Write texts by language"),
        ("minimum_app_version", "new", "Write a version in digits"),
    ],
)
def test_texts_of_a_study_are_by_language(root: Client, field: str, wrong: str, words: str) -> None:
    study = trial.make_study()
    path, form = f"/admin/ema/study/{study.pk}/change/", form_of(study)
    assert words in root.post(path, form | {field: wrong}).content.decode()
    contact = "en: Call 0123.\n\nOr write.\nnl: Bel 0123."
    right = {"contact": contact, "instructions": "", "minimum_app_version": "2.1"}
    assert root.post(path, form | right).status_code == 302
    study.refresh_from_db()
    kept = (study.contact, study.instructions, study.minimum_app_version)
    assert kept == ({"en": "Call 0123.\n\nOr write.", "nl": "Bel 0123."}, {}, "2.1")


@given(st.dictionaries(st.sampled_from(["en", "nl", "pt-BR"]), st.text().filter(is_tidy)))
@example({"en": "At\u2028home.\x0bAsk."})
@example({"en": "Ask.\ntel: 012\n\n    at night: 013", "nl": "Vraag."})
def test_texts_are_read_back_as_they_were_stored(texts: dict[str, str]) -> None:
    field = ParagraphsField()
    assert field.clean(field.prepare_value(texts)) == texts


def test_a_study_in_an_unknown_zone_does_not_start() -> None:
    study = trial.make_study(has_started=False)
    study.sites.update(zone="Europe/Bruxelles")
    with pytest.raises(studies.NotReady, match="did you mean Europe/Brussels"):
        studies.start(study=study, now=timezone.now(), actor=audit.COMMAND)


def test_phases_are_added_and_removed_before_the_start(root: Client) -> None:
    study = trial.make_study(has_started=False)
    phase = Phase(
        study=study, key="after", position=2, questionnaire=the_phase(study).questionnaire
    )
    phases.save(phase=phase, actor=audit.COMMAND)
    phases.remove(phase=phase, actor=audit.COMMAND)
    added, removed = AuditEvent.objects.filter(subject="phase after").order_by("id")
    assert (added.action, removed.action) == ("phase.added", "phase.removed")
    assert removed.before == added.after
    assert "phases-0-DELETE" in root.get(f"/admin/ema/study/{study.pk}/change/").content.decode()
    Study.objects.update(started_at=timezone.now())
    shown = root.get(f"/admin/ema/study/{study.pk}/change/").content.decode()
    assert "phases-0-DELETE" not in shown


def test_a_new_study_is_checked_in_its_own_zone(root: Client) -> None:
    study = trial.make_study(has_started=False)
    content = form_of(study, prompts_per_day=15) | {"slug": "new"}
    for name in ("phases-0-id", "phases-0-study", "sites-0-id"):
        del content[name]
    content |= {"phases-INITIAL_FORMS": 0, "sites-INITIAL_FORMS": 0}
    said = root.post("/admin/ema/study/add/", content).content.decode()
    assert "15 prompts at least 1 h apart need 15 h" in said
    assert not Study.objects.filter(slug="new").exists()
    assert (
        root.post("/admin/ema/study/add/", content | {"phases-0-prompts_per_day": 4}).status_code
        == 302
    )
    assert Phase.objects.get(study__slug="new").prompts_per_day == 4
