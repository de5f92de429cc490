"""What an attacker wrote into a log neither runs nor deceives in the HTML report; and everybody can use the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from chromium import VIEWS, open_page
from commandline import run
from imdswatch.finding import STAGES, Evidence, Finding, Skipped, Summary
from imdswatch.verdict import Reason
from report_cases import SKIPPED, findings, make, written
from test_html import MARKUP
from test_report_beside import AUDITED, CELL, CHECK, EDIT, LAB_END, NOTE, PLAYED, PLAYED_WELL, VERDICT, lines

RUNS = "window.owned = (window.owned || 0) + 1"
ATTACKS = (
    *MARKUP,
    f"<img src=x onerror='{RUNS}'>", f"</script><script>{RUNS}</script>", f"<svg><animate onbegin='{RUNS}'>",
    f"javascript:{RUNS}", f"'-({RUNS})-'", "<iframe srcdoc='<script>parent.owned=1</script>'>", "__proto__",
    "constructor", "A" * 5000,
    "<meta http-equiv=refresh content=0>", "<link rel=stylesheet href=http://198.51.100.1/x>",
    "<form action=http://198.51.100.1><button autofocus>", "\u202e\u2066evil\u2069", "\x00\x1b]0;owned\x07\x9b2J",
    "\ud800", "e\u0301\u0302" * 50, "\U0001f468\u200d\U0001f469",
)  # fmt: skip
BEARERS = (
    "img",
    "iframe",
    "link",
    "form",
    "base",
    "object",
    "embed",
    "animate",
    "[onerror]",
    "[onload]",
    "[style*=url]",
)
"""Elements that ask or run, none of which the page has."""
INVISIBLE = (
    "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u2069\\ufeff]"
)


def attacking(text: str, stage: str) -> Finding:
    """Return a finding that says one thing in every place."""
    return make(
        text, text, title=text, rule=text, rules={text: 1}, cause=text, remedy=text, stage=stage, severity="critical",
        fingerprint=text, attack=(text,), verdict=text, reasons=(Reason(text, text, text),),
        victim=dict.fromkeys(("ip", "host", "user_agent", "process", "client", "mac", text), text),
        responder=dict.fromkeys(("mac", "vendor", "nat_ip", "gateway", "ip"), text), responders=({"mac": text + "2"},),
        evidence=(Evidence(text, text, text),), request=dict.fromkeys(("method", "path", "host", "status"), text),
        account=dict.fromkeys(("id", "role", "access_key_id"), text) | {"forged": True, "claims": {text: text}},
    )  # fmt: skip


def test_no_text_of_a_log_runs_asks_or_hides(browser: Browser, tmp_path: Path) -> None:
    found = [attacking(text, STAGES[at % 5]) for at, text in enumerate(ATTACKS)]
    muted = [make(f"10.0.9.{at}", suppressed_by=text) for at, text in enumerate(ATTACKS)]
    path = tmp_path / "report.html"
    skipped = [Skipped(text, text, text) for text in ATTACKS]
    path.write_text(
        written("html", [*found, *muted], skipped, Summary(notes=ATTACKS), show_suppressed=True), "utf-8"
    )
    watched = open_page(browser, path)
    page = watched.page
    page.locator("#grid").focus()
    for _ in range(len(ATTACKS)):
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    for name in ("stage", "cause", "rule"):
        for value in page.locator(f"#choose-{name} option").evaluate_all(
            "all => all.map((one) => one.value)"
        ):
            page.select_option(f"#choose-{name}", value)
        page.select_option(f"#choose-{name}", "")
    for name in page.locator(".lane-name").all()[:4]:
        name.click()
        page.get_by_role("button", name="Show all findings").click()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    text = page.inner_text("#printed")
    assert "[object" not in text
    assert "native code" not in text
    assert page.evaluate("window.owned") is None
    assert page.url.startswith(f"file://{path}")
    assert page.locator("script:not([type='application/json'])").count() == 1
    for name in BEARERS:
        assert page.locator(name).count() == 0, name
    assert page.evaluate(
        "[...document.querySelectorAll('a')].every((one) => one.getAttribute('href').startsWith('#'))"
    )
    assert page.evaluate(f"new RegExp('{INVISIBLE}').exec(document.body.textContent)") is None
    assert page.evaluate(f"new RegExp('{INVISIBLE}').exec(document.title)") is None
    watched.check()


def test_no_text_of_another_command_runs_or_hides(browser: Browser, tmp_path: Path) -> None:
    """What hosts and the lab say may be anybody's words, too: a unit's name, a file's content, a client's version."""
    said = []
    for text in (one.encode("utf-8", "replace").decode() for one in ATTACKS):
        for base in (CELL, CHECK, EDIT, NOTE, PLAYED):
            kept = {
                name: base[name] for name in ("format", "type", "state", "result", "level") if name in base
            }
            listed = {name: [text] for name in ("slugs", "words", "notes", "wrong") if name in base}
            seen = {"evidence": [{"source": text, "position": text, "excerpt": text}]} if base is CELL else {}
            alarm = dict.fromkeys(("victim", "endpoint", "expected", "seen"), text) | {"wrong": [text]}
            alarms = {"alarms": [alarm]} if base is PLAYED else {}
            said.append({**dict.fromkeys(base, text), **listed, **seen, **alarms, **kept})
            said[-1] |= {"change": {"slug": text, "path": text, "text": text}} if base is CELL else {}
    path = tmp_path / "report.html"
    run(tmp_path, "report", lines(tmp_path, "said", *said), "-o", path)
    watched = open_page(browser, path)
    page = watched.page
    assert page.locator("#hardening, #rehearsal, #audit").count() == 3
    for closed in page.locator("details:not([open]) > summary").all():
        closed.click()
    assert page.evaluate("window.owned") is None
    for name in BEARERS:
        assert page.locator(name).count() == 0, name
    assert page.evaluate(f"new RegExp('{INVISIBLE}').exec(document.body.textContent)") is None
    watched.check()


def test_the_policy_holds_even_where_the_page_would_be_wrong(browser: Browser, tmp_path: Path) -> None:
    """Whatever slipped in would neither run nor ask: put there by hand, as a mistake of ours would."""
    path = tmp_path / "report.html"
    wrong = (
        f"<script>{RUNS}</script><img src='http://198.51.100.1/x' onerror='{RUNS}'><b style='color:red'>x</b>"
    )
    path.write_text(written("html", findings()).replace("<main>", f"<main>{wrong}"), encoding="utf-8")
    page = open_page(browser, path).page
    page.wait_for_timeout(200)
    assert page.evaluate("window.owned") is None
    violations = page.evaluate("window.violations")
    for directive in ("script-src-elem", "script-src-attr", "img-src", "style-src-attr"):
        assert any(one.startswith(directive) for one in violations), violations


# Accessibility


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every section: findings, suppressed ones, skipped places, verdicts, audits, changes, rehearsals."""
    folder = tmp_path_factory.mktemp("full")
    found = folder / "findings.ndjson"
    found.write_text(written("ndjson", findings(), SKIPPED, show_suppressed=True), encoding="utf-8")
    end = json.loads(written("ndjson", []).splitlines()[-1])
    cells = [
        CELL | {"user": user, "tool": tool} for user in ("root", "deploy") for tool in ("boto3", "aws-cli")
    ]
    safe = CELL | {"host": "web-2", "state": "protected"}
    audits = (*cells, CHECK, AUDITED, safe, AUDITED | {"host": "web-2"})
    beside = lines(
        folder, "beside", VERDICT, EDIT, EDIT | {"path": "/etc/x", "state": "applied"}, NOTE, end, *audits
    )
    played = lines(folder, "played", PLAYED, PLAYED_WELL, LAB_END)
    page = folder / "report.html"
    assert run(folder, "report", found, beside, played, "-o", page).code == 1
    return page


def violations(page: Page) -> list[dict[str, Any]]:
    """Return what axe has to say against a page, in short."""
    options = {
        "resultTypes": ["violations"],
        "runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"],
    }
    response = Axe().run(page, options=options).response
    return [
        {"rule": one["id"], "nodes": [node["html"][:200] for node in one["nodes"][:3]], "help": one["help"]}
        for one in response["violations"]
    ]


@pytest.mark.parametrize("view", VIEWS)
def test_an_accessibility_checker_finds_nothing(browser: Browser, full: Path, view: str) -> None:
    # axe is put into the page as a script, which the page's policy forbids: here the policy is set aside.
    page = open_page(browser, full, **VIEWS[view], bypass_csp=True).page
    assert violations(page) == []
    page.locator(".row").first.click()
    assert page.get_by_role("complementary").is_visible()
    assert violations(page) == []
    page.get_by_role("button", name="Close").click()
    page.fill("#search", "no such thing")
    page.locator(".empty").wait_for()
    assert violations(page) == []


def test_an_accessibility_checker_finds_nothing_on_a_page_without_findings(
    browser: Browser, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    assert (
        run(tmp_path, "report", lines(tmp_path, "beside", EDIT, NOTE, PLAYED, LAB_END), "-o", page).code == 1
    )
    opened = open_page(browser, page, bypass_csp=True).page
    assert violations(opened) == []
    assert not opened.locator("#findings").is_visible()


def test_a_screen_reader_is_told_how_many_findings_there_are(browser: Browser, full: Path) -> None:
    page = open_page(browser, full).page
    status = page.get_by_role("status").filter(has_text="findings")
    assert status.get_attribute("aria-live") == "polite"
    page.fill("#search", "10.0.1.5")
    page.locator(".chip, .status button").first.wait_for()
    assert status.inner_text() == "1 of 9 findings"
    page.get_by_role("columnheader", name="victim").get_by_role("button").click()
    assert page.get_by_text("Sorted by victim, ascending").get_attribute("role") == "status"
    names = [page.locator(f"#{one}").count() for one in page.locator("[aria-labelledby]").evaluate_all(
        "all => all.flatMap((one) => one.getAttribute('aria-labelledby').split(' '))")]  # fmt: skip
    assert set(names) <= {1}, "everything that is named by another element has that element"
