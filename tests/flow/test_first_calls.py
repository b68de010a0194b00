"""Somebody who has never seen the product follows docs/phone-api.md, call by call."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from ema import audit, enrolment
from ema.models import Device, Prompt, Response
from scheduler.planning import plan_prompts
from tests import trial
from tests.flow.conftest import Servers

pytestmark = pytest.mark.flow
PAGE = Path(settings.BASE_DIR) / "docs" / "phone-api.md"
CALLS = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_calls_of_the_page_lead_from_a_code_to_a_stored_response(
    servers: Servers, tmp_path: Path
) -> None:
    now = timezone.now()
    participant = trial.enrol(trial.make_study(), "S1-001", "Europe/Brussels", now)
    plan_prompts(now)
    code = enrolment.issue_code(participant=participant, now=now, actor=audit.COMMAND)

    said = follow_the_page(servers.url, code, tmp_path)

    assert Device.objects.get(participant=participant).app == "mine"
    assert Prompt.objects.filter(armed_at__isnull=False).count() == 1
    response = Response.objects.get()
    assert (response.stress, response.craving, response.pain) == (62, 30, None)
    assert re.findall(r'"status":"(\w+)"', said) == ["stored", "created", "duplicate"]


def follow_the_page(server: str, code: str, folder: Path) -> str:
    """Run the page's calls as one script; what the server said. `.curlrc` stands for a proxy."""
    script = "\n".join(["set -eu", *CALLS.findall(PAGE.read_text())])
    (folder / ".curlrc").write_text('header = "X-Forwarded-Proto: https"\n')
    known = {"SERVER": server, "CODE": code, "CURL_HOME": str(folder), "PATH": "/usr/bin:/bin"}
    ran = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=known, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout
