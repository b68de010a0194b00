"""The shapes of what operators get, for the published schema and for lists."""

from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from analytics.datasets.package import FILES
from analytics.models import Snapshot

Interval = serializers.ListField


def _interval() -> Interval:
    return Interval(child=serializers.FloatField(), min_length=2, max_length=2, allow_null=True)


class FixedEffect(serializers.Serializer[Any]):
    term = serializers.CharField()
    estimate = serializers.FloatField()
    model_standard_error = serializers.FloatField()
    standard_error = serializers.FloatField()
    df = serializers.FloatField()
    p = serializers.FloatField()
    interval = _interval()


class RandomEffects(serializers.Serializer[Any]):
    sd_intercept = serializers.FloatField()
    sd_slope = serializers.FloatField()
    correlation = serializers.FloatField(allow_null=True)
    sd_residual = serializers.FloatField()


class ArmCoupling(serializers.Serializer[Any]):
    arm = serializers.CharField(allow_null=True)
    n = serializers.IntegerField(help_text="Participants.")
    coupling = serializers.FloatField(
        allow_null=True, help_text="Craving points per stress point, within participants."
    )
    standard_error = serializers.FloatField(allow_null=True)
    interval = _interval()


class Contrast(serializers.Serializer[Any]):
    arm = serializers.CharField()
    reference = serializers.CharField()
    difference = serializers.FloatField(help_text="Negative: a weaker coupling than the reference.")
    standard_error = serializers.FloatField()
    df = serializers.FloatField()
    p = serializers.FloatField()
    interval = _interval()


class ComparisonReport(serializers.Serializer[Any]):
    """The comparison of a study's arms; everything in the items' own units."""

    study = serializers.CharField()
    reference = serializers.CharField(allow_null=True)
    exploratory = serializers.BooleanField()
    notes = serializers.ListField(child=serializers.CharField())
    n_participants = serializers.IntegerField()
    n_pairs = serializers.IntegerField()
    n_excluded = serializers.DictField(child=serializers.IntegerField())
    method = serializers.CharField()
    log_likelihood = serializers.FloatField()
    fixed = FixedEffect(many=True)
    dropped = serializers.ListField(child=serializers.CharField())
    random = RandomEffects()
    singular = serializers.BooleanField()
    arms = ArmCoupling(many=True)
    contrasts = Contrast(many=True)


class SnapshotFile(serializers.Serializer[Any]):
    name = serializers.CharField()
    url = serializers.CharField()


class SnapshotContent(serializers.ModelSerializer[Snapshot]):
    files = serializers.SerializerMethodField()

    class Meta:
        model = Snapshot
        fields = [
            "id",
            "masking",
            "requested_at",
            "built_at",
            "failed_at",
            "failure",
            "row_counts",
            "sha256",
            "files",
        ]

    @extend_schema_field(SnapshotFile(many=True))
    def get_files(self, snapshot: Snapshot) -> list[dict[str, str]]:
        return files_of(snapshot)


def files_of(snapshot: Snapshot) -> list[dict[str, str]]:
    """Name and address of every file of a built snapshot."""
    if snapshot.built_at is None:
        return []
    slug = snapshot.study.slug
    return [
        {"name": name, "url": reverse("analysis:snapshot-file", args=[slug, snapshot.pk, name])}
        for name in FILES
    ]
