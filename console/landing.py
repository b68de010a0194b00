"""Where signing in leads."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET

from ema import access
from ema.access import READERS
from ema.pages import operators_page


@require_GET
@operators_page
def landing(request: HttpRequest) -> HttpResponse:
    """Today for whoever reads the records of their only study, else the list of studies."""
    mine = list(access.studies_for(request.user)[:2])
    if len(mine) == 1 and READERS & access.roles_in(user=request.user, study=mine[0]):
        return redirect("console:today", mine[0].slug)
    return redirect("home")
