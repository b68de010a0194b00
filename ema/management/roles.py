"""What the commands that give and take roles have in common."""

from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandParser

from ema.management.named import named, study_named
from ema.models import Site
from ema.models.study import Role

EXPLAINED = {
    Role.COORDINATOR: "enrols and looks after participants, of one site where --site names it",
    Role.INVESTIGATOR: "pooled figures and masked snapshots of the whole study",
    Role.STATISTICIAN: "closed: sees and compares arms, downloads closed snapshots",
    Role.PHARMACIST: "learns one participant's arm in an emergency, and nothing else",
    Role.AUDITOR: "reads and verifies the audit trail, and nothing else",
}
EPILOG = "roles:\n" + "\n".join(f"  {role:13} {text}" for role, text in EXPLAINED.items())
SHOWN = {"formatter_class": RawDescriptionHelpFormatter, "epilog": EPILOG}


def add_role_arguments(parser: CommandParser) -> None:
    parser.add_argument("role", choices=Role.values, metavar="ROLE", help="one of those below")
    parser.add_argument(
        "user", metavar="USER", help="user name (make users in the admin or by createsuperuser)"
    )
    parser.add_argument("--study", required=True, help="the study's short name")
    parser.add_argument("--site", help="a site's code: only there, for coordinator and pharmacist")


def role_asked_for(options: dict[str, Any]) -> dict[str, Any]:
    """What was typed as records, or CommandError that lists what there is."""
    study = study_named(options["study"])
    user = named(User, "user", username=options["user"])
    site = named(Site, "site", study=study, code=options["site"]) if options["site"] else None
    return {"user": user, "role": options["role"], "study": study, "site": site}
