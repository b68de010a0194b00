"""Export and import as the doors ask for it: our own format, or FHIR."""

from typing import Any

from ema.audit import Actor
from ema.models import QuestionnaireVersion, Study
from ema.questionnaires import drafts, fhir_export, fhir_import, files
from ema.questionnaires.files import Refused
from ema.submissions import Fault


def exported(version: QuestionnaireVersion, *, as_fhir: bool = False) -> str:
    """A version as the text of a file, or Refused when FHIR cannot carry it."""
    document = version.document()
    if as_fhir:
        is_published = version.published_at is not None
        document = fhir_export.exported(document, is_published=is_published)
    return files.written(document)


def file_name(version: QuestionnaireVersion, *, as_fhir: bool = False) -> str:
    ending = "fhir.json" if as_fhir else "json"
    return f"{version.questionnaire.key}_v{version.version}.{ending}"


def imported(
    *, study: Study, content: bytes, as_fhir: bool, renumber: bool, actor: Actor
) -> QuestionnaireVersion:
    """A draft from the bytes of a file, or Refused with every fault."""
    found: Any = files.read(content)
    if not as_fhir:
        return drafts.bring_in(study=study, document=found, actor=actor, renumber=renumber)
    document = fhir_import.imported(found)
    try:
        return drafts.bring_in(study=study, document=document, actor=actor, renumber=renumber)
    except Refused as error:
        raise Refused([_in_fhir(fault) for fault in error.faults]) from error


def _in_fhir(fault: Fault) -> Fault:
    """The place of a fault of the document, as near as FHIR's own names come to it."""
    return Fault(fault.pointer.replace("/items", "/item", 1), fault.detail)
