"""What every file of a package may say of where it comes from."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class About:
    """A snapshot, as its files name it."""

    study: str
    title: str
    identity: str
    moment: datetime
    masking: str
    software: str

    @property
    def name(self) -> str:
        """What the package is called: `<study>_<first eight of the id>`."""
        return f"{self.study}_{self.identity[:8]}"
