"""Who enters results by a command: nobody in particular, or a coordinator who is named."""

from django.contrib.auth.models import User
from django.core.management.base import CommandError
from django.db.models import QuerySet

from ema import access
from ema.audit import COMMAND, Actor
from ema.management.named import named
from ema.models import Site, Study
from ema.models.study import Role


def who_enters(study: Study, username: str | None) -> tuple[Actor, QuerySet[Site]]:
    """The actor, and the sites whose results they enter; CommandError (exit code 2) where none."""
    sites = Site.objects.filter(study=study)
    if not username:
        return COMMAND, sites
    user: User = named(User, "user", username=username)
    theirs = access.sites_for(user, Role.COORDINATOR.value).filter(study=study)
    if not user.is_active or not theirs.exists():
        raise CommandError(f"{username} is no coordinator of study {study}.", returncode=2)
    return Actor(user=user, door="command"), theirs
