"""Deliveries, to look at: what was sent when, and what failed why."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from ema import access
from ema.admin.site import RecordAdmin
from scheduler.models import Delivery


@admin.register(Delivery)
class DeliveryAdmin(RecordAdmin):
    site_path = "prompt__participant__site"
    list_display = ["participant", "due_at", "channel", "attempts", "sent_at", "failure"]
    list_filter = [
        ("prompt__participant__study", admin.RelatedOnlyFieldListFilter),
        ("prompt__participant__site", admin.RelatedOnlyFieldListFilter),
        "channel",
    ]
    date_hierarchy = "due_at"
    search_fields = ["prompt__participant__code"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        mine = access.participants_for(request.user)
        found = super().get_queryset(request).filter(prompt__participant__in=mine)
        return found.select_related("prompt__participant")

    @admin.display(ordering="prompt__participant__code")
    def participant(self, delivery: Delivery) -> str:
        return delivery.prompt.participant.code
