"""The questionnaire to start from: the past hour, in English and German."""

import json
from pathlib import Path
from typing import Any

KEY = "hourly"
_FILE = Path(__file__).with_name("default.json")


def document(version: int = 1) -> dict[str, Any]:
    """The default questionnaire under this version number."""
    found: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return found | {"version": version}
