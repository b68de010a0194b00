"""Safety alerts by program, for who looks after participants. A browser's session or a password."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from ema import access, alert_reading
from ema.access import CARERS
from ema.api.errors import Problem
from ema.api.operators import OperatorView
from ema.api.serializers import ProblemContent
from ema.models.alert import Action, Channel, Severity

MOST = 500
PROBLEM = OpenApiResponse(ProblemContent, description="What was wrong.")
FILTERS = {
    "state": "open, acknowledged or all. Default: open.",
    "severity": f"One of {', '.join(Severity.values)}.",
    "site": "The code of a site.",
    "rule": "The number of a rule.",
    "participant": "A part of a participant's code.",
}


class AlertNoteContent(serializers.Serializer[None]):
    at = serializers.DateTimeField()
    author = serializers.CharField()
    text = serializers.CharField()


class AlertMessageContent(serializers.Serializer[None]):
    channel = serializers.ChoiceField(choices=Channel.choices)
    to = serializers.CharField(help_text="The address; of a webhook, its host.")
    queued_at = serializers.DateTimeField()
    sent_at = serializers.DateTimeField(allow_null=True)
    failed_at = serializers.DateTimeField(allow_null=True, help_text="When it was given up.")
    failure = serializers.CharField(allow_null=True, help_text="Why the last attempt failed.")


class AlertContent(serializers.Serializer[None]):
    number = serializers.IntegerField()
    participant = serializers.CharField(help_text="The code in the study.")
    site = serializers.CharField()
    severity = serializers.ChoiceField(choices=Severity.choices)
    rule = serializers.DictField(help_text="The rule as it was then, with its SHA-256.")
    finding = serializers.CharField(help_text="What was found, in words.")
    occurred_at = serializers.DateTimeField()
    known_at = serializers.DateTimeField(help_text="When the server could know of it.")
    raised_at = serializers.DateTimeField()
    acknowledged_at = serializers.DateTimeField(allow_null=True)
    acknowledged_after_s = serializers.IntegerField(allow_null=True)
    acknowledged_by = serializers.CharField(allow_null=True)
    action = serializers.ChoiceField(choices=Action.choices, allow_null=True)
    action_text = serializers.CharField(allow_null=True)
    notes = AlertNoteContent(many=True)
    messages = AlertMessageContent(many=True)


class Alerts(OperatorView):
    @extend_schema(
        operation_id="alerts",
        summary="List the safety alerts of a study, open ones first",
        description=(
            "For coordinators, of their sites, and investigators. The first 500; filters narrow."
        ),
        parameters=[OpenApiParameter(name, str, description=d) for name, d in FILTERS.items()],
        responses={200: AlertContent(many=True), 400: PROBLEM, 401: PROBLEM, 404: PROBLEM},
    )
    def get(self, request: Request, slug: str) -> Response:
        study = access.access_study(user=request.user, slug=slug, roles=CARERS)
        mine = access.alerts_for(request.user).filter(rule__study=study)
        by: dict[str, Any] = {name: request.query_params.get(name, "") for name in FILTERS}
        try:
            found = alert_reading.chosen(mine, by)[:MOST]
        except alert_reading.FilterRefused as error:
            raise Problem(400, "invalid", str(error)) from error
        return Response([alert_reading.content(alert) for alert in found])
