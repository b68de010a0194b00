"""`manage.py reset_second_factor USER --reason WORDS`: let somebody enrol another phone."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ema import audit, second_factor
from ema.management.named import named


class Command(BaseCommand):
    help = (
        "Forget the phone and the recovery codes of a user who lost both: the next time they sign "
        "in they enrol a phone anew. Make sure who asks. "
        "Example: manage.py reset_second_factor ada --reason 'phone stolen, seen in person'"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", metavar="USER", help="user name")
        parser.add_argument("--reason", required=True, help="for the audit trail, in words")

    def handle(self, *args: Any, **options: Any) -> None:
        user = named(User, "user", username=options["user"])
        reason = options["reason"].strip()
        if not reason:
            raise CommandError("Say in words why the second factor is reset.", returncode=2)
        if not second_factor.reset(user=user, actor=audit.COMMAND, reason=reason):
            raise CommandError(f"{user} has enrolled no second factor.", returncode=1)
        self.stdout.write(f"{user} enrols a phone when they sign in next.")
