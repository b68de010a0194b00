"""`manage.py database_role NAME`: the role as which web, worker and beat connect."""

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import ProgrammingError, connection

from ema import database_role

ALONE = "Say what to do: a role's name prints what it needs, --check looks at the one in use."


class Command(BaseCommand):
    """Exit code 1: the trail can be changed, or it was refused. 2: nothing sensible was asked."""

    help = (
        "Print the SQL that makes a database role for the application: it reads and writes the "
        "trial's rows, and only adds to the audit trail. Run it as the role that migrates, after "
        "each migrate, and name the new role in the DATABASE_URL of web, worker and beat. "
        "Example: manage.py database_role fourbeat_app --apply"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role", metavar="NAME", nargs="?", help="such as fourbeat_app")
        parser.add_argument("--apply", action="store_true", help="do it instead of printing it")
        parser.add_argument(
            "--password-env",
            metavar="VARIABLE",
            help="with --apply: the role's password is in this environment variable",
        )
        parser.add_argument(
            "--check",
            action="store_true",
            help="say whether the role that DATABASE_URL names could change the audit trail",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"] == bool(options["role"]):
            raise CommandError(ALONE, returncode=2)
        if options["check"]:
            self._check()
            return
        try:
            self._make(options["role"], options)
        except (database_role.RoleRefused, ProgrammingError) as error:
            raise CommandError(str(error).strip(), returncode=1) from error

    def _make(self, name: str, options: dict[str, Any]) -> None:
        if not options["apply"]:
            connection.ensure_connection()
            for statement in database_role.statements(name):
                self.stdout.write(statement.as_string(connection.connection) + ";")
            return
        database_role.apply(name, self._password(options["password_env"]))
        self.stdout.write(f"{name} works on the trial's rows and only adds to the audit trail.")

    def _password(self, variable: str | None) -> str | None:
        if variable is None:
            return None
        if not os.environ.get(variable):
            raise CommandError(f"{variable} is not set: it names the password.", returncode=2)
        return os.environ[variable]

    def _check(self) -> None:
        found = database_role.what_it_may()
        if found:
            raise CommandError(
                f"The audit trail can be changed through this connection: {'; '.join(found)}. "
                "docs/operations.md tells how to give the application a role of its own.",
                returncode=1,
            )
        self.stdout.write("Through this connection the audit trail can only be read and added to.")
