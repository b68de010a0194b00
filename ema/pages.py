"""What the operators' own pages share: who is let in, the look, the links of a study."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, NamedTuple, ParamSpec

from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse

from ema import access
from ema.access import NoAccess, User
from ema.audit import Actor
from ema.models import Study

P = ParamSpec("P")
Page = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


GROUPS = ("Care", "Trial", "Results", "Data")
"""What pages are about, in the order they are offered in: people, the study, arms, files."""


ADMINISTRATORS = frozenset({"administrator"})
"""Stands beside roles where a page is offered to those who set up studies: they hold none."""


class StudyPage(NamedTuple):
    """A page about one study, by the name of its address, and the roles that may open it.

    Pages that tell of arms are for whoever may compare them (`access.access_comparison`).
    """

    title: str
    name: str
    roles: frozenset[str]
    group: str
    tells_of_arms: bool = False
    waiting: Callable[[User, Study], int] | None = None
    """How many things wait there for this user: shown beside the title."""
    is_used: Callable[[Study], bool] | None = None
    """Whether a study uses the page at all; else it is shown only while something waits."""


class Link(NamedTuple):
    title: str
    address: str
    is_here: bool = False
    waiting: int = 0


class LinkGroup(NamedTuple):
    title: str
    links: list[Link]


STUDY_PAGES: list[StudyPage] = []
"""Pages that other packages add to each study's card (decision 0007)."""


def operators_page(page: Page[P]) -> Page[P]:
    """For people who signed in; what they may not see looks as if it were not there."""

    @login_required
    @wraps(page)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        try:
            return page(request, *args, **kwargs)
        except NoAccess as error:
            return answer_page(request, "ema/not_found.html", "Not found", 404, why=str(error))

    return guarded


def actor_of(request: HttpRequest) -> Actor:
    """Whoever sent a form of a page."""
    return Actor.of(request.user, "page")


def answer_page(
    request: HttpRequest, template: str, title: str, status: int = 200, **context: Any
) -> HttpResponse:
    """A page in the look of the operators' admin."""
    context |= admin.site.each_context(request) | {"title": title}
    if study := context.get("study"):
        here = request.resolver_match.view_name if request.resolver_match else ""
        context["page_groups"] = pages_of(study, request.user, here=here)
    return render(request, template, context, status=status)


def pages_of(study: Study, user: User, *, here: str = "") -> list[LinkGroup]:
    """The pages of a study that this user may open, by group; `here` is the one being shown."""
    held = access.roles_in(user=user, study=study)
    if access.studies_set_up_by(user).exists():
        held |= ADMINISTRATORS
    may_compare = access.may_compare(study=study, held=held)
    found = [LinkGroup(group, []) for group in GROUPS]
    for page in STUDY_PAGES:
        if page.roles & held and (may_compare or not page.tells_of_arms):
            address = reverse(page.name, args=[study.slug])
            waiting = page.waiting(user, study) if page.waiting else 0
            if page.is_used and not (waiting or page.is_used(study)):
                continue
            found[GROUPS.index(page.group)].links.append(
                Link(page.title, address, page.name == here, waiting)
            )
    return [group for group in found if group.links]
