"""A real Firefox without a window, driven by WebDriver BiDi; nothing of it stays behind."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from ema.embedded_processes import end_with

FIREFOX = shutil.which("firefox-esr")
START_WITHIN_S, ANSWER_WITHIN_S = 90.0, 60.0
LISTENS = re.compile(r"WebDriver BiDi listening on (ws://\S+)")
QUIET: dict[str, Any] = {
    # A profile for automation switches push off; what it would keep quiet is quiet by these.
    "remote.prefs.recommended": False,
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.aboutwelcome.enabled": False,
    "browser.newtabpage.activity-stream.testing.shouldInitializeFeeds": False,
    "browser.newtabpage.enabled": False,
    "browser.region.network.url": "",
    "browser.safebrowsing.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.startup.page": 0,
    "browser.topsites.contile.enabled": False,
    "datareporting.healthreport.uploadEnabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "datareporting.usage.uploadEnabled": False,
    "extensions.systemAddon.update.enabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.manage-offline-status": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "telemetry.fog.test.localhost_port": -1,
    "termsofuse.bypassNotification": True,
    "toolkit.telemetry.server": "",
    # And what asks for another machine all the same meets a proxy that is not there.
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "network.proxy.no_proxies_on": "localhost, 127.0.0.1",
    "network.proxy.allow_hijacking_localhost": False,
    "alerts.useSystemBackend": False,  # notifications are Firefox's own, never the desktop's
}
ENVIRON = {
    "MOZ_CRASHREPORTER_DISABLE": "1",
    "MOZ_REMOTE_SETTINGS_DEVTOOLS": "1",  # otherwise services.settings.server is ignored
}


class Firefox:
    """One tab of a browser."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = count(1)
        self.ask("session.new", capabilities={})
        self._tab = self.ask("browsingContext.getTree")["contexts"][0]["context"]

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of WebDriver BiDi and its result."""
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": params}
        self._connection.send(json.dumps(command))
        while (answer := self._next()).get("id") != number:
            pass  # an event
        assert answer["type"] == "success", f"{method}: {answer}"
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._connection.recv(timeout=ANSWER_WITHIN_S))
        return answer

    def open(self, url: str) -> None:
        self.ask("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def allow_notifications(self, origin: str) -> None:
        """What the participant answers when asked."""
        wanted = {"descriptor": {"name": "notifications"}, "state": "granted", "origin": origin}
        self.ask("permissions.setPermission", **wanted)

    def call(self, function: str, argument: object = None) -> Any:
        """What a JavaScript function of one argument returns in the page, sent as JSON."""
        found = self.ask(
            "script.callFunction",
            functionDeclaration=f"""async (argument) =>
                JSON.stringify(await ({function})(JSON.parse(argument))) ?? "null" """,
            arguments=[{"type": "string", "value": json.dumps(argument)}],
            target={"context": self._tab},
            awaitPromise=True,
            userActivation=True,
        )
        assert found["type"] == "success", found["exceptionDetails"]["text"]
        return json.loads(found["result"]["value"])


@contextmanager
def running(preferences: Mapping[str, Any]) -> Iterator[Firefox]:
    """Firefox with a new profile until the block ends."""
    with tempfile.TemporaryDirectory(prefix="firefox-", ignore_cleanup_errors=True) as home:
        process = start(Path(home), {**QUIET, **preferences})
        try:
            address = f"{address_of(process, Path(home))}/session"
            with connect(address, max_size=None, proxy=None) as connection:
                yield Firefox(connection)
        finally:
            with suppress(ProcessLookupError):  # it ended by itself
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def start(home: Path, preferences: Mapping[str, Any]) -> "subprocess.Popen[bytes]":
    lines = [f"user_pref({json.dumps(n)}, {json.dumps(v)});\n" for n, v in preferences.items()]
    (home / "profile").mkdir()
    (home / "profile" / "user.js").write_text("".join(lines))
    command = [str(FIREFOX), "--headless", "--no-remote", "--remote-debugging-port", "0"]
    with (home / "log").open("wb") as log:
        return subprocess.Popen(
            [*command, "--profile", str(home / "profile")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "HOME": str(home), **ENVIRON},
            start_new_session=True,
            preexec_fn=partial(end_with, os.getpid(), signal.SIGKILL),  # noqa: PLW1509
        )


def address_of(process: "subprocess.Popen[bytes]", home: Path) -> str:
    """Where it listens, as soon as it says so."""
    deadline = time.monotonic() + START_WITHIN_S
    while True:
        said = (home / "log").read_text(errors="replace")
        if found := LISTENS.search(said):
            return found[1]
        assert process.poll() is None, f"Firefox ended at once:\n{said[-2000:]}"
        assert time.monotonic() < deadline, f"Firefox does not listen:\n{said[-2000:]}"
        time.sleep(0.05)
