"""An operator's own pages: the second factor, recovery codes, tokens of their programs."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_otp import login as prove

from ema import api_tokens, second_factor
from ema.audit import Actor
from ema.models import ApiToken
from ema.pages import answer_page
from ema.second_factor import CodeRefused

DAYS = 90


@never_cache
@require_http_methods(["GET", "POST"])
@login_required
def second_factor_page(request: HttpRequest) -> HttpResponse:
    """The code of one's phone; whoever has none enrolled enrols one first."""
    user = _user(request)
    if second_factor.phone_of(user) is None:
        return _enrolling(request, user)
    why = ""
    if request.method == "POST":
        try:
            proven = second_factor.verify(user=user, typed=request.POST.get("code", ""))
        except CodeRefused as error:
            why = str(error)
        else:
            prove(request, proven)
            return redirect(_next(request))
    title = "Second factor"
    return _page(request, "second_factor", title, 400 if why else 200, why=why, next=_next(request))


def _enrolling(request: HttpRequest, user: Any) -> HttpResponse:
    why = ""
    if request.method == "POST":
        try:
            phone, made = second_factor.enrol(
                user=user,
                typed=request.POST.get("code", ""),
                actor=Actor.of(request.user, "account"),
            )
        except CodeRefused as error:
            why = str(error)
        else:
            prove(request, phone)
            title = "Your recovery codes"
            return _page(request, "recovery_codes", title, codes=made, next=_next(request))
    phone = second_factor.phone_to_enrol(user)
    return _page(
        request,
        "enrol_phone",
        "Enrol your phone",
        400 if why else 200,
        why=why,
        qr=mark_safe(second_factor.as_qr(phone)),  # noqa: S308 - drawn here, of our own text
        secret=second_factor.secret_of(phone),
        next=_next(request),
    )


@never_cache
@require_GET
@login_required
def account(request: HttpRequest) -> HttpResponse:
    return _account(request)


@never_cache
@require_POST
@login_required
def make_token(request: HttpRequest) -> HttpResponse:
    """A new token, shown in the answer and never again."""
    days = request.POST.get("days", "")
    try:
        made = api_tokens.make(
            user=_user(request),
            name=request.POST.get("name", ""),
            days=int(days) if days.isdecimal() else 0,
            now=timezone.now(),
            actor=Actor.of(request.user, "account"),
        )
    except api_tokens.TokenNotMade as error:
        return _account(request, 400, why=str(error))
    return _account(request, made=made)


@require_POST
@login_required
def revoke_token(request: HttpRequest, number: int) -> HttpResponse:
    token = get_object_or_404(ApiToken, pk=number, user=request.user)
    if api_tokens.revoke(token=token, now=timezone.now(), actor=Actor.of(request.user, "account")):
        messages.success(request, f"The token {token} opens nothing any more.")
    return redirect("account:account")


@never_cache
@require_POST
@login_required
def new_recovery_codes(request: HttpRequest) -> HttpResponse:
    user = _user(request)
    if second_factor.phone_of(user) is None:
        return redirect("account:second-factor")
    made = second_factor.renew_recovery_codes(user=user, actor=Actor.of(request.user, "account"))
    back = reverse("account:account")
    return _page(request, "recovery_codes", "Your recovery codes", codes=made, next=back)


def _account(request: HttpRequest, status: int = 200, **shown: Any) -> HttpResponse:
    user = _user(request)
    return _page(
        request,
        "account",
        "Your account",
        status,
        phone=second_factor.phone_of(user),
        codes_left=second_factor.recovery_codes_left(user),
        tokens=ApiToken.objects.filter(user=user),
        now=timezone.now(),
        days=DAYS,
        longest=api_tokens.LONGEST_DAYS,
        **shown,
    )


def _page(
    request: HttpRequest, name: str, title: str, status: int = 200, **shown: Any
) -> HttpResponse:
    return answer_page(request, f"ema/account/{name}.html", title, status, **shown)


def _user(request: HttpRequest) -> Any:
    return request.user


def _next(request: HttpRequest) -> str:
    """Where they wanted to go, of this server only."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    is_ours = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if is_ours else reverse("home")
