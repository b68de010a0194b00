"""Which version of the code a result comes from."""

import tomllib
from functools import cache

from django.conf import settings


@cache
def software() -> str:
    """Name and version, as in the provenance of a snapshot."""
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())["project"]
    return f"{project['name']} {project['version']}"
