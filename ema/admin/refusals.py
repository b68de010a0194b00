"""What a step or the database refused, in words for whoever pressed the button."""

from functools import cache

import psycopg
from django.apps import apps
from django.db import Error
from django.db.models import ProtectedError

from ema.alert_rules import RuleRefused
from ema.enrolment import EnrolmentRefused
from ema.pauses import PauseRefused
from ema.quarantine import QuarantineRefused
from ema.questionnaires.files import Refused
from ema.studies import NotReady, RoleRefused
from ema.travel import ChangeRefused
from ema.urine import UrineRefused
from ema.visits import VisitRefused

OF_STEPS = (
    ChangeRefused,
    EnrolmentRefused,
    NotReady,
    PauseRefused,
    QuarantineRefused,
    Refused,
    RoleRefused,
    RuleRefused,
    UrineRefused,
    VisitRefused,
)
POSSIBLE = (*OF_STEPS, Error)
BELONGS = "Something else that belongs to it has come or gone meanwhile."
OF_DATABASE = {"23503": BELONGS, "23505": "Somebody else has entered the same meanwhile."}
OWN_TRIGGER = "exec_stmt_raise"


def in_words(error: Exception) -> str:
    """Why nothing was saved; empty where this is no refusal but a defect."""
    if isinstance(error, OF_STEPS):
        return str(error)
    if isinstance(error, ProtectedError):
        return BELONGS
    cause = error.__cause__ if isinstance(error, Error) else None
    return _of_database(cause) if isinstance(cause, psycopg.Error) else ""


def _of_database(error: psycopg.Error) -> str:
    """Names of constraints are sentences, and so is what our triggers say."""
    about = error.diag.constraint_name or ""
    if said := _constraints().get(about):
        return said
    if error.diag.source_function == OWN_TRIGGER:
        told = filter(None, (error.diag.message_primary, error.diag.message_hint))
        return " ".join(map(_sentence, told))
    return OF_DATABASE.get(error.sqlstate or "", "")


@cache
def _constraints() -> dict[str, str]:
    """What models say of a constraint that is violated, or its name."""
    return {
        each.name: (
            _sentence(each.name.replace("_", " "))
            if each.violation_error_message == each.default_violation_error_message
            else str(each.violation_error_message)
        )
        for model in apps.get_models()
        for each in model._meta.constraints
    }


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}".removesuffix(".") + "."
