"""What the operators' own pages share: who is let in, the look, the links of a study."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, NamedTuple, ParamSpec

from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from ema import access
from ema.access import NoAccess, User
from ema.models import Study

P = ParamSpec("P")
Page = Callable[Concatenate[HttpRequest, P], HttpResponse]


class StudyPage(NamedTuple):
    """A page about one study, by the name of its address, and the roles that may open it."""

    title: str
    name: str
    roles: frozenset[str]


class Link(NamedTuple):
    title: str
    address: str


STUDY_PAGES: list[StudyPage] = []
"""Pages that other packages add to each study's card (decision 0007)."""


def operators_page(page: Page[P]) -> Page[P]:
    """For people who signed in; what they may not see looks as if it were not there."""

    @login_required
    @wraps(page)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        try:
            return page(request, *args, **kwargs)
        except NoAccess as error:
            return answer_page(request, "ema/not_found.html", "Not found", 404, why=str(error))

    return guarded


def answer_page(
    request: HttpRequest, template: str, title: str, status: int = 200, **context: Any
) -> HttpResponse:
    """A page in the look of the operators' admin."""
    context |= admin.site.each_context(request) | {"title": title}
    return render(request, template, context, status=status)


def links_of(study: Study, user: User, *, but: str = "") -> list[Link]:
    """The added pages of a study that this user may open; `but` is the page that links."""
    held = access.roles_in(user=user, study=study)
    return [
        Link(page.title, reverse(page.name, args=[study.slug]))
        for page in STUDY_PAGES
        if page.roles & held and page.name != but
    ]
