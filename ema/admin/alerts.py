"""Rules of safety alerts: an investigator or an administrator adds and changes them."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils import timezone

from ema import access, alert_rules
from ema.access import CARERS
from ema.admin.site import RecordAdmin, actor
from ema.models import AlertRule, Study
from ema.models.study import Role

WRITERS = frozenset({Role.INVESTIGATOR.value})
FIELDS = [
    "study",
    "title",
    "kind",
    "item",
    "operator",
    "value",
    "amount",
    "least_answers",
    "severity",
    "todo",
    "escalate_after_hours",
    "escalate_mail",
    "escalate_webhook",
]


class AlertRuleForm(forms.ModelForm[AlertRule]):
    is_active = forms.BooleanField(
        required=False,
        label="Switched on",
        help_text="It looks at what arrives from then on.",
    )

    class Meta:
        model = AlertRule
        fields = FIELDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["is_active"].initial = self.instance.active_since is not None

    def _post_clean(self) -> None:
        """Say why the rule cannot work, once its fields have been read into it."""
        super()._post_clean()  # type: ignore[misc]
        if not self.errors:
            for problem in alert_rules.problems(self.instance):
                self.add_error(None, problem)


@admin.register(AlertRule)
class AlertRuleAdmin(RecordAdmin):
    """What the study wants to be told of. Nothing is found by a rule that is switched off."""

    form = AlertRuleForm
    readers = CARERS
    writers = WRITERS
    list_display = ["title", "study", "kind", "severity", "active_since"]
    list_filter = [
        ("study", admin.RelatedOnlyFieldListFilter),
        "kind",
        "severity",
        ("active_since", admin.EmptyFieldListFilter),
    ]
    list_select_related = ["study"]
    search_fields = ["title"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[AlertRule]:
        found: QuerySet[AlertRule] = super().get_queryset(request)
        return found if request.user.is_superuser else found & access.alert_rules_for(request.user)

    def get_fields(self, request: HttpRequest, obj: Any | None = None) -> list[Any]:
        may = self.has_add_permission(request) if obj is None else self._may_change(request, obj)
        secret = ["webhook_key"] if obj and may else []
        return [*FIELDS, "is_active" if may else "active_since", *secret]

    def get_readonly_fields(self, request: HttpRequest, obj: Any | None = None) -> list[Any]:
        return ["active_since", *(["study", "webhook_key"] if obj else [])]

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs["queryset"] = self._studies(request)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def _studies(self, request: HttpRequest) -> QuerySet[Study]:
        if request.user.is_superuser:
            return Study.objects.all()
        return access.studies_for(request.user, *WRITERS)

    def _may_change(self, request: HttpRequest, obj: AlertRule) -> bool:
        return self._studies(request).filter(pk=obj.study_id).exists()

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(request.user.is_superuser) or super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._studies(request).exists()

    def has_change_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return self._studies(request).exists() if obj is None else self._may_change(request, obj)

    def save_model(
        self, request: HttpRequest, obj: AlertRule, form: ModelForm[Any], change: bool
    ) -> None:
        alert_rules.save(
            rule=obj,
            is_active=form.cleaned_data["is_active"],
            now=timezone.now(),
            actor=actor(request),
        )
