"""Phones: which schedule each has loaded, and what it numbered but never brought."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from ema import gaps
from ema.admin.participants import OWN_PARTICIPANTS
from ema.admin.site import ParticipantRecordAdmin
from ema.models import Device


@admin.register(Device)
class PhoneAdmin(ParticipantRecordAdmin):
    """Answers that never arrived are gaps in the numbers that a phone gives to what it sends."""

    list_display = [
        *["participant", "app_version", "platform", "enrolled_at", "replaced_at", "revoked_at"],
        *["schedule_at", "schedule_rev", "missing"],
    ]
    list_filter = [*OWN_PARTICIPANTS, ("replaced_at", admin.EmptyFieldListFilter)]
    list_select_related = ["participant"]
    search_fields = ["participant__code"]
    ordering = ["participant__code", "enrolled_at"]
    fields = [
        *["participant", "app", "app_version", "platform", "enrolled_at", "replaced_at"],
        *["revoked_at", "schedule_at", "schedule_rev", "never_arrived"],
    ]
    readonly_fields = ["never_arrived"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return gaps.with_missing(super().get_queryset(request))

    @admin.display(description="never arrived", ordering="missing")
    def missing(self, device: Any) -> Any:
        return device.missing

    @admin.display(description="numbers that never arrived")
    def never_arrived(self, device: Device) -> str:
        """Its app may still hold them, or they were events of prompts that are not known here."""
        return ", ".join(map(str, gaps.gaps_of(device))) or "none"
