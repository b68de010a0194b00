"""What Django's admin leaves out for people who hear a page, or who may not follow a link."""

from typing import Any

from django.contrib import admin
from django.contrib.admin import helpers
from django.forms import BaseInlineFormSet, Widget

from ema.admin.site import SetUpAdmin


class LabelledFormSet(BaseInlineFormSet[Any, Any, Any]):
    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        for name, field in form.fields.items():
            if not field.widget.is_hidden:
                _inner(field.widget).attrs["aria-label"] = form[name].label


class LabelledInline(admin.TabularInline[Any, Any]):
    """Fields of a table say what they are themselves: the head of a column labels none."""

    formset = LabelledFormSet


def _inner(widget: Widget) -> Widget:
    """Without the buttons to add and change what is chosen."""
    inner: Widget = getattr(widget, "widget", widget)
    return inner


class ReadonlyField(helpers.AdminReadonlyField):
    """No link leads from records of participants to set-up, which others are refused."""

    model_admin: Any

    def get_admin_url(self, remote_field: Any, remote_obj: Any) -> Any:
        their_admin = admin.site._registry.get(remote_field.model)
        leads_away = isinstance(their_admin, SetUpAdmin)
        if leads_away and not isinstance(self.model_admin, SetUpAdmin):
            return str(remote_obj)
        return super().get_admin_url(remote_field, remote_obj)


helpers.AdminReadonlyField = ReadonlyField  # type: ignore[misc]  # Django has no hook for it
