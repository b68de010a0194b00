"""Opening pages in a real browser: what it complains of, what does not fit, what axe-core finds."""

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urljoin, urlsplit

from django.urls import Resolver404, resolve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize

Look = Literal["light", "dark"]
SIZES: dict[Look, int] = {"light": 1280, "dark": 390}
"""Each look at its width in pixels: so both looks and both widths are seen."""
GRAVE = ("serious", "critical")
FILES = re.compile(r"\.\w{2,7}$|/export/|/files/")
LEFT_OUT = re.compile(r"logout|_popup")
HREFS = "[...document.querySelectorAll('a[href]:not([download])')].map(a => a.getAttribute('href'))"
TOO_WIDE = """
document.getAnimations().forEach(each => each.finish());
[document.documentElement, ...(innerWidth > 900 ? [] : document.querySelectorAll("main, #content"))]
    .filter(one => one.scrollWidth > one.clientWidth + 1)
    .map(one => `${one.id || one.tagName} is ${one.scrollWidth - one.clientWidth} px too wide`)
"""
RUN = "axe.run(document, {resultTypes: ['violations'], preload: false})"


class Visitor:
    """Somebody signed in, with a page in a browser; `complaints` is what was wrong where.

    `judged` are the routes whose pages axe-core has seen already, as somebody else.
    """

    def __init__(
        self,
        browser: "Browser",
        server: str,
        session: str = "",
        judged: set[str] | None = None,
    ) -> None:
        self.server, self.complaints = server, list[str]()
        self.judged = set() if judged is None else judged
        self.looks: list[Look] = ["light", "dark"]
        self.context = browser.new_context(
            reduced_motion="reduce", color_scheme="light", viewport=_viewport("light")
        )
        if session:
            self.context.add_cookies([{"name": "sessionid", "value": session, "url": server}])
        self.page: Page = self.context.new_page()
        self.axe = Axe(self.page)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self._complain(str(error)))

    def _hear(self, said: "ConsoleMessage") -> None:
        if said.type in ("error", "warning"):
            self._complain(said.text)

    def _complain(self, what: str) -> None:
        self.complaints.append(f"{urlsplit(self.page.url).path}: {what}")

    def visit_all(self, *starts: str) -> dict[str, str]:
        """Each kind of page that links lead to, once: addresses by the names of their routes."""
        waiting, seen = list(starts), dict[str, str]()
        while waiting:
            path = waiting.pop(0)
            name = resolve(path).view_name
            if name not in seen:
                seen[name] = path
                waiting += self.visit(path)
        return seen

    def visit(self, path: str) -> list[str]:
        """Look at a page in both looks; where it leads."""
        answer = self.page.goto(self.server + path)
        if answer is None or answer.status != 200:
            self._complain(f"status {answer and answer.status}")
        elif "script-src 'self'" not in answer.headers.get("content-security-policy", ""):
            self._complain("it has no strict Content-Security-Policy")
        name = resolve(path).view_name
        self.look(with_axe=name not in self.judged)
        self.judged.add(name)
        return list(self.links(path))

    def look(self, *, with_axe: bool = True) -> None:
        """Note what does not fit or is hard to use, in both looks: first in the one there is."""
        if with_axe:
            self.axe.load()
        self._look_once(self.looks[0], with_axe=with_axe)
        self.looks.reverse()
        self.page.emulate_media(color_scheme=self.looks[0])
        self.page.set_viewport_size(_viewport(self.looks[0]))
        self._look_once(self.looks[0], with_axe=with_axe)

    def _look_once(self, look: Look, *, with_axe: bool) -> None:
        for wide in self.page.evaluate(TOO_WIDE):
            self._complain(f"at {SIZES[look]} px {wide}")
        for fault in self.axe.grave_violations() if with_axe else ():
            self._complain(f"{look}: {fault}")

    def links(self, path: str) -> Iterator[str]:
        """Own pages that this one leads to; files to download are none."""
        found: list[str] = self.page.evaluate(HREFS)
        for href in dict.fromkeys(found):
            address = urlsplit(urljoin(self.server + path, href))
            own = self.server.endswith(address.netloc) and not FILES.search(address.path)
            if own and not LEFT_OUT.search(f"{address.path}?{address.query}"):
                yield from _routed(address.path)


class Axe:
    """axe-core beside the page, in a world of its own: the page's policy stays as it is.

    One session and one name of the world for all documents: each more slows every page down.
    """

    def __init__(self, page: "Page") -> None:
        self.session = page.context.new_cdp_session(page)

    def load(self) -> None:
        """Into the document that the page shows now."""
        frame = self.session.send("Page.getFrameTree")["frameTree"]["frame"]["id"]
        wanted = {"frameId": frame, "worldName": "axe"}
        self.world = self.session.send("Page.createIsolatedWorld", wanted)["executionContextId"]
        source = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
        self._evaluate(f"{source};0")

    def grave_violations(self) -> list[str]:
        """Serious and critical ones in words, with the first element of each."""
        found = self._evaluate(f"{RUN}.then(found => found.violations)")
        return [
            f"{one['id']} ({one['impact']}): {one['help']}: {one['nodes'][0]['html'][:200]}"
            for one in found
            if one["impact"] in GRAVE
        ]

    def _evaluate(self, expression: str) -> Any:
        asked = {"expression": expression, "contextId": self.world}
        answer = self.session.send(
            "Runtime.evaluate", {**asked, "awaitPromise": True, "returnByValue": True}
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"]["value"]


def _viewport(look: Look) -> "ViewportSize":
    return {"width": SIZES[look], "height": 900}


def _routed(path: str) -> Iterator[str]:
    try:
        resolve(path)
    except Resolver404:
        return
    yield path
