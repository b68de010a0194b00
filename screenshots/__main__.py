"""`python -m screenshots`: take the pictures of docs/images anew, of simulated data alone."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from screenshots import demo
from screenshots.chromium import CHROMIUM
from screenshots.demo import Demo

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

IMAGES = Path(__file__).parent.parent / "docs" / "images"
WIDTH = 1280
LARGEST = 150_000
ALL_TOGETHER = 1_000_000


class Picture(NamedTuple):
    """A page of the study, as a role sees it; `height` of it is shown."""

    name: str
    role: str
    path: str
    height: int = 860


PICTURES = (
    Picture("today", "coordinator", "today/"),
    Picture("participants", "coordinator", "participants/"),
    Picture("timeline", "coordinator", "participants/of/N-037/"),
    Picture("compliance", "coordinator", "compliance/"),
    Picture("urine", "coordinator", "urine/"),
    Picture("flow", "coordinator", "flow/"),
    Picture("comparison", "statistician", "comparison/", 740),
    Picture("ledger", "investigator", "ledger/"),
    Picture("set-up", "administrator", "setup/"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if CHROMIUM is None:
        print("Pictures are taken with Chromium: on Debian, apt-get install chromium.")
        return 1
    try:
        with _demo(options.demo) as found:
            take(found, CHROMIUM, options.to)
    except RuntimeError as error:
        print(error)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    described = argparse.ArgumentParser(
        prog="python -m screenshots",
        description="Take the pictures of docs/images anew with Chromium. Starts a simulated trial "
        "of its own (a minute) unless told of one that runs.",
    )
    described.add_argument(
        "--demo",
        type=argparse.FileType(),
        metavar="FILE",
        help="what a running manage.py demo printed: its address and logins are used",
    )
    described.add_argument("--to", type=Path, default=IMAGES, help="default: docs/images")
    return described


@contextmanager
def _demo(printed: object) -> Iterator[Demo]:
    if printed is None:
        with demo.running() as started:
            yield started
    else:
        yield demo.read(printed.read())  # type: ignore[attr-defined]


def take(found: Demo, chromium: str, to: Path) -> None:
    """Take every picture; RuntimeError where a page fails or a picture is too large."""
    from playwright.sync_api import sync_playwright

    to.mkdir(parents=True, exist_ok=True)
    size = 0
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for role in dict.fromkeys(each.role for each in PICTURES):
            page = signed_in(browser, found, role)
            for picture in PICTURES:
                if picture.role == role:
                    size += _take(page, found, picture, to)
        browser.close()
    print(f"{len(PICTURES)} pictures, {size / 1000:.0f} kB, in {to}")
    if size > ALL_TOGETHER:
        raise RuntimeError(f"Together they are larger than {ALL_TOGETHER / 1000:.0f} kB.")


def signed_in(browser: "Browser", found: Demo, role: str) -> "Page":
    """A page of somebody with this role, in the light look."""
    page = browser.new_page(locale="en-GB", color_scheme="light", reduced_motion="reduce")
    name, password = found.logins[role]
    page.goto(f"{found.address}/admin/login/")
    page.fill("#id_username", name)
    page.fill("#id_password", password)
    page.click("[type=submit]")
    return page


def _take(page: "Page", found: Demo, picture: Picture, to: Path) -> int:
    """Take one; how many bytes."""
    path = f"/studies/{found.study}/{picture.path}"
    page.set_viewport_size({"width": WIDTH, "height": picture.height})
    answer = page.goto(found.address + path)
    if answer is None or answer.status != 200:
        raise RuntimeError(f"{path} answers {answer and answer.status} to the {picture.role}.")
    size = len(page.screenshot(path=to / f"{picture.name}.png"))
    print(f"{picture.name}.png: {path}, {size / 1000:.0f} kB")
    if size > LARGEST:
        raise RuntimeError(f"{picture.name}.png is larger than {LARGEST / 1000:.0f} kB: show less.")
    return size


if __name__ == "__main__":
    sys.exit(main())
