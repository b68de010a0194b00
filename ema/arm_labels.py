"""Arms by code: in a study that asks for it the closed role reads A, B, C instead of names.

Labels are drawn at random when the study starts. Whoever compares arms asks here what they are
called, and which of them is the reference: by code it is A, whatever A is.
"""

from random import Random
from secrets import SystemRandom
from string import ascii_uppercase
from typing import NamedTuple

from ema.models import Arm, ArmLabel, Study
from ema.models.study import ClosedLabels

UNLABELLED = "?"  # before the study starts nobody is allocated


class ShownArm(NamedTuple):
    """An arm as whoever compares arms may read of it."""

    key: str
    name: str
    is_reference: bool


def are_coded(study: Study) -> bool:
    """Whether arms are told by code: until they are unmasked."""
    return study.closed_labels == ClosedLabels.CODED and study.arms_are_hidden


def arms_shown(study: Study) -> list[ShownArm]:
    """The arms of a study in the order of what they are called."""
    arms = list(Arm.objects.filter(study=study).order_by("key"))
    if not are_coded(study):
        return [ShownArm(arm.key, arm.key, arm.is_reference) for arm in arms]
    labels = dict(ArmLabel.objects.filter(arm__in=arms).values_list("arm", "label"))
    named = sorted((labels.get(arm.pk, UNLABELLED), arm.key) for arm in arms)
    return [ShownArm(key, name, place == 0) for place, (name, key) in enumerate(named)]


def names_shown(study: Study) -> dict[str, str]:
    """What each arm is called, by its key."""
    return {arm.key: arm.name for arm in arms_shown(study)}


def give_labels(study: Study, source: Random | None = None) -> None:
    """Labels at random for the arms that have none yet. Call it in the change's transaction."""
    arms = list(Arm.objects.filter(study=study).order_by("key"))
    there = dict(ArmLabel.objects.filter(arm__in=arms).values_list("arm", "label"))
    without = [arm for arm in arms if arm.pk not in there]
    free = [label for label in _letters(len(arms)) if label not in there.values()]
    (source or SystemRandom()).shuffle(free)
    ArmLabel.objects.bulk_create(
        ArmLabel(study=study, arm=arm, label=label)
        for arm, label in zip(without, free, strict=False)
    )


def _letters(count: int) -> list[str]:
    """A to Z, then AA, AB …"""
    pairs = [one + other for one in ascii_uppercase for other in ascii_uppercase]
    return [*ascii_uppercase, *pairs][:count]
