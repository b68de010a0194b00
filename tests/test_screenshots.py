"""The pictures of the documentation: small, shown, and taken from what the demo prints."""

import subprocess
import sys
from pathlib import Path

import pytest

from screenshots.__main__ import ALL_TOGETHER, IMAGES, LARGEST, PICTURES
from screenshots.demo import Demo, NoDemo, read

ROOT = Path(__file__).parent.parent
SAID = """
Stress–craving coupling in study demo-2 (simulated)
Logins, new with every run:
  coordinator    demo-2-coordinator     R253OsGF5mad
  statistician   demo-2-statistician    K8ykwMusvtkR

  http://127.0.0.1:8001/          studies, for investigators and the statistician
  http://127.0.0.1:8001/admin/    the coordinator's and administrator's screens
"""


def test_every_picture_is_there_small_and_shown() -> None:
    files = {path.name: path.stat().st_size for path in IMAGES.iterdir()}
    assert set(files) == {f"{each.name}.png" for each in PICTURES}
    assert max(files.values()) <= LARGEST
    assert sum(files.values()) <= ALL_TOGETHER
    shown = (ROOT / "README.md").read_text() + (ROOT / "docs/console.md").read_text()
    assert [name for name in files if f"images/{name}" not in shown] == []


def test_address_study_and_logins_are_read_from_what_a_demo_printed() -> None:
    logins = {
        "coordinator": ("demo-2-coordinator", "R253OsGF5mad"),
        "statistician": ("demo-2-statistician", "K8ykwMusvtkR"),
    }
    assert read(SAID) == Demo("http://127.0.0.1:8001", "demo-2", logins)
    with pytest.raises(NoDemo, match="not what manage"):
        read("The demo took 57 s.")


def test_without_chromium_it_says_what_to_install() -> None:
    asked = subprocess.run(
        [sys.executable, "-m", "screenshots"],
        cwd=ROOT,
        env={"PATH": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (asked.returncode, asked.stderr) == (1, "")
    assert "apt-get install chromium" in asked.stdout
