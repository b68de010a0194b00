"""Push registrations, to look at: which phones can be told, and which no longer."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from ema import access
from ema.admin.site import RecordAdmin
from ema.models import PushRegistration


class DeadFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "dead"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "dead"), ("no", "live")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        return queryset.filter(died_at__isnull=self.value() == "no")


@admin.register(PushRegistration)
class PushRegistrationAdmin(RecordAdmin):
    """The address itself stays hidden: whoever knows it can reach the phone."""

    site_path = "device__participant__site"
    list_display = ["participant", "kind", "registered_at", "died_at", "death"]
    list_filter = [
        ("device__participant__study", admin.RelatedOnlyFieldListFilter),
        ("device__participant__site", admin.RelatedOnlyFieldListFilter),
        DeadFilter,
        "kind",
    ]
    search_fields = ["device__participant__code"]
    fields = ["participant", "kind", "registered_at", "died_at", "death"]
    readonly_fields = ["participant"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        mine = access.participants_for(request.user)
        found = super().get_queryset(request).filter(device__participant__in=mine)
        return found.select_related("device__participant")

    @admin.display(ordering="device__participant__code")
    def participant(self, registration: PushRegistration) -> str:
        return registration.device.participant.code
