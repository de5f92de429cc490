"""The HTML report as a file: nothing in it comes from outside, no text in it becomes markup, nothing is lost."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings

from imdswatch.finding import STAGES, Evidence, Finding, Skipped, Summary
from imdswatch.report.html import shelf, template
from imdswatch.report.html.markup import LONGEST, Html, join, tag
from imdswatch.report.html.row import TEXTS
from imdswatch.verdict import Reason, Verdict
from report_cases import SKIPPED, SUMMARY, findings, make, written
from test_report import check
from test_report_hostile import HIDDEN, RUN

OURS = re.compile(r"[\n]")
FORBIDDEN = (
    "fetch(", "XMLHttpRequest", "WebSocket", "sendBeacon", "import(", "innerHTML", "outerHTML", "insertAdjacentHTML",
    "document.write", "eval(", "new Function", "setAttribute('style'", "srcdoc",
)  # fmt: skip
"""What the script has no use for: requests, and texts that become markup or code."""


class Page(HTMLParser):
    """What a browser makes of a page: its elements, their attributes, the texts outside of scripts, each script."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.scripts: dict[str, str] = {}
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append(name)
        self.attributes += [(name, key, value or "") for key, value in attributes]
        if name in ("script", "style"):
            known = dict(attributes)
            self.open.append(known.get("id") or name)

    def handle_endtag(self, name: str) -> None:
        if name in ("script", "style"):
            self.open.pop()

    def handle_data(self, text: str) -> None:
        if self.open:
            self.scripts[self.open[-1]] = self.scripts.get(self.open[-1], "") + text
        else:
            self.texts.append(text)

    @property
    def index(self) -> dict:
        return json.loads(self.scripts["index"])

    @property
    def details(self) -> list[dict]:
        names = sorted(
            (name for name in self.scripts if name.startswith("details-")), key=lambda one: int(one[8:])
        )
        return [one for name in names for one in json.loads(self.scripts[name])]

    def column(self, name: str) -> list:
        index = self.index
        values = index["columns"][name]
        values = values if isinstance(values, list) else [values] * index["rows"]
        return [index["texts"][value] for value in values] if name in TEXTS else values


ELEMENTS = set(Page(written("html", findings(), SKIPPED, show_suppressed=True)).elements)
SCRIPT = Page(written("html", [])).scripts["script"]


def test_the_page_is_as_in_the_golden_file() -> None:
    """The style and the script stand in files of their own: the golden file holds what is made of the findings."""
    text = written("html", findings(), SKIPPED)
    text = text.replace(SCRIPT, "\n").replace(template._read("page.css"), "\n")
    check("findings.html", re.sub(r"sha256-[A-Za-z0-9+/=]+", "sha256-", text))


def test_the_policy_allows_one_script_and_one_style_by_hash_and_nothing_else() -> None:
    page = Page(written("html", findings()))
    policies = [value for _, key, value in page.attributes if key == "content" and "default-src" in value]
    assert len(policies) == 1
    rules = dict(rule.strip().split(" ", 1) for rule in policies[0].split(";"))
    assert rules["default-src"] == "'none'"
    for name, rule in (("script", "script-src"), ("style", "style-src")):
        digest = base64.b64encode(hashlib.sha256(page.scripts[name].encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert rules["base-uri"] == rules["form-action"] == rules["trusted-types"] == "'none'"
    assert "unsafe" not in policies[0]


def test_nothing_in_the_page_leads_out_of_it() -> None:
    text = written("html", findings(), SKIPPED)
    page = Page(text)
    links = [
        value
        for _, key, value in page.attributes
        if key in ("href", "src", "srcset", "action", "data", "poster")
    ]
    assert links
    assert all(link.startswith("#") for link in links)
    assert not re.search(r"@import|url\(", page.scripts["style"])
    for name in FORBIDDEN:
        assert name not in page.scripts["script"], name
    assert not any(key.startswith("on") for _, key, _ in page.attributes)
    assert not any(key == "style" for _, key, _ in page.attributes)


def test_the_page_says_what_a_responder_wants_to_know_without_a_script() -> None:
    text = " ".join(" ".join(Page(written("html", findings(), SKIPPED)).texts).split())
    for words in (
        "Credentials served to 1 host.",  # how far
        "00:0c:29:00:66:01", "made by VMware, Inc. · NAT to 10.9.9.9",  # who answered
        "029608264753 not one you expect", "Forged: the answers disagree",  # whose account
        "2026-11-22 01:00:00 10.0.1.5 build-7.corp.example credentials-served",  # which hosts, in what order
        "openstack-lab 2", "on_premises 1",  # what was suppressed, by what
        "2 places could not be looked at", "x.pcap byte 8812 capture is cut short in packet 41",
        "Take the host off the network.",  # what to do
        "Looked at 12 sources, 48,211 records, 1.23 GB in 3.4 s.", "rule my-rule has no literal",
    ):  # fmt: skip
        assert words in text, words


def test_a_report_of_nothing_says_how_much_that_means() -> None:
    clean = " ".join(Page(written("html", [], summary=Summary(sources=1, bytes=9, records=1))).texts)
    assert "No sign of IMDS use" in clean
    unread = " ".join(Page(written("html", [], SKIPPED[:1], Summary(sources=1, skipped=1))).texts)
    assert "NOT CHECKED" in unread


def test_every_finding_is_in_the_data_with_every_value() -> None:
    page = Page(written("html", findings()))
    given = sorted(findings(), key=lambda one: one.fingerprint)
    there = sorted(page.details, key=lambda one: one["fingerprint"])
    assert [one["fingerprint"] for one in there] == [one.fingerprint for one in given]
    served = next(one for one in there if one.get("account"))
    assert served["account"]["claims"] == {
        "access-key-id": "029608264753",
        "identity-document": "111122223333",
    }
    assert served["responder"]["vendor"] == "VMware, Inc."
    assert served["rules"] == {"imds-contact": 3, "imds-credentials-served": 1, "imds-unexpected-account": 1}
    assert page.column("stage") == sorted(page.column("stage")[:6], reverse=True) + page.column("stage")[6:]
    assert page.column("suppressed")[:6] == [""] * 6
    assert sorted(page.column("suppressed")[6:]) == ["on_premises", "openstack-lab", "openstack-lab"]
    assert page.column("first")[0] == 1795309200000
    assert page.column("count")[4] == 2**53 - 1, "what JavaScript cannot count stands in the details"
    assert page.details[4]["count"] == "9,007,199,254,740,993"


def test_texts_are_numbered_in_the_order_in_which_people_sort() -> None:
    hosts = ["10.0.0.10", "10.0.0.9", "zulu", "fe80::1", "9.255.0.1", "Alpha"]
    page = Page(written("html", [make(host) for host in hosts]))
    wanted = ["9.255.0.1", "10.0.0.9", "10.0.0.10", "fe80::1", "Alpha", "zulu"]
    assert [text for text in page.index["texts"] if text in hosts] == wanted


def test_suppressed_findings_are_hidden_or_shown_at_first_but_always_there() -> None:
    hidden, shown = (written("html", findings(), show_suppressed=value) for value in (False, True))
    assert hidden.replace('data-show-suppressed="no"', 'data-show-suppressed="yes"') == shown


@pytest.mark.parametrize(
    "time", [-62135596800.0, -62135596799.9999, -1e-9, 253402300799.9999, 1e300, float("nan")]
)
def test_times_at_the_ends_of_the_calendar(time: float) -> None:
    page = Page(written("html", [make(first_seen=time, last_seen=time), make("10.0.0.2")]))
    known = [one for one in page.column("first") if one is not None]
    assert all(-62135596800000 <= one <= 253402300799999 for one in known)
    assert len(known) == (2 if abs(time) < 1e12 else 1)


def test_the_same_results_make_the_same_file() -> None:
    assert written("html", findings(), SKIPPED) == written("html", findings(), SKIPPED)


def test_the_mildest_are_let_go_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "LISTED", 3)
    monkeypatch.setattr("imdswatch.report.html.sink.LISTED", 3)
    mild = [make(f"10.1.0.{n}") for n in range(9)]
    page = Page(written("html", [*mild, make("10.9.9.9", stage="answered", severity="high")]))
    assert page.column("victim") == ["10.9.9.9", "10.1.0.0", "10.1.0.1"]
    text = " ".join(page.texts)
    assert "7 more findings, milder than these, are counted above and not listed here" in text
    assert "9 findings" in text


def test_many_rows_wait_in_a_temporary_file_and_come_back_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory = written("html", findings())
    monkeypatch.setattr(shelf, "ROOM", 1)
    assert written("html", findings()) == in_memory


def test_behind_the_first_ten_thousand_one_place_of_evidence_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imdswatch.report.html.columns.BUSY", 1)
    places = tuple(Evidence("a.log", f"line {n}", "") for n in range(25))
    page = Page(written("html", [make("10.0.0.1", evidence=places), make("10.0.0.2", evidence=places[:7])]))
    assert [len(one["evidence"]) for one in page.details] == [20, 1]
    assert page.column("more") == [5, 6]


def test_a_long_text_ends_in_the_number_of_characters_left_out() -> None:
    page = Page(written("html", [make(victim={"ip": "10.0.0.1", "user_agent": "A" * 5000})]))
    assert page.details[0]["victim"]["user_agent"] == "A" * LONGEST + " … (3,000 more characters)"


def test_verdicts_of_the_probe_are_shown_with_every_reason() -> None:
    import io

    from imdswatch.report import open_sink

    handle = io.StringIO(newline="")
    sink = open_sink("html", handle, color=False, show_suppressed=False, width=None)
    reasons = (Reason("dmi", "impostor", "the firmware says <Dell>"), Reason("sig", "genuine", "AWS signed it"),
               Reason("ttl", "fact", "TTL 64"))  # fmt: skip
    sink.verdict(
        Verdict(
            "169.254.169.254",
            "eth0",
            "impostor",
            reasons,
            responder={"mac": "02:00:5e:00:53:01"},
            advice="Off!",
            account={"id": "123456789012", "expected": False},
            notes=("no CAP_NET_RAW",),
        )
    )
    sink.close(SUMMARY)
    text = " ".join(" ".join(Page(handle.getvalue()).texts).split())
    for words in (
        "169.254.169.254 over eth0 impostor", "for the firmware says <Dell>", "against AWS signed it", "seen TTL 64",
        "MAC 02:00:5e:00:53:01", "123456789012, not one you expect", "no CAP_NET_RAW", "Off!",
    ):  # fmt: skip
        assert words in text, words


# Whatever an attacker wrote


@settings(deadline=None, max_examples=60)
@given(*RUN)
def test_no_text_becomes_markup_and_none_hides(
    found: list[Finding], skipped: list[Skipped], summary: Summary, shown: bool
) -> None:
    text = written("html", found, skipped, summary, show_suppressed=shown)
    text.encode()
    page = Page(text)
    assert set(page.elements) <= ELEMENTS | {"table", "thead", "tbody", "tr", "th", "td"}
    assert page.scripts["script"] == SCRIPT
    assert not HIDDEN.search(OURS.sub("", text))
    assert len(page.details) == page.index["rows"] == len(found)
    assert all(stage in range(len(STAGES)) for stage in page.column("stage"))


MARKUP = (
    "</script><script>alert(1)</script>", "<!--<script>", "]]>", "<img src=x onerror=alert(1)>", "<svg/onload=a()>",
    "javascript:alert(1)", '" onmouseover="alert(1)', "' autofocus onfocus='alert(1)", "&lt;b&gt;", "{{7*7}}", "${7*7}",
    "$style", "\x00</title>", "\u202egnp.exe", "\u2028alert(1)\u2029", "<\x00script>", "</style><style>*{color:red}",
    "<base href=//x>",
)  # fmt: skip


@pytest.mark.parametrize("text", MARKUP)
def test_markup_in_every_place_stays_text(text: str) -> None:
    bad = make(
        text, text, title=text, rule=text, rules={text: 1}, cause=text, remedy=text, stage="credentials-served",
        severity="critical", fingerprint=text, attack=(text,), verdict=text, reasons=(Reason(text, text, text),),
        victim=dict.fromkeys(("ip", "host", "user_agent", "process", text), text), responders=({"mac": text},),
        responder=dict.fromkeys(("mac", "vendor", "nat_ip", "gateway"), text), evidence=(Evidence(text, text, text),),
        request=dict.fromkeys(("method", "path", "host"), text), account={"id": text, "role": text, "forged": True,
        "claims": {text: text}},
    )  # fmt: skip
    hidden = make("10.0.0.9", suppressed_by=text)
    page = Page(written("html", [bad, hidden], [Skipped(text, text, text)], Summary(notes=(text,))))
    assert set(page.elements) <= ELEMENTS
    assert page.scripts["script"] == SCRIPT
    assert not any(key.startswith("on") for _, key, _ in page.attributes)
    assert all(value.startswith("#") for _, key, value in page.attributes if key == "href")
    assert not HIDDEN.search(OURS.sub("", "".join(page.texts)))


def test_elements_escape_whatever_is_not_an_element() -> None:
    assert tag("p", "<b>", Html("<b>"), None, ["&", tag("br")], title='"<', hidden=False, lang=None) == (
        '<p title="&quot;&lt;">&lt;b&gt;<b>&amp;<br></p>'
    )
    assert join("\x1b") == "\\x1b"
