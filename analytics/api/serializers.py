"""The shapes of what operators get, for the published schema and for lists."""

from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from analytics.api.outcome_shapes import OutcomesOrWhy
from analytics.datasets.snapshots import names_of_files
from analytics.models import Deidentified, Snapshot, SnapshotMasking

Interval = serializers.ListField


def _interval() -> Interval:
    return Interval(child=serializers.FloatField(), min_length=2, max_length=2, allow_null=True)


def _share() -> serializers.FloatField:
    return serializers.FloatField(allow_null=True, min_value=0, max_value=1)


class Inference(serializers.Serializer[Any]):
    standard_error = serializers.FloatField()
    df = serializers.FloatField()
    p = serializers.FloatField()
    interval = _interval()


class FixedEffect(Inference):
    term = serializers.CharField()
    estimate = serializers.FloatField()
    model_standard_error = serializers.FloatField()
    model_df = serializers.FloatField()


class RandomEffects(serializers.Serializer[Any]):
    sd_intercept = serializers.FloatField()
    sd_slope = serializers.FloatField()
    correlation = serializers.FloatField(allow_null=True)
    sd_residual = serializers.FloatField()


class ArmCoupling(serializers.Serializer[Any]):
    arm = serializers.CharField(allow_null=True)
    n = serializers.IntegerField(help_text="Participants.")
    coupling = serializers.FloatField(
        allow_null=True, help_text="Outcome points per predictor point, within participants."
    )
    standard_error = serializers.FloatField(allow_null=True)
    interval = _interval()
    n_prompts = serializers.IntegerField()
    at_floor = _share()
    at_ceiling = _share()
    compliance = _share()


class Methods(serializers.Serializer[Any]):
    CR2 = Inference(allow_null=True)
    satterthwaite = Inference(allow_null=True)
    kenward_roger = Inference(allow_null=True)


class Attenuation(serializers.Serializer[Any]):
    estimate = serializers.FloatField(help_text="0.4 is 40 % weaker than the reference.")
    interval = _interval()


class Shuffled(serializers.Serializer[Any]):
    t = serializers.FloatField()
    p = serializers.FloatField()
    n = serializers.IntegerField()
    draws = serializers.IntegerField()
    seed = serializers.IntegerField()


class Randomisation(serializers.Serializer[Any]):
    own_slopes = Shuffled(allow_null=True)
    scores = Shuffled(allow_null=True)


class LeaveOneOut(serializers.Serializer[Any]):
    lowest = serializers.FloatField()
    highest = serializers.FloatField()
    lowest_without = serializers.CharField()
    highest_without = serializers.CharField()


class Contrast(Inference):
    arm = serializers.CharField()
    reference = serializers.CharField()
    difference = serializers.FloatField(help_text="Negative: a weaker coupling than the reference.")
    methods = Methods()
    attenuation = Attenuation(allow_null=True)
    standardised = serializers.FloatField(allow_null=True)
    detectable = serializers.FloatField(allow_null=True, help_text="With 80 % power.")
    randomisation = Randomisation()
    leave_one_out = LeaveOneOut()


class FTestContent(serializers.Serializer[Any]):
    f = serializers.FloatField()
    numerator_df = serializers.IntegerField()
    df = serializers.FloatField()
    p = serializers.FloatField()


class AdjustedContrast(serializers.Serializer[Any]):
    arm = serializers.CharField()
    other = serializers.CharField()
    difference = serializers.FloatField()
    p = serializers.FloatField()
    interval = _interval()


class Trend(Inference):
    estimate = serializers.FloatField(help_text="Change of the coupling per unit of dose.")


class SeveralArms(serializers.Serializer[Any]):
    omnibus = FTestContent(allow_null=True)
    against_reference = AdjustedContrast(many=True)
    all_pairs = AdjustedContrast(many=True)
    trend = Trend(allow_null=True)


class Moderation(serializers.Serializer[Any]):
    moderator = serializers.CharField()
    terms = serializers.ListField(child=serializers.CharField())
    test = FTestContent(allow_null=True)
    p_holm = serializers.FloatField(allow_null=True)


class OddsRatio(serializers.Serializer[Any]):
    arm = serializers.CharField()
    reference = serializers.CharField()
    ratio_of_odds_ratios = serializers.FloatField(help_text="Below 1: a weaker coupling.")
    interval = _interval()
    p = serializers.FloatField()


class FloorCompanion(serializers.Serializer[Any]):
    odds_ratio_in_reference = serializers.FloatField()
    interval = _interval()
    contrasts = OddsRatio(many=True)
    singular = serializers.BooleanField()


class LevelMean(serializers.Serializer[Any]):
    arm = serializers.CharField(allow_null=True)
    # `from` is a word of Python's own
    locals()["from"] = serializers.FloatField()
    to = serializers.FloatField()
    n_participants = serializers.IntegerField()
    n_prompts = serializers.IntegerField()
    mean = serializers.FloatField(allow_null=True)
    interval = _interval()


class Warned(serializers.Serializer[Any]):
    code = serializers.CharField()
    sentence = serializers.CharField()


class PlanOfReport(serializers.Serializer[Any]):
    key = serializers.CharField(allow_null=True)
    version = serializers.IntegerField(allow_null=True)
    sha256 = serializers.CharField()
    locked_at = serializers.DateTimeField(allow_null=True)
    content = serializers.DictField()


class ComparisonReport(serializers.Serializer[Any]):
    """The comparison of a study's arms; everything in the items' own units."""

    study = serializers.CharField()
    plan = PlanOfReport()
    reference = serializers.CharField(allow_null=True)
    exploratory = serializers.BooleanField()
    notes = serializers.ListField(child=serializers.CharField())
    predictor = serializers.CharField()
    outcome = serializers.CharField()
    estimand = serializers.CharField()
    formula = serializers.CharField()
    population = serializers.CharField()
    n_participants = serializers.IntegerField()
    n_pairs = serializers.IntegerField()
    n_excluded = serializers.DictField(child=serializers.IntegerField())
    method = serializers.CharField()
    log_likelihood = serializers.FloatField()
    fixed = FixedEffect(many=True)
    dropped = serializers.ListField(child=serializers.CharField())
    random = RandomEffects()
    reliability = serializers.FloatField()
    singular = serializers.BooleanField()
    arms = ArmCoupling(many=True)
    contrasts = Contrast(many=True)
    several_arms = SeveralArms(allow_null=True)
    moderation = Moderation(many=True)
    levels = LevelMean(many=True)
    companion = FloorCompanion(allow_null=True)
    warnings = Warned(many=True)
    abstinence = OutcomesOrWhy()
    safety = serializers.JSONField(help_text="Adverse events by arm, as `safety` tells them.")
    software = serializers.CharField()


class SnapshotRequest(serializers.Serializer[Any]):
    """What to ask for; everything may be left out."""

    masking = serializers.ChoiceField(SnapshotMasking.choices, default=SnapshotMasking.MASKED.value)
    formats = serializers.ListField(
        child=serializers.CharField(), default=list, help_text="Beside CSV."
    )
    deidentify = serializers.ChoiceField(Deidentified.choices, default="", allow_blank=True)
    recipient = serializers.CharField(default="", allow_blank=True, max_length=100)


class SnapshotFile(serializers.Serializer[Any]):
    name = serializers.CharField()
    url = serializers.CharField()
    size = serializers.IntegerField(allow_null=True, help_text="Bytes.")
    sha256 = serializers.CharField(allow_null=True)


class SnapshotContent(serializers.ModelSerializer[Snapshot]):
    files = serializers.SerializerMethodField()

    class Meta:
        model = Snapshot
        fields = [
            "id",
            "masking",
            "deidentify",
            "recipient",
            "formats",
            "requested_at",
            "progress",
            "built_at",
            "failed_at",
            "failure",
            "row_counts",
            "warnings",
            "sha256",
            "files",
        ]

    @extend_schema_field(SnapshotFile(many=True))
    def get_files(self, snapshot: Snapshot) -> list[dict[str, Any]]:
        return files_of(snapshot)


def files_of(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Name, address, size and hash of every file of a built snapshot."""
    slug, nothing = snapshot.study.slug, {"size": None, "sha256": None}
    return [
        {
            "name": name,
            "url": reverse("analysis:snapshot-file", args=[slug, snapshot.pk, name]),
            **snapshot.files.get(name, nothing),
        }
        for name in names_of_files(snapshot)
    ]
