"""The shape of a study's outcomes, as the API gives them."""

from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema_field
from rest_framework import serializers


class PlanOfOutcomes(serializers.Serializer[Any]):
    key = serializers.CharField(allow_null=True)
    version = serializers.IntegerField(allow_null=True)
    sha256 = serializers.CharField()


class MeanDays(serializers.Serializer[Any]):
    mean = serializers.FloatField(allow_null=True)
    sd = serializers.FloatField(allow_null=True)
    se = serializers.FloatField(allow_null=True)


class SurvivalCurve(serializers.Serializer[Any]):
    """Lists of one length: the share without the event after each day, with its interval."""

    day = serializers.ListField(child=serializers.FloatField())
    without = serializers.ListField(child=serializers.FloatField())
    low = serializers.ListField(child=serializers.FloatField(allow_null=True))
    high = serializers.ListField(child=serializers.FloatField(allow_null=True))


class AtRisk(serializers.Serializer[Any]):
    day = serializers.IntegerField()
    n = serializers.IntegerField()


class TimeTo(serializers.Serializer[Any]):
    n = serializers.IntegerField(help_text="Participants who had the event.")
    share = serializers.FloatField()
    median = serializers.FloatField(allow_null=True)
    median_interval = serializers.ListField(child=serializers.FloatField(allow_null=True))
    curve = SurvivalCurve()
    at_risk = AtRisk(many=True)
    last_day = serializers.IntegerField()


class ArmOutcomes(serializers.Serializer[Any]):
    arm = serializers.CharField(allow_null=True)
    n = serializers.IntegerField()
    n_with_tests = serializers.IntegerField()
    n_tests = serializers.IntegerField()
    n_positive = serializers.IntegerField()
    n_missed = serializers.IntegerField()
    longest_abstinence = MeanDays()
    lapse = TimeTo(allow_null=True)
    relapse = TimeTo(allow_null=True)


class DaysLonger(serializers.Serializer[Any]):
    estimate = serializers.FloatField()
    standard_error = serializers.FloatField()
    df = serializers.FloatField()
    t = serializers.FloatField()
    p = serializers.FloatField()
    interval = serializers.ListField(child=serializers.FloatField())
    cohen_d = serializers.FloatField()
    hedges_g = serializers.FloatField()


class Hazard(serializers.Serializer[Any]):
    hazard_ratio = serializers.FloatField(help_text="Below 1: the event comes later.")
    interval = serializers.ListField(child=serializers.FloatField())
    log_ratio = serializers.FloatField()
    standard_error = serializers.FloatField()
    p = serializers.FloatField()


class HazardByStratum(Hazard):
    by_stratum = Hazard(allow_null=True)


class OutcomesBeside(serializers.Serializer[Any]):
    arm = serializers.CharField()
    reference = serializers.CharField()
    longest_abstinence = DaysLonger(allow_null=True)
    lapse = HazardByStratum(allow_null=True)
    relapse = HazardByStratum(allow_null=True)


class ChiSquared(serializers.Serializer[Any]):
    statistic = serializers.FloatField()
    df = serializers.IntegerField()
    p = serializers.FloatField()


class SurvivalTests(serializers.Serializer[Any]):
    log_rank = ChiSquared(allow_null=True)
    log_rank_by_stratum = ChiSquared(allow_null=True)
    proportional_hazards = ChiSquared(allow_null=True)


class TestsByEvent(serializers.Serializer[Any]):
    lapse = SurvivalTests(allow_null=True)
    relapse = SurvivalTests(allow_null=True)


class OtherRule(serializers.Serializer[Any]):
    missed_after_dropout_counts = serializers.BooleanField()
    differs = serializers.BooleanField(help_text="Whether anybody's outcome is another by it.")
    contrasts = OutcomesBeside(many=True)


class Correlation(serializers.Serializer[Any]):
    """Of the shrunken coupling with the longest abstinence, over the participants of an arm."""

    arm = serializers.CharField(allow_null=True)
    n = serializers.IntegerField()
    spearman = serializers.FloatField(allow_null=True)
    interval = serializers.ListField(child=serializers.FloatField(), allow_null=True)
    p = serializers.FloatField(allow_null=True)
    reason = serializers.CharField(allow_null=True, help_text="Why there is none.")


class BesideCoupling(serializers.Serializer[Any]):
    participant = serializers.CharField()
    arm = serializers.CharField(allow_null=True)
    longest_abstinence = serializers.IntegerField(help_text="Days.")
    lapse_day = serializers.IntegerField(allow_null=True)
    relapse_day = serializers.IntegerField(allow_null=True)
    last_day = serializers.IntegerField()
    slope = serializers.FloatField(allow_null=True, help_text="The own coupling.")
    shrunken_slope = serializers.FloatField(allow_null=True)
    reliability = serializers.FloatField(allow_null=True)


class OutcomesReport(serializers.Serializer[Any]):
    """Lapse, relapse and longest abstinence by arm; times are days since allocation."""

    study = serializers.CharField()
    plan = PlanOfOutcomes()
    reference = serializers.CharField(allow_null=True)
    exploratory = serializers.BooleanField()
    notes = serializers.ListField(child=serializers.CharField())
    definition = serializers.CharField()
    missed_after_dropout_counts = serializers.BooleanField()
    arms = ArmOutcomes(many=True)
    contrasts = OutcomesBeside(many=True)
    tests = TestsByEvent()
    other_rule = OtherRule()
    correlations = Correlation(many=True)
    participants = BesideCoupling(many=True, required=False)
    warnings = serializers.ListField(child=serializers.CharField())
    software = serializers.CharField()


class NoOutcomes(serializers.Serializer[Any]):
    impossible = serializers.CharField(help_text="Why there are none.")


@extend_schema_field(
    PolymorphicProxySerializer(
        component_name="OutcomesOrWhy",
        serializers=[OutcomesReport, NoOutcomes],
        resource_type_field_name=None,
    )
)
class OutcomesOrWhy(serializers.JSONField):
    """The outcomes by the same plan, or the sentence that says why there are none."""
