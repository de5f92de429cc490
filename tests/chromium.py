"""Debian's Chromium, without a window and without a network, for the tests of the HTML report.

The fixture `browser` of conftest.py is what `start` yields. `Watched` is a page that remembers what must never happen:
a request, a message of an error, a violation of the page's policy, a dialog.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from patience import LONG

CHROMIUM = os.environ.get("IMDSWATCH_CHROMIUM") or shutil.which("chromium") or ""
_FLAGS = [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync",
    "--disable-component-update",
]  # fmt: skip
VIEWS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1360, "height": 900}},
    "dark": {"viewport": {"width": 1360, "height": 900}, "color_scheme": "dark"},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "is_mobile": True,
        "has_touch": True,
        "device_scale_factor": 2,
    },
}

_WATCH = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (event) => {
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI}`);
});
"""


@dataclass
class Watched:
    """A page, and what went wrong in it."""

    page: Page
    wrong: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Fail if anything went wrong since the page was opened."""
        assert not self.wrong
        assert self.page.evaluate("window.violations") == []


def open_page(browser: Browser, path: Path, fragment: str = "", **view: Any) -> Watched:
    """Open a file in a new context, with an eye on everything that must not happen."""
    context = browser.new_context(**(view or VIEWS["light"]))
    context.set_default_timeout(LONG * 1000)
    page = context.new_page()
    watched = Watched(page)
    page.add_init_script(_WATCH)
    page.on(
        "request", lambda request: _note(watched, request.url.startswith("file://"), f"request {request.url}")
    )
    page.on("console", lambda message: _note(watched, False, f"console {message.text}"))
    page.on("pageerror", lambda error: _note(watched, False, f"error {error}"))
    page.on("dialog", lambda dialog: (_note(watched, False, "dialog"), dialog.dismiss()))
    page.goto(f"file://{path}{fragment}")
    return watched


def _note(watched: Watched, fine: bool, what: str) -> None:
    if not fine:
        watched.wrong.append(what)


def start() -> Iterator[Browser]:
    """Yield Chromium for as long as it is needed, or skip."""
    if not CHROMIUM:
        pytest.skip("no chromium here: install Debian's package, or name one in IMDSWATCH_CHROMIUM")
    flags = [*_FLAGS, "--no-sandbox"] if os.geteuid() == 0 else _FLAGS
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags, timeout=LONG * 1000)
        expect.set_options(timeout=LONG * 1000)
        yield chromium
        chromium.close()
