"""`imdswatch report`: what it reads it reads exactly, what is one incident becomes one finding, nothing breaks it."""

from __future__ import annotations

import gzip
import json
import os
import random
import tarfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commandline import Done, run
from imdswatch.cli import invoke
from imdswatch.finding import STAGES, Evidence, Finding, Summary
from imdswatch.report import merge, ndjson
from imdswatch.report.merge import Merging
from imdswatch.report.ndjson import finding_document
from imdswatch.report.readback import Unreadable, result
from report_cases import SKIPPED, SUMMARY, findings, make, written
from test_report_hostile import HOSTILE_FINDING

ROOT = Path(__file__).parents[1]


def file(folder: Path, name: str, *found: Finding, summary: bool = True) -> Path:
    path = folder / name
    text = written("ndjson", list(found), show_suppressed=True)
    path.write_text(text if summary else text[: text.rindex('{"format')], encoding="utf-8")
    return path


def report(tmp_path: Path, *arguments: object, **how: Any) -> Done:
    return run(tmp_path, "report", *arguments, "--format", "ndjson", "--show-suppressed", **how)


def joined(*found: Finding) -> list[Finding]:
    merging = Merging()
    for finding in found:
        merging.add(finding)
    return list(merging.findings())


# Reading back


def test_what_scan_wrote_comes_out_as_it_was(tmp_path: Path) -> None:
    scanned = run(tmp_path, "scan", ROOT / "examples", "--format", "ndjson")
    path = tmp_path / "findings.ndjson"
    path.write_text(scanned.out, encoding="utf-8")
    done = report(tmp_path, path)
    assert done.code == 1
    assert done.of("finding") == scanned.of("finding")
    assert len(done.of("finding")) > 10


def test_every_sort_of_finding_is_read_back_as_the_same_finding() -> None:
    plain = replace(findings()[-1], evidence=())
    for finding in [*findings()[:7], plain]:  # the hostile one is redacted once more
        line = orjson.dumps(finding_document(finding))
        read = result(line)
        assert isinstance(read, Finding)
        assert finding_document(read) == finding_document(finding)


def read_or_refused(line: bytes) -> object:
    """Return what a line says, or None where it is refused; nothing else may happen."""
    try:
        return result(line)
    except Unreadable as refused:
        return None if str(refused) else pytest.fail("a reason is given")


@settings(max_examples=150)
@given(HOSTILE_FINDING)
def test_any_finding_is_read_back_or_refused_with_a_reason(finding: Finding) -> None:
    document = finding_document(finding)
    read = read_or_refused(orjson.dumps(document))
    if read is None:
        return
    assert isinstance(read, Finding)
    assert result(ndjson.line(read).encode()) is not None, (
        "what was read once is read again from a temporary file"
    )
    names = ("rule", "stage", "severity", "confidence", "count", "cause", "fingerprint")
    assert [getattr(read, name) for name in names] == [document.get(name, "") for name in names]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
NAMES = sorted(
    {name for one in findings() for name in finding_document(one)} | {"reasons", "verdict", "endpoint"}
)


@settings(max_examples=200)
@given(
    st.sampled_from(["finding", "skipped", "summary", "verdict", "cell", "check", "status", "x"]),
    st.dictionaries(st.sampled_from(NAMES), JSON, max_size=6),
)
def test_whatever_a_line_holds_it_is_read_or_refused(kind: str, values: dict[str, Any]) -> None:
    base = finding_document(findings()[-1]) if kind == "finding" else {}
    line = json.dumps(base | values | {"format": "imdswatch/1", "type": kind}).encode()
    read_or_refused(line)


def test_secrets_of_a_file_from_another_hand_go_no_further(tmp_path: Path) -> None:
    token = "AQAEAFAKEFAKEFAKEFAKEFAKEFAKEFAKEFAKEFAKEFAKEFAKEFAKEFAKE=="
    header = f"X-aws-ec2-metadata-token: {token}"
    path = file(
        tmp_path, "f.ndjson", make(evidence=(Evidence("a.log", "line 1", header),), victim={"host": header})
    )
    for form in ("html", "ndjson", "text", "csv"):
        assert token not in run(tmp_path, "report", path, "--format", form).out, form


def test_a_text_without_end_is_cut_with_a_word_about_it() -> None:
    long = result(ndjson.line(make(victim={"user_agent": "ab " * 10_000})).encode())
    assert isinstance(long, Finding)
    assert str(long.victim["user_agent"]).endswith(" … (21,808 more characters)")


# Merging


def test_two_hosts_and_two_days_become_one_incident() -> None:
    monday = make(
        rule="imds-request",
        rules={"imds-contact": 2, "imds-request": 1},
        stage="requested",
        count=3,
        attack=("T1552.005",),
        first_seen=100.0,
        last_seen=200.0,
        evidence=(Evidence("mon.log", "line 7", "a"),),
        remedy="stop asking",
        victim={"ip": "10.0.1.5", "vlan": [30], "host": "build-7"},
        request={"method": "GET", "path": "/latest/meta-data"},
    )
    tuesday = make(
        rule="imds-answered",
        rules={"imds-contact": 5, "imds-answered": 2},
        title="Something answered",
        stage="answered",
        severity="high",
        confidence="high",
        count=7,
        first_seen=1000.0,
        last_seen=2000.0,
        cause="impersonation",
        victim={"ip": "10.0.1.5", "vlan": [20], "mac": "02:00:00:00:01:05"},
        remedy="find it",
        responder={"ip": "169.254.169.254", "mac": "02:00:00:00:66:01"},
        responders=({"mac": "02:00:00:00:66:02"},),
        evidence=(Evidence("tue.log", "line 2", "b"),),
        account={"id": "029608264753", "expected": False, "from": "document"},
    )
    wednesday = replace(
        tuesday,
        first_seen=50.0,
        last_seen=60.0,
        evidence=(Evidence("wed.log", "line 1", "c"),),
        count=1,
        rules={"imds-answered": 1},
        responder={"mac": "02:00:00:00:66:03"},
        responders=(),
        account={"id": "111122223333", "expected": True, "from": "access-key-id"},
    )
    [one] = joined(monday, tuesday, wednesday)
    assert (one.rule, one.stage, one.severity, one.confidence) == (
        "imds-answered",
        "answered",
        "high",
        "high",
    )
    assert (one.title, one.cause, one.remedy) == ("Something answered", "impersonation", "find it")
    assert one.rules == {"imds-contact": 7, "imds-request": 1, "imds-answered": 3}
    assert (one.count, one.first_seen, one.last_seen) == (11, 50.0, 2000.0)
    assert one.victim == {"ip": "10.0.1.5", "vlan": [20, 30], "host": "build-7", "mac": "02:00:00:00:01:05"}
    assert one.request == {"method": "GET", "path": "/latest/meta-data"}
    assert one.responder == {"mac": "02:00:00:00:66:03"}, "of two tellings of one stage the earlier speaks"
    assert {other["mac"] for other in one.responders} == {"02:00:00:00:66:01", "02:00:00:00:66:02"}
    assert [place.source for place in one.evidence] == ["wed.log", "mon.log", "tue.log"]
    assert one.attack == ("T1557", "T1552.005")
    assert one.account["id"] == "029608264753", "the account that nobody expects is the one to show"
    assert one.account["claims"] == {"access-key-id": "111122223333", "document": "029608264753"}


def test_suppressed_and_unsuppressed_never_share_a_finding() -> None:
    later = make(count=2, evidence=(Evidence("b.log", "line 1", ""),))
    found = joined(make(), make(suppressed_by="lab"), later, make(suppressed_by="other"))
    assert [(one.suppressed_by, one.count) for one in found] == [(None, 3), ("lab", 1), ("other", 1)]


def test_what_a_watch_tells_again_counts_once() -> None:
    first = make(count=2, rules={"imds-contact": 2}, first_seen=10.0, last_seen=20.0)
    grown = replace(
        first, count=9, rules={"imds-contact": 9, "imds-request": 1}, stage="requested", last_seen=50.0
    )
    earlier = replace(grown, count=12, first_seen=5.0)
    for told in ([first, grown, grown, earlier], [earlier, first, grown], [grown, earlier, first]):
        [one] = joined(*told)
        assert (one.count, one.rules, one.stage) == (12, {"imds-contact": 9, "imds-request": 1}, "requested")
        assert (one.first_seen, one.last_seen) == (5.0, 50.0)


def test_what_two_sensors_saw_at_one_time_counts_twice() -> None:
    here = make(count=2, rules={"imds-contact": 2}, evidence=(Evidence("here.log", "line 1", ""),))
    there = replace(here, count=3, rules={"imds-contact": 3}, evidence=(Evidence("there.log", "line 1", ""),))
    assert [one.count for one in joined(here, there)] == [5]


def test_findings_of_single_events_are_added() -> None:
    each = [
        make(
            first_seen=float(at // 3),
            last_seen=float(at // 3),
            evidence=(Evidence("a.log", f"line {at}", ""),),
        )
        for at in range(100)
    ]
    [one] = joined(*each)
    assert one.count == 100
    assert one.rules == {"imds-contact": 100}
    assert len(one.evidence) == merge.EVIDENCE


def many() -> list[Finding]:
    """Return tellings of forty incidents by five sensors, by chance and always the same."""
    chance = random.Random(7)
    found = []
    for number in range(400):
        stage = chance.randrange(5)
        host = f"10.0.0.{chance.randrange(40)}"
        found.append(
            make(
                host,
                stage=STAGES[stage],
                count=chance.randrange(1, 9),
                first_seen=float(number),
                last_seen=number + 5.0,
                rules={chance.choice(["imds-contact", "imds-request"]): chance.randrange(1, 5)},
                evidence=tuple(
                    Evidence(f"s{chance.randrange(5)}", f"line {number} {n}", "")
                    for n in range(chance.randrange(5))
                ),
                responder=chance.choice([{}, {"ip": "169.254.169.254", "mac": f"02::{chance.randrange(9)}"}]),
                account=chance.choice(
                    [{}, {"id": f"{chance.randrange(3):012}", "expected": chance.choice([True, False])}]
                ),
                suppressed_by=chance.choice([None, None, "lab"]),
            )
        )
    return found


def sorted_documents(found: Iterable[Finding]) -> list[str]:
    return sorted(json.dumps(finding_document(one), sort_keys=True) for one in found)


def test_the_order_of_files_does_not_matter() -> None:
    found = many()
    straight = sorted_documents(joined(*found))
    for seed in range(5):
        shuffled = found[:]
        random.Random(seed).shuffle(shuffled)
        assert sorted_documents(joined(*shuffled)) == straight


def test_incidents_beyond_the_limit_are_merged_the_same_from_temporary_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = many()
    straight = sorted_documents(joined(*found))
    monkeypatch.setattr(merge, "OPEN", 1)
    monkeypatch.setattr(merge, "PARTS", 3)
    assert sorted_documents(joined(*found)) == straight


def test_many_incidents_stay_within_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "many.ndjson"
    fingerprint = findings()[-1].fingerprint.encode()
    line = orjson.dumps(finding_document(findings()[-1])) + b"\n"
    with path.open("wb") as handle:
        for number in range(4_500):
            handle.write(line.replace(fingerprint, b"%032x" % (number % 4_000)))
    few = "import imdswatch.report.merge as m; m.OPEN = 1000"
    found = report(tmp_path, path, driver=few).of("finding")  # fails above the limit of memory
    assert len(found) == 4_000
    assert {one["count"] for one in found} == {3}, "what is told again counts once"


# Files


def test_files_folders_archives_and_standard_input(tmp_path: Path) -> None:
    folder = tmp_path / "hosts"
    folder.mkdir()
    file(folder, "a.ndjson", make("10.0.0.1"))
    (folder / "b.ndjson.gz").write_bytes(gzip.compress(file(tmp_path, "b", make("10.0.0.2")).read_bytes()))
    with tarfile.open(folder / "c.tar", "w") as archive:
        archive.add(file(tmp_path, "c", make("10.0.0.3")), "c")
    (folder / "notes.txt").write_text("not one of ours\n", encoding="utf-8")
    done = report(tmp_path, folder, "-", stdin=file(tmp_path, "d", make("10.0.0.4")).read_bytes())
    assert {one["victim"]["ip"] for one in done.of("finding")} == {f"10.0.0.{n}" for n in range(1, 5)}
    assert not done.of("skipped")
    assert done.of("summary")[0]["ignored"] == 1 + 4 * 3, "the note, and what each scan had ignored"


def test_the_report_in_the_folder_that_is_read_is_no_input(tmp_path: Path) -> None:
    file(tmp_path, "a.ndjson", make())
    for _ in range(2):
        done = run(tmp_path, "report", tmp_path, "-o", tmp_path / "report.html")
        assert done.code == 1
    assert "could not be looked at" not in (tmp_path / "report.html").read_text(encoding="utf-8")


BAD = {
    "no json\n": "line 1: is no JSON",
    "[]\n": "line 1: is no JSON object",
    '{"format":"imdswatch/2","type":"finding"}\n': "line 1: is of format `imdswatch/2`; this version reads imdswatch/1",
    '{"type":"finding"}\n': "line 1: names no format; this version reads imdswatch/1",
    '{"format":"imdswatch/1","type":"dream"}\n': "line 1: is of a type that this version does not know",
    '{"format":"imdswatch/1","type":"finding"}\n': "line 1: has no fingerprint",
    "[" * 100_000 + "\n": "line 1: is no JSON",
    "": ": is empty",
    "\n\n \n": ": is empty",
    "\x00\x01\x02": ": is unknown binary data",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: repr(text[:30]))
def test_what_is_no_finding_is_told_with_its_place(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.ndjson"
    path.write_text(text, encoding="utf-8")
    done = report(tmp_path, path)
    assert done.code == 3
    told = [f"{one.get('position', '')}: {one['reason']}" for one in done.of("skipped")]
    assert told[0].startswith(BAD[text]) or told[0].endswith(BAD[text].removeprefix(": ")), told


def test_the_good_lines_around_a_broken_one_count(tmp_path: Path) -> None:
    path = file(tmp_path, "a.ndjson", make("10.0.0.1"))
    path.write_text("x\n" * 30 + path.read_text(encoding="utf-8"), encoding="utf-8")
    done = report(tmp_path, path)
    assert done.code == 1
    assert len(done.of("finding")) == 1
    skipped = done.of("skipped")
    assert [one["position"] for one in skipped[:20]] == [f"line {n}" for n in range(1, 21)]
    assert skipped[20]["reason"] == "10 more lines are no findings"


@pytest.mark.parametrize("how", ["utf-8-sig", "utf-16", "crlf", "gzip"])
def test_how_a_file_is_written_does_not_matter(tmp_path: Path, how: str) -> None:
    text = written("ndjson", findings(), show_suppressed=True)
    plain, other = tmp_path / "plain", tmp_path / "other"
    plain.write_text(text, encoding="utf-8")
    match how:
        case "crlf":
            other.write_bytes(text.replace("\n", "\r\n").encode())
        case "gzip":
            other.write_bytes(gzip.compress(text.encode()))
        case _:
            other.write_text(text, encoding=how)
    outputs = []
    for path in (plain, other):
        invoke(["report", str(path), "--format", "ndjson", "--show-suppressed", "-o", str(tmp_path / "out")])
        outputs.append((tmp_path / "out").read_text(encoding="utf-8").splitlines()[:-1])
    assert outputs[0] == outputs[1]


def test_of_a_file_in_which_nothing_could_be_read_nothing_is_said(tmp_path: Path) -> None:
    path = tmp_path / "later.ndjson"
    path.write_text(written("ndjson", findings()).replace("imdswatch/1", "imdswatch/2"), encoding="utf-8")
    assert invoke(["report", str(path), "--format", "text", "-o", str(tmp_path / "out")]) == 3
    assert (tmp_path / "out").read_text(encoding="utf-8").startswith("NOT CHECKED")


def test_a_line_that_is_too_long_is_passed_over(tmp_path: Path) -> None:
    path = file(tmp_path, "a.ndjson", make("10.0.0.1"))
    path.write_bytes(b'{"format":"' + b"x" * (40 << 20) + b"\n" + path.read_bytes())
    done = report(tmp_path, path)
    assert [(one["position"], one["reason"]) for one in done.of("skipped")] == [
        ("line 1", "is longer than 16 MiB")
    ]
    assert len(done.of("finding")) == 1


def test_a_file_without_its_summary_was_cut_short(tmp_path: Path) -> None:
    path = file(tmp_path, "a.ndjson", make(suppressed_by="lab"), summary=False)
    done = report(tmp_path, path)
    assert done.code == 3
    assert "cut short" in done.of("skipped")[0]["reason"]


def test_a_device_a_missing_file_and_a_capture_are_skipped(tmp_path: Path) -> None:
    done = report(tmp_path, "/dev/zero", tmp_path / "none", ROOT / "examples" / "segment.pcap")
    assert done.code == 3
    assert [one["reason"] for one in done.of("skipped")] == [
        "is a device, not a file",
        "does not exist (any more)",
        "is a capture; `imdswatch scan` makes findings of it",
    ]


# Exit codes and usage


def test_exit_codes(tmp_path: Path) -> None:
    found, muted = file(tmp_path, "a", make()), file(tmp_path, "b", make(suppressed_by="lab"))
    clean = tmp_path / "c"
    clean.write_text(written("ndjson", [], summary=Summary(sources=1, bytes=9, records=1)), encoding="utf-8")
    missed = tmp_path / "d"
    missed.write_text(written("ndjson", [], SKIPPED, SUMMARY), encoding="utf-8")
    assert report(tmp_path, found, missed).code == 1
    assert report(tmp_path, found, "--fail-on", "answered").code == 0
    assert report(tmp_path, muted).code == 0
    assert report(tmp_path, clean).code == 0
    assert report(tmp_path, missed, clean).code == 3
    assert run(tmp_path, "report").code == 2
    assert run(tmp_path, "report", found, "--format", "x").code == 2
    assert run(tmp_path, "report", found, "-o", found).code == 2
    assert found.read_text(encoding="utf-8"), "the input is untouched"
    assert run(tmp_path, "report", found, "-o", tmp_path / "no" / "where.html").code == 2


def test_a_page_is_not_written_to_a_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = file(tmp_path, "a", make())
    master, slave = os.openpty()
    try:
        with os.fdopen(slave, "w") as terminal, pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdout", terminal)
            assert invoke(["report", str(path)]) == 2
    finally:
        os.close(master)
    assert "-o report.html" in capfd.readouterr().err
