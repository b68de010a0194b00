"""Names of time zones: which are accepted wherever somebody writes one.

The scheduler, which knows nothing of this package, has the same rule; a test compares the two.
"""

from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

NO_PLACE = frozenset({"Factory"})  # tzdata's word for "not configured"


@cache
def zone_names() -> frozenset[str]:
    """Every name in the pinned `tzdata` package that means a place or an offset, old ones too."""
    listed = files("tzdata").joinpath("zones").read_text(encoding="utf-8")
    return frozenset(listed.split()) - NO_PLACE


def zone_named(name: str) -> ZoneInfo:
    """The zone, or ValueError in words."""
    if name not in zone_names():
        raise ValueError(f"zone {name!r} is unknown: write an IANA name such as Europe/Brussels.")
    return ZoneInfo(name)
