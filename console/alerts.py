"""The inbox of safety alerts: open ones first, acknowledged with what was done, notes later."""

from datetime import datetime
from typing import Any, NamedTuple

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from ema import access, alert_reading, alert_rules, alerts
from ema.access import CARERS, User
from ema.alert_conditions import sentence
from ema.models import Alert, AlertRule, Study
from ema.models.alert import Action, Severity
from ema.models.study import Role
from ema.pages import actor_of, answer_page, operators_page

A_PAGE = 50
RULE_WRITERS = frozenset({Role.INVESTIGATOR.value})
FILTERS = ("state", "severity", "site", "rule", "participant")


class Shown(NamedTuple):
    """An alert as the page shows it."""

    alert: Alert
    rule: str
    age: str
    action: str


def open_alerts(user: User, study: Study) -> int:
    """How many alerts of a study wait for this user."""
    return access.alerts_for(user).filter(rule__study=study).open().count()  # type: ignore[attr-defined, no-any-return]


@require_GET
@operators_page
def inbox(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_study(user=request.user, slug=slug, roles=CARERS)
    mine, now = access.alerts_for(request.user).filter(rule__study=study), timezone.now()
    by, wrong = {name: request.GET.get(name, "").strip() for name in FILTERS}, ""
    try:
        found = alert_reading.chosen(mine, by)
    except alert_reading.FilterRefused as error:
        found, wrong = mine.none(), str(error)
    # Numbers alone are put in order: whole alerts are read of one page.
    page = Paginator(found.values_list("pk", flat=True), A_PAGE).get_page(request.GET.get("page"))
    listed = alert_reading.in_order(mine.filter(pk__in=list(page)))
    return answer_page(
        request,
        "console/alerts.html",
        f"Safety alerts: {study.title}",
        status=400 if wrong else 200,
        study=study,
        only_sites=access.only_sites_of(user=request.user, study=study),
        by={**by, "state": by["state"] or alert_reading.DEFAULT_STATE},
        wrong=wrong,
        is_filtered=any(by[name] for name in FILTERS if name != "state"),
        states=alert_reading.STATES,
        severities=Severity.choices,
        sites=access.sites_for(request.user, *CARERS).filter(study=study),
        rules=AlertRule.objects.filter(study=study),
        watching=AlertRule.objects.filter(study=study).exclude(active_since=None).count(),
        page=page,
        shown=[_shown(alert, now) for alert in listed],
        trouble=alert_reading.trouble(mine, now),
    )


@require_GET
@operators_page
def one(request: HttpRequest, slug: str, alert_number: int) -> HttpResponse:
    alert = access.access_alert(user=request.user, slug=slug, number=alert_number)
    return _answer(request, alert)


@require_POST
@operators_page
def acknowledge(request: HttpRequest, slug: str, alert_number: int) -> HttpResponse:
    alert = access.access_alert(user=request.user, slug=slug, number=alert_number)
    said = {name: request.POST.get(name, "") for name in ("action", "text")}
    try:
        alerts.acknowledge(alert=alert, **said, now=timezone.now(), actor=actor_of(request))
    except alerts.AlertRefused as error:
        alert.refresh_from_db()
        return _answer(request, alert, wrong=str(error), said=said, status=400)
    messages.success(
        request, f"Alert {alert_number} about {alert.participant.code} is acknowledged."
    )
    return redirect("console:alerts", slug)


@require_POST
@operators_page
def add_note(request: HttpRequest, slug: str, alert_number: int) -> HttpResponse:
    alert, text = (
        access.access_alert(user=request.user, slug=slug, number=alert_number),
        request.POST.get("text", ""),
    )
    try:
        alerts.add_note(alert=alert, text=text, now=timezone.now(), actor=actor_of(request))
    except alerts.AlertRefused as error:
        return _answer(request, alert, wrong=str(error), said={"note": text}, status=400)
    messages.success(request, "The note is kept.")
    return redirect("console:alert", slug, alert_number)


@require_GET
@operators_page
def rules(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_study(user=request.user, slug=slug, roles=CARERS)
    held = access.roles_in(user=request.user, study=study)
    return answer_page(
        request,
        "console/alert_rules.html",
        f"Rules of safety alerts: {study.title}",
        study=study,
        rules=[(rule, sentence(rule.content())) for rule in AlertRule.objects.filter(study=study)],
        offered=[(rule, sentence(rule.content())) for rule in alert_rules.offered(study)],
        may_write=bool(held & RULE_WRITERS),
    )


@require_POST
@operators_page
def add_offered(request: HttpRequest, slug: str) -> HttpResponse:
    """Add the offered rules, switched off."""
    study = access.access_study(user=request.user, slug=slug, roles=RULE_WRITERS)
    added = alert_rules.add_offered(study=study, now=timezone.now(), actor=actor_of(request))
    text = f"{len(added)} rules were added, switched off: read each, change it, switch it on."
    messages.success(request, text)
    return redirect("console:alert-rules", slug)


def _answer(
    request: HttpRequest,
    alert: Alert,
    *,
    wrong: str = "",
    said: dict[str, str] | None = None,
    status: int = 200,
) -> HttpResponse:
    return answer_page(
        request,
        "console/alert.html",
        f"Alert {alert.pk}: {alert.participant.code}",
        status=status,
        study=alert.rule.study,
        one=_shown(alert, timezone.now()),
        notes=alert.notes.select_related("author"),
        told=alert.messages.all(),
        actions=Action.choices,
        wrong=wrong,
        said=said or {},
    )


def _shown(alert: Alert, now: datetime) -> Shown:
    return Shown(
        alert,
        sentence(alert.rule_content),
        _in_words(alert.age(now)),
        alert_reading.action_in_words(alert),
    )


def _in_words(waited: Any) -> str:
    """3 days 4 h, 4 h 5 min or 5 min."""
    minutes = max(0, int(waited.total_seconds() // 60))
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} day{'s' if days > 1 else ''} {hours} h"
    return f"{hours} h {rest} min" if hours else f"{rest} min"
