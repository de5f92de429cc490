"""The HTML report with 100 000 findings: what it costs to write, and how long a reader waits in Debian's Chromium.

Times in the browser are those of the page itself (Performance API), from the event to the next frame that shows its
outcome, the pause after the last key of a search included. The best of `ROUNDS` counts, as everywhere in the benchmark.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from table import Row

FINDINGS = 100_000
ROUNDS = 3
PAINT_BAR = 3.0
FILTER_BAR = 0.2
MEMORY_BAR = 400
"""MB to join and write the page: the columns of all findings are in memory once."""
_STAGES = ("attempted", "requested", "answered", "credentials-served", "credentials-used")
_SEVERITIES = ("low", "medium", "high", "critical", "critical")
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]
_ACTIONS = {
    "search, 1 111 of 100 000 left": ("#search", "input", "host-12 10.0"),
    "search, none left": ("#search", "input", "no such host"),
    "search, taken back": ("#search", "input", ""),
    "filter by stage": ("#choose-stage", "change", "2"),
    "filter by stage, taken back": ("#choose-stage", "change", ""),
    "filter by cause": ("#choose-cause", "change", None),
    "sort by victim": (".c-victim button", "click", None),
    "sort by time": (".c-last button", "click", None),
    "sort by events": (".c-count button", "click", None),
}
_MEASURE = """
async ([where, kind, value]) => {
  const paint = () => new Promise((done) => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = done;
    channel.port2.postMessage(0);
  }));
  await new Promise((done) => setTimeout(done, 400));
  const node = document.querySelector(where);
  const changed = new Promise((done) => {
    const watch = new MutationObserver(() => { watch.disconnect(); done(); });
    watch.observe(document.querySelector('.body'), { childList: true });
  });
  const begun = performance.now();
  if (kind === 'click') node.click();
  else {
    node.value = value === null ? node.options[1].value : value;
    node.dispatchEvent(new Event(kind));
  }
  await changed;
  await paint();
  return (performance.now() - begun) / 1000;
}
"""


def make_findings(path: Path) -> Path:
    """Write findings of so many hosts over a week, most of them mild, three places each; always the same."""
    if path.exists():
        return path
    chance = random.Random(1)
    with path.open("w", encoding="utf-8") as out:
        for number in range(FINDINGS):
            out.write(json.dumps(_finding(number, chance)) + "\n")
        out.write(json.dumps({"format": "imdswatch/1", "type": "summary", "findings": FINDINGS}) + "\n")
    return path


def _finding(number: int, chance: random.Random) -> dict[str, object]:
    stage = min(4, int(chance.expovariate(1.3)))
    ip = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    first = f"2026-11-{1 + chance.randrange(7):02}T{chance.randrange(24):02}:{chance.randrange(60):02}:00Z"
    asked = (
        f"{ip} -> 169.254.169.254 GET 169.254.169.254/latest/meta-data/iam/security-credentials/ status 200"
    )
    found: dict[str, object] = {
        "format": "imdswatch/1",
        "type": "finding",
        "rule": "imds-contact",
        "rules": {"imds-contact": 3, "imds-request": 2},
        "title": "A host contacts the instance metadata endpoint",
        "stage": _STAGES[stage],
        "severity": _SEVERITIES[stage],
        "confidence": "medium",
        "first_seen": first,
        "last_seen": first.replace(":00Z", ":59Z"),
        "count": chance.randrange(1, 500),
        "victim": {"ip": ip, "port": 40000, "host": f"host-{number}.corp.example", "client": "boto3"},
        "request": {"method": "GET", "host": "169.254.169.254", "path": "/latest/meta-data/", "status": 200},
        "evidence": [
            {
                "source": f"/var/log/zeek/2026-11-0{day}/http.log",
                "position": f"line {number}",
                "excerpt": asked,
            }
            for day in range(1, 4)
        ],
        "cause": "impersonation" if stage > 1 else "misconfiguration",
        "attack": ["T1552.005"],
        "suppressed_by": None,
        "remedy": "Find the machine that answers: look its MAC address up in the switches' tables.",
        "fingerprint": f"{number:032x}",
    }
    if stage > 1:
        found["responder"] = {"ip": "169.254.169.254", "mac": f"02:00:00:00:66:{chance.randrange(9):02}"}
    if stage > 2:
        found["account"] = {"id": "029608264753", "expected": False, "from": "document", "role": "role"}
    return found


def in_browser(page: Path) -> Iterator[Row]:
    """Open the page and do what readers do; one row for each, with its bar."""
    chromium = shutil.which("chromium")
    if chromium is None:
        yield Row("the page in a browser", "not measured", "no chromium here", "", "", None)
        return
    from playwright.sync_api import sync_playwright

    best: dict[str, float] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        for _ in range(ROUNDS):
            view = browser.new_page(viewport={"width": 1360, "height": 900})
            view.goto(f"file://{page}")
            paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000"
            ready = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd / 1000"
            times = {"first paint": view.evaluate(paint), "table ready": view.evaluate(ready)}
            times |= {name: view.evaluate(_MEASURE, list(action)) for name, action in _ACTIONS.items()}
            best = {name: min(seconds, best.get(name, seconds)) for name, seconds in times.items()}
            view.close()
        version = browser.version
        browser.close()
    for name, seconds in best.items():
        bar = PAINT_BAR if name in ("first paint", "table ready") else FILTER_BAR
        told = f"under {bar:g} s"
        figure = f"{1000 * seconds:.0f} ms"
        yield Row(
            f"page of {FINDINGS:,} findings: {name}",
            figure,
            f"Chromium {version}",
            figure,
            told,
            seconds < bar,
        )
