"""The HTML report in a browser: every way to look into it, by pointer, by keyboard and on paper."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from chromium import VIEWS, open_page
from imdswatch.finding import SEVERITIES, STAGES, Evidence, Finding
from report_cases import SKIPPED, findings, make, written

DOCS = Path(__file__).parents[1] / "docs"


def write(folder: Path, found: list[Finding], **options: bool) -> Path:
    path = folder / "report.html"
    path.write_text(written("html", found, SKIPPED, **options), encoding="utf-8")
    return path


def hosts(number: int) -> list[Finding]:
    """Return findings of so many hosts, a minute apart, the stages in turn."""
    return [
        make(
            f"10.0.{n >> 8}.{n & 255}",
            stage=STAGES[n % 5],
            severity=SEVERITIES[n % 5],
            count=n + 1,
            first_seen=1795309200.0 + 60 * n,
            last_seen=1795309200.0 + 60 * n + 30,
            responder={"ip": "169.254.169.254", "mac": f"02:00:00:00:66:0{n % 3}"} if n % 5 > 1 else {},
            account={"id": "029608264753", "expected": False} if n % 5 > 2 else {},
        )
        for n in range(number)
    ]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("cases"), findings())


@pytest.fixture(scope="module")
def sixty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("sixty"), hosts(60))


def victims(page: Page) -> list[str]:
    return page.locator(".row .c-victim .id, .row .c-victim .unnamed").all_inner_texts()


def result(page: Page) -> str:
    return page.locator("#result").inner_text()


# What is chosen


def test_worst_findings_come_first_and_nothing_goes_wrong(browser: Browser, cases: Path) -> None:
    watched = open_page(browser, cases)
    page = watched.page
    assert victims(page)[:3] == ["10.0.1.5", "10.0.2.9", "10.66.6.6"]
    assert result(page) == "6 of 9 findings", "suppressed ones are hidden at first"
    watched.check()


def test_search_finds_words_in_any_order_and_any_case(browser: Browser, cases: Path) -> None:
    page = open_page(browser, cases).page
    for words, found in {
        "BUILD-7": ["10.0.1.5"],
        "029608264753 role": ["10.0.1.5"],
        "http.log.gz": ["10.0.2.9"],
        "02:00:00:00:09:88": ["10.0.2.9"],
        "ssm-agent": ["2001:db8:85a3:8d3:1319:8a2e:370:7348"],
        "no such thing": [],
        "10.0. attempted": [],
    }.items():
        page.fill("#search", words)
        expect(page.locator("#result")).to_have_text(f"{len(found)} of 9 findings")
        assert victims(page) == found, words
    expect(page.locator(".empty")).to_have_text("No finding matches these filters.")


def test_filters_combine_and_are_taken_back(browser: Browser, sixty: Path) -> None:
    page = open_page(browser, sixty).page
    page.select_option("#choose-stage", label="answered (12)")
    assert result(page) == "12 of 60 findings"
    page.select_option("#choose-severity", label="low (12)")
    assert result(page) == "0 of 60 findings"
    page.select_option("#choose-severity", label="medium (12)")
    assert result(page) == "12 of 60 findings"
    page.fill("#search", "10.0.0.2")
    expect(page.locator("#result")).to_have_text("3 of 60 findings")
    assert victims(page) == ["10.0.0.27", "10.0.0.22", "10.0.0.2"]
    page.get_by_role("button", name="Show all findings").click()
    assert result(page) == "60 findings"
    expect(page.locator("#search")).to_be_focused()
    assert page.input_value("#choose-stage") == ""


def test_ladder_responders_accounts_and_hosts_lead_to_their_findings(browser: Browser, sixty: Path) -> None:
    page = open_page(browser, sixty).page
    page.locator(".ladder").get_by_role("button", name="credentials-served").click()
    assert result(page) == "12 of 60 findings"
    page.locator("#responders").get_by_role("button", name="02:00:00:00:66:01").click()
    assert result(page) == "12 of 60 findings"
    page.get_by_role("button", name="answered by: 02:00:00:00:66:01").click()
    assert result(page) == "60 findings"
    page.locator("#accounts").get_by_role("button", name="029608264753").click()
    assert result(page) == "24 of 60 findings"
    page.get_by_role("button", name="Show all findings").click()
    page.locator(".lane-name").first.click()
    assert result(page) == "1 of 60 findings"


def test_suppressed_findings_are_hidden_shown_or_alone(browser: Browser, cases: Path, tmp_path: Path) -> None:
    page = open_page(browser, cases).page
    page.select_option("#choose-suppressed", "only")
    assert sorted(victims(page)) == ["10.20.0.4", "10.20.0.5", "198.51.100.7"]
    assert "suppressed by openstack-lab" in page.locator(".row").filter(has_text="10.20.0.4").inner_text()
    page.select_option("#choose-suppressed", "show")
    assert result(page) == "9 findings"
    shown = open_page(browser, write(tmp_path, findings(), show_suppressed=True)).page
    assert result(shown) == "9 findings"


def test_every_column_sorts_both_ways_and_says_so(browser: Browser, cases: Path) -> None:
    page = open_page(browser, cases).page
    heads = page.get_by_role("grid").get_by_role("columnheader")
    assert heads.count() == 7
    for at in range(7):
        button = heads.nth(at).get_by_role("button")
        for _ in range(2):
            before = heads.nth(at).get_attribute("aria-sort")
            button.click()
            assert heads.nth(at).get_attribute("aria-sort") != before
        others = [heads.nth(other).get_attribute("aria-sort") for other in range(7) if other != at]
        assert others == ["none"] * 6
    page.get_by_role("columnheader", name="victim").get_by_role("button").click()
    assert victims(page) == [
        "unnamed host", "10.0.1.5", "10.0.2.9", "10.0.3.77", "10.66.6.6", "2001:db8:85a3:8d3:1319:8a2e:370:7348",
    ]  # fmt: skip
    page.get_by_role("columnheader", name="events").get_by_role("button").click()
    assert victims(page)[:2] == ["10.0.3.77", "10.0.2.9"]
    page.get_by_role("columnheader", name="last seen").get_by_role("button").click()
    assert victims(page)[0] == "10.0.3.77"
    assert victims(page)[-1] == "unnamed host", "what has no time comes last"


def test_the_address_keeps_what_was_chosen(browser: Browser, sixty: Path) -> None:
    page = open_page(browser, sixty).page
    page.select_option("#choose-stage", label="answered (12)")
    page.fill("#search", "10.0.0.2")
    expect(page.locator("#result")).to_have_text("3 of 60 findings")
    fragment = page.evaluate("location.hash")
    again = open_page(browser, sixty, fragment).page
    assert result(again) == "3 of 60 findings"
    assert again.input_value("#search") == "10.0.0.2"
    for bad in (
        "#stage=<script>",
        "#time=9-1",
        "#search=%00%FF",
        "#suppressed=x&stage=__proto__&rule=constructor",
        "#%",
    ):
        watched = open_page(browser, sixty, bad)
        assert re.fullmatch(r"\d+ (of 60 )?findings", result(watched.page)), bad
        watched.check()


# One finding


def test_a_finding_opens_with_evidence_and_what_to_do(browser: Browser, cases: Path) -> None:
    page = open_page(browser, cases).page
    page.locator(".row").first.click()
    pane = page.get_by_role("complementary")
    text = pane.inner_text()
    for words in (
        "10.0.1.5: Credentials of an unexpected account were served", "critical, high confidence", "Take the host off",
        "VMware, Inc.", "10.9.9.9", "029608264753", "not one you expect", "the answers disagree", "packet 41",
        "build-7.corp.example", "Boto3/1.34.0", "imds-unexpected-account", "T1552.005", "3×, 2026-11-22 01:00:00 – 01:",
    ):  # fmt: skip
        assert words in text, words
    pane.get_by_role("button", name="Only this responder").click()
    assert result(page) == "1 of 9 findings"
    assert pane.is_visible()
    page.get_by_role("button", name="Show all findings").click()
    pane.get_by_role("button", name="Only this host").click()
    assert victims(page) == ["10.0.1.5"]
    page.get_by_role("button", name="victim: 10.0.1.5").click()
    pane.get_by_role("button", name="Next finding").click()
    assert "10.0.2.9: Something answered" in pane.inner_text()
    assert "line 823" in pane.inner_text()
    pane.get_by_role("link", name="What to do at this stage").click()
    assert page.evaluate("location.hash") == "#runbook-answered"
    expect(pane).to_be_hidden()


def test_everything_is_done_by_keyboard(browser: Browser, sixty: Path) -> None:
    page = open_page(browser, sixty).page
    focused = "document.activeElement.id || document.activeElement.textContent"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "Skip to the findings"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "search"
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(focused))
        if reached[-1] == "grid":
            break
    assert reached[:4] == ["choose-stage", "choose-severity", "choose-cause", "choose-rule"]
    assert reached[-1] == "grid"
    row_of = "document.getElementById(document.activeElement.getAttribute('aria-activedescendant'))"
    active = f"{row_of}.getAttribute('aria-rowindex')"
    for key, row in (
        ("ArrowDown", 3),
        ("ArrowDown", 4),
        ("ArrowUp", 3),
        ("End", 61),
        ("Home", 2),
        ("PageDown", None),
    ):
        page.keyboard.press(key)
        assert row is None or page.evaluate(active) == str(row), key
    assert int(page.evaluate(active)) > 5
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "details-title"
    assert page.locator(".row.active").get_attribute("aria-selected") == "true"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "grid"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.get_by_role("columnheader", name="victim").get_attribute("aria-sort") == "ascending"


def test_the_table_holds_only_what_is_in_sight_and_tells_how_much_there_is(
    browser: Browser, sixty: Path
) -> None:
    page = open_page(browser, sixty).page
    grid = page.get_by_role("grid", name="Findings")
    assert grid.get_attribute("aria-rowcount") == "61"
    assert 5 < page.locator(".row").count() < 40
    page.evaluate("document.getElementById('grid').scrollTop = 1e6")
    expect(page.locator(".row[aria-rowindex='61']")).to_be_visible()


# The timeline


def test_the_timeline_shows_the_worst_hosts_in_the_order_of_their_first_finding(
    browser: Browser, sixty: Path
) -> None:
    page = open_page(browser, sixty).page
    lanes = page.locator(".lane-name span:first-of-type").all_inner_texts()
    assert lanes == [f"10.0.0.{n}" for n in range(60) if n % 5 == 4], (
        "the twelve of the highest stage, in order"
    )
    assert "The 12 worst of 60 hosts" in page.locator("#timeline").inner_text()
    assert page.get_by_role("img", name="Timeline: 60 findings of 60 hosts").count() == 1


def test_zooming_the_timeline_chooses_the_findings_of_its_window(browser: Browser, sixty: Path) -> None:
    page = open_page(browser, sixty).page
    page.get_by_role("button", name="Zoom in").click()
    expect(page.locator("#result")).to_have_text("32 of 60 findings")
    page.get_by_role("button", name="Earlier").click()
    assert int(result(page).split()[0]) in range(15, 33)
    page.get_by_role("button", name="Show all of the time").click()
    expect(page.locator("#result")).to_have_text("60 findings")
    page.locator(".chart").hover(position={"x": 5, "y": 20})  # tries again where the chart is just drawn anew
    box = page.locator(".chart").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 5, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20, steps=4)
    page.mouse.up()
    chosen = int(result(page).split()[0])
    assert 28 <= chosen <= 33
    page.get_by_role("button", name="time: 2026-11-22").click()
    assert result(page) == "60 findings"


def test_findings_without_a_time_have_no_timeline(browser: Browser, tmp_path: Path) -> None:
    watched = open_page(browser, write(tmp_path, [make(first_seen=None, last_seen=None)]))
    assert "No finding has a time." in watched.page.locator("#order").inner_text()
    watched.check()


@pytest.mark.parametrize(
    "times", [(0.0, 0.0), (-62135596800.0, 253402300799.0), (1795309200.0, 1795309200.0), (5.0, 1.0)]
)
def test_odd_times_break_nothing(browser: Browser, tmp_path: Path, times: tuple[float, float]) -> None:
    watched = open_page(
        browser, write(tmp_path, [make(first_seen=times[0], last_seen=times[1]), make("10.0.0.2")])
    )
    watched.page.get_by_role("button", name="Zoom in").click()
    watched.page.get_by_role("button", name="Later").click()
    watched.page.locator(".row").first.click() if watched.page.locator(".row[data-at]").count() else None
    watched.check()


# Paper, phone, no script


def test_paper_shows_the_chosen_findings_in_full(browser: Browser, cases: Path) -> None:
    watched = open_page(browser, cases)
    page = watched.page
    page.fill("#search", "10.0.2.9")
    expect(page.locator("#result")).to_have_text("1 of 9 findings")
    page.evaluate(
        "addEventListener('beforeprint', () => { window.paper = document.getElementById('printed').innerText; })"
    )
    assert page.pdf(format="A4").startswith(b"%PDF")
    paper = page.evaluate("window.paper")
    assert "1 finding chosen by search=10.0.2.9" in paper
    assert "10.0.2.9: Something answered at the endpoint" in paper
    assert "and 7 more places" in paper
    assert "10.0.1.5" not in paper
    expect(page.locator("#printed > *")).to_have_count(0)
    page.emulate_media(media="print")
    assert page.locator("#explorer").is_hidden()
    assert page.locator(".ladder").is_visible()
    watched.check()


def test_paper_has_an_end(browser: Browser, tmp_path: Path) -> None:
    page = open_page(browser, write(tmp_path, hosts(250))).page
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#printed article").count() == 200
    assert "and 50 more findings that are not printed" in page.locator("#printed").text_content()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("#printed article").count() == 0


@pytest.mark.parametrize("width", [320, 390, 768, 1360])
def test_nothing_is_wider_than_the_screen(browser: Browser, cases: Path, width: int) -> None:
    watched = open_page(browser, cases, **VIEWS["phone"] | {"viewport": {"width": width, "height": 800}})
    page = watched.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(".row").nth(2).click()
    assert page.get_by_role("complementary").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="Close").click()
    watched.check()


def test_without_javascript_everything_but_the_table_is_there(browser: Browser, cases: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"file://{cases}")
    text = page.inner_text("body")
    for words in ("Credentials served to 1 host.", "00:0c:29:00:66:01", "not one you expect", "openstack-lab",
                  "capture is cut short", "Take the host off the network.", "span.pcap packet 41"):  # fmt: skip
        assert words in text, words
    assert page.locator("#listed article").count() == 9
    assert page.locator("#explorer").is_hidden()
    context.close()


def test_a_page_without_findings_is_a_page(browser: Browser, tmp_path: Path) -> None:
    watched = open_page(browser, write(tmp_path, []))
    assert "No findings." in watched.page.inner_text("#findings")
    watched.check()


def test_the_pictures_of_the_documentation_can_be_taken(browser: Browser, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("screenshots", DOCS / "screenshots.py")
    assert spec is not None
    assert spec.loader is not None
    screenshots = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(screenshots)
    screenshots.make_page(tmp_path / "report.html")
    taken = screenshots.take(browser, tmp_path / "report.html", tmp_path)
    assert {file.name for file in taken} == {file.name for file in (DOCS / "pictures").glob("*.png")}
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in taken)


@pytest.mark.slow
def test_a_hundred_thousand_findings_are_searched_sorted_and_opened(browser: Browser, tmp_path: Path) -> None:
    base = make(evidence=(Evidence("conn.log", "line 9", "x"),))
    found = [
        replace(
            base, victim={"ip": f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"}, fingerprint=f"{n:032x}", count=n
        )
        for n in range(100_000)
    ]
    watched = open_page(browser, write(tmp_path, found))
    page = watched.page
    assert result(page) == "100,000 findings"
    assert page.locator(".row").count() < 50
    page.fill("#search", "10.1.134.159")
    expect(page.locator("#result")).to_have_text("1 of 100,000 findings")
    page.locator(".row").click()
    assert f"{99_999:032x}" in page.get_by_role("complementary").inner_text()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Show all findings").click()
    page.get_by_role("columnheader", name="victim").get_by_role("button").click()
    assert victims(page)[:2] == ["10.0.0.0", "10.0.0.1"]
    page.locator("#grid").focus()
    page.keyboard.press("End")
    expect(page.locator(".row.active")).to_contain_text("10.1.134.159")
    watched.check()
