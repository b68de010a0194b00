"""Safety alerts: the rules of a study, what they found, and whom that was told to."""

import hashlib
import json
import secrets
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from ema.models.participant import Participant
from ema.models.response import Response
from ema.models.study import Study

MOST_HOURS = 30 * 24


def new_webhook_key() -> str:
    return secrets.token_urlsafe(32)


def no_addresses() -> list[str]:
    return []


class RuleKind(models.TextChoices):
    ANSWER = "answer", "an answer: an item reaches a value, or a choice is made"
    CHANGE = "change", "a change: an item leaves the participant's own mean"
    MISSED = "missed", "missed prompts: several in a row were not answered"
    SILENT = "silent", "a silent app: nothing was heard of it for hours"
    CLOCK = "clock", "a wrong clock: the phone's is minutes off"


class Operator(models.TextChoices):
    NONE = "", "–"
    AT_LEAST = "at_least", "at least (of a change: above the mean)"
    AT_MOST = "at_most", "at most (of a change: below the mean)"
    IS = "is", "is (yes, no, a number, or the code of a choice)"


class Severity(models.TextChoices):
    URGENT = "urgent", "urgent"
    SERIOUS = "serious", "serious"
    NOTICE = "notice", "notice"


ABOUT_ITEMS = (RuleKind.ANSWER, RuleKind.CHANGE)
OWN_FIELDS: dict[str, tuple[str, ...]] = {
    RuleKind.ANSWER: ("item", "operator", "value"),
    RuleKind.CHANGE: ("item", "operator", "amount", "least_answers"),
    RuleKind.MISSED: ("amount",),
    RuleKind.SILENT: ("amount",),
    RuleKind.CLOCK: ("amount",),
}
"""The fields that a kind of rule has of its own; the others are empty."""


class AlertRuleQuerySet(models.QuerySet["AlertRule"]):
    def watching(self) -> "AlertRuleQuerySet":
        """Switched on, in studies that run."""
        return self.filter(
            active_since__isnull=False,
            study__started_at__isnull=False,
            study__locked_at=None,
        )


class AlertRule(models.Model):
    """What somebody in the study wants to be told of; nothing is found while it is off."""

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="alert_rules")
    title = models.CharField(max_length=80, help_text="What it is called in the list of alerts.")
    kind = models.CharField(max_length=10, choices=RuleKind)
    item = models.SlugField(
        max_length=40, blank=True, help_text="Of an answer or a change: the key of the item."
    )
    operator = models.CharField(max_length=10, choices=Operator, blank=True, default="")
    value = models.CharField(
        max_length=60,
        blank=True,
        help_text="Of an answer: a number, yes, no, or the code of a choice.",
    )
    amount = models.DecimalField(
        max_digits=6,
        decimal_places=2,
        null=True,
        blank=True,
        help_text="Of a change: standard deviations. Missed prompts: how many in a row. A silent "
        "app: hours. A wrong clock: minutes.",
    )
    least_answers = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        help_text="Of a change: how many earlier answers make a mean, such as 10.",
    )
    severity = models.CharField(max_length=10, choices=Severity, default=Severity.SERIOUS)
    todo = models.TextField(
        max_length=1000, help_text="What whoever reads the alert is to do, in words."
    )
    active_since = models.DateTimeField(null=True, blank=True, editable=False)
    watched_until = models.DateTimeField(
        null=True, editable=False, help_text="Answers that arrived before have been looked at."
    )
    escalate_after_hours = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_HOURS)],
        help_text="Hours without acknowledgement until others are told. Empty: nobody is.",
    )
    escalate_mail = ArrayField(
        models.CharField(max_length=254),
        default=no_addresses,
        blank=True,
        help_text="E-mail addresses, with commas between them.",
    )
    escalate_webhook = models.CharField(
        max_length=500, blank=True, help_text="An https address that is posted to."
    )
    webhook_key = models.CharField(max_length=64, default=new_webhook_key, editable=False)

    objects = AlertRuleQuerySet.as_manager()

    class Meta:
        ordering = ["study", "title"]
        constraints = [
            models.UniqueConstraint(
                fields=["study", "title"],
                name="an_alert_rule_is_called_once_in_its_study",
                violation_error_message="This study has a rule with this title already.",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=RuleKind.values), name="alert_rule_is_of_a_known_kind"
            ),
            models.CheckConstraint(
                condition=Q(severity__in=Severity.values), name="alert_rule_severity_is_a_known_one"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=ABOUT_ITEMS, operator__in=Operator.values[1:]) & ~Q(item="")
                | ~Q(kind__in=ABOUT_ITEMS) & Q(item="", operator=""),
                name="an_alert_rule_about_answers_names_an_item",
            ),
            models.CheckConstraint(
                condition=Q(kind="answer", amount__isnull=True) & ~Q(value="")
                | ~Q(kind="answer") & Q(amount__gt=0, value=""),
                name="an_alert_rule_has_what_it_compares_with",
            ),
            models.CheckConstraint(
                condition=Q(kind="change", least_answers__gte=2)
                | ~Q(kind="change") & Q(least_answers__isnull=True),
                name="an_alert_rule_of_change_says_how_many_answers",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    def content(self) -> dict[str, Any]:
        """What the rule says: by it an alert is found, and by its hash the rule is known again."""
        own = {name: getattr(self, name) for name in OWN_FIELDS[self.kind]}
        if own.get("amount") is not None:
            own["amount"] = format(Decimal(own["amount"]).normalize(), "f")
        common = {"kind": str(self.kind), "title": self.title, "severity": str(self.severity)}
        return common | {"todo": self.todo} | own

    def content_hash(self) -> str:
        """SHA-256 of the content, keys sorted and without spaces."""
        text = json.dumps(self.content(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


class Action(models.TextChoices):
    CALLED = "called", "called the participant"
    SEEN = "seen", "saw the participant"
    REFERRED = "referred", "referred to a clinician"
    EMERGENCY = "emergency", "called emergency services"
    NOT_REACHED = "not_reached", "tried, and did not reach the participant"
    PHONE_FIXED = "phone_fixed", "helped with the phone"
    NO_ACTION = "no_action", "looked at it: nothing to do"


class AlertQuerySet(models.QuerySet["Alert"]):
    def open(self) -> "AlertQuerySet":
        return self.filter(acknowledged_at=None)


class Alert(models.Model):
    """One occasion on which a rule held for a participant. Acknowledged once, and never undone."""

    rule = models.ForeignKey(AlertRule, on_delete=models.PROTECT, related_name="alerts")
    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="alerts")
    occasion = models.CharField(
        max_length=64, help_text="What of it there is one of: the response, the first prompt …"
    )
    response = models.ForeignKey(
        Response, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    rule_content = models.JSONField(help_text="The rule as it was then.")
    rule_sha256 = models.CharField(max_length=64)
    severity = models.CharField(max_length=10, choices=Severity, help_text="The rule's, then.")
    finding = models.CharField(max_length=300, help_text="What was found, in words.")
    occurred_at = models.DateTimeField(help_text="When it happened to the participant.")
    known_at = models.DateTimeField(help_text="When the server could know of it.")
    raised_at = models.DateTimeField(help_text="When the rule was looked at and held.")
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    action = models.CharField(max_length=20, choices=Action, blank=True)
    action_text = models.CharField(max_length=1000, blank=True)

    objects = AlertQuerySet.as_manager()

    class Meta:
        ordering = ["-raised_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "participant", "occasion"],
                name="an_occasion_makes_one_alert_of_a_rule",
            ),
            models.CheckConstraint(
                condition=Q(acknowledged_at=None, acknowledged_by=None, action="", action_text="")
                | (
                    Q(acknowledged_at__gte=F("raised_at"), acknowledged_by__isnull=False)
                    & Q(action__in=Action.values)
                    & ~Q(action_text="")
                ),
                name="an_acknowledged_alert_says_who_did_what",
            ),
            models.CheckConstraint(
                condition=Q(raised_at__gte=F("known_at")),
                name="an_alert_is_raised_after_it_can_be_known",
            ),
        ]
        indexes = [
            models.Index(
                fields=["participant"], condition=Q(acknowledged_at=None), name="alerts_open"
            ),
            models.Index(fields=["rule", "raised_at"], name="alerts_by_rule_and_time"),
        ]

    def __str__(self) -> str:
        return f"alert {self.pk}"

    def age(self, now: datetime) -> timedelta:
        """How long it has waited, or waited until it was acknowledged."""
        return (self.acknowledged_at or now) - self.raised_at


class AlertNote(models.Model):
    """What somebody added to an alert later; nothing is taken back."""

    alert = models.ForeignKey(Alert, on_delete=models.PROTECT, related_name="notes")
    at = models.DateTimeField()
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    text = models.CharField(max_length=1000)

    class Meta:
        ordering = ["alert", "at"]
        constraints = [
            models.CheckConstraint(condition=~Q(text=""), name="a_note_on_an_alert_says_something"),
        ]

    def __str__(self) -> str:
        return f"note on {self.alert}"


class Channel(models.TextChoices):
    MAIL = "mail", "e-mail"
    WEBHOOK = "webhook", "webhook"


class AlertMessageQuerySet(models.QuerySet["AlertMessage"]):
    def waiting(self) -> "AlertMessageQuerySet":
        """Neither sent nor given up, of alerts that nobody has acknowledged."""
        return self.filter(sent_at=None, failed_at=None, alert__acknowledged_at=None)

    def claimable(self, now: datetime) -> "AlertMessageQuerySet":
        """Waiting, due, and leased to nobody."""
        free = Q(lease_until=None) | Q(lease_until__lt=now)
        return self.waiting().filter(free, next_attempt_at__lte=now)


class AlertMessage(models.Model):
    """Telling one address that an alert waits. `lease_until` belongs to whoever sends it now."""

    alert = models.ForeignKey(Alert, on_delete=models.PROTECT, related_name="messages")
    channel = models.CharField(max_length=10, choices=Channel)
    address = models.CharField(max_length=500)
    queued_at = models.DateTimeField()
    next_attempt_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True, help_text="When it was given up.")
    failure = models.CharField(max_length=300, blank=True, help_text="Why the last attempt failed.")

    objects = AlertMessageQuerySet.as_manager()

    class Meta:
        ordering = ["queued_at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["alert", "channel", "address"], name="an_address_is_told_of_an_alert_once"
            ),
            models.CheckConstraint(
                condition=Q(sent_at__isnull=True) | Q(failed_at__isnull=True),
                name="an_alert_message_is_sent_or_failed_not_both",
            ),
            models.CheckConstraint(
                condition=Q(failed_at__isnull=True) | ~Q(failure=""),
                name="a_failed_alert_message_says_why",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(sent_at=None, failed_at=None),
                name="alert_messages_waiting",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel} about {self.alert}"
