#!/usr/bin/env python
"""The trial's command line: `python manage.py help` lists what it can do."""

import os
import sys

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import ManagementUtility
from django.core.management.base import BaseCommand
from django.db import OperationalError

from ema import embedded

NEED_NO_SERVERS = {"help", "version", "check", "fit", "collectstatic", "spectacular", "vapid_keys"}
WRONG_SET_UP = 2


class CommandLine(ManagementUtility):
    """Django's, which starts servers for the commands that need them."""

    def fetch_command(self, subcommand: str) -> BaseCommand:
        try:
            command = super().fetch_command(subcommand)
        except SystemExit:  # it said that there is no such command
            sys.exit(WRONG_SET_UP)
        if needs_servers(self.argv):
            embedded.ensure_where_unset(settings.STATE_DIR)
        return command


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ema.settings")
    try:
        settings.STATE_DIR  # noqa: B018 - a wrong setting is refused before anything else
        CommandLine(sys.argv).execute()
    except (embedded.EmbeddedServersError, ImproperlyConfigured) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a sentence for whoever set it up
        sys.exit(WRONG_SET_UP)
    except OperationalError as error:
        if "--traceback" in sys.argv:
            raise
        print(unreachable(error), file=sys.stderr)  # noqa: T201
        sys.exit(WRONG_SET_UP)


def needs_servers(arguments: list[str]) -> bool:
    command = arguments[1] if len(arguments) > 1 else "help"
    asks_for_help = "-h" in arguments or "--help" in arguments
    return not (command.startswith("-") or command in NEED_NO_SERVERS or asks_for_help)


def unreachable(error: OperationalError) -> str:
    where = settings.DATABASES["default"]
    named = "DATABASE_URL" if settings.DATABASE_URL else "the embedded servers"
    return (
        f"The database {where['NAME']!r} at {where['HOST'] or 'the local socket'} "
        f"(from {named}) did not do its work: {str(error).strip()} (--traceback shows where)"
    )


if __name__ == "__main__":
    main()
