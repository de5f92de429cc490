"""What a rule may say, through the command line: what cannot be run is refused by name and place, the rest runs.

The semantics of each modifier are compared with other engines in test_references.py; here are the edges of the
language, overlays of the built-in pack, and that hostile rule files cost neither time nor memory.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from imdswatch import cli
from imdswatch.errors import RuleError
from imdswatch.rule import canonical, load_rules, parse_rule
from imdswatch.scan.predicate import compile_conditions

HEAD = "title: A rule\nlogsource:\n    category: network\n"
LINE = 6  # of `{item}` in ITEM
ITEM = HEAD + "detection:\n    sel:\n        {item}\n    condition: sel\n"
CORRELATION = (
    ITEM.format(item="tls_sni: a") + "name: base\n---\ntitle: B\ncorrelation:\n    type: {type}\n"
    "    rules: [{rules}]\n    group-by: [{by}]\n    timespan: 1h\n"
)
TEMPORAL = {"type": "temporal_ordered", "rules": "first, base", "by": "src_ip"}


def item(text: str) -> str:
    return ITEM.format(item=text)


def condition(text: str) -> str:
    return HEAD + f"detection:\n    sel:\n        url: a\n    other:\n        url: b\n    condition: {text}\n"


def correlation(**changes: str) -> str:
    return CORRELATION.format(**{**TEMPORAL, **changes})


def bomb(letters: str = "abcdefgh") -> str:
    lines = ["z: &a [x, x, x, x, x, x, x, x, x, x]"]
    for last, name in zip(letters, letters[1:] + "i", strict=True):
        lines.append(f"z{name}: &{name} [{', '.join([f'*{last}'] * 10)}]")
    return "\n".join(lines) + "\n"


REFUSED: dict[str, tuple[str, str, int]] = {
    # name: (rule, what the message names, line)
    "unknown field": (item("no_such_field: x"), "field `no_such_field` is not known", LINE),
    "unknown field in fieldref": (item("url|fieldref: no_such_field"), "field `no_such_field`", LINE),
    "unknown modifier": (item("url|resembles: x"), "'resembles'", LINE),
    "unknown placeholder": (item("account_id|expand: '%servers%'"), "placeholder `%servers%`", LINE),
    "placeholder inside a value": (
        item("account_id|expand: 'x%imds_expected_accounts%'"), "must be the whole value", LINE),
    "placeholder in a regular expression": (item("url|re|expand: 'a%b%'"), "regular expression", LINE),
    "utf16": (item("url|utf16|base64: abcd"), "`|utf16`", LINE),
    "base64offset outside ASCII": (item("url|base64offset|contains: éabc"), "`|base64offset`", LINE),
    "part of a time of a text": (item("user_agent|minute: 5"), "`|minute` needs a time, not `user_agent`", LINE),
    "regular expression": (item("url|re: '('"), "'(' is invalid", LINE),
    "regular expression of another dialect": (item(r"url|re: '\p{L}'"), r"'\p{L}' is invalid", LINE),
    "network": (item("src_ip|cidr: 10.0.0.0/99"), "10.0.0.0/99", LINE),
    "network with wildcard": (item("src_ip|cidr: 10.*"), "10.*", LINE),
    "comparison with a text": (item("dst_port|lt: abc"), "Modifier 'lt'", LINE),
    "existence of a text": (item("url|exists: maybe"), "Modifier 'exists'", LINE),
    "part of null": (item("url|contains: null"), "Modifier 'contains' incompatible to value type of `null`", LINE),
    "wide outside ASCII": (item("url|wide: é"), "ascii", LINE),
    "value that is a mapping": (item("url: {a: b}"), "dict", 4),
    "value that is a date": (item("user_agent: 2026-01-01"), "date", 4),
    "number that is none": (item("dst_port: .inf"), "Invalid number", 4),
    "field without a name": (item("5: x"), "key `5` must be text", LINE),
    "field given twice": (item("url: a\n        url: b"), "key `url` is given twice", LINE + 1),
    "keyword null": (item("- null"), "keyword cannot be a null", 4),
    "keyword that compares": (item("'|gt': [5]"), "keyword cannot be a compare", 4),
    "keyword that refers": (item("'|fieldref': [url]"), "keyword cannot be a fieldref", 4),
    "keyword that is a placeholder": (
        item("'|expand': ['%imds_expected_accounts%']"), "keyword cannot be a placeholder", 4),
    "empty detection": (HEAD + "detection:\n    sel: {}\n    condition: sel\n", "Detection is empty", 4),
    "detection that is a list": (HEAD + "detection: [a]\n", "detection must be", 4),
    "no detection": (HEAD, "detection", 1),
    "no condition": (HEAD + "detection:\n    sel:\n        url: a\n", "condition", 4),
    "no title": (item("url: a").replace("title: A rule\n", ""), "title", 3),
    "no log source": ("title: A\ndetection:\n    sel:\n        url: a\n    condition: sel\n", "log source", 2),
    "undefined detection": (condition("sel and missing"), "'missing'", 9),
    "pattern that fits nothing": (condition("1 of missing_*"), "fits no detection", 9),
    "pattern that fits nothing, beside one": (condition("sel and not 1 of missing_*"), "fits no detection", 9),
    "condition without sense": (condition("sel and and"), "'and'", 9),
    "unbalanced brackets": (condition("(sel"), "", 9),
    "aggregation of Sigma 1": (condition("sel | count() > 5"), "pipe syntax", 9),
    "2 of": (condition("2 of sel*"), "'of'", 9),
    "condition that is a number": (condition("5"), "`condition` must be a text", 9),
    "condition that is a mapping": (condition("{a: b}"), "`condition` must be a text", 9),
    "no conditions": (condition("[]"), "`condition` must be a text", 9),
    "NOTs without end": (condition("not " * 10_000 + "sel"), "nested too deeply", 9),
    "NOTs beyond the compiler": (condition("not " * 80 + "sel"), "nested too deeply", 9),
    "stage": (item("url: a") + "stage: seen\n", "stage `seen` does not exist", 8),
    "stage that is a list": (item("url: a") + "stage: [answered]\n", "`stage` must be a text", 8),
    "level": (item("url: a") + "level: urgent\n", "'urgent'", 8),
    "tags that are a text": (item("url: a") + "tags: attack.t1557\n", "`tags` must be a list", 8),
    "blind spots that are a number": (item("url: a") + "blind_spots: 5\n", "`blind_spots` must be a list", 8),
    "remedy that is a list": (item("url: a") + "remedy: [a]\n", "`remedy` must be a text", 8),
    "id that is a number": (item("url: a") + "id: 5\n", "`id` must be a text", 8),
    "two rules in a file": (item("url: a") + "---\n" + item("url: b"), "holds one rule", 8),
    "filter": (item("url: a") + "---\ntitle: F\nfilter:\n    rules: [a]\n", "`filter`", 10),
    "collection of Sigma 1": ("action: global\n---\n" + item("url: a"), "`action`", 1),
    **{
        f"correlation {kind}": (correlation(type=kind), f"`{kind}` cannot be run", 12)
        for kind in ("event_count", "value_count", "temporal")
    },
    "correlation of no kind": (correlation(type="sometimes"), "`sometimes` cannot be run", 12),
    "correlation by port": (correlation(by="dst_port"), "grouped by the victim", 14),
    "correlation whose base is elsewhere": (correlation(rules="first, second"), "in the same file", 13),
    "correlation of one": (correlation(rules="base"), "in the same file", 13),
    "correlation alone": (correlation().split("---\n")[1], "in the same file", 4),
    "correlation that is a text": (item("url: a") + "---\ntitle: B\ncorrelation: x\n", "must be a mapping", 10),
    "empty file": ("", "no Sigma rule", 1),
    "only a comment": ("# nothing\n", "no Sigma rule", 1),
    "a list": ("- a\n- b\n", "no Sigma rule", 1),
    "a text": ("hello\n", "no Sigma rule", 1),
    "open bracket": (HEAD + "detection: [\n", "not valid YAML", 5),
    "tab": ("title: A\n\tlogsource: x\n", "not valid YAML", 2),
    "control character": (item("url: a\x07"), "not valid YAML", LINE),
    "half a surrogate pair": (item(r'url: "\ud83d"'), "not valid YAML", LINE),
    "object of Python": (item("url: !!python/object/apply:os.system [id]"), "python/object", LINE),
    "day that does not exist": (item("url: a") + "date: 2026-02-31\n", "day is out of range", 1),
    "aliases that unfold": (bomb() + item("url: a"), "aliases unfold", 6),
    "alias of itself": (item("url: &u [*u]"), "alias refers to what it stands in", LINE),
    "10 000 open brackets": (item("url: " + "[" * 10_000), "nested too deeply", LINE),
    "10 000 closed brackets": (item("url: " + "[" * 10_000 + "]" * 10_000), "nested too deeply", LINE),
    "10 000 mappings": ("{a: " * 10_000, "nested too deeply", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_run_is_refused_by_name_and_place(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, names, line = REFUSED[name]
    rule = tmp_path / "rules" / "mine.yml"
    rule.parent.mkdir()
    rule.write_text(text, encoding="utf-8")
    log = tmp_path / "empty.log"
    log.write_bytes(b"")
    began = time.process_time()
    code = cli.invoke(["scan", str(log), "--rules", str(rule.parent), "--quiet"])
    took = time.process_time() - began
    out, err = capsys.readouterr()
    assert code == 2, err
    assert out == ""
    assert names in err
    assert f"--> {rule}:{line}\n" in err + "\n"
    assert "Traceback" not in err
    assert " object at 0x" not in err
    assert took < 20


def test_a_folder_that_is_none_and_bytes_that_are_no_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.invoke(["rules", "--rules", str(tmp_path / "nowhere")]) == 2
    assert cli.invoke(["rules", "--rules", str(tmp_path)]) == 2, "a folder without rules"
    assert "nowhere` is no folder" in capsys.readouterr().err
    (tmp_path / "bytes.yml").write_bytes(b"title: \xff\xfe\n")
    assert cli.invoke(["rules", "--rules", str(tmp_path)]) == 2
    assert f"--> {tmp_path / 'bytes.yml'}" in capsys.readouterr().err


Scan = Callable[..., tuple[int, list[dict[str, Any]], str]]


@pytest.fixture
def scan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Scan:
    """Scan three requests of Zeek's http.log with rules of one's own beside the built-in ones."""

    def run(**rules: str) -> tuple[int, list[dict[str, Any]], str]:
        folder = tmp_path / "own"
        folder.mkdir(exist_ok=True)
        for stem, text in rules.items():
            (folder / f"{stem.replace('_', '-')}.yml").write_text(text, encoding="utf-8")
        log = tmp_path / "http.log"
        log.write_text("".join(json.dumps(record) + "\n" for record in REQUESTS))
        code = cli.invoke(
            ["scan", str(log), "--rules", str(folder), "--format", "ndjson", "--each", "-j", "1"]
        )
        out, err = capsys.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err

    return run


def request(**fields: Any) -> dict[str, Any]:
    return {
        "ts": 1790000000.5, "uid": "C1", "id.orig_h": "192.0.2.7", "id.orig_p": 40000, "id.resp_p": 80,
        "trans_depth": 1, "version": "1.1", "request_body_len": 0, **fields,
    }  # fmt: skip


REQUESTS = [
    request(**{"id.resp_h": "169.254.169.254"}, method="GET", host="169.254.169.254",
            uri="/latest/meta-data/", status_code=403, user_agent="curl/8.5"),
    request(**{"id.resp_h": "198.51.100.9"}, method="GET", host="intranet", uri="/Admin", status_code=200,
            user_agent="Wget"),
    request(**{"id.resp_h": "198.51.100.9"}, method="POST", host="intranet", uri="/x", status_code=200),
]  # fmt: skip


def fired(records: list[dict[str, Any]], slug: str) -> int:
    """Return how many findings a rule is part of."""
    return sum(slug in record["rules"] for record in records if record["type"] == "finding")


def test_a_rule_of_ones_own_is_found_through_the_command_line(scan: Scan) -> None:
    code, records, _ = scan(intranet_admin=item("uri_path|startswith: /admin"))
    assert code == 1
    assert fired(records, "intranet-admin") == 1
    assert fired(records, "imds-contact") == 1


@pytest.mark.parametrize("name", ["c-uri", "url.original", "http.url", "RequestURL", "request_url", "url"])
def test_a_field_may_be_called_by_its_alias(scan: Scan, name: str) -> None:
    assert canonical(name) == "url"
    _, records, _ = scan(by_alias=item(f'"{name}|endswith": /admin'))
    assert fired(records, "by-alias") == 1


def test_a_rule_without_a_literal_reads_every_record_and_says_so(scan: Scan) -> None:
    two_blocks = """detection:
    asked:
        dst_port|gte: 80
    agent:
        user_agent|exists: true
    condition: asked and not agent
"""
    code, records, _ = scan(no_agent=HEAD + two_blocks)
    assert code == 1
    assert fired(records, "no-agent") == 1
    assert fired(records, "imds-contact") == 1
    (summary,) = [record for record in records if record["type"] == "summary"]
    assert any("no-agent: every record is parsed" in note for note in summary["notes"])


def test_the_same_stem_replaces_a_built_in_rule(tmp_path: Path) -> None:
    before = {rule.slug: rule for rule in load_rules()}
    (tmp_path / "imds-contact.yml").write_text(item("dst_ip: 192.0.2.1"), encoding="utf-8")
    (tmp_path / "imds-request.events.yml").write_text("not: [a, rule]\n", encoding="utf-8")
    after = {rule.slug: rule for rule in load_rules(tmp_path)}
    assert after.keys() == before.keys()
    assert after["imds-contact"].title == "A rule"
    assert after["imds-contact"].file == str(tmp_path / "imds-contact.yml")
    assert {s: r for s, r in after.items() if s != "imds-contact"} == {
        s: r for s, r in before.items() if s != "imds-contact"
    }


def test_a_yaml_file_is_a_rule_too_and_replaces_the_same_stem(tmp_path: Path) -> None:
    (tmp_path / "imds-contact.yaml").write_text(item("dst_ip: 192.0.2.1"), encoding="utf-8")
    assert {r.slug: r.title for r in load_rules(tmp_path)}["imds-contact"] == "A rule"


def test_status_unsupported_disables_even_what_cannot_be_run(tmp_path: Path) -> None:
    (tmp_path / "imds-contact.yml").write_text("status: unsupported\n", encoding="utf-8")
    (tmp_path / "mine.yml").write_text(item("no_such_field: x") + "status: unsupported\n", encoding="utf-8")
    slugs = {rule.slug for rule in load_rules(tmp_path)}
    assert "imds-contact" not in slugs
    assert "mine" not in slugs
    assert slugs == {rule.slug for rule in load_rules()} - {"imds-contact"}


MEANS = [
    # What the references cannot show, because they refuse it or mean something else by it.
    ("url|fieldref|contains: host", {"url": "a.example/b", "host": "example"}, True),
    ("user_agent|fieldref|contains: role", {"user_agent": "a CURL b", "role": "curl"}, True),
    ("user_agent|fieldref|contains: role", {"user_agent": "a", "role": "ab"}, False),
    ("user_agent|re|i: 'CAFÉ [A-Z]'", {"user_agent": "café x"}, True),
    ("user_agent|re: 'CAFÉ'", {"user_agent": "café"}, False),
    ("- 1234567", {"payload": "x1234567y"}, True),
    ("- 1234567", {"resp_bytes": 1234567}, True),
    ("account_id: 80", {"account_id": "080"}, False),
    ("account_id: 80", {"account_id": "80"}, True),
    ("user_agent|gt: 5", {"user_agent": "1_0"}, False),
    ("user_agent|gt: 5", {"user_agent": "inf"}, False),
    ("user_agent|gt: 5", {"user_agent": "10"}, True),
    ("vlan: 8", {"vlan": (210, 8)}, True),
    ("vlan|neq: 8", {"vlan": (210, 8)}, False),
    ("req_header|contains|all: [a, b]", {"req_header": ("xa", "xb")}, True),
    ("user_agent: null", {"user_agent": ""}, True),
    ("user_agent: ''", {"user_agent": ""}, True),
    ("user_agent: ''", {}, False),
    ("status: null", {"status": 0}, False),
    ("answered: null", {"answered": False}, False),
    ("answered: 'false'", {"answered": False}, True),
    ("timestamp|week: 1", {"timestamp": 1735560000.0}, True),  # 2024-12-30 is in the first ISO week of 2025
    ("'|all': [curl, 4?3]", {"user_agent": "curl", "status": 403}, True),
    ("'|cidr': [10.0.0.0/8]", {"src_ip": "10.1.2.3"}, True),
]


@pytest.mark.parametrize(("text", "event", "wanted"), MEANS)
def test_what_the_references_cannot_show(text: str, event: dict[str, Any], wanted: bool) -> None:
    rule = parse_rule("mine", item(text), "mine.yml")
    assert rule is not None
    assert compile_conditions([rule.condition], {})(event) == ([0] if wanted else [])


def test_brackets_may_be_many_and_nesting_of_sixty_runs() -> None:
    for text in (
        "(" * 2_000 + "sel" + ")" * 2_000,
        "not " * 60 + "sel",
        " or ".join(["sel", "other"] * 1_000),
    ):
        rule = parse_rule("mine", condition(text), "mine.yml")
        assert rule is not None
        assert compile_conditions([rule.condition], {})({"url": "a"}) == [0]


def test_a_rule_error_never_shows_more_than_it_must() -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule("mine", item("url|re: '('"), "mine.yml")
    assert caught.value.line == LINE
    assert caught.value.file == "mine.yml"


def test_a_disabled_rule_may_stand_in_a_site(tmp_path: Path) -> None:
    rule = files("imdswatch").joinpath("data/rules/imds-contact.yml").read_text(encoding="utf-8")
    (tmp_path / "rules").mkdir()
    disabled = re.sub(r"(?m)^status: .*$", "status: unsupported", rule)
    (tmp_path / "rules" / "imds-contact.yml").write_text(disabled, encoding="utf-8")
    site = tmp_path / "site.toml"
    site.write_text('[[suppress]]\nname = "x"\nvlans = [1]\nrules = ["imds-contact"]\n', encoding="utf-8")
    log = tmp_path / "empty.log"
    log.write_text("nothing\n", encoding="utf-8")
    words = ["scan", str(log), "--rules", str(tmp_path / "rules"), "--site", str(site), "-q"]
    assert cli.invoke(words) == 0
    site.write_text(site.read_text(encoding="utf-8").replace("imds-contact", "imds-none"), encoding="utf-8")
    assert cli.invoke(words) == 2


@pytest.mark.parametrize(
    "name", ["scan", "watch", "export", "probe", "audit", "harden", "report", "rules", "schemas"]
)
def test_every_command_has_the_common_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke([name, "--version"]) == 0
    assert capsys.readouterr().out.startswith("imdswatch ")
    assert cli.invoke([name, "-q", "-v", "--help"]) == 0
