"""Questionnaires in the admin: drafts, a live preview, publishing, files."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from ema import studies
from ema.admin.questionnaire_forms import ItemForm, ItemFormSet, VersionForm
from ema.admin.site import SetUpAdmin, actor
from ema.models import Item, Questionnaire, QuestionnaireVersion, Study
from ema.questionnaires import carrying, drafts
from ema.questionnaires.files import Refused

FORMATS = {"json": False, "fhir": True}


@admin.register(Questionnaire)
class QuestionnaireAdmin(SetUpAdmin):
    list_display = ["key", "study", "title"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any | None = None) -> list[str]:
        """Phones and tables name a published questionnaire by its key."""
        is_published = obj is not None and obj.versions.published().exists()
        return ["study", "key"] if is_published else []


class ItemInline(admin.StackedInline[Item, QuestionnaireVersion]):
    model = Item
    form = ItemForm
    formset = ItemFormSet  # type: ignore[assignment]
    ordering = ["position"]
    extra = 1


class ImportForm(forms.Form):
    study = forms.ModelChoiceField(Study.objects.all())
    file = forms.FileField(help_text="An export of a version, or a FHIR R4 Questionnaire.")
    is_fhir = forms.BooleanField(required=False, label="It is a FHIR Questionnaire")
    renumber = forms.BooleanField(
        required=False, label="Give it the next free version number", initial=True
    )


@admin.register(QuestionnaireVersion)
class QuestionnaireVersionAdmin(SetUpAdmin):
    """A published version never changes: copy it to a new draft instead."""

    form = VersionForm
    list_display = ["__str__", "study", "languages", "state", "published_at"]
    list_filter = ["questionnaire__study"]
    list_select_related = ["questionnaire__study"]
    fields = ["questionnaire", "version", "languages", "title", "skip_reasons", "sha256"]
    readonly_fields = ["version", "sha256"]
    inlines = [ItemInline]

    @admin.display(ordering="questionnaire__study")
    def study(self, version: QuestionnaireVersion) -> Study:
        return version.questionnaire.study

    @admin.display
    def state(self, version: QuestionnaireVersion) -> str:
        return "published" if version.published_at else "draft"

    def has_change_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        is_published = obj is not None and obj.published_at is not None
        return super().has_change_permission(request, obj) and not is_published

    def has_delete_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return self.has_change_permission(request, obj)

    def get_fields(self, request: HttpRequest, obj: Any | None = None) -> Any:
        return self.fields if obj else [n for n in self.fields if n not in self.readonly_fields]

    def get_readonly_fields(self, request: HttpRequest, obj: Any | None = None) -> list[str]:
        return ["questionnaire", *self.readonly_fields] if obj else list(self.readonly_fields)

    def save_model(
        self, request: HttpRequest, obj: QuestionnaireVersion, form: Any, change: bool
    ) -> None:
        form.before = drafts.save(version=obj)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        drafts.record_change(version=form.instance, before=form.before, actor=actor(request))

    def delete_model(self, request: HttpRequest, obj: QuestionnaireVersion) -> None:
        drafts.remove(version=obj, actor=actor(request))

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for version in queryset:
            self.delete_model(request, version)

    # --- pages of its own -----------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        own: list[tuple[str, str, Callable[..., HttpResponse]]] = [
            ("default/", "default", self.start_from_default),
            ("import/", "import", self.bring_in),
            ("<int:pk>/preview/", "preview", self.preview),
            ("<int:pk>/publish/", "publish", self.publish),
            ("<int:pk>/copy/", "copy", self.copy),
            ("<int:pk>/export/<str:file_format>/", "export", self.export),
        ]
        guarded = [
            path(route, self.admin_site.admin_view(view), name=_name(name))
            for route, name, view in own
        ]
        return [*guarded, *super().get_urls()]

    def _version(self, request: HttpRequest, pk: int) -> QuestionnaireVersion:
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = QuestionnaireVersion.objects.select_related("questionnaire__study")
        return get_object_or_404(found, pk=pk)

    def _page(
        self, request: HttpRequest, name: str, title: str, status: int = 200, **shown: Any
    ) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "title": title, "opts": self.opts}
        return render(
            request, f"ema/questionnaire_{name}.html", {**context, **shown}, status=status
        )

    def start_from_default(self, request: HttpRequest) -> HttpResponse:
        """A draft of the default questionnaire in a study."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            study = get_object_or_404(Study, pk=request.POST.get("study") or 0)
            version = drafts.start_from_default(study=study, actor=actor(request))
            messages.success(request, f"{version} is a draft in study {study}.")
            return _changing(version)
        title = "New from the default questionnaire"
        return self._page(request, "default", title, studies=Study.objects.order_by("slug"))

    def bring_in(self, request: HttpRequest) -> HttpResponse:
        """A draft from a file, or every fault with its place."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = ImportForm(request.POST or None, request.FILES or None)
        faults = []
        if form.is_valid():
            try:
                version = carrying.imported(
                    study=form.cleaned_data["study"],
                    content=form.cleaned_data["file"].read(),
                    as_fhir=form.cleaned_data["is_fhir"],
                    renumber=form.cleaned_data["renumber"],
                    actor=actor(request),
                )
            except Refused as error:
                faults = error.faults
            else:
                messages.success(request, f"{version} is a draft.")
                return _changing(version)
        title = "Import a questionnaire"
        return self._page(request, "import", title, form=form, faults=faults)

    def preview(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The version as a phone shows it."""
        version = self._version(request, pk)
        title = f"Preview of {version}"
        return self._page(request, "preview", title, version=version, content=version.content())

    def publish(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Asks first: what is published stays."""
        version = self._version(request, pk)
        if version.published_at:
            messages.error(request, f"{version} is published already.")
            return _changing(version)
        problems = studies.publishing_problems(version)
        if request.method == "POST" and not problems:
            try:
                studies.publish(version=version, now=timezone.now(), actor=actor(request))
            except studies.NotReady as error:
                messages.error(request, str(error))
            else:
                messages.success(request, f"{version} is published under {version.sha256}.")
            return _changing(version)
        title = f"Publish {version}?"
        return self._page(request, "publish", title, version=version, problems=problems)

    def copy(self, request: HttpRequest, pk: int) -> HttpResponse:
        """A new draft with the same content."""
        version = self._version(request, pk)
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            try:
                copied = drafts.copy(version=version, actor=actor(request))
            except Refused as error:
                messages.error(request, f"{version} was not copied. {error}")
                return _changing(version)
            messages.success(request, f"{copied} is a draft with the content of {version}.")
            return _changing(copied)
        return self._page(request, "copy", f"Copy {version} to a new draft?", version=version)

    def export(self, request: HttpRequest, pk: int, file_format: str) -> HttpResponse:
        """A file to keep, or why FHIR cannot carry it."""
        version = self._version(request, pk)
        as_fhir = FORMATS.get(file_format, False)
        try:
            text = carrying.exported(version, as_fhir=as_fhir)
        except Refused as error:
            for fault in error.faults:
                messages.error(request, f"{fault.pointer} {fault.detail}".strip())
            return _changing(version)
        name = carrying.file_name(version, as_fhir=as_fhir)
        kind = "application/fhir+json" if as_fhir else "application/json"
        disposition = f'attachment; filename="{name}"'
        return HttpResponse(text, content_type=kind, headers={"Content-Disposition": disposition})


def _name(name: str) -> str:
    return f"ema_questionnaireversion_{name}"


def _changing(version: QuestionnaireVersion) -> HttpResponse:
    return redirect(reverse(f"admin:{_name('change')}", args=[version.pk]))
