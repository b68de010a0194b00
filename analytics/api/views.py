"""What operators read by program: comparisons and snapshots. Token, password or session."""

import uuid
from typing import Any

from django.http.response import HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.api.cremas_shapes import CremasReport
from analytics.api.outcome_shapes import OutcomesReport
from analytics.api.ranges import file_response
from analytics.api.serializers import ComparisonReport, SnapshotContent, SnapshotRequest
from analytics.cremas import as_json
from analytics.cremas_counts import kept
from analytics.datasets.snapshots import (
    SnapshotRefused,
    access_request,
    access_snapshots,
    open_file,
    request_snapshot,
)
from analytics.models import SnapshotMasking
from analytics.outcomes import OutcomesImpossible, outcomes
from analytics.plans import UnknownPlan, plan_named
from analytics.safety import safety
from analytics.trial import ComparisonImpossible
from analytics.whole_comparison import compare_whole
from ema import access
from ema.api.errors import Problem
from ema.api.operators import OperatorView
from ema.api.serializers import ProblemContent
from ema.audit import Actor

PROBLEM = OpenApiResponse(ProblemContent, description="What was wrong.")
TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".ndjson": "application/x-ndjson",
    ".xml": "application/xml",
    **dict.fromkeys((".md", ".py", ".R", ".html", ""), "text/plain; charset=utf-8"),
}


class WhateverIsAccepted(BaseContentNegotiation):
    """A file is what it is, whatever the client says it accepts."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


class ComparisonDoor(OperatorView):
    @extend_schema(
        operation_id="comparison",
        summary="Compare the arms of a study",
        description="For the closed role while arms are hidden; 409 says what is missing.",
        parameters=[
            OpenApiParameter(
                "plan",
                str,
                description="An analysis plan, KEY or KEY@VERSION. Default: the standard analysis.",
            )
        ],
        responses={200: ComparisonReport, 401: PROBLEM, 404: PROBLEM, 409: PROBLEM},
    )
    def get(self, request: Request, slug: str) -> Response:
        study = access.access_comparison(user=request.user, slug=slug)
        try:
            name = request.query_params.get("plan")
            stored = plan_named(study, name) if name else None
            return Response(compare_whole(study, timezone.now(), stored))
        except UnknownPlan as error:
            raise Problem(404, "unknown_plan", str(error)) from error
        except ComparisonImpossible as error:
            raise Problem(409, "not_comparable", str(error)) from error


class OutcomesDoor(OperatorView):
    @extend_schema(
        operation_id="outcomes",
        summary="Compare the arms of a study on lapse, relapse and abstinence",
        description="From urine tests. For the closed role while arms are hidden; 409 says what is "
        "missing.",
        parameters=[
            OpenApiParameter(
                "plan",
                str,
                description="An analysis plan, KEY or KEY@VERSION: its rule for tests missed after "
                "drop-out. Default: they count as lapses.",
            )
        ],
        responses={200: OutcomesReport, 401: PROBLEM, 404: PROBLEM, 409: PROBLEM},
    )
    def get(self, request: Request, slug: str) -> Response:
        study = access.access_comparison(user=request.user, slug=slug)
        try:
            name = request.query_params.get("plan")
            stored = plan_named(study, name) if name else None
            return Response(outcomes(study, timezone.now(), stored, participants=True))
        except UnknownPlan as error:
            raise Problem(404, "unknown_plan", str(error)) from error
        except OutcomesImpossible as error:
            raise Problem(409, "no_outcomes", str(error)) from error


class SafetyDoor(OperatorView):
    @extend_schema(
        operation_id="safety",
        summary="Count the adverse events of a study by arm",
        description="With differences of risk. For the closed role while arms are hidden; "
        "`impossible` says why there is none.",
        responses={200: OpenApiTypes.OBJECT, 401: PROBLEM, 404: PROBLEM},
    )
    def get(self, request: Request, slug: str) -> Response:
        return Response(safety(access.access_comparison(user=request.user, slug=slug)))


class CremasDoor(OperatorView):
    @extend_schema(
        operation_id="cremas",
        summary="The reporting numbers of a study (CREMAS)",
        description="Of the participants whom one may see, all arms together; nothing of what was "
        "answered. `at` says when they were counted.",
        responses={200: CremasReport, 401: PROBLEM, 404: PROBLEM},
    )
    def get(self, request: Request, slug: str) -> Response:
        study = access.access_study(user=request.user, slug=slug, roles=access.READERS)
        sites = access.only_sites_of(user=request.user, study=study)
        people = access.participants_for(request.user)
        report, at = kept(study, people, sites, timezone.now())
        return Response({"at": at, "only_sites": sites, **as_json(report)})


class Snapshots(OperatorView):
    @extend_schema(
        operation_id="snapshots",
        summary="List the snapshots of a study, the newest first",
        responses={200: SnapshotContent(many=True), 401: PROBLEM, 404: PROBLEM},
    )
    def get(self, request: Request, slug: str) -> Response:
        _, snapshots = access_snapshots(user=request.user, slug=slug)
        return Response(SnapshotContent(snapshots, many=True).data)

    @extend_schema(
        operation_id="request_snapshot",
        summary="Ask for a snapshot of a study",
        description="A worker builds it; one like it that waits already is the answer. For those "
        "who may compare arms also coded and unmasked ones.",
        request=SnapshotRequest,
        responses={
            202: SnapshotContent,
            400: PROBLEM,
            401: PROBLEM,
            404: PROBLEM,
            409: PROBLEM,
        },
    )
    def post(self, request: Request, slug: str) -> Response:
        access_request(user=request.user, slug=slug, masking=SnapshotMasking.MASKED)
        asked = SnapshotRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        study = access_request(
            user=request.user, slug=slug, masking=asked.validated_data["masking"]
        )
        try:
            made = request_snapshot(
                study, Actor.of(request.user, "api"), now=timezone.now(), **asked.validated_data
            )
        except SnapshotRefused as error:
            raise Problem(409, "snapshot_refused", str(error)) from error
        return Response(SnapshotContent(made).data, status=202)


class SnapshotFileDoor(OperatorView):
    content_negotiation_class = WhateverIsAccepted

    @extend_schema(
        operation_id="snapshot_file",
        summary="Download a file of a snapshot, or the part of it that a Range asks for",
        parameters=[OpenApiParameter("name", str, OpenApiParameter.PATH, description="A file.")],
        responses={
            (200, "text/csv"): OpenApiTypes.BINARY,
            (206, "text/csv"): OpenApiTypes.BINARY,
            304: OpenApiResponse(description="It is the one that If-None-Match names."),
            401: PROBLEM,
            404: PROBLEM,
            416: OpenApiResponse(description="The file is shorter than that."),
        },
    )
    def get(self, request: Request, slug: str, snapshot: uuid.UUID, name: str) -> HttpResponseBase:
        path, sha256 = open_file(
            user=request.user,
            slug=slug,
            snapshot_id=snapshot,
            name=name,
            actor=Actor.of(request.user, "api"),
        )
        kind = TYPES.get(path.suffix, "application/octet-stream")
        return file_response(request, path, sha256=sha256, kind=kind)
