"""The operators' pages about prompts and phones."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from ema import access
from ema.access import READERS
from ema.models import Prompt
from ema.models.study import Role
from ema.pages import StudyPage, answer_page, operators_page
from scheduler.ledger import ledgers
from scheduler.phone_tasks import phone_tasks
from scheduler.wording import explained

CARERS = frozenset({Role.COORDINATOR.value, Role.INVESTIGATOR.value})
PAGES = [
    StudyPage("Ledger of prompts", "scheduler:ledger", READERS, "Trial"),
    StudyPage("Phones to look after", "scheduler:phones", CARERS, "Care"),
]


@require_GET
@operators_page
def ledger(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_study(user=request.user, slug=slug, roles=READERS)
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


@require_GET
@operators_page
def phones(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_study(user=request.user, slug=slug, roles=CARERS)
    people = access.participants_for(request.user).filter(study=study)
    quiet_after = settings.QUIET_PHONE_AFTER
    return answer_page(
        request,
        "scheduler/phones.html",
        f"Phones to look after: {study.title}",
        study=study,
        only_sites=access.only_sites_of(user=request.user, study=study),
        quiet_days=quiet_after.days,
        tasks=phone_tasks(people, now=timezone.now(), quiet_after=quiet_after),
    )
