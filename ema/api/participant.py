"""What participants decide and ask for through their phone: read, call, answer."""

from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from django.utils.http import http_date
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ema import audit, own_data, phone_config, preferences, withdrawal
from ema.api import participant_shapes as shapes
from ema.api.errors import Problem, pointed
from ema.api.views import PROBLEM, device_of, valid

NEVER_KEPT = {"Cache-Control": "no-store"}


class Preferences(APIView):
    @extend_schema(
        operation_id="preferences",
        summary="The participant's waking hours, language and pause",
        responses={200: shapes.Preferences, 401: PROBLEM, 403: PROBLEM},
    )
    def get(self, request: Request) -> Response:
        stand = preferences.preferences_of(device_of(request).participant, timezone.now())
        return Response(shapes.Preferences(stand).data, headers=NEVER_KEPT)

    @extend_schema(
        operation_id="change_preferences",
        summary="Other waking hours, another language, a pause: all that is asked, or nothing",
        request=shapes.PreferencesChange,
        responses={200: shapes.Preferences, 400: PROBLEM, 401: PROBLEM, 403: PROBLEM, 422: PROBLEM},
    )
    def patch(self, request: Request) -> Response:
        participant = device_of(request).participant
        try:
            stand = preferences.change(
                participant=participant,
                asked=valid(shapes.PreferencesChange, request.data),
                now=timezone.now(),
                actor=audit.PHONE,
            )
        except ValidationError as error:
            raise _refused(list(pointed(error.detail))) from error
        except preferences.PreferencesRefused as error:
            raise _refused([fault._asdict() for fault in error.faults]) from error
        return Response(shapes.Preferences(stand).data, headers=NEVER_KEPT)


def _refused(faults: list[dict[str, str]]) -> Problem:
    title = " ".join(fault["detail"] for fault in faults)
    return Problem(422, "preferences_refused", title, errors=faults)


class Withdraw(APIView):
    @extend_schema(
        operation_id="withdraw",
        summary="Leave the study: no prompts any more; what the phone holds may still be uploaded",
        request=shapes.WithdrawRequest,
        responses={202: shapes.Withdrawal, 400: PROBLEM, 401: PROBLEM, 403: PROBLEM},
    )
    def post(self, request: Request) -> Response:
        left = withdrawal.withdraw(
            participant=device_of(request).participant,
            **valid(shapes.WithdrawRequest, request.data),
            now=timezone.now(),
            actor=audit.PHONE,
        )
        return Response(shapes.Withdrawal(left).data, status=202)


class OwnData(APIView):
    @extend_schema(
        operation_id="own_data",
        summary="Everything that is stored of the participant",
        responses={200: shapes.OwnData, 401: PROBLEM, 403: PROBLEM},
    )
    def get(self, request: Request) -> HttpResponse:
        found = own_data.document(device_of(request), timezone.now())
        return HttpResponse(found, content_type="application/json", headers=NEVER_KEPT)


class Config(APIView):
    @extend_schema(
        operation_id="config",
        summary="The study, its languages and phases; push services and limits of this server",
        responses={200: shapes.Config, 304: None, 401: PROBLEM, 403: PROBLEM},
    )
    def get(self, request: Request) -> Response:
        content, revision = phone_config.config_of(device_of(request))
        headers: dict[str, Any] = {
            "ETag": f'"{revision}"',
            "Cache-Control": "private, no-cache",
            "Date": http_date(timezone.now().timestamp()),
        }
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return Response(status=304, headers=headers)
        return Response(content, headers=headers)
