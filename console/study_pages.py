"""The pages of this package that every study has, and who may open them."""

from ema.models.study import Role
from ema.pages import StudyPage

COORDINATORS = frozenset({Role.COORDINATOR.value})
PAGES: list[StudyPage] = [
    StudyPage("Allocation", "console:allocation", COORDINATORS, "Care"),
]
