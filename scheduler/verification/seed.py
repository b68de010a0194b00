"""The seed of a study: what was committed to, and what is told once the study is locked."""

from datetime import timedelta
from typing import Any, NamedTuple

from django.db import transaction

from ema import audit
from ema.audit import Actor
from ema.models import AuditEvent, Participant, Phase, Study

SECOND = timedelta(seconds=1)
ALGORITHM = "fourbeat-schedule/1"


class NotLocked(ValueError):
    """The study still runs, so its seed stays secret."""


class Revealed(NamedTuple):
    """A seed as hex, its SHA-256, and the SHA-256 that was written down when the study started."""

    seed: str
    sha256: str
    commitment: str | None

    @property
    def is_the_committed_one(self) -> bool:
        return self.sha256 == self.commitment

    @property
    def is_another(self) -> bool:
        return self.commitment is not None and self.sha256 != self.commitment


def seed_of(study: Study) -> Revealed:
    """The seed that the study has now, beside what it committed to when it started."""
    started = AuditEvent.objects.filter(study=study, action="study.started").order_by("pk").first()
    commitment = (started.after or {}).get("seed_commitment") if started else None
    return Revealed(bytes(study.seed).hex(), study.seed_commitment, commitment)


@transaction.atomic
def reveal_seed(*, study: Study, actor: Actor) -> Revealed:
    """Tell the seed of a locked study; the first time, write down that it was told.

    Raises NotLocked.
    """
    study = Study.objects.select_for_update(no_key=True).get(pk=study.pk)
    if study.locked_at is None:
        raise NotLocked(
            f"Study {study} is not locked, and whoever knows its seed can predict every prompt: "
            "the seed is revealed after manage.py lock."
        )
    revealed = seed_of(study)
    if not AuditEvent.objects.filter(study=study, action="study.seed_revealed").exists():
        audit.record(
            actor=actor,
            action="study.seed_revealed",
            subject=f"study {study}",
            study=study,
            after={"sha256": revealed.sha256, "seed_commitment": revealed.commitment},
        )
    return revealed


def recipe_of(study: Study, revealed: Revealed) -> dict[str, Any]:
    """What a recomputation needs beside the prompts. Participants are named by their codes."""
    protocol = ["key", "position", "days", "design", "prompts_per_day", "windows", "fixed_times"]
    protocol += ["expires_by_window_end"]
    lasts = ("minimum_gap", "expires_after")
    phases = Phase.objects.filter(study=study).order_by("position")
    people = Participant.objects.filter(study=study).order_by("code")
    return {
        "algorithm": ALGORITHM,
        "seed": revealed.seed,
        "sha256": revealed.sha256,
        "seed_commitment": revealed.commitment,
        "phases": [
            {name: getattr(phase, name) for name in protocol}
            | {f"{name}_s": getattr(phase, name) // SECOND for name in lasts}
            for phase in phases
        ],
        "participants": [
            {
                "participant_id": person.code,
                "uuid": str(person.uuid),
                "enrolled_on": person.enrolled_on.isoformat(),
                "windows": person.windows,
            }
            for person in people
        ],
    }
