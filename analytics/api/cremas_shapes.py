"""The shape of a study's reporting numbers, as the API gives them."""

from typing import Any

from rest_framework import serializers


class PromptsOfAPart(serializers.Serializer[Any]):
    planned = serializers.IntegerField()
    delivered = serializers.IntegerField()
    answered = serializers.IntegerField()
    in_time = serializers.IntegerField()
    cancelled = serializers.IntegerField()
    compliance = serializers.FloatField(
        allow_null=True, help_text="Percent; null while no prompt of the part has ended."
    )


class LatencySeconds(serializers.Serializer[Any]):
    quartile_1 = serializers.IntegerField()
    median = serializers.IntegerField()
    quartile_3 = serializers.IntegerField()
    answers = serializers.IntegerField()


class LeftByWeek(serializers.Serializer[Any]):
    week = serializers.IntegerField()
    withdrawn = serializers.IntegerField(help_text="By the end of that study week.")
    were_in = serializers.IntegerField()


class Attrition(serializers.Serializer[Any]):
    enrolled = serializers.IntegerField()
    withdrawn = serializers.IntegerField()
    by_week = LeftByWeek(many=True)


class CremasReport(serializers.Serializer[Any]):
    at = serializers.DateTimeField(help_text="When it was counted; anew after five minutes.")
    only_sites = serializers.ListField(
        child=serializers.CharField(), help_text="The sites one is kept to; empty: the whole study."
    )
    whole = PromptsOfAPart()
    ledger = serializers.DictField(child=serializers.IntegerField())
    reasons = serializers.DictField(child=serializers.IntegerField())
    latency_s = LatencySeconds(allow_null=True)
    by_study_week = serializers.DictField(child=PromptsOfAPart())
    by_time_of_day = serializers.DictField(child=PromptsOfAPart())
    by_study_day = serializers.DictField(child=PromptsOfAPart())
    attrition = Attrition()
