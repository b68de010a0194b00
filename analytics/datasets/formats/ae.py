"""Adverse events as the domain AE of SDTM: its variables, and every event in its words."""

from collections.abc import Iterator, Mapping
from typing import Any

from analytics.datasets.reading import Written, named_cells

LABEL = "Adverse Events"
VARIABLES = {  # name: label, type
    "STUDYID": ("Study Identifier", "string"),
    "DOMAIN": ("Domain Abbreviation", "string"),
    "USUBJID": ("Unique Subject Identifier", "string"),
    "AESEQ": ("Sequence Number", "integer"),
    "AESPID": ("Sponsor-Defined Identifier", "string"),
    "AETERM": ("Reported Term for the Adverse Event", "string"),
    "AESEV": ("Severity/Intensity", "string"),
    "AETOXGR": ("Standard Toxicity Grade", "string"),
    "AESER": ("Serious Event", "string"),
    "AEREL": ("Causality", "string"),
    "AEACN": ("Action Taken with Study Treatment", "string"),
    "AEOUT": ("Outcome of Adverse Event", "string"),
    "AESTDTC": ("Start Date/Time of Adverse Event", "string"),
    "AEENDTC": ("End Date/Time of Adverse Event", "string"),
    "AESTDY": ("Study Day of Start of Adverse Event", "integer"),
    "AEENDY": ("Study Day of End of Adverse Event", "integer"),
}
KEY = ("STUDYID", "USUBJID", "AESEQ")
# CDISC's list of severities ends with severe; the grade, as of CTCAE, tells the worst ones apart.
SEVERITY = {
    "mild": ("MILD", "1"),
    "moderate": ("MODERATE", "2"),
    "severe": ("SEVERE", "3"),
    "life_threatening": ("SEVERE", "4"),
    "fatal": ("SEVERE", "5"),
}
ACTION = {
    "none": "DOSE NOT CHANGED",
    "dose_reduced": "DOSE REDUCED",
    "interrupted": "DRUG INTERRUPTED",
    "stopped": "DRUG WITHDRAWN",
    "not_applicable": "NOT APPLICABLE",
    "unknown": "UNKNOWN",
}
OUTCOME = {
    "recovered": "RECOVERED/RESOLVED",
    "recovering": "RECOVERING/RESOLVING",
    "not_recovered": "NOT RECOVERED/NOT RESOLVED",
    "recovered_with_sequelae": "RECOVERED/RESOLVED WITH SEQUELAE",
    "fatal": "FATAL",
    "unknown": "UNKNOWN",
}


def rows(study: str, table: Written) -> Iterator[list[Any]]:
    """One row an event, in the order of the table, numbered by participant."""
    number, last = 0, ""
    for row in named_cells(table):
        participant = row["participant_id"] or ""
        number, last = number + 1 if participant == last else 1, participant
        severity, grade = SEVERITY[row["severity"] or ""]
        yield [
            *[study, "AE", f"{study}-{participant}", number, row["adverse_event_id"]],
            *[row.get("term"), severity, grade, "Y" if row["serious"] == "1" else "N"],
            (row["relatedness"] or "").upper(),
            *[ACTION[row["action_taken"] or ""], OUTCOME[row["outcome"] or ""]],
            *[row.get("started_on"), row.get("ended_on"), *_days(row)],
        ]


def _days(row: Mapping[str, str | None]) -> list[int | None]:
    """Study days of start and end. SDTM has no day 0: the day before day 1 is −1."""
    given = [row["started_study_day"], row["ended_study_day"]]
    return [None if day is None else int(day) - (int(day) < 1) for day in given]
