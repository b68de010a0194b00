"""`manage.py grant ROLE USER --study SLUG`: give somebody a role."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ema import audit, studies
from ema.management.named import named, study_named
from ema.models import Site
from ema.models.study import Role


class Command(BaseCommand):
    help = (
        "Give a user a role in a study. A coordinator may be kept to one site. "
        "Example: manage.py grant statistician ada --study demo"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role", choices=Role.values)
        parser.add_argument(
            "user", help="user name (make users in the admin or by createsuperuser)"
        )
        parser.add_argument("--study", required=True, help="the study's short name")
        parser.add_argument("--site", help="a site's code: keeps a coordinator to this site")

    def handle(self, *args: Any, **options: Any) -> None:
        study = study_named(options["study"])
        user = named(User, "user", username=options["user"])
        site = named(Site, "site", study=study, code=options["site"]) if options["site"] else None
        try:
            is_new = studies.grant(
                user=user, role=options["role"], study=study, site=site, actor=audit.COMMAND
            )
        except studies.RoleRefused as error:
            raise CommandError(str(error), returncode=2) from error
        said = "is now" if is_new else "was already"
        self.stdout.write(f"{user} {said} {options['role']} of {site or study}.")
