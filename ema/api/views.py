"""The phone's doors: read, call, answer."""

from datetime import timedelta
from typing import Any, cast

import tzdata
from django.utils import timezone
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers as rest
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import ScopedRateThrottle
from rest_framework.views import APIView

from ema import access, enrolment, phone_config, push, schedule, tokens
from ema.api import serializers
from ema.api.errors import Problem
from ema.models import Device
from ema.tokens import Admission

PROBLEM = OpenApiResponse(serializers.ProblemContent, description="What was wrong.")
ALGORITHM = "fourbeat-schedule/1"


class OpenView(APIView):
    """A door that needs no token."""

    authentication_classes = []
    permission_classes = []


def valid(shape: type[rest.Serializer[None]], data: Any) -> dict[str, Any]:
    checked = shape(data=data)
    checked.is_valid(raise_exception=True)
    return dict(checked.validated_data)


def device_of(request: Request) -> Device:
    """The participant's present phone."""
    device = cast("Device", request.auth)
    if device.replaced_at is not None:
        title = "Another phone took this one's place: it may only upload the answers it holds."
        raise Problem(403, "device_replaced", title)
    return device


def reading_device(request: Request) -> Device:
    """The participant's present phone, with an app that knows what it reads."""
    device = device_of(request)
    minimum = device.participant.study.minimum_app_version
    version = request.headers.get("App-Version", device.app_version)
    if phone_config.is_too_old(version, minimum):
        title = f"This app ({version}) is too old for the study: update it to {minimum} or newer."
        raise Problem(426, "app_too_old", title, {"Upgrade": f"app/{minimum}"})
    return device


class Redeem(OpenView):
    throttle_classes = [ScopedRateThrottle]
    throttle_scope = "redeem"

    @extend_schema(
        operation_id="redeem",
        summary="Enrol this phone with a one-time code",
        request=serializers.RedeemRequest,
        responses={
            201: serializers.Admitted,
            400: PROBLEM,
            404: PROBLEM,
            410: PROBLEM,
            429: PROBLEM,
        },
    )
    def post(self, request: Request) -> Response:
        asked = valid(serializers.RedeemRequest, request.data)
        try:
            admission = enrolment.redeem(
                typed=asked["code"],
                installation=asked["installation_id"],
                now=timezone.now(),
                app=asked["app"],
                app_version=asked["app_version"],
                platform=asked["platform"],
            )
        except enrolment.CodeUnknown as error:
            raise Problem(
                404, "code_unknown", "This code is unknown: check it for typing errors."
            ) from error
        except enrolment.CodeUsed as error:
            raise Problem(
                410, "code_used", "This code was used already: ask for a new one."
            ) from error
        except enrolment.CodeExpired as error:
            raise Problem(
                410, "code_expired", "This code has expired: ask for a new one."
            ) from error
        participant = admission.device.participant
        return Response(
            {
                **_tokens(admission),
                "participant": participant.code,
                "study": participant.study.slug,
                "zone": participant.zone,
                "language": participant.language,
            },
            status=201,
        )


class Refresh(OpenView):
    @extend_schema(
        operation_id="refresh",
        summary="Rotate the tokens",
        request=serializers.RefreshRequest,
        responses={200: serializers.Tokens, 400: PROBLEM, 401: PROBLEM},
    )
    def post(self, request: Request) -> Response:
        asked = valid(serializers.RefreshRequest, request.data)
        try:
            admission = tokens.refresh(token=asked["refresh_token"], now=timezone.now())
        except tokens.TokenReused as error:
            title = "This refresh token was spent: the phone is revoked."
            raise Problem(401, "token_reused", title) from error
        except tokens.TokenRefused as error:
            raise Problem(
                401, "token_unknown", "This refresh token is unknown or expired."
            ) from error
        return Response(_tokens(admission))


def _tokens(admission: Admission) -> dict[str, Any]:
    return {
        "access_token": admission.access_token,
        "refresh_token": admission.refresh_token,
        "access_expires_at": timezone.now() + tokens.ACCESS_LIFETIME,
    }


class Time(OpenView):
    @extend_schema(operation_id="time", summary="The server's clock", responses=serializers.Time)
    def get(self, request: Request) -> Response:
        return Response({"server_time": timezone.now()})


class Questionnaire(APIView):
    @extend_schema(
        operation_id="questionnaire",
        summary="A published questionnaire, which never changes",
        responses={
            200: serializers.QuestionnaireContent,
            401: PROBLEM,
            404: PROBLEM,
            426: PROBLEM,
        },
    )
    def get(self, request: Request, key: str, version: int) -> Response:
        found = access.questionnaire_of(reading_device(request), key=key, version=version)
        if found is None:
            title = f"There is no published version {version} of questionnaire {key!r}."
            raise Problem(404, "questionnaire_unknown", title)
        headers = {"Cache-Control": "private, max-age=31536000, immutable"}
        return Response({**found.content(), "sha256": found.sha256}, headers=headers)


class Schedule(APIView):
    @extend_schema(
        operation_id="schedule",
        summary="The prompts to arm, and those that were cancelled",
        parameters=[serializers.ScheduleQuery],
        responses={
            200: serializers.ScheduleContent,
            304: None,
            400: PROBLEM,
            401: PROBLEM,
            426: PROBLEM,
        },
    )
    def get(self, request: Request) -> Response:
        now = timezone.now()
        asked = valid(serializers.ScheduleQuery, request.query_params.dict())
        found = schedule.release(
            device=reading_device(request),
            since=asked.get("since", now),
            horizon=timedelta(days=int(asked["horizon"].removesuffix("d"))),
            now=now,
        )
        headers = {"ETag": f'"{found.rev}"', "Cache-Control": "private, no-cache"}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return Response(status=304, headers=headers)
        return Response(
            {
                "schedule_rev": found.rev,
                "generated_at": now,
                "tz": found.zone,
                "tzdata": tzdata.IANA_VERSION,
                "algorithm": ALGORITHM,
                "valid_until": found.valid_until,
                "next_sync_before": found.next_sync_before,
                "prompts": found.prompts,
                "cancelled": found.cancelled,
            },
            headers=headers,
        )


class PushRegistration(APIView):
    @extend_schema(
        operation_id="register_push",
        summary="Say where this phone takes push messages",
        request=serializers.PushRegistrationRequest,
        responses={204: None, 400: PROBLEM, 401: PROBLEM},
    )
    def put(self, request: Request) -> Response:
        asked = valid(serializers.PushRegistrationRequest, request.data)
        try:
            push.register(device=device_of(request), now=timezone.now(), **asked)
        except push.RegistrationRefused as error:
            raise Problem(400, error.code, str(error)) from error
        return Response(status=204)

    @extend_schema(
        operation_id="forget_push",
        summary="Take the registration back",
        responses={204: None, 401: PROBLEM},
    )
    def delete(self, request: Request) -> Response:
        push.forget(device_of(request))
        return Response(status=204)
