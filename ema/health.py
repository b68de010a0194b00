"""Is the server there, and can it do its work? For load balancers and health checks."""

from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.utils import timezone

from ema import heartbeat


def live(request: HttpRequest) -> JsonResponse:
    """The process answers."""
    return JsonResponse({"status": "alive"})


def ready(request: HttpRequest) -> JsonResponse:
    """The database answers and keeps what it acknowledges, and no prompt waits to be sent.

    503 by middleware when the database is away.
    """
    with connection.cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")
        [setting] = cursor.fetchone()
    if setting == "off":
        reason = "synchronous_commit is off: an acknowledged answer could be lost in a crash."
        return JsonResponse({"status": "unready", "reason": reason}, status=503)
    if reason := heartbeat.lateness(timezone.now()):
        return JsonResponse({"status": "unready", "reason": reason}, status=503)
    return JsonResponse({"status": "ready"})
