"""Adverse events in ODM: a form of one group, its items the columns of the table."""

from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape

from analytics.datasets.columns import DAY, INSTANT, LOCAL, WHOLE, Column
from analytics.datasets.formats.odm_tags import tag
from analytics.datasets.reading import Written

EVENT, FORM = "SE.adverse_event", "adverse_event"
KINDS = {INSTANT: "datetime", LOCAL: "datetime", DAY: "date", WHOLE: "integer"}
KEYS = ("participant_id", "adverse_event_id")


def _items(table: Written) -> list[Column]:
    return [column for column in table.columns if column.name not in KEYS]


def _oid(name: str) -> str:
    return f"I.{FORM}.{name}"


def event() -> Iterator[str]:
    yield tag("StudyEventDef", OID=EVENT, Name="Adverse event", Repeating="Yes", Type="Unscheduled")
    yield tag("FormRef", "/", FormOID=f"F.{FORM}", Mandatory="Yes") + "</StudyEventDef>\n"


def form() -> Iterator[str]:
    yield tag("FormDef", OID=f"F.{FORM}", Name="Adverse event", Repeating="No")
    yield tag("ItemGroupRef", "/", ItemGroupOID=f"IG.{FORM}", Mandatory="Yes") + "</FormDef>\n"


def group(table: Written) -> Iterator[str]:
    yield tag("ItemGroupDef", OID=f"IG.{FORM}", Name="Adverse event", Repeating="No")
    for column in _items(table):
        yield tag("ItemRef", "/", ItemOID=_oid(column.name), Mandatory="No")
    yield "</ItemGroupDef>\n"


def items(table: Written) -> Iterator[str]:
    for column in _items(table):
        kind = KINDS.get(column.kind, "text")
        size = {"text": {"Length": "200"}, "integer": {"Length": "12"}}.get(kind, {})
        yield tag("ItemDef", OID=_oid(column.name), Name=column.name, DataType=kind, **size)
        said = f'<TranslatedText xml:lang="en">{escape(column.meaning)}</TranslatedText>'
        yield f"<Question>{said}</Question>\n"
        if column.labels:
            yield tag("CodeListRef", "/", CodeListOID=f"CL.{_oid(column.name)}")
        yield "</ItemDef>\n"


def choices(table: Written) -> Iterator[str]:
    for column in _items(table):
        if not column.labels:
            continue
        kind = KINDS.get(column.kind, "text")
        oid = f"CL.{_oid(column.name)}"
        yield tag("CodeList", OID=oid, Name=column.name, DataType=kind)
        for code, label in column.labels.items():
            yield tag("CodeListItem", CodedValue=code)
            said = f'<TranslatedText xml:lang="en">{escape(label)}</TranslatedText>'
            yield f"<Decode>{said}</Decode></CodeListItem>\n"
        yield "</CodeList>\n"


def happened(row: Mapping[str, str | None]) -> Iterator[str]:
    """One event of a participant."""
    key = row["adverse_event_id"] or ""
    yield tag("StudyEventData", StudyEventOID=EVENT, StudyEventRepeatKey=key)
    yield tag("FormData", FormOID=f"F.{FORM}") + tag("ItemGroupData", ItemGroupOID=f"IG.{FORM}")
    for name, cell in row.items():
        if name not in KEYS:
            given = {"IsNull": "Yes"} if cell is None else {"Value": cell}
            yield tag("ItemData", "/", ItemOID=_oid(name), **given)
    yield "</ItemGroupData>\n</FormData>\n</StudyEventData>\n"
