"""Questionnaires as JSON text: written in a fixed order, read strictly."""

import json
from typing import Any, NoReturn

from ema.submissions import Fault

MOST_BYTES = 1_000_000
DEEPEST = 40


class Refused(ValueError):
    """This file is not taken; every fault has its place and a sentence."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(
            "\n".join(f"{each.pointer or '(the file)'}: {each.detail}" for each in faults)
        )
        self.faults = faults


def written(document: dict[str, Any]) -> str:
    """The text of a file: the same document is the same bytes."""
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def read(content: bytes) -> Any:
    """The JSON of a file, or Refused: UTF-8, no key twice, no number that JSON does not have."""
    if len(content) > MOST_BYTES:
        raise _refused(f"The file has more than {MOST_BYTES:,} bytes.")
    try:
        found = json.loads(
            content.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError as error:
        raise _refused("The file is not UTF-8 text.") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _refused(f"The file is not JSON: {error.msg} ({place}).") from error
    except RecursionError as error:
        raise _refused("The file is nested too deeply.") from error
    if _depth(found) > DEEPEST:
        raise _refused("The file is nested too deeply.")
    return found


def _refused(sentence: str) -> Refused:
    return Refused([Fault("", sentence)])


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _refused(f"The key {key!r} is in one object twice.")
        found[key] = value
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise _refused(f"{name} is not a number that JSON has.")


def _depth(value: Any) -> int:
    if isinstance(value, dict | list):
        inside = value.values() if isinstance(value, dict) else value
        return 1 + max(map(_depth, inside), default=0)
    return 0
