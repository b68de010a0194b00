"""What the settings of push services must look like; a wrong one is refused in words."""

import re
from collections.abc import Iterable

from django.core.exceptions import ImproperlyConfigured

HOST = re.compile(r"(?:\*\.)?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::[0-9]{1,5})?")


def refuse_wrong_hosts(hosts: Iterable[str]) -> None:
    """ImproperlyConfigured unless each is a host name, perhaps below `*.` or with a port."""
    for host in hosts:
        if not HOST.fullmatch(host):
            raise ImproperlyConfigured(
                f"PUSH_HOSTS: {host!r} is wrong: write push.example.org or *.push.example.org."
            )
