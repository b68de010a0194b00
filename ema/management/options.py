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
