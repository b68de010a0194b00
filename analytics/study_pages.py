"""The pages of this package that every study has, and who may open them."""

from analytics.datasets.snapshots import READERS
from analytics.plans import PLANNERS
from ema.access import COMPARERS
from ema.access import READERS as RECORD_READERS
from ema.pages import StudyPage

PAGES = [
    StudyPage("Comparison of arms", "analytics:comparison", COMPARERS, "Results", True),
    StudyPage("Outcomes", "analytics:outcomes", COMPARERS, "Results", True),
    StudyPage("Reporting numbers", "analytics:cremas", RECORD_READERS, "Results"),
    StudyPage("Analysis plans", "analytics:plans", PLANNERS, "Results"),
    StudyPage("Snapshots", "analytics:snapshots", READERS, "Data"),
]
