"""What the two commands that break a blind have in common: who asks, and their proof."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ema import second_factor
from ema.management.named import named
from ema.second_factor import CodeRefused


class UnblindingCommand(BaseCommand):
    """Exit code 1: it is refused or was not confirmed. 2: there is no such study or user."""

    def add_who_asks(self, parser: CommandParser) -> None:
        parser.add_argument("--by", required=True, metavar="USER", help="who asks")
        parser.add_argument("--reason", required=True, help="for the audit trail, in words")
        parser.add_argument("--code", help="their second factor, where one is required")
        parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")

    def who_asks(self, options: dict[str, Any], typed: str, warning: str) -> User:
        """The user, once they have confirmed by writing `typed`."""
        user: User = named(User, "user", username=options["by"])
        if not options["yes"] and self._asked(f"{warning} Write {typed} to go on: ") != typed:
            raise CommandError("Nothing was unblinded.", returncode=1)
        return user

    def prove(self, user: User, options: dict[str, Any]) -> None:
        """CommandError unless this is their second factor, where one is required."""
        if not settings.MFA_REQUIRED:
            return
        code = options["code"] or self._asked(f"Six digits of {user}'s phone: ")
        try:
            second_factor.verify(user=user, typed=code)
        except CodeRefused as error:
            raise CommandError(str(error), returncode=1) from error

    def _asked(self, question: str) -> str:
        self.stderr.write(question, ending="")
        try:
            return input().strip()
        except EOFError:
            return ""
