"""`manage.py move_zone STUDY CODE ZONE`: a participant lives in another zone from now on."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from ema import audit, travel
from ema.management.named import named, study_named
from ema.models import Participant


class Command(BaseCommand):
    """Exit code 1: refused, in one sentence. Exit code 2: no such study or participant."""

    help = (
        "Move a participant to another time zone, from the next study day that has not begun. "
        "Days that a phone has already keep their times. Example: "
        "manage.py move_zone demo S1-004 Asia/Tokyo --reason 'lives there from May on'"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument("code", metavar="CODE", help="the participant's code")
        parser.add_argument("zone", metavar="ZONE", help="IANA name, such as Europe/Brussels")
        parser.add_argument("--reason", required=True, help="for the audit trail, in words")

    def handle(self, *args: Any, **options: Any) -> None:
        study = study_named(options["study"])
        who = named(Participant, "participant", study=study, code=options["code"])
        try:
            audit.refuse_no_reason(options["reason"], of=f"participant {who} moves")
            change = travel.move(
                participant=who,
                zone=options["zone"],
                now=timezone.now(),
                actor=audit.COMMAND,
                reason=options["reason"],
            )
        except (travel.ChangeRefused, audit.NoReason) as error:
            raise CommandError(str(error)) from error
        said = (
            f"moves to {change.zone} from {change.effective_on}" if change else "is there already"
        )
        self.stdout.write(f"Participant {who} {said}.")
