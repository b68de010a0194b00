"""A locked study takes nothing more by hand; what phones still hold comes in as before."""

from ema.models import Study

HELD = "SELECT id, slug, locked_at FROM ema_study WHERE id = %s FOR SHARE"


def refusal(study: Study) -> str:
    """Why nothing is entered in a study any more, in words; empty while it is not locked.

    Within a transaction it holds until the end: who locks the study waits for who is entering.
    """
    [held] = Study.objects.raw(HELD, [study.pk])
    return in_words(held) if held.locked_at else ""


def in_words(study: Study) -> str:
    """What somebody is told who would enter or correct something of a locked study."""
    return (
        f"Study {study} is locked: since {study.locked_at:%Y-%m-%d %H:%M} UTC nothing is entered "
        "or corrected by hand."
    )
