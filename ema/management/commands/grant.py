"""`manage.py grant ROLE USER --study SLUG`: give somebody a role."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ema import audit, studies
from ema.models import Site, Study
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
        study = find(Study, "study", slug=options["study"])
        user = find(User, "user", username=options["user"])
        site = find(Site, "site", study=study, code=options["site"]) if options["site"] else None
        is_new = studies.grant(
            user=user, role=options["role"], study=study, site=site, actor=audit.COMMAND
        )
        said = "is now" if is_new else "was already"
        self.stdout.write(f"{user} {said} {options['role']} of {site or study}.")


def find(model: Any, what: str, **named: Any) -> Any:
    """The record, or a sentence that lists the ones there are."""
    found = model.objects.filter(**named).first()
    if found is None:
        *_, asked = named.values()
        there = ", ".join(str(each) for each in model.objects.all()[:20]) or "none yet"
        raise CommandError(f"There is no {what} {asked!r}. There are: {there}.", returncode=2)
    return found
