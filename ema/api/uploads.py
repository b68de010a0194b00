"""The doors for batches. They answer a POST without the framework, which would cost most of it.

Nothing is negotiated here: whatever a phone says of itself, what a person answered is taken.
"""

import math
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ema import access, codes, events, responses, submissions
from ema.api import serializers
from ema.api.authentication import Unknown, token_of
from ema.api.errors import Problem, as_problem
from ema.api.views import PROBLEM
from ema.limits import Buckets, Rate
from ema.submissions import Envelope

REFUSALS = {400: PROBLEM, 401: PROBLEM, 413: PROBLEM, 429: PROBLEM, 503: PROBLEM}
JSON = {"Content-Type": "application/json"}
often = Buckets(Rate.read(settings.UPLOAD_RATE))

Take = Callable[[str, Envelope, datetime], Any]
"""Stores the items of a batch for whom a hashed token names; what became of each."""


class Reply(NamedTuple):
    """What a phone is told."""

    status: int
    headers: dict[str, str]
    content: bytes


def answer(take: Take, authorization: str, read_body: Callable[[], bytes]) -> Reply:
    """A phone's batch, stored by `take`. Raises only what is a defect of ours."""
    now = timezone.now()
    try:
        items = take(_access_hash(authorization), _envelope(read_body()), now)
    except Exception as error:
        refusal = as_problem(error, {})
        if refusal is None:
            raise
        return refused(refusal)
    return Reply(200, JSON, msgspec.json.encode({"server_time": now, "items": items}))


def refused(refusal: Response) -> Reply:
    """The framework's problem, which the framework does not render here."""
    headers = {**refusal.headers, "Content-Type": "application/problem+json"}
    return Reply(refusal.status_code, headers, msgspec.json.encode(refusal.data))


def _access_hash(authorization: str) -> str:
    """The hash of the token that was sent; whose it is, is for the database to say."""
    token = token_of(authorization)
    if token is None:
        raise Unknown
    access_hash = codes.hash_token(token)
    _refuse_too_often(access_hash)
    return access_hash


def _refuse_too_often(name: str) -> None:
    """Problem 429 where one token comes more often than UPLOAD_RATE, counted in this process."""
    wait = often.wait(name, time.monotonic())
    if wait > 0:
        title = "Too many uploads by this phone: put more items into one, and come later."
        raise Problem(429, "too_many_requests", title, {"Retry-After": str(math.ceil(wait))})


def _envelope(body: bytes) -> Envelope:
    try:
        return submissions.read_envelope(body)
    except submissions.BatchTooLarge as error:
        raise Problem(413, "batch_too_large", str(error)) from error
    except submissions.BatchUnreadable as error:
        raise Problem(400, "batch_unreadable", str(error)) from error


class UploadView(APIView):
    """A door for batches as the framework sees it: read, call, answer."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if request.method != "POST":
            return super().dispatch(request, *args, **kwargs)
        authorization = request.META.get("HTTP_AUTHORIZATION", "")
        reply = answer(self.take, authorization, lambda: request.body)
        return HttpResponse(reply.content, status=reply.status, headers=reply.headers)

    @staticmethod
    def take(access_hash: str, envelope: Envelope, now: datetime) -> Any:
        """Store the items of a batch; what became of each. Raises Unknown for a token of nobody."""
        raise NotImplementedError


class Submissions(UploadView):
    @extend_schema(
        operation_id="submit",
        summary="Upload responses: each is stored exactly once, whatever it says",
        description="At most 100 items. Send again whatever was not acknowledged: an id that is "
        "there already changes nothing.",
        request=serializers.SubmissionBatch,
        responses={200: serializers.SubmissionStatuses, **REFUSALS},
    )
    def post(self, request: Request) -> HttpResponse:
        """How the schema knows this door; requests come by `dispatch`."""
        raise NotImplementedError

    @staticmethod
    def take(access_hash: str, envelope: Envelope, now: datetime) -> Any:
        items = submissions.read_submissions(envelope)
        asked = responses.asked_by(items)
        phone = access.uploader(access_hash=access_hash, now=now, asked=asked)
        if phone is None:
            raise Unknown
        client = submissions.read_client(envelope.client)
        return responses.store_batch(phone=phone, client=client, items=items, now=now)


class Events(UploadView):
    @extend_schema(
        operation_id="report_events",
        summary="Report what happened to prompts (armed, shown …) and to the phone",
        description="At most 100 items. Kept once by their ids, however often they are sent.",
        request=serializers.EventBatch,
        responses={200: serializers.EventStatuses, **REFUSALS},
    )
    def post(self, request: Request) -> HttpResponse:
        """How the schema knows this door; requests come by `dispatch`."""
        raise NotImplementedError

    @staticmethod
    def take(access_hash: str, envelope: Envelope, now: datetime) -> Any:
        phone = access.uploader(access_hash=access_hash, now=now)
        if phone is None:
            raise Unknown
        placed = events.record(
            phone=phone,
            client=submissions.read_client(envelope.client),
            items=submissions.read_events(envelope),
            now=now,
        )
        return [{"id": item, "status": status} for item, status in placed]
