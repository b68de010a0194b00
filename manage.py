#!/usr/bin/env python
"""The trial's command line: `python manage.py help` lists what it can do."""

import os
import sys

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from ema import embedded

NEED_NO_SERVERS = {"help", "version", "check", "fit", "collectstatic", "spectacular"}


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ema.settings")
    command = sys.argv[1] if len(sys.argv) > 1 else "help"
    try:
        if not command.startswith("-") and command not in NEED_NO_SERVERS and not asks_for_help():
            embedded.ensure_where_unset(settings.STATE_DIR)
    except (embedded.EmbeddedServersError, ImproperlyConfigured) as error:
        sys.exit(f"{error}")
    execute_from_command_line(sys.argv)


def asks_for_help() -> bool:
    return "-h" in sys.argv or "--help" in sys.argv


if __name__ == "__main__":
    main()
