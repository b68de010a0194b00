"""The pages of this package that every study has, and who may open them."""

from console.alerts import open_alerts
from console.entries import entries_to_make
from ema.access import CARERS, READERS, TRAIL_READERS, UNBLINDERS
from ema.models.study import Role
from ema.pages import ADMINISTRATORS, StudyPage

PHARMACISTS = frozenset({Role.PHARMACIST.value})
COORDINATORS = frozenset({Role.COORDINATOR.value})
PAGES: list[StudyPage] = [
    StudyPage("Today", "console:today", READERS, "Care"),
    StudyPage("Participants", "console:participants", READERS, "Care"),
    StudyPage("Compliance", "console:compliance", READERS, "Care"),
    StudyPage("Safety alerts", "console:alerts", CARERS, "Care", waiting=open_alerts),
    StudyPage("Screening log", "console:screening", COORDINATORS, "Care"),
    StudyPage("Enrol", "console:enrol", COORDINATORS, "Care"),
    StudyPage("Urine calendar", "console:urine", READERS, "Care"),
    StudyPage(
        "Double entry",
        "console:entries",
        COORDINATORS,
        "Care",
        waiting=entries_to_make,
        is_used=lambda study: study.double_entry,
    ),
    StudyPage("Flow of participants", "console:flow", READERS, "Trial"),
    StudyPage("Adverse events", "console:adverse-events", READERS, "Care"),
    StudyPage("Allocation", "console:allocation", COORDINATORS, "Care"),
    StudyPage("Set-up", "console:set-up", ADMINISTRATORS, "Trial"),
    StudyPage("Allocation lists", "console:allocation-lists", ADMINISTRATORS, "Trial"),
    StudyPage("Emergency unblinding", "console:unblind", PHARMACISTS, "Care"),
    StudyPage("Unblind the study", "console:unblind-study", UNBLINDERS, "Results"),
    StudyPage("Audit trail", "console:audit", TRAIL_READERS, "Data"),
]
