"""Pictures of the HTML report for docs/report.md, taken in Debian's Chromium of what the program makes of examples/.

`make screenshots` writes docs/pictures/*.png anew. Fonts differ between machines, so no test compares the pictures; one
runs this script.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
_SCAN = [
    "scan",
    "examples",
    "--site",
    "docs/site.toml",
    "--as-of",
    "2026-12-01",
    "--format",
    "html",
    "-q",
    "-o",
]
_WIDE = {"viewport": {"width": 1180, "height": 940}}
_PHONE = {"viewport": {"width": 390, "height": 760}, "is_mobile": True, "has_touch": True}


def make_page(path: Path) -> None:
    """Write the report that is shown; raises what goes wrong."""
    words = [sys.executable, "-m", "imdswatch", *_SCAN, str(path)]
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, check=False)
    if done.returncode != 1:  # findings
        raise SystemExit(f"imdswatch ended with exit code {done.returncode}")


def take(browser: Browser, page: Path, folder: Path) -> list[Path]:
    """Take every picture; return the files."""
    shots = {
        "report": (_WIDE, _top),
        "report-finding": (_WIDE | {"color_scheme": "dark"}, _finding),
        "report-phone": (_PHONE, _top),
    }
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, (view, go) in shots.items():
        files.append(folder / f"{name}.png")
        _take(browser, page, files[-1], view, go)
    return files


def _take(browser: Browser, page: Path, file: Path, view: dict[str, Any], go: Any) -> None:
    context = browser.new_context(**view, reduced_motion="reduce")
    tab = context.new_page()
    tab.goto(f"file://{page}")
    go(tab)
    tab.screenshot(path=file)
    context.close()


def _top(tab: Page) -> None:
    """Show what stands at the top."""


def _finding(tab: Page) -> None:
    """Open the worst finding."""
    tab.locator(".row").first.click()
    tab.evaluate("document.getElementById('findings').scrollIntoView()")


def main() -> None:
    """Write docs/pictures."""
    chromium = os.environ.get("IMDSWATCH_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        raise SystemExit("no chromium here: install Debian's package, or name one in IMDSWATCH_CHROMIUM")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = Path(folder, "report.html")
        make_page(page)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--disable-gpu", *sandbox])
        take(browser, page, PICTURES)
        browser.close()


if __name__ == "__main__":
    main()
