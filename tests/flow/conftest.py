"""The whole stack for one test: web, worker, dispatcher and beat on the test's own database."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from django.conf import settings
from django.db import connection

from ema import embedded, stack

ENVIRON = {
    "ALLOWED_HOSTS": "127.0.0.1",
    "PLAN_EVERY_S": "1",
    "DISPATCH_EVERY_S": "1",
    "COUPLE_EVERY_S": "1",
    "SNAPSHOT_EVERY_S": "1",
}


@dataclass(frozen=True)
class Servers:
    """Where the stack answers, and what its processes were told."""

    url: str
    environ: dict[str, str]


@pytest.fixture
def told() -> dict[str, str]:
    """Other settings that a module gives its servers."""
    return {}


@pytest.fixture
def servers(transactional_db: None, tmp_path: Path, told: dict[str, str]) -> Iterator[Servers]:
    """Web and Celery as on a server: DATABASE_URL and REDIS_URL set, Redis of its own."""
    queue = embedded.ensure(tmp_path / "queue", postgres=False)
    environ = {
        **ENVIRON,
        "DATABASE_URL": database_url(),
        "REDIS_URL": queue.redis_url,
        "SECRET_KEY": settings.SECRET_KEY,
        "SNAPSHOT_DIR": str(tmp_path / "snapshots"),
        **told,
    }
    with ExitStack() as running:
        running.callback(embedded.stop_and_wait, tmp_path / "queue")
        url = running.enter_context(stack.web(environ=environ))
        running.enter_context(stack.jobs(environ=environ))
        yield Servers(url, environ)


def database_url() -> str:
    """The test's database, as a server would be told of it."""
    parts = connection.settings_dict
    if settings.LOCAL:
        return f"postgres://{parts['USER']}@/{parts['NAME']}?host={parts['HOST']}"
    address = f"{parts['HOST']}:{parts['PORT'] or 5432}/{parts['NAME']}"
    return f"postgres://{parts['USER']}:{parts['PASSWORD']}@{address}"


def wait_until(happened: Callable[[], bool], what: str, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s, and none {what}"
        time.sleep(0.2)


@dataclass
class Browser:
    """Somebody at the pages: signed in, with the form tokens a browser would send."""

    http: httpx.Client

    @classmethod
    def sign_in(cls, url: str, username: str, password: str) -> "Browser":
        https = {"X-Forwarded-Proto": "https", "Referer": url.replace("http:", "https:")}
        browser = cls(httpx.Client(base_url=url, headers=https, follow_redirects=False))
        answer = browser.post("/admin/login/", username=username, password=password)
        assert answer.status_code == 302, answer.text
        return browser

    def get(self, path: str) -> httpx.Response:
        answer = self.http.get(path)
        assert answer.status_code == 200, (path, answer.status_code)
        self._keep_cookies(answer)
        return answer

    def post(self, path: str, **form: str) -> httpx.Response:
        self._keep_cookies(self.http.get(path))
        token = self.http.headers.get("X-CSRFToken", "")
        answer = self.http.post(path, data={"csrfmiddlewaretoken": token, **form})
        self._keep_cookies(answer)
        return answer

    def _keep_cookies(self, answer: httpx.Response) -> None:
        """Secure cookies, kept although the test's own way to the server is plain HTTP."""
        kept = dict(
            pair.split("=", 1) for pair in self.http.headers.get("Cookie", "").split("; ") if pair
        )
        for line in answer.headers.get_list("Set-Cookie"):
            name, _, rest = line.partition("=")
            kept[name] = rest.split(";", 1)[0]
        self.http.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in kept.items())
        self.http.headers["X-CSRFToken"] = kept.get("csrftoken", "")
