"""`manage.py unblind STUDY CODE --by USER --reason WORDS`: tell one participant's arm."""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from ema import access, unblinding
from ema.access import NoAccess
from ema.audit import Actor
from ema.management.named import study_named
from ema.management.unblinding import UnblindingCommand
from ema.unblinding import UnblindingRefused


class Command(UnblindingCommand):
    help = (
        "Tell one participant's arm to their pharmacist in an emergency, also when the pages are "
        "down. It is written down for good, and shown once. "
        "Example: manage.py unblind demo S1-004 --by petra --reason 'anaphylaxis, ward asks'"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument("participant", metavar="CODE", help="the participant's code")
        self.add_who_asks(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        study, code = study_named(options["study"]), options["participant"]
        user = self.who_asks(options, code, f"The arm of {code} is told to {options['by']}.")
        try:
            participant = access.participant_to_unblind(user=user, study=study, code=code)
            unblinding.refuse_not_allocated(participant)
            self.prove(user, options)
            told = unblinding.unblind(
                participant=participant,
                by=user,
                reason=options["reason"],
                now=timezone.now(),
                actor=Actor(user=user, door="command"),
            )
        except (NoAccess, UnblindingRefused) as error:
            raise CommandError(str(error), returncode=1) from error
        self.stdout.write(" ".join(filter(None, [told.arm, told.title])))
        if not_sent := unblinding.send_word(told.unblinding):
            self.stderr.write(not_sent)
