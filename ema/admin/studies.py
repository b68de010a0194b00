"""What an administrator sets up: studies, sites, arms, phases, roles."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import JSONField, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from ema import access, arms, phases, sealing, studies
from ema.admin.in_words import (
    HoursField,
    MinutesField,
    TimesField,
    TreatmentsField,
    WeekdaysField,
)
from ema.admin.labels import LabelledInline
from ema.admin.site import RecordAdmin, SetUpAdmin, actor
from ema.admin.text_fields import ParagraphsField
from ema.audit import Actor
from ema.models import (
    Arm,
    AuditEvent,
    Membership,
    Phase,
    Site,
    Study,
)
from ema.models.study import whole_day_windows

OWN = [(name, admin.RelatedOnlyFieldListFilter) for name in ("study", "site")]


class EmptiableForm(forms.ModelForm[Any]):
    """A JSON field that is left empty means what it means by default; one that is left as it was
    shown stays as it is stored.
    """

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        of_json = [each for each in self._meta.model._meta.fields if isinstance(each, JSONField)]
        for field in of_json:
            may_be_empty = field.blank and not field.null
            if may_be_empty and cleaned.get(field.name, ...) is None:
                cleaned[field.name] = field.get_default()
            elif self.instance.pk and field.name in cleaned.keys() - self.changed_data:
                cleaned[field.name] = getattr(self.instance, field.name)
        return cleaned


class SiteForm(forms.ModelForm[Site]):
    def clean_code(self) -> str:
        """Strata of allocation lists are named by sites' codes."""
        old = Site.objects.filter(pk=self.instance.pk).first()
        code: str = self.cleaned_data["code"]
        if old and old.code != code and sealing.has_slots(old):
            raise forms.ValidationError(f"Site {old} is on an allocation list: it keeps its code.")
        return code


class SiteInline(LabelledInline):
    model = Site
    form = SiteForm
    extra = 1


class ArmForm(EmptiableForm):
    treatments = TreatmentsField(
        widget=forms.Textarea(attrs={"rows": 2, "cols": 30}),
        help_text="In a crossover, where an arm is a sequence: what it receives in each phase, a "
        "line each, first: placebo. Empty: one treatment throughout.",
    )

    def _post_clean(self) -> None:
        """Say what of an arm is settled, once its fields have been read into it."""
        super()._post_clean()  # type: ignore[misc]
        for problem in arms.problems(self.instance):
            self.add_error(None, problem)


class ArmInline(LabelledInline):
    model = Arm
    form = ArmForm
    extra = 2

    def has_delete_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return False


class PhaseForm(EmptiableForm):
    windows = HoursField(
        required=True,
        initial=whole_day_windows,
        help_text="When people may be asked, by their own clock. A window a line: "
        "Monday to Friday: 08:00 to 22:00.",
    )
    fixed_times = TimesField(help_text="Of the fixed design: 09:00, 21:30.")
    reminders_after = MinutesField(
        help_text="Minutes after the prompt: 10, 20. Empty: no reminders."
    )

    def _post_clean(self) -> None:
        """Say why the phase cannot work, once its fields have been read into it."""
        super()._post_clean()  # type: ignore[misc]
        if not self.errors:
            for problem in phases.problems(self.instance, timezone.now()):
                self.add_error(None, problem)


class PhaseInline(admin.StackedInline[Phase, Study]):
    model = Phase
    form = PhaseForm
    extra = 0

    def has_delete_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        has_started = obj is not None and obj.started_at is not None
        return super().has_delete_permission(request, obj) and not has_started


class StudyForm(EmptiableForm):
    contact = ParagraphsField(
        help_text="Whom participants ask, as the app shows it, by language: "
        "en: Call 0123 456. Lines below go on with it; begin one with four blanks that looks like "
        "a language, as tel: 0123 456 does."
    )
    instructions = ParagraphsField(
        help_text="What the app tells participants, by language: en: Answer when you are asked."
    )
    urine_weekdays = WeekdaysField(help_text="Days of urine tests. None: no urine tests.")


@admin.register(Study)
class StudyAdmin(SetUpAdmin):
    form = StudyForm
    list_display = ["slug", "title", "masking", "started_at", "locked_at", "allocation"]
    fields = [
        "slug",
        "title",
        "masking",
        "closed_labels",
        "zone",
        "travel",
        "contact",
        "instructions",
        "minimum_app_version",
        "urine_weekdays",
        "urine_grace_days",
        "double_entry",
        "started_at",
        "locked_at",
    ]
    readonly_fields = ["started_at", "locked_at"]
    inlines = [SiteInline, ArmInline, PhaseInline]
    actions = ["start"]

    @admin.display(description="allocation")
    def allocation(self, study: Study) -> str:
        address = reverse("console:allocation-lists", args=[study.slug])
        return format_html('<a href="{}">lists of {}</a>', address, study)

    def has_delete_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any | None = None) -> list[str]:
        settled = studies.SETTLED if obj and obj.started_at else ()
        return [*self.readonly_fields, *settled]

    def save_model(self, request: HttpRequest, obj: Study, form: Any, change: bool) -> None:
        studies.save(study=obj, actor=actor(request))

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        if formset.model is Site:
            return super().save_formset(request, form, formset, change)
        saved = formset.save(commit=False)
        for phase in formset.deleted_objects:
            phases.remove(phase=phase, actor=actor(request))
        for one in saved:
            if isinstance(one, Arm):
                arms.save(arm=one, actor=actor(request))
            else:
                phases.save(phase=one, actor=actor(request))
        return None

    @admin.action(
        description="Start the study: prompts are planned from now on", permissions=["change"]
    )
    def start(self, request: HttpRequest, queryset: QuerySet[Study]) -> None:
        for study in queryset:
            try:
                studies.start(study=study, now=timezone.now(), actor=actor(request))
            except studies.NotReady as error:
                self.message_user(request, str(error), messages.ERROR)
            else:
                self.message_user(request, f"Study {study} has started.", messages.SUCCESS)


class MembershipForm(forms.ModelForm[Membership]):
    by: Actor  # whoever fills in the form

    def clean(self) -> dict[str, Any]:
        """Refuse here what granting would refuse."""
        cleaned = super().clean() or {}
        asked = {name: cleaned.get(name) for name in ("role", "study", "site")}
        if asked["role"] and asked["study"]:
            user_id = self.instance.user_id
            try:
                studies.refuse_wrong_grant(user_id=user_id, **asked, actor=self.by)  # type: ignore[arg-type]
            except studies.RoleRefused as error:
                self.add_error(None, str(error))
        return cleaned


class MembershipInline(LabelledInline):
    """Roles are granted and revoked, never changed: each leaves its event."""

    model = Membership
    form = MembershipForm
    extra = 1

    def has_change_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return False

    def get_formset(self, request: HttpRequest, obj: Any | None = None, **kwargs: Any) -> Any:
        formset = super().get_formset(request, obj, **kwargs)
        formset.form.by = actor(request)  # type: ignore[attr-defined]
        return formset


admin.site.unregister([TOTPDevice, StaticDevice])  # secrets: reset, never read
admin.site.unregister([User, Group])  # Django's own screens: roles take the place of groups


@admin.register(User)
class OperatorAdmin(SetUpAdmin, UserAdmin[User]):
    """Operators and their roles. Roles, not Django's permissions, decide what they see."""

    list_display = ["username", "is_active", "is_superuser", "last_login"]
    list_filter = ["is_active", "is_superuser"]
    filter_horizontal = ()
    fieldsets = [
        (None, {"fields": ["username", "password", "email", "is_active", "is_superuser"]}),
    ]
    inlines = [MembershipInline]

    def has_delete_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return False

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        granted, by = formset.save(commit=False), actor(request)
        for one in formset.deleted_objects:
            studies.revoke(membership=one, actor=by)
        for one in granted:
            studies.grant(user=one.user, role=one.role, study=one.study, site=one.site, actor=by)


@admin.register(AuditEvent)
class AuditEventAdmin(RecordAdmin):
    readers = access.TRAIL_READERS
    list_display = ["at", "study", "site", "action", "subject", "actor", "door", "reason"]
    list_filter = [*OWN, "action", "door"]
    search_fields = ["subject", "action"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return access.audit_events_for(request.user).select_related("study", "site", "actor")
