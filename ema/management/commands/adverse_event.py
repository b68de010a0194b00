"""`manage.py adverse_event STUDY list|report|correct|strike`: what the page does."""

import csv
import uuid
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from ema import adverse_events, double_entry, entry_pairs
from ema.adverse_events import SAID, EventRefused
from ema.audit import COMMAND
from ema.double_entry import EntryRefused
from ema.management.entering import who_enters
from ema.management.named import named, study_named
from ema.models import AdverseEvent, Participant, Study
from ema.models.adverse_event import ActionTaken, EventOutcome, Relatedness, Severity

NEEDED = ("term", "severity", "relatedness", "started_on")


class Command(BaseCommand):
    """Exit code 1: the event cannot be kept like this. Exit code 2: no such study or event."""

    help = (
        "List the adverse events of a study as CSV, report one, correct one with a reason, or "
        "strike out one that was entered in error. Example: manage.py adverse_event demo report "
        "S1-001 --term headache --severity mild --relatedness possible --started-on 2026-06-01"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        does = parser.add_subparsers(
            dest="does", required=True, metavar="list|report|correct|strike"
        )
        does.add_parser("list", help="all of them as CSV, struck ones too")
        report = does.add_parser("report", help="keep a new one")
        report.add_argument("code", metavar="CODE", help="the participant's code")
        report.add_argument(
            "--key",
            type=uuid.UUID,
            help="a UUID of your own: the same one again adds no second event",
        )
        report.add_argument(
            "--by",
            metavar="USER",
            help="who enters it, a coordinator: needed where two people enter each event",
        )
        _add_said(report, is_new=True)
        correct = does.add_parser("correct", help="change what is said of one")
        _add_said(correct, is_new=False)
        strike = does.add_parser("strike", help="count one nowhere, as it was an error")
        for each in (correct, strike):
            each.add_argument("number", metavar="NUMBER", type=int, help="as list has it")
            each.add_argument("--reason", required=True, help="why; what was before is kept")

    def handle(self, *args: Any, **options: Any) -> None:
        study = study_named(options["study"])
        steps = {
            "list": self._list,
            "report": self._report,
            "correct": self._correct,
            "strike": self._strike,
        }
        try:
            steps[options["does"]](study, options)
        except (EventRefused, EntryRefused) as error:
            raise CommandError(str(error), returncode=1) from error

    def _list(self, study: Study, options: dict[str, Any]) -> None:
        lines = csv.writer(self.stdout, lineterminator="\n")
        lines.writerow(["number", "participant", *SAID, "struck"])
        found = AdverseEvent.objects.filter(participant__study=study).order_by("pk")
        for event in found.select_related("participant"):
            said = [getattr(event, name) for name in SAID]
            lines.writerow([event.pk, event.participant.code, *said, event.struck_at is not None])

    def _report(self, study: Study, options: dict[str, Any]) -> None:
        actor, sites = who_enters(study, options["by"])
        told = double_entry.report_event(
            participant=named(Participant, "participant", site__in=sites, code=options["code"]),
            key=options["key"] or uuid.uuid4(),
            said=_said(options),
            now=timezone.now(),
            actor=actor,
        )
        self.stdout.write(entry_pairs.in_words(told))

    def _correct(self, study: Study, options: dict[str, Any]) -> None:
        event = _event(study, options)
        is_new = adverse_events.correct(
            event=event,
            said=_said(options),
            reason=options["reason"],
            now=timezone.now(),
            actor=COMMAND,
        )
        said = "is corrected" if is_new else "says so already"
        self.stdout.write(f"Adverse event {event.pk} {said}.")

    def _strike(self, study: Study, options: dict[str, Any]) -> None:
        event = _event(study, options)
        is_new = adverse_events.strike(
            event=event, reason=options["reason"], now=timezone.now(), actor=COMMAND
        )
        said = "is struck out" if is_new else "was struck out already"
        self.stdout.write(f"Adverse event {event.pk} {said}.")


def _add_said(parser: Any, *, is_new: bool) -> None:
    parser.add_argument("--term", required=is_new, help="in a few words: headache")
    for name, words in (
        ("severity", Severity),
        ("relatedness", Relatedness),
        ("outcome", EventOutcome),
        ("action_taken", ActionTaken),
    ):
        parser.add_argument(_option(name), choices=words.values, required=is_new and name in NEEDED)
    parser.add_argument("--serious", dest="is_serious", choices=["yes", "no"])
    for name in ("started_on", "ended_on"):
        parser.add_argument(
            _option(name),
            type=date.fromisoformat,
            metavar="DATE",
            required=is_new and name in NEEDED,
            help="as 2026-06-01",
        )
    parser.add_argument("--description", help="whatever else is to be known")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _said(options: dict[str, Any]) -> dict[str, Any]:
    """What was said; what was not stays as it is."""
    found = {name: options[name] for name in SAID if options[name] is not None}
    if "is_serious" in found:
        found["is_serious"] = found["is_serious"] == "yes"
    return found


def _event(study: Study, options: dict[str, Any]) -> AdverseEvent:
    return named(AdverseEvent, "adverse event", participant__study=study, pk=options["number"])
