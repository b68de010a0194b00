"""The operators' pages about prompts and phones."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from ema import access
from ema.models import Prompt
from ema.models.study import Role
from ema.pages import StudyPage, answer_page, operators_page
from scheduler.ledger import ledgers
from scheduler.wording import explained

EVERYBODY = frozenset(Role.values)
PAGES = [StudyPage("Ledger of prompts", "scheduler:ledger", EVERYBODY)]


@require_GET
@operators_page
def ledger(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_study(user=request.user, slug=slug, roles=EVERYBODY)
    people = access.participants_for(request.user).filter(study=study)
    counted = ledgers(Prompt.objects.filter(participant__in=people), timezone.now())
    return answer_page(
        request,
        "scheduler/ledger.html",
        f"Ledger: {study.title}",
        study=study,
        only_sites=access.only_sites_of(user=request.user, study=study),
        ledger=counted.whole,
        lines=explained(counted.whole),
        splits={"Site": counted.by_site, "Phase": counted.by_phase},
    )
