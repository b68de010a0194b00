"""`manage.py grant ROLE USER --study SLUG`: give somebody a role."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ema import audit, studies
from ema.management.roles import SHOWN, add_role_arguments, role_asked_for


class Command(BaseCommand):
    help = (
        "Give a user a role in a study; a coordinator or a pharmacist may be kept to one site. "
        "An administrator without a role sees no participant and no arm. "
        "Example: manage.py grant statistician ada --study demo"
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, **SHOWN, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        add_role_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        asked = role_asked_for(options)
        try:
            is_new = studies.grant(**asked, actor=audit.COMMAND)
        except studies.RoleRefused as error:
            raise CommandError(str(error), returncode=2) from error
        said = "is now" if is_new else "was already"
        where = asked["site"] or asked["study"]
        self.stdout.write(f"{asked['user']} {said} {asked['role']} of {where}.")
