"""`manage.py allocate STUDY CODE`: the next slot of the allocation list for a participant."""

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from ema import allocation
from ema.allocation import AllocationRefused, Confirmed, Told
from ema.audit import COMMAND
from ema.consents import Agreed, newest_consent
from ema.management.named import named, study_named
from ema.management.options import one_factor
from ema.models import Participant


class Command(BaseCommand):
    """Exit code 1: refused. Exit code 2: there is no such study or participant."""

    help = (
        "Allocate a participant once eligibility and consent are confirmed, or mark an allocation "
        "as made in error. Asking again tells the same; the arm is told in open studies only. "
        "Example: manage.py allocate demo S1-004 --eligible --consent-version 2.0 "
        "--consented-on 2026-03-01 --factor sex=female"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument("code", metavar="CODE", help="the participant's code")
        parser.add_argument(
            "--eligible", action="store_true", help="confirm that every criterion is met"
        )
        parser.add_argument(
            "--consent-version",
            metavar="VERSION",
            help="of the form; default: the one recorded last",
        )
        parser.add_argument(
            "--consented-on",
            type=date.fromisoformat,
            metavar="DATE",
            help="2026-03-01; default: as recorded last, or today where the participant lives",
        )
        parser.add_argument(
            "--factor",
            type=one_factor,
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="where the list is stratified by more than the site: sex=female",
        )
        parser.add_argument(
            "--in-error",
            metavar="REASON",
            help="mark the allocation as made in error: its slot stays spent, the arm is analysed",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        study, now = study_named(options["study"]), timezone.now()
        person = named(Participant, "participant", study=study, code=options["code"])
        by: dict[str, Any] = {"participant": person, "now": now, "actor": COMMAND}
        try:
            if options["in_error"] is not None:
                told = allocation.mark_randomised_in_error(reason=options["in_error"], **by)
            else:
                told = allocation.allocate(confirmed=_confirmed(person, options), **by)
        except AllocationRefused as error:
            raise CommandError(str(error), returncode=1) from error
        self.stdout.write(f"{person} is allocated: {in_words(told)}.")


def _confirmed(person: Participant, options: dict[str, Any]) -> Confirmed:
    """What was typed; consent that was recorded need not be typed again."""
    today = timezone.now().astimezone(ZoneInfo(person.zone)).date()
    agreed = newest_consent(person) or Agreed("", today)
    return Confirmed(
        is_eligible=options["eligible"],
        consent_version=options["consent_version"] or agreed.version,
        consented_on=options["consented_on"] or agreed.given_on,
        factors=dict(options["factor"]),
    )


def in_words(told: Told) -> str:
    parts = [f"slot {told.position} of {told.stratum}"] if told.position else ["without a list"]
    parts += [f"kit {told.kit_code}"] if told.kit_code else []
    parts += [f"arm {told.arm}"] if told.arm else []
    parts += [f"randomised in error: {told.in_error_reason}"] if told.in_error_at else []
    return ", ".join(parts)
