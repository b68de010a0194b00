"""Allocation lists, for administrators: drawn or uploaded and sealed, counted, never shown."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from ema import access, sealing
from ema.allocation_lists import ListRefused
from ema.models import AllocationList, Study
from ema.pages import actor_of, answer_page, operators_page

FEW = 10  # slots left, at which an administrator should add some
MOST, LARGEST = 10_000, 1_000_000  # slots of a stratum; bytes of a file
SEAL = "Seal it: nothing changes or removes it, and nobody sees it"
UNCONFIRMED = "Nothing was sealed: tick the box to confirm."


class DrawForm(forms.Form):
    """Permuted blocks of random size, for every site: the sizes are drawn from the usual ones."""

    per_stratum = forms.IntegerField(
        min_value=1,
        max_value=MOST,
        label="Slots of each stratum, at least",
        help_text="A stratum is a site, or a site with a value of each factor. Blocks are whole.",
    )
    factor_1 = forms.CharField(
        required=False,
        max_length=200,
        label="Stratify by (beside the site)",
        help_text="Its name and values: sex=female,male. Empty: by site alone.",
    )
    factor_2 = forms.CharField(required=False, max_length=200, label="And by")
    goes_on = forms.BooleanField(required=False, label="Add slots to strata that have some already")
    confirm = forms.BooleanField(label=SEAL, error_messages={"required": UNCONFIRMED})

    def __init__(self, data: Any, *, study: Study) -> None:
        before = sealing.factors_of(study)
        said = [f"{name}={','.join(values)}" for name, values in before.items()]
        initial = {f"factor_{number}": one for number, one in enumerate(said, start=1)}
        super().__init__(data, initial=initial, auto_id="draw-%s")
        self.arms = list(study.arms.order_by("key").values_list("key", flat=True))
        for arm in self.arms:
            self.fields[f"ratio-{arm}"] = forms.IntegerField(
                min_value=1, max_value=20, initial=1, label=f"{arm}: how often, to the others"
            )
        self.order_fields([f"ratio-{arm}" for arm in self.arms])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        cleaned["factors"] = {}
        for field in ("factor_1", "factor_2"):
            name, equals, values = cleaned.get(field, "").partition("=")
            if not name.strip():
                continue
            if not equals or name.strip() in cleaned["factors"]:
                self.add_error(field, "Write a name of its own and values: sex=female,male.")
            cleaned["factors"][name.strip()] = [value.strip() for value in values.split(",")]
        return cleaned

    @property
    def ratio(self) -> dict[str, int]:
        return {arm: self.cleaned_data[f"ratio-{arm}"] for arm in self.arms}


class UploadForm(forms.Form):
    file = forms.FileField(
        label="CSV file", help_text="Its first line is stratum,position,arm or with kit behind."
    )
    confirm = forms.BooleanField(label=SEAL, error_messages={"required": UNCONFIRMED})

    def __init__(self, data: Any, files: Any = None) -> None:
        super().__init__(data, files, auto_id="upload-%s")

    def clean_file(self) -> tuple[str, str]:
        """The file's name and its text."""
        sent = self.cleaned_data["file"]
        if sent.size > LARGEST:
            raise forms.ValidationError("The file is larger than 1 MB: send it in parts.")
        try:
            return sent.name, sent.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise forms.ValidationError("Save the file as UTF-8.") from error


@require_GET
@operators_page
def lists(request: HttpRequest, slug: str) -> HttpResponse:
    """How many slots are free, and the commitments; never a list."""
    return _show(request, access.access_set_up(user=request.user, slug=slug))


@require_POST
@operators_page
def draw(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_set_up(user=request.user, slug=slug)
    form = DrawForm(request.POST, study=study)
    if form.is_valid():
        said = form.cleaned_data
        try:
            return _sealed(
                request,
                sealing.generate(
                    study=study,
                    ratio=form.ratio,
                    per_stratum=said["per_stratum"],
                    factors=said["factors"],
                    goes_on=said["goes_on"],
                    now=timezone.now(),
                    actor=actor_of(request),
                ),
            )
        except ListRefused as error:
            form.add_error(None, list(error.faults))
    return _show(request, study, 400, draw_form=form)


@require_POST
@operators_page
def upload(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_set_up(user=request.user, slug=slug)
    form = UploadForm(request.POST, request.FILES)
    if form.is_valid():
        name, text = form.cleaned_data["file"]
        by: dict[str, Any] = {"now": timezone.now(), "actor": actor_of(request)}
        try:
            sealed = sealing.upload(study=study, text=text, file_name=name, **by)
            return _sealed(request, sealed)
        except ListRefused as error:
            form.add_error(None, list(error.faults))
    return _show(request, study, 400, upload_form=form)


def _sealed(request: HttpRequest, sealed: AllocationList) -> HttpResponse:
    """Back to the lists, which have its commitment; of its slots how many there are."""
    text = f"Sealed: {sealed}, {sealed.slots.count()} slots, under {sealed.commitment}."
    messages.success(request, text)
    return redirect("console:allocation-lists", slug=sealed.study.slug)


def _show(
    request: HttpRequest,
    study: Study,
    status: int = 200,
    *,
    draw_form: DrawForm | None = None,
    upload_form: UploadForm | None = None,
) -> HttpResponse:
    return answer_page(
        request,
        "console/allocation_lists.html",
        f"Allocation lists: {study.title}",
        status,
        study=study,
        strata=sealing.strata_of(study),
        lists=AllocationList.objects.filter(study=study).select_related("made_by"),
        few=FEW,
        draw_form=draw_form or DrawForm(None, study=study),
        upload_form=upload_form or UploadForm(None),
    )
