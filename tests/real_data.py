"""Where the real data sets are: FOURBEAT_DATA, or ../shared/data beside the repository."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def real_data(folder: str) -> Path:
    """The folder of one data set; skips the test, saying why, where it is absent."""
    root = Path(os.environ.get("FOURBEAT_DATA", ROOT / ".." / "shared" / "data"))
    path = root / folder
    if not path.is_dir():
        pytest.skip(f"no real data at {path}: set FOURBEAT_DATA to the folder that holds {folder}")
    return path
