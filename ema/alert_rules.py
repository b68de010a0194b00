"""Rules of safety alerts: what a study wants to be told of, checked against what it asks."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from ema import alert_webhook, audit
from ema.alert_conditions import YES_NO, number
from ema.audit import Actor
from ema.link_settings import EMAIL
from ema.models import AlertRule, QuestionnaireVersion, Study
from ema.models.alert import ABOUT_ITEMS, OWN_FIELDS, Operator, RuleKind, Severity
from ema.models.questionnaire import Kind

Item = dict[str, Any]
NUMERIC = (Kind.SLIDER, Kind.RATING, Kind.NUMBER)
CHOICES = (Kind.SINGLE, Kind.MULTIPLE, Kind.RATING)
WHOLE = (RuleKind.MISSED,)
LIMITS: dict[str, tuple[Decimal, Decimal, str]] = {
    RuleKind.CHANGE: (Decimal("0.5"), Decimal(10), "standard deviations"),
    RuleKind.MISSED: (Decimal(1), Decimal(200), "prompts"),
    RuleKind.SILENT: (Decimal(1), Decimal(720), "hours"),
    RuleKind.CLOCK: (Decimal(1), Decimal(1440), "minutes"),
}
MOST_ADDRESSES = 10


class RuleRefused(ValueError):
    """The rule cannot work like this; the message says what would be right."""


def published_items(study: Study) -> dict[str, list[Item]]:
    """Items of the study's published questionnaires by key; of each, the newest version first."""
    versions = QuestionnaireVersion.objects.published().filter(questionnaire__study=study)
    found: dict[str, list[Item]] = {}
    for version in versions.select_related("questionnaire").order_by("questionnaire", "-version"):
        for item in version.content()["items"]:
            found.setdefault(item["key"], []).append(item)
    return found


def item_range(items: list[Item]) -> float | None:
    """From the least to the greatest value of an item, where it has both."""
    for item in items:
        low, high = item.get("minimum"), item.get("maximum")
        if low is not None and high is not None:
            return float(high - low)
    return None


# --- what is wrong with a rule ----------------------------------------------------------


def problems(rule: AlertRule) -> list[str]:
    """Every reason, in sentences, why a rule cannot work."""
    if rule.kind not in OWN_FIELDS or rule.study_id is None:
        return []  # the form says so by itself
    return [*_of_own_fields(rule), *_of_amount(rule), *_of_item(rule), *_of_escalation(rule)]


def _of_own_fields(rule: AlertRule) -> Iterator[str]:
    own = OWN_FIELDS[rule.kind]
    for name in ("item", "operator", "value", "amount", "least_answers"):
        given = getattr(rule, name) not in (None, "")
        if given and name not in own:
            yield f"A rule of kind {rule.kind!r} has no {_words(name)}: leave it empty."
        elif not given and name in own:
            yield f"A rule of kind {rule.kind!r} needs {_words(name)}."
    if not rule.todo.strip():
        yield "Write what is to be done when the rule holds."


def _words(name: str) -> str:
    return {"amount": "amount", "least_answers": "number of earlier answers"}.get(name, name)


def _of_amount(rule: AlertRule) -> Iterator[str]:
    if rule.amount is None or rule.kind not in LIMITS:
        return
    least, most, unit = LIMITS[rule.kind]
    if not least <= rule.amount <= most:
        yield f"The amount is {least} to {most} {unit}, not {rule.amount}."
    elif rule.kind in WHOLE and rule.amount % 1:
        yield f"The amount is a whole number of {unit}, not {rule.amount}."
    if rule.least_answers is not None and not 2 <= rule.least_answers <= 1000:
        yield "A mean takes 2 to 1000 earlier answers; with fewer than about 10 it tells little."


def _of_item(rule: AlertRule) -> Iterator[str]:
    if rule.kind not in ABOUT_ITEMS or not rule.item:
        return
    there = published_items(rule.study)
    if rule.item not in there:
        known = ", ".join(there) or "none yet"
        yield (
            f"No published questionnaire of study {rule.study} has an item {rule.item!r}. "
            f"Published items: {known}."
        )
        return
    wrong = [_of_one_item(rule, item) for item in there[rule.item]]
    if all(wrong) and wrong[0]:
        yield wrong[0]


def _of_one_item(rule: AlertRule, item: Item) -> str:
    """Why a rule can never hold of this version of an item; empty when it can."""
    key, kind = item["key"], item["kind"]
    compares = rule.operator in (Operator.AT_LEAST, Operator.AT_MOST)
    if rule.kind == RuleKind.CHANGE and rule.operator == Operator.IS:
        return "A change is at least (above the mean) or at most (below it)."
    if kind not in NUMERIC and (compares or rule.kind == RuleKind.CHANGE):
        return f"Item {key!r} is no number ({Kind(kind).label}): a rule about it says what it is."
    if rule.kind == RuleKind.CHANGE or not rule.value:
        return ""
    if compares or (kind in NUMERIC and not item.get("options")):
        return _of_number(rule.value, item)
    return _of_choice(rule.value, item)


def _of_number(value: str, item: Item) -> str:
    found, low, high = number(value), item.get("minimum"), item.get("maximum")
    if found is None:
        return f"Item {item['key']!r} is a number, and {value!r} is none."
    if (low is not None and found < low) or (high is not None and found > high):
        return f"Item {item['key']!r} goes from {low} to {high}: {value} is outside."
    return ""


def _of_choice(value: str, item: Item) -> str:
    key, kind = item["key"], item["kind"]
    if kind == Kind.YES_NO:
        return "" if value in YES_NO else f"Item {key!r} is answered yes or no, not {value!r}."
    if kind not in CHOICES:
        return f"Item {key!r} ({Kind(kind).label}) has no choices that a rule could look for."
    codes = [str(option["value"]) for option in item["options"]]
    return "" if value in codes else f"Item {key!r} has the choices {', '.join(codes)}."


def _of_escalation(rule: AlertRule) -> Iterator[str]:
    addresses, url = rule.escalate_mail, rule.escalate_webhook
    if rule.escalate_after_hours and not (addresses or url):
        yield "Say who is told when nobody acknowledges: e-mail addresses, or a webhook."
    if (addresses or url) and not rule.escalate_after_hours:
        yield "Say after how many hours without acknowledgement they are told."
    if len(addresses) > MOST_ADDRESSES:
        yield f"At most {MOST_ADDRESSES} addresses are told."
    for address in addresses:
        if not EMAIL.fullmatch(address):
            yield f"{address!r} is no e-mail address."
    if addresses and not settings.EMAIL_SERVER:
        yield "E-mail is not set up here: an administrator sets EMAIL_URL."
    if url:
        try:
            alert_webhook.refuse_wrong_address(url)
        except alert_webhook.AddressRefused as error:
            yield str(error)


# --- saving -----------------------------------------------------------------------------


@transaction.atomic
def save(*, rule: AlertRule, is_active: bool, now: datetime, actor: Actor) -> None:
    """Add or change a rule, switch it on or off; the audit trail keeps what it was.

    A rule that is switched on looks at what arrives from now on.
    """
    if wrong := problems(rule):
        raise RuleRefused(" ".join(wrong))
    old = AlertRule.objects.select_for_update().filter(pk=rule.pk).first()
    if old and old.study_id != rule.study_id:
        raise RuleRefused("A rule stays in its study: add another one.")
    was_active = bool(old and old.active_since)
    if is_active != was_active:
        rule.active_since = rule.watched_until = now if is_active else None
    elif old:  # the watch goes on while somebody fills in the form
        rule.active_since, rule.watched_until = old.active_since, old.watched_until
    before, after = stated(old) if old else None, stated(rule)
    if before == after:
        return
    try:
        rule.full_clean(exclude=["webhook_key"])
    except ValidationError as error:
        raise RuleRefused(" ".join(error.messages)) from error
    rule.save()
    audit.record(
        actor=actor,
        action="alert_rule.changed" if old else "alert_rule.added",
        subject=f"alert rule {rule}"[:100],
        study=rule.study,
        before=before,
        after=after,
    )


def stated(rule: AlertRule) -> dict[str, Any]:
    """What a person decided; the webhook's key, a secret, is left out, and of its path the rest."""
    host = urlsplit(rule.escalate_webhook).netloc
    return rule.content() | {
        "sha256": rule.content_hash(),
        "is_active": rule.active_since is not None,
        "escalate_after_hours": rule.escalate_after_hours,
        "escalate_mail": list(rule.escalate_mail),
        "escalate_webhook": f"https://{host}/…" if host else "",
    }


# --- what is offered --------------------------------------------------------------------

CALL = "Call the participant today, and ask how they are. If there is danger, call the emergency "
CALL += "number of the site."
OFFERED: tuple[dict[str, Any], ...] = (
    {
        "title": "Very strong craving",
        "kind": RuleKind.ANSWER,
        "item": "craving",
        "operator": Operator.AT_LEAST,
        "value": "90",
        "severity": Severity.SERIOUS,
        "todo": CALL,
    },
    {
        "title": "Thoughts of suicide",
        "kind": RuleKind.ANSWER,
        "item": "suicidality",
        "operator": Operator.IS,
        "value": "yes",
        "severity": Severity.URGENT,
        "todo": CALL,
    },
    {
        "title": "Stress far above own mean",
        "kind": RuleKind.CHANGE,
        "item": "stress",
        "operator": Operator.AT_LEAST,
        "amount": Decimal("2.5"),
        "least_answers": 20,
        "severity": Severity.NOTICE,
        "todo": "Look at the participant's timeline, and ask at the next contact.",
    },
    {
        "title": "Eight prompts missed in a row",
        "kind": RuleKind.MISSED,
        "amount": Decimal(8),
        "severity": Severity.SERIOUS,
        "todo": "Call the participant: ask how they are, and whether the phone works.",
    },
    {
        "title": "Nothing heard of the app for two days",
        "kind": RuleKind.SILENT,
        "amount": Decimal(48),
        "severity": Severity.SERIOUS,
        "todo": "Call the participant: ask how they are; opening the app is enough.",
    },
    {
        "title": "Clock off by more than ten minutes",
        "kind": RuleKind.CLOCK,
        "amount": Decimal(10),
        "severity": Severity.NOTICE,
        "todo": "Ask the participant to let the phone set its time by itself.",
    },
)


def offered(study: Study) -> list[AlertRule]:
    """Rules that would work in this study and that it has not, unsaved."""
    there = set(AlertRule.objects.filter(study=study).values_list("title", flat=True))
    drafts = [AlertRule(study=study, **fields) for fields in OFFERED]
    return [each for each in drafts if each.title not in there and not problems(each)]


@transaction.atomic
def add_offered(*, study: Study, now: datetime, actor: Actor) -> list[AlertRule]:
    """Add what is offered, switched off: somebody reads each, changes it, and switches it on."""
    rules = offered(study)
    for rule in rules:
        save(rule=rule, is_active=False, now=now, actor=actor)
    return rules
