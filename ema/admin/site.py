"""The operators' site: Django's admin, opened by roles instead of Django's permissions."""

from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import FieldDoesNotExist, PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.csrf import csrf_protect

from ema import access
from ema.admin import refusals
from ema.audit import Actor
from ema.models.study import Role
from ema.pages import pages_of

FILTER_LOOKUPS = ("", "__exact", "__in", "__isnull", "__isempty", "__id__exact", "__id__in")

REFUSAL = "fourbeat_refusal"  # of a request: why what it asks for cannot be
COORDINATORS = frozenset({Role.COORDINATOR.value})
OPERATORS = access.READERS


class OperatorSite(AdminSite):
    site_header = "Fourbeat"
    site_title = "Fourbeat"
    index_title = "Records of the trial"
    site_url = "/studies/"
    login_form = AuthenticationForm  # a role lets people in, not Django's staff flag
    enable_nav_sidebar = False

    def has_permission(self, request: HttpRequest) -> bool:
        user = request.user
        return user.is_active and (user.is_superuser or access.holds(user))

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """As Django's, which lets nobody sign out who has no role."""
        if view == self.logout:
            return csrf_protect(login_required(view))
        return super().admin_view(view, cacheable)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """As Django's, but without the list of screens, which it makes for a side bar.

        Each screen asks for roles before it is listed: three dozen statements for every page.
        """
        return {
            "site_title": self.site_title,
            "site_header": self.site_header,
            "site_url": self.site_url,
            "has_permission": self.has_permission(request),
            "is_popup": False,
            "is_nav_sidebar_enabled": self.enable_nav_sidebar,
            "log_entries": self.get_log_entries(request),
        }


def actor(request: HttpRequest) -> Actor:
    return Actor.of(request.user, "admin")


class RefusingAdmin(ModelAdmin[Any]):
    """What a step or the database refuses after a form was found right is said on the form.

    So it goes for whoever is second of two: the form's own checks saw nothing of the first.
    """

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except refusals.POSSIBLE as error:
            said = _said_of(error)
        try:
            setattr(request, REFUSAL, said)
            return super().changeform_view(request, *args, **kwargs)
        except PermissionDenied:  # the form is there no more: what is left is to read
            return self._say(request, said)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().delete_view(request, *args, **kwargs)
        except refusals.POSSIBLE as error:
            return self._say(request, _said_of(error))

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changelist_view(request, *args, **kwargs)
        except refusals.POSSIBLE as error:
            return self._say(request, _said_of(error))

    def _say(self, request: HttpRequest, said: str) -> HttpResponse:
        self.message_user(request, f"Nothing was changed. {said}", messages.ERROR)
        return redirect(request.get_full_path())

    def get_form(
        self, request: HttpRequest, obj: Any | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        return _refused(form, getattr(request, REFUSAL)) if hasattr(request, REFUSAL) else form


def _said_of(error: Exception) -> str:
    """Why it was refused; what is no refusal goes on."""
    if said := refusals.in_words(error):
        return said
    raise error


def _refused(form: Any, said: str) -> Any:
    """The same form, which is wrong whatever is in it."""

    class Refused(form):  # type: ignore[misc]
        def _post_clean(self) -> None:
            super()._post_clean()
            self.add_error(None, said)

    return Refused


class ShownFieldsAdmin(RefusingAdmin):
    """Addresses filter by what the screen shows and by nothing beyond: no way round to an arm."""

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        assert request is not None  # noqa: S101 - Django 5.2 always passes it
        may = self._filters(lookup, request) or self._shows(lookup, request)
        return may and super().lookup_allowed(lookup, value, request)

    def _filters(self, lookup: str, request: HttpRequest) -> bool:
        """Whether this is a parameter of one of the screen's own filters."""
        for entry in self.get_list_filter(request):
            named = entry[0] if isinstance(entry, list | tuple) else entry
            name = getattr(named, "parameter_name", named)
            if lookup in {f"{name}{ending}" for ending in FILTER_LOOKUPS}:
                return True
        return False

    def _shows(self, lookup: str, request: HttpRequest) -> bool:
        """Whether this asks about a field of the record itself that the screen shows."""
        name = lookup.split("__", maxsplit=1)[0]
        try:
            field = self.opts.get_field(name)
        except FieldDoesNotExist:
            return False
        shown = {"id", self.date_hierarchy, *self.get_list_display(request)}
        shown |= set(self.get_fields(request))
        return field.concrete and not field.is_relation and name in shown

    def to_field_allowed(self, request: HttpRequest, to_field: str) -> bool:
        """Pop-ups refer to records by their own fields only."""
        try:
            field = self.opts.get_field(to_field)
        except FieldDoesNotExist:
            return False
        is_own = field.concrete and not field.is_relation
        return is_own and super().to_field_allowed(request, to_field)


class RecordAdmin(ShownFieldsAdmin):
    """Records of a study: who may read and who may add or change is a matter of role.

    `site_path` leads from the record to its site: writers hold their role there.
    """

    readers = OPERATORS
    writers: frozenset[str] = frozenset()
    site_path = "site"
    actions_on_top = True
    change_list_template = "ema/records.html"

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """The list, under the pages of the one study that this user reads."""
        answer = super().changelist_view(request, extra_context)
        mine = list(access.studies_for(request.user)[:2])
        if isinstance(answer, TemplateResponse) and len(mine) == 1:
            shown = {"only_study": mine[0], "page_groups": pages_of(mine[0], request.user)}
            answer.context_data = (answer.context_data or {}) | shown
        return answer

    def _holds(self, request: HttpRequest, roles: frozenset[str]) -> bool:
        return access.holds(request.user, roles)

    def changeable(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Those records at whose site the user holds a writing role."""
        if not self.writers:
            return queryset.none()
        sites = access.sites_for(request.user, *self.writers)
        return queryset.filter(**{f"{self.site_path}__in": sites})

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self._holds(request, self.readers)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._holds(request, self.writers)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        if obj is None:
            return self._holds(request, self.writers)
        this = self.model._default_manager.filter(pk=obj.pk)
        return self.changeable(request, this).exists()

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # corrections are added, nothing is erased


class ParticipantRecordAdmin(RecordAdmin):
    """Records that belong to a participant: only those of the operator's own sites."""

    site_path = "participant__site"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        mine = access.participants_for(request.user)
        return super().get_queryset(request).filter(participant__in=mine)


class SetUpAdmin(ShownFieldsAdmin):
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
