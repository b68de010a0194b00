"""Every record of the trial. `docs/architecture.md` has the glossary."""

from ema.models.adverse_event import AdverseEvent
from ema.models.alert import Alert, AlertMessage, AlertNote, AlertRule
from ema.models.allocation import Allocation, AllocationList, Eligibility
from ema.models.api_token import ApiToken
from ema.models.audit import AuditCheckpoint, AuditEvent, RowChange
from ema.models.consent import Consent
from ema.models.double_entry import DoubleEntry
from ema.models.heartbeat import Heartbeat
from ema.models.participant import Device, EnrolmentCode, Participant, PhoneEvent, RefreshToken
from ema.models.pause import Pause
from ema.models.prompt import Prompt
from ema.models.push import PushRegistration
from ema.models.questionnaire import Item, Questionnaire, QuestionnaireVersion
from ema.models.response import Quarantine, Response
from ema.models.schedule_change import ScheduleChange
from ema.models.screening import Screening
from ema.models.study import Arm, ArmLabel, Membership, Phase, Site, Study
from ema.models.unblinding import EmergencyUnblinding, TrialUnblinding
from ema.models.urine import UrineTest
from ema.models.visit import PhaseStart, Visit

__all__ = [
    "AdverseEvent",
    "Alert",
    "AlertMessage",
    "AlertNote",
    "AlertRule",
    "Allocation",
    "AllocationList",
    "ApiToken",
    "Arm",
    "ArmLabel",
    "AuditCheckpoint",
    "AuditEvent",
    "Consent",
    "Device",
    "DoubleEntry",
    "Eligibility",
    "EmergencyUnblinding",
    "EnrolmentCode",
    "Heartbeat",
    "Item",
    "Membership",
    "Participant",
    "Pause",
    "Phase",
    "PhaseStart",
    "PhoneEvent",
    "Prompt",
    "PushRegistration",
    "Quarantine",
    "Questionnaire",
    "QuestionnaireVersion",
    "RefreshToken",
    "Response",
    "RowChange",
    "ScheduleChange",
    "Screening",
    "Site",
    "Study",
    "TrialUnblinding",
    "UrineTest",
    "Visit",
]
