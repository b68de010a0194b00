"""`manage.py alerts STUDY`: list safety alerts, acknowledge one, add a note."""

import json
from collections.abc import Iterator
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from ema import access, alert_reading, alerts
from ema.access import NoAccess
from ema.audit import Actor
from ema.management.named import named, study_named
from ema.models import Alert
from ema.models.alert import Action

NUMBER_AND_USER = "Name who acknowledges or writes: --as USER, and say in words what: --text."


class Command(BaseCommand):
    """Exit code 2: no such study, user or alert. Exit code 1: it is refused."""

    help = (
        "List the safety alerts of a study, open ones first; acknowledge one with what was done, "
        "or add a note to it, as somebody who looks after the participant. Examples: manage.py "
        "alerts demo --open; manage.py alerts demo --acknowledge 12 --action called --text 'Spoke "
        "to them, all is well.' --as cora"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument("--open", action="store_true", help="only those that wait")
        parser.add_argument("--json", action="store_true", help="as JSON, with all there is")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--acknowledge", metavar="N", type=int, help="acknowledge alert N")
        what.add_argument("--note", metavar="N", type=int, help="add a note to alert N")
        parser.add_argument("--action", choices=Action.values, help="what was done")
        parser.add_argument("--text", default="", help="what was done, or the note, in words")
        parser.add_argument("--as", dest="user", metavar="USER", help="whose doing it is")

    def handle(self, *args: Any, **options: Any) -> None:
        study = study_named(options["study"])
        number = options["acknowledge"] or options["note"]
        if number is not None:
            self._write(study.slug, number, options)
            return
        if options["action"] or options["text"] or options["user"]:
            raise CommandError("Say which alert: --acknowledge N or --note N.", returncode=2)
        state = "open" if options["open"] else "all"
        found = Alert.objects.filter(rule__study=study)
        shown = list(alert_reading.chosen(found, {"state": state}))
        if options["json"]:
            listed = [alert_reading.content(alert) for alert in shown]
            self.stdout.write(json.dumps(listed, indent=2, ensure_ascii=False))
            return
        for line in _lines(shown):
            self.stdout.write(line)
        for sentence in alert_reading.trouble(found, timezone.now()):
            self.stderr.write(sentence)

    def _write(self, slug: str, number: int, options: dict[str, Any]) -> None:
        if not options["user"] or not options["text"].strip():
            raise CommandError(NUMBER_AND_USER, returncode=2)
        user = named(User, "user", username=options["user"])
        by: Any = {"text": options["text"], "now": timezone.now(), "actor": Actor(user, "command")}
        try:
            alert = access.access_alert(user=user, slug=slug, number=number)
            if options["note"]:
                alerts.add_note(alert=alert, **by)
            else:
                alerts.acknowledge(alert=alert, action=options["action"] or "", **by)
        except NoAccess as error:
            raise CommandError(str(error), returncode=2) from error
        except alerts.AlertRefused as error:
            raise CommandError(str(error), returncode=1) from error
        done = "has another note" if options["note"] else "is acknowledged"
        self.stdout.write(f"Alert {number} {done}.")


def _lines(shown: list[Alert]) -> Iterator[str]:
    if not shown:
        yield "No alerts."
    for alert in shown:
        end = "open"
        if alert.acknowledged_at:
            at = f"{alert.acknowledged_at:%Y-%m-%d %H:%M} UTC"
            end = f"{alert.acknowledged_by}, {at}: {alert_reading.action_in_words(alert)}"
        yield (
            f"{alert.pk}  {alert.severity}  {alert.participant.code} ({alert.participant.site})  "
            f"{alert.raised_at:%Y-%m-%d %H:%M} UTC  {alert.finding}  [{end}]"
        )
