"""CDISC ODM 1.3.2: questionnaires and the form of adverse events as metadata, and what was answered
and reported as clinical data.

A questionnaire version is a form with one group of items; a response is a study event, and so is an
adverse event. It is written event by event.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from xml.sax.saxutils import escape, quoteattr

from analytics.datasets.about import About
from analytics.datasets.draft import Draft
from analytics.datasets.formats import odm_adverse_events as adverse
from analytics.datasets.formats.odm_tags import tag
from analytics.datasets.reading import Written, named_cells

Row = Mapping[str, str | None]
KINDS = {"slider": "float", "rating": "integer", "number": "float"}
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
EVENT = "SE.response"


def write(draft: Draft, tables: Sequence[Written], about: About) -> None:
    by_name = {table.name: table for table in tables}
    draft.write("data/study.odm.xml", (part.encode() for part in _document(by_name, about)))


def _document(tables: Mapping[str, Written], about: About) -> Iterator[str]:
    items = list(named_cells(tables["items"]))
    yield HEAD + tag(
        "ODM",
        xmlns="http://www.cdisc.org/ns/odm/v1.3",
        FileType="Snapshot",
        FileOID=f"fourbeat.{about.study}.{about.identity}",
        CreationDateTime=f"{about.moment:%Y-%m-%dT%H:%M:%S+00:00}",
        ODMVersion="1.3.2",
        SourceSystem=about.software,
    )
    yield from _metadata(items, tables["adverse_events"], about)
    yield tag("ClinicalData", StudyOID=_study(about), MetaDataVersionOID="MDV.1")
    known = {(one["questionnaire"], one["version"], one["item"]) for one in items}
    answered, reported = named_cells(tables["responses"]), named_cells(tables["adverse_events"])
    both = heapq.merge(answered, reported, key=_participant)  # both in the order of participants
    for participant, rows in groupby(both, key=_participant):
        yield tag("SubjectData", SubjectKey=participant)
        for response, of_one in groupby(rows, key=lambda row: row.get("response_id")):
            if response is None:
                yield from (part for row in of_one for part in adverse.happened(row))
            else:
                yield from _event(response, list(of_one), known)
        yield "</SubjectData>\n"
    yield "</ClinicalData>\n</ODM>\n"


def _participant(row: Row) -> str:
    return row["participant_id"] or ""


def _study(about: About) -> str:
    return f"fourbeat.{about.study}"


def _metadata(items: Sequence[Row], events: Written, about: About) -> Iterator[str]:
    yield tag("Study", OID=_study(about)) + "<GlobalVariables>\n"
    yield f"<StudyName>{escape(about.title)}</StudyName>\n"
    yield "<StudyDescription>Ecological momentary assessment</StudyDescription>\n"
    yield f"<ProtocolName>{escape(about.study)}</ProtocolName>\n</GlobalVariables>\n"
    yield tag("MetaDataVersion", OID="MDV.1", Name="Published questionnaires")
    yield "<Protocol>\n" + tag("StudyEventRef", "/", StudyEventOID=EVENT, Mandatory="No")
    yield tag("StudyEventRef", "/", StudyEventOID=adverse.EVENT, Mandatory="No") + "</Protocol>\n"
    yield tag("StudyEventDef", OID=EVENT, Name="Response", Repeating="Yes", Type="Unscheduled")
    forms = [(form, list(rows)) for form, rows in groupby(items, key=_form)]
    for form, _ in forms:
        yield tag("FormRef", "/", FormOID=f"F.{form}", Mandatory="No")
    yield "</StudyEventDef>\n"
    yield from adverse.event()
    for form, _ in forms:
        yield tag("FormDef", OID=f"F.{form}", Name=form, Repeating="No")
        yield tag("ItemGroupRef", "/", ItemGroupOID=f"IG.{form}", Mandatory="Yes")
        yield "</FormDef>\n"
    yield from adverse.form()
    for form, rows in forms:
        yield tag("ItemGroupDef", OID=f"IG.{form}", Name=form, Repeating="No")
        for row in rows:
            mandatory = "Yes" if row["required"] == "1" else "No"
            yield tag("ItemRef", "/", ItemOID=_oid(row), Mandatory=mandatory)
        yield "</ItemGroupDef>\n"
    yield from adverse.group(events)
    for row in items:
        yield from _item(row)
    yield from adverse.items(events)
    for row in items:
        yield from _choices(row)
    yield from adverse.choices(events)
    yield "</MetaDataVersion>\n</Study>\n"


def _form(row: Row) -> str:
    return f"{row['questionnaire']}.{row['version']}"


def _oid(row: Row) -> str:
    return f"I.{_form(row)}.{row['item']}"


def _item(row: Row) -> Iterator[str]:
    kind = KINDS.get(row["kind"] or "", "text")
    size = {"Length": "12"} if kind != "text" else {"Length": "400"}
    if kind == "float":
        size["SignificantDigits"] = row["decimals"] or "0"
    yield tag("ItemDef", OID=_oid(row), Name=row["item"] or "", DataType=kind, **size)
    language = row["language"] or "en"
    if row["label"]:
        text = escape(row["label"])
        quoted = f"<TranslatedText xml:lang={quoteattr(language)}>{text}</TranslatedText>"
        yield f"<Question>{quoted}</Question>\n"
    for bound, comparator in (("minimum", "GE"), ("maximum", "LE")):
        if row[bound] is not None and kind != "text":
            yield tag("RangeCheck", Comparator=comparator, SoftHard="Soft")
            yield f"<CheckValue>{row[bound]}</CheckValue></RangeCheck>\n"
    if row["choices"]:
        yield tag("CodeListRef", "/", CodeListOID=f"CL.{_oid(row)}")
    yield "</ItemDef>\n"


def _choices(row: Row) -> Iterator[str]:
    if not row["choices"]:
        return
    kind = KINDS.get(row["kind"] or "", "text")
    name = row["item"] or ""
    yield tag("CodeList", OID=f"CL.{_oid(row)}", Name=name, DataType=kind)
    for choice in row["choices"].split("|"):
        code, _, label = choice.partition("=")
        yield tag("CodeListItem", CodedValue=code)
        said = f"<TranslatedText>{escape(label or code)}</TranslatedText>"
        yield f"<Decode>{said}</Decode></CodeListItem>\n"
    yield "</CodeList>\n"


def _event(
    response: str, answers: Sequence[Row], known: set[tuple[str | None, str | None, str | None]]
) -> Iterator[str]:
    form = _form(answers[0])
    yield tag("StudyEventData", StudyEventOID=EVENT, StudyEventRepeatKey=response)
    yield tag("FormData", FormOID=f"F.{form}") + tag("ItemGroupData", ItemGroupOID=f"IG.{form}")
    for row in answers:
        if (row["questionnaire"], row["version"], row["item"]) not in known:
            continue  # what no questionnaire has is in the table of responses
        given = {"IsNull": "Yes"} if row["value"] is None else {"Value": row["value"]}
        yield tag("ItemData", "/", ItemOID=_oid(row), **given)
    yield "</ItemGroupData>\n</FormData>\n</StudyEventData>\n"
