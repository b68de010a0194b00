"""Types of options: each reads a text, or refuses it in a sentence."""

from argparse import ArgumentTypeError
from collections.abc import Callable

QUEUES = ("trial", "delivery")


def whole(low: int, high: int) -> Callable[[str], int]:
    """Whole numbers from `low` to `high`."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return number

    return read


def number(low: float, high: float) -> Callable[[str], float]:
    """Numbers from `low` to `high`."""

    def read(text: str) -> float:
        value = _as_number(text)
        if not low <= value <= high:
            raise ArgumentTypeError(f"{text!r} is not a number from {low:g} to {high:g}")
        return value

    return read


def share(low: float, high: float) -> Callable[[str], float]:
    """Shares from `low` to `high`, as 0.2 or as 20%."""

    def read(text: str) -> float:
        bare = text.strip().removesuffix("%")
        value = _as_number(bare) / (1 if bare == text.strip() else 100)
        if not low <= value <= high:
            raise ArgumentTypeError(
                f"{text!r} is not a share from {low:g} to {high:g}: write 20 per cent as 0.2 or 20%"
            )
        return value

    return read


def listed(each: Callable[[str], float]) -> Callable[[str], list[float]]:
    """Numbers with commas between them."""

    def read(text: str) -> list[float]:
        return [each(part.strip()) for part in text.split(",")]

    return read


def one_factor(text: str) -> tuple[str, str]:
    """A factor of allocation with its value, as sex=female."""
    name, _, value = (part.strip() for part in text.partition("="))
    if not name or not value:
        raise ArgumentTypeError(f"{text!r} is no factor: write it as sex=female")
    return name, value


def _as_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def queues(text: str) -> str:
    """Names of queues with commas between them."""
    for name in text.split(","):
        if name not in QUEUES:
            raise ArgumentTypeError(
                f"there is no queue {name!r} in {text!r}: write {' or '.join(QUEUES)}, or both "
                "with a comma"
            )
    return text


port = whole(1, 65_535)
processes = whole(1, 1_000)
threads = whole(1, 64)
