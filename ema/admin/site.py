"""The operators' site: Django's admin, opened by roles instead of Django's permissions."""

from typing import Any

from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.auth.forms import AuthenticationForm
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from ema import access
from ema.audit import Actor
from ema.models.study import Role

COORDINATORS = frozenset({Role.COORDINATOR.value})
OPERATORS = frozenset(Role.values)


class OperatorSite(AdminSite):
    site_header = "Fourbeat"
    site_title = "Fourbeat"
    index_title = "Records of the trial"
    site_url = "/studies/"
    login_form = AuthenticationForm  # a role lets people in, not Django's staff flag
    enable_nav_sidebar = False

    def has_permission(self, request: HttpRequest) -> bool:
        user = request.user
        return user.is_active and (user.is_superuser or access.studies_for(user).exists())


def actor(request: HttpRequest) -> Actor:
    return Actor(user=request.user if request.user.is_authenticated else None, door="admin")


class RecordAdmin(ModelAdmin[Any]):
    """Records of a study: who may read and who may add or change is a matter of role."""

    readers = OPERATORS
    writers: frozenset[str] = frozenset()
    actions_on_top = True

    def _holds(self, request: HttpRequest, roles: frozenset[str]) -> bool:
        return bool(roles) and access.studies_for(request.user, *roles).exists()

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._holds(request, self.readers)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._holds(request, self.writers)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._holds(request, self.writers)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # corrections are added, nothing is erased


class ParticipantRecordAdmin(RecordAdmin):
    """Records that belong to a participant: only those of the operator's own sites."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        mine = access.participants_for(request.user)
        return super().get_queryset(request).filter(participant__in=mine)


class SetUpAdmin(ModelAdmin[Any]):
    """What an administrator sets up: they manage, and see no participants."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.is_superuser

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.is_superuser
