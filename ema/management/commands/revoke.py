"""`manage.py revoke ROLE USER --study SLUG`: take a role away."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ema import audit, studies
from ema.management.roles import SHOWN, add_role_arguments, role_asked_for
from ema.models import Membership


class Command(BaseCommand):
    help = (
        "Take a role away from a user; it holds from their next request on. A role at one site "
        "is named with that site. Example: manage.py revoke statistician ada --study demo"
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, **SHOWN, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        add_role_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        asked = role_asked_for(options)
        where = asked["site"] or asked["study"]
        held = Membership.objects.filter(**asked).first()
        if held is None or not studies.revoke(membership=held, actor=audit.COMMAND):
            raise CommandError(
                f"{asked['user']} is not {asked['role']} of {where}. {_roles_of(asked)}",
                returncode=1,
            )
        self.stdout.write(f"{asked['user']} is no longer {asked['role']} of {where}.")


def _roles_of(asked: dict[str, Any]) -> str:
    """What they are in this study, in words."""
    held = Membership.objects.filter(user=asked["user"], study=asked["study"])
    listed = [
        f"{one.role} of {one.site or one.study}"
        for one in held.select_related("study", "site").order_by("role", "site")
    ]
    return f"They are {', '.join(listed)}." if listed else "They hold no role in this study."
