"""Logs that grow, rotate, are copied and compressed: what is read of them, and what is not read twice."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from imdswatch.finding import STAGES, Skipped
from imdswatch.rule import load_rules
from imdswatch.scan.aggregate import Incidents
from imdswatch.scan.prefilter import Prefilter
from imdswatch.scan.text import Outcome
from imdswatch.scan.work import Options
from imdswatch.schema import load_schemas
from imdswatch.site import Site
from imdswatch.watch.follow import FINISHED, GRACE, MISSING, PATIENCE, Follow
from imdswatch.watch.judgement import Judgement
from imdswatch.watch.library import Library, related
from imdswatch.watch.pieces import Pieces
from watch_soak import ZEEK, compress
from watching import squid


@cache
def options() -> Options:
    return Options(load_rules(), Site(), load_schemas())


@cache
def searches() -> tuple[Prefilter, Prefilter, bool]:
    return Judgement(options()).searches


def judgement() -> Judgement:
    made = Judgement(options())
    made._searches = searches()  # takes longer to compile than a test takes
    return made


class Followed:
    """A followed path; time passes when the test says so."""

    def __init__(self, path: Path, *, from_start: bool = True, **more: Callable[[str], bool]) -> None:
        self.path, self.now, self.skipped, self._more = path, 1000.0, list[Skipped](), more
        self.kept: dict[int, dict[str, object]] = {}
        self.seen: dict[str, int] = {}
        self._start(from_start)

    def _start(self, from_start: bool) -> None:
        self.library = Library(json.loads(json.dumps(self.kept), object_hook=_numbered))
        self.feed = Follow(
            str(self.path),
            self.library,
            judgement(),
            from_start=from_start,
            clock=lambda: self.now,
            **self._more,
        )

    def read(self, seconds: float = 2.0, rounds: int = 4) -> list[int]:
        """Let time pass and read all there is; return the last octet of each victim that was seen, as often."""
        out: dict[str, int] = {}
        quiet = 0
        self.now += seconds
        while quiet < rounds:
            self.now += 1.1
            outcome = self.round()
            for key, incident in outcome.incidents.items():
                out[key[0]] = out.get(key[0], 0) + incident.count
            quiet = 0 if outcome.lines else quiet + 1
        found = [
            int(victim.rpartition(".")[2]) for victim, count in out.items() if victim for _ in range(count)
        ]
        return sorted(found)

    def round(self) -> Outcome:
        """Read what is there, and keep how far that was."""
        outcome = Outcome(Incidents())
        self.feed.read(outcome)
        self.skipped += outcome.skipped
        for number, one in self.library.changes().items():
            if one is None:
                self.kept.pop(number, None)
            else:
                self.kept[number] = one
        self.library.kept()
        return outcome

    def restart(self, *, from_start: bool = False) -> None:
        """End as `kill -9` does, and begin with what was kept."""
        self.feed.close()
        self._start(from_start)

    @property
    def reasons(self) -> list[str]:
        return [one.reason for one in self.skipped]


def _numbered(values: dict[str, object]) -> dict[object, object]:
    return {int(name) if name.isdigit() else name: value for name, value in values.items()}


def lines(*hosts: int) -> bytes:
    return b"".join(squid(1.7e9 + host, f"10.0.0.{host}", f"/latest/meta-data/{host}") for host in hosts)


def add(path: Path, data: bytes) -> None:
    with path.open("ab") as handle:
        handle.write(data)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def test_what_was_there_is_the_past_and_what_comes_is_judged(log: Path) -> None:
    log.write_bytes(lines(1, 2))
    compress_copy(log, log.with_name("access.log.1.gz"))
    followed = Followed(log.parent, from_start=False)
    assert followed.read() == []
    add(log, lines(3))
    add(log.with_name("new.log"), lines(4))
    assert followed.read() == [3, 4]
    followed.restart()
    assert followed.read() == []


def compress_copy(path: Path, packed: Path) -> None:
    packed.write_bytes(gzip.compress(path.read_bytes()))


def test_lines_are_numbered_as_in_the_file_though_its_beginning_is_the_past(log: Path) -> None:
    log.write_bytes(lines(1, 2, 3))
    followed = Followed(log, from_start=False)
    followed.read()
    add(log, lines(4))
    followed.now += 2
    outcome = Outcome(Incidents())
    followed.feed.read(outcome)
    (incident,) = outcome.incidents.open.values()
    assert [(seen.source, seen.position) for seen in incident.sightings] == [(str(log), 4)]


def test_a_line_waits_for_its_end(log: Path) -> None:
    log.write_bytes(lines(1) + lines(2)[:40])
    followed = Followed(log)
    assert followed.read() == [1]
    followed.restart()
    assert followed.read() == []
    add(log, lines(2)[40:] + lines(3)[:10])
    assert followed.read() == [2, 3][:1]


def test_the_last_line_of_a_file_that_rotated_counts_without_its_end(log: Path) -> None:
    log.write_bytes(lines(1) + lines(2)[:-1])
    followed = Followed(log)
    assert followed.read() == [1]
    os.replace(log, log.with_name("access.log.1"))
    log.write_bytes(lines(3))
    assert followed.read(0, rounds=2) == [3]
    assert followed.read(GRACE) == [2]
    assert followed.read(PATIENCE) == []


def test_the_last_line_of_a_file_that_nobody_rotates_counts_in_the_end(log: Path) -> None:
    log.write_bytes(lines(1)[:-1])
    followed = Followed(log)
    assert followed.read() == []
    assert followed.read(PATIENCE) == [1]


@pytest.mark.parametrize("down", [False, True], ids=["running", "down"])
@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
@pytest.mark.parametrize("way", ["rename", "copytruncate", "compressed", "copy compressed", "twice"])
def test_rotation_loses_nothing_and_repeats_nothing(log: Path, way: str, folder: bool, down: bool) -> None:
    log.write_bytes(lines(1, 2))
    followed = Followed(log.parent if folder else log)
    assert followed.read() == [1, 2]
    add(log, lines(3))
    first, expected = log.with_name("access.log.1"), [3, 4]
    if down:
        followed.feed.close()
    if way in ("copytruncate", "copy compressed"):
        shutil.copyfile(log, first)
        os.truncate(log, 0)
    else:
        os.replace(log, first)
    add(log, lines(4))
    if way == "twice":
        os.replace(first, log.with_name("access.log.2"))
        os.replace(log, first)
        compress(log.with_name("access.log.2"))
        add(log, lines(5))
        expected = [3, 4, 5]
    if "compressed" in way:
        compress(first)
    if down:
        followed.restart()
    assert followed.read() == expected
    add(log, lines(6))
    assert followed.read() == [6]
    followed.restart()
    assert followed.read(MISSING + FINISHED) == []
    assert followed.reasons == []


def test_a_file_that_is_truncated_and_filled_again_at_once_is_noticed(log: Path) -> None:
    log.write_bytes(lines(1, 2))
    followed = Followed(log)
    assert followed.read() == [1, 2]
    log.write_bytes(lines(3, 4, 5))
    assert followed.read() == [3, 4, 5]


def test_zeros_of_a_writer_who_does_not_know_of_the_truncation_are_passed_over(log: Path) -> None:
    with log.open("wb") as writer:
        writer.write(lines(1, 2, 3))
        writer.flush()
        followed = Followed(log)
        assert followed.read() == [1, 2, 3]
        os.truncate(log, 0)
        writer.write(lines(4))
    assert log.read_bytes()[:1] == b"\x00"
    assert followed.read() == [4]
    assert followed.reasons == []


def test_an_end_that_nobody_kept_is_told(log: Path) -> None:
    log.write_bytes(lines(1))
    followed = Followed(log)
    assert followed.read() == [1]
    followed.feed.close()
    add(log, lines(2))
    log.unlink()
    log.with_name("other").touch()  # keeps the number of the file from being used again
    log.write_bytes(lines(3))
    followed.restart()
    assert followed.read() == [3]
    assert followed.read(MISSING) == []
    assert followed.skipped == [
        Skipped(
            str(log),
            "line 1",
            "was rotated away or removed before its end was read, and no copy of it turned up",
        )
    ]


def test_a_removed_log_that_was_read_to_its_end_is_missed_by_nobody(log: Path) -> None:
    log.write_bytes(lines(1))
    followed = Followed(log.parent)
    assert followed.read() == [1]
    log.unlink()
    assert followed.read(GRACE) == []
    assert followed.read(MISSING) == []
    followed.restart()
    assert followed.read(MISSING) == []
    assert followed.reasons == []


def test_columns_of_a_header_are_known_after_a_restart(log: Path) -> None:
    row = "{}\tC1\t10.0.0.{}\t4\t169.254.169.254\t80\tGET\t169.254.169.254\t/latest/meta-data/\t200\n"
    log.write_bytes(ZEEK % (1, 2, 3) + row.format(1.7e9, 1).encode())
    followed = Followed(log)
    assert followed.read() == [1]
    followed.restart()
    add(log, row.format(1.7e9, 2).encode())
    outcome = Outcome(Incidents())
    followed.now += 5
    followed.feed.read(outcome)
    ((key, incident),) = outcome.incidents.items()
    assert key[0] == "10.0.0.2"
    stage = max(sighting.verdict.stage for sighting in incident.sightings)
    assert STAGES[stage] == "answered"  # the status stands in a column that only the header names


def test_what_a_victim_did_in_a_log_that_was_read_before_is_found_once(log: Path) -> None:
    role = "/latest/meta-data/iam/security-credentials/FAKE-role"
    contact = (
        "{}.000      9 10.0.0.7 TCP_TUNNEL/200 9 CONNECT sts.amazonaws.com:443 - HIER_DIRECT/192.0.2.1 -\n"
    )
    proxy = log.with_name("proxy.log")
    served = squid(1.7e9 + 5, "10.0.0.7", role)
    proxy.write_bytes(b"".join(contact.format(1_700_000_000 + second).encode() for second in range(10)))
    log.write_bytes(lines(1))
    followed = Followed(log.parent)
    assert followed.read() == [1]
    add(
        log, contact.format(1_700_000_006).encode() + served + contact.format(1_700_000_007).encode() + served
    )
    # The two that served, five after them in the log that was read before (5 to 9), and two in this one.
    assert followed.read() == [7] * 9
    add(proxy, contact.format(1_700_000_011).encode())
    assert followed.read() == [7]


def test_an_older_copy_is_not_read_again(log: Path) -> None:
    log.write_bytes(b"".join(lines(host % 250) for host in range(1, 200)))
    followed = Followed(log.parent)
    assert len(followed.read()) == 199
    (log.parent / "access.log.bak.gz").write_bytes(gzip.compress(log.read_bytes()[:10_000]))
    shutil.copyfile(log, log.parent / "access.log.bak")
    assert followed.read() == []


def test_logs_that_begin_alike_and_have_other_names_are_both_read(log: Path) -> None:
    log.write_bytes(lines(1, 2))
    (log.parent / "squid.log").write_bytes(lines(1, 2))
    followed = Followed(log.parent)
    assert followed.read() == [1, 1, 2, 2]
    add(log, lines(3))
    add(log.parent / "squid.log", lines(3))
    assert followed.read() == [3, 3]


def test_our_own_output_is_not_followed(log: Path) -> None:
    log.write_bytes(lines(1))
    followed = Followed(log.parent, ours=lambda path: path == str(log))
    assert followed.read() == []


def test_captures_are_read_when_they_are_finished(log: Path) -> None:
    sample = (Path(__file__).parents[1] / "examples" / "segment.pcap").read_bytes()
    capture = log.with_name("one.pcap")
    followed = Followed(log.parent)
    followed.read()
    capture.write_bytes(sample[: len(sample) // 2])
    assert followed.read(1) == []
    capture.write_bytes(sample)
    outcome_before = len(followed.read(FINISHED)) + len(followed.read(FINISHED))
    assert outcome_before > 0
    add(capture, b"\x00" * 100)
    assert followed.read(FINISHED) + followed.read(FINISHED) == []
    assert followed.reasons == ["was written to after it had been read; what was added was not looked at"]


def test_what_cannot_be_followed_is_told_once(log: Path) -> None:
    os.mkfifo(log)
    followed = Followed(log)
    followed.read()
    followed.read()
    assert followed.reasons == ["is a pipe, which cannot be followed; `scan -` reads it"]
    missing = Followed(log.with_name("later.log"))
    assert missing.read() == []
    (log.with_name("later.log")).write_bytes(lines(7))
    assert missing.read() == [7]
    assert missing.reasons == ["does not exist (any more)"]


def test_a_line_without_end_costs_no_more_than_its_length(log: Path) -> None:
    followed = Followed(log)
    for _ in range(40):
        add(log, b"x" * (1 << 20))
        followed.read(0)
    add(log, b" " + lines(1))
    followed.read()
    assert [reason for reason in followed.reasons if "longer than" not in reason] == []
    add(log, lines(2))
    assert followed.read() == [2]


@pytest.mark.parametrize(
    ("one", "other", "answer"),
    [
        ("x.log", "x.log.1", True), ("x.log.1", "x.log.2.gz", True), ("x.log", "x.log-20261122.gz", True),
        ("x.log", "x-20261122.log", True), ("http.log", "old/http.10:00:00-11:00:00.log.gz", True),
        ("x.log", "x.log.old", True), ("syslog", "syslog.1", True), ("access.log", "access-ssl.log", False),
        ("auth.log", "mail.log", False), ("a/x.log", "b/x.log", True), ("conn.log", "conn-summary.log", False),
    ],
)  # fmt: skip
def test_names_that_rotation_gives(one: str, other: str, answer: bool) -> None:
    assert related(one, other) is related(other, one) is answer


@pytest.mark.parametrize("past", [False, True])
def test_a_folder_of_very_many_files_needs_few_descriptors(
    log: Path, monkeypatch: pytest.MonkeyPatch, past: bool
) -> None:
    monkeypatch.setattr("imdswatch.watch.follow._OPEN", 8)
    followed = Followed(log.parent, from_start=not past)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(1, 41):
        log.with_name(f"host{chr(96 + number // 26)}{chr(97 + number % 26)}.log").write_bytes(lines(number))
    found: list[int] = []
    for _ in range(8):
        found += followed.read()
        assert len(os.listdir("/proc/self/fd")) <= before + 8
    assert sorted(found) == ([] if past else list(range(1, 41)))
    add(log.with_name("host`b.log"), lines(99))
    assert followed.read() + followed.read() == [99]


def test_a_state_that_was_lost_means_reading_from_the_start(log: Path) -> None:
    log.write_bytes(lines(1))
    followed = Followed(log, from_start=False)
    assert followed.read() == []
    followed.feed.close()
    followed.library = Library({}, forgotten=True)
    followed.feed = Follow(str(log), followed.library, judgement(), clock=lambda: followed.now)
    assert followed.read() == [1]


def test_what_a_log_is_known_by_is_what_was_judged(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    followed, judge = Followed(log), Pieces.judge

    def and_truncate(self: Pieces, *arguments: Any, **named: Any) -> None:
        judge(self, *arguments, **named)
        monkeypatch.undo()
        shutil.copyfile(log, log.with_name("access.log.1"))
        os.truncate(log, 0)

    monkeypatch.setattr(Pieces, "judge", and_truncate)
    log.write_bytes(lines(1, 2))
    assert followed.read() == [1, 2]
    add(log, lines(3, 4, 5))
    followed.restart()
    assert followed.read() == [3, 4, 5]


def test_a_copy_of_what_still_grows_does_not_end_its_last_line(log: Path) -> None:
    followed = Followed(log)
    log.write_bytes(lines(1) + lines(2)[:50])
    assert followed.read() == [1]
    shutil.copyfile(log, log.with_name("access.log.1"))
    assert followed.read(GRACE + 1) == []
    add(log, lines(2)[50:])
    assert followed.read() == [2]


def test_a_compressed_file_that_is_still_being_written_is_waited_for(log: Path) -> None:
    followed = Followed(log.parent)
    packed = gzip.compress(lines(1, 2, 3))
    log.with_name("access.log.1.gz").write_bytes(packed[:40])
    assert followed.read(5.0) == []
    assert followed.reasons == []
    log.with_name("access.log.1.gz").write_bytes(packed)
    assert followed.read(5.0) == [1, 2, 3]
    assert followed.reasons == []


def test_a_compressed_file_that_stays_cut_short_is_told(log: Path) -> None:
    followed = Followed(log.parent)
    packed = gzip.compress(lines(*range(1, 100)))
    log.with_name("access.log.1.gz").write_bytes(packed[: len(packed) // 2])
    seen = followed.read(5.0)
    seen += followed.read(FINISHED + 1)
    assert 1 in seen
    assert len(seen) == len(set(seen))
    assert followed.reasons == ["gzip data is cut short"]


def test_a_path_is_told_to_be_empty_only_where_it_stays_so(log: Path) -> None:
    followed = Followed(log)
    log.write_bytes(lines(1))
    assert followed.read() == [1]
    followed.skipped.clear()
    os.rename(log, log.with_name("access.log.1"))
    followed.read()
    assert followed.reasons == []
    followed.read(MISSING + 1)
    assert followed.reasons == ["does not exist (any more)"]


def test_an_end_that_is_being_compressed_is_waited_for(log: Path) -> None:
    """On a busy machine that takes longer than half a minute."""
    followed = Followed(log)
    log.write_bytes(lines(1))
    assert followed.read() == [1]
    add(log, lines(2))
    packed = gzip.compress(log.read_bytes())
    log.unlink()
    seen = []
    for size in range(10, len(packed) + 1):
        log.with_name("access.log.1.gz").write_bytes(packed[:size])
        seen += followed.read(1.0, rounds=1)
    assert seen + followed.read() == [2]
    assert [reason for reason in followed.reasons if "exist" not in reason] == []
