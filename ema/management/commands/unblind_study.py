"""`manage.py unblind_study STUDY propose|confirm|withdraw`: two persons break a study's blind."""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from ema import access, unblinding
from ema.access import NoAccess
from ema.audit import Actor
from ema.management.named import study_named
from ema.management.unblinding import UnblindingCommand
from ema.unblinding import UnblindingRefused

STEPS = {
    "propose": (unblinding.propose, "The unblinding of {} is proposed: another person confirms."),
    "confirm": (unblinding.confirm, "Study {} is unblinded."),
    "withdraw": (unblinding.withdraw, "The proposal to unblind {} is withdrawn."),
}


class Command(UnblindingCommand):
    help = (
        "Break the blind of a locked study: one statistician or pharmacist proposes, another one "
        "confirms; then everybody with access sees arms, and nothing takes it back. "
        "Example: manage.py unblind_study demo propose --by petra --reason 'database locked'"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument("step", choices=STEPS, help="what is to be done")
        self.add_who_asks(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        study = study_named(options["study"])
        user = self.who_asks(options, study.slug, f"To {options['step']}: unblinding {study}.")
        step, done = STEPS[options["step"]]
        try:
            access.access_unblinding(user=user, slug=study.slug)
            self.prove(user, options)
            step(
                study=study,
                by=user,
                reason=options["reason"],
                now=timezone.now(),
                actor=Actor(user=user, door="command"),
            )
        except (NoAccess, UnblindingRefused) as error:
            raise CommandError(str(error), returncode=1) from error
        self.stdout.write(done.format(study))
