"""However a run ends: readers that go away, outputs that cannot be written, killed workers, wrong usage, our own bugs.

As in `test_bad_input`, no case may show a trace (but for a bug with `-v`) or take more than 300 MB.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from bad_lines import CLEAN, FOUND, SKIPPED, WRONG, Log, hit, miss
from commandline import command, environment, scan
from imdswatch import cli, rule, schema
from patience import LONG

pytestmark = pytest.mark.slow  # part of `make test`, not of `make check`


# --- processes --------------------------------------------------------------------------------------------------------


def _read_a_little(words: list[str], count: int) -> tuple[int, bytes]:
    """Run the command, read that many bytes of its output and close the pipe; return exit code and errors."""
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(count)
        process.stdout.close()
        err = process.stderr.read()
    return process.returncode, err


@pytest.mark.parametrize(("form", "count"), [("text", 0), ("ndjson", 10), ("csv", 0)])
def test_a_reader_that_goes_away_is_no_error(form: str, count: int, log: Log) -> None:
    path = log(b"".join(hit(n) for n in range(2000)))
    code, err = _read_a_little(command("scan", path, "--format", form), count)
    assert (code, err) == (128 + signal.SIGPIPE, b"")


def test_a_reader_that_goes_away_before_little_output(log: Log) -> None:
    code, err = _read_a_little(command("scan", log(hit(1)), "--format", "ndjson"), 0)
    assert (code, err) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize(
    ("redirect", "form"),
    [(">&-", "text"), ("> /dev/full", "text"), ("> /dev/full", "ndjson"), ("> /dev/full", "csv")],
)
def test_output_that_cannot_be_written_is_told(redirect: str, form: str, log: Log) -> None:
    path = log(hit(1))
    line = " ".join(command("scan", path, "--format", form)) + " " + redirect
    done = subprocess.run(
        ["sh", "-c", line], capture_output=True, env=environment(), check=False, timeout=LONG
    )
    assert done.returncode == WRONG, done.stderr
    assert done.stderr.startswith(b"error: cannot write the output"), done.stderr
    assert done.stderr.count(b"\n") <= 2


@pytest.mark.parametrize("place", ["none/out", ".", "/dev/full"])
def test_an_output_file_that_cannot_be_written_is_told(place: str, tmp_path: Path, log: Log) -> None:
    done = scan(tmp_path, log(hit(1)), "-o", tmp_path / place)
    assert done.code == WRONG
    assert done.err.startswith("error: cannot write the output")


def test_the_output_never_replaces_what_is_read(tmp_path: Path, log: Log) -> None:
    path = log(hit(1))
    (tmp_path / "other").symlink_to(path)
    for output in (path, tmp_path / "other"):
        done = scan(tmp_path, path, "-o", output)
        assert done.code == WRONG
        assert "error: " in done.err
        assert path.read_bytes() == hit(1)


# The worker that opens the poisoned file dies as the kernel's memory killer would have it.
_POISON = """
import os, signal
main, real = os.getpid(), os.open
def poisoned(path, *rest, **more):
    if str(path).endswith("poison.log") and os.getpid() != main:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(path, *rest, **more)
os.open = poisoned
"""


def test_a_killed_worker_is_told(tmp_path: Path, log: Log) -> None:
    count = 200
    for number in range(count):
        log(hit(number), f"in/{number:03}.log")
    log(hit(999), "in/190-poison.log")
    done = scan(tmp_path, tmp_path / "in", "--jobs", 2, driver=_POISON)
    found = {place.partition(":")[0] for place in done.places}
    lost = {place.partition(":")[0] for place in done.skips}
    assert done.code == FOUND
    assert "190-poison.log" in lost
    assert "killed" in done.skips["190-poison.log:"]
    assert not found & lost
    assert len(found | lost) == count + 1, "some file was neither searched nor told"
    assert len(found) >= 64


def test_a_killed_worker_of_a_part_is_told(tmp_path: Path) -> None:
    path = tmp_path / "poison.log"
    with path.open("wb") as out:
        out.write(hit(1))
        out.truncate(200 << 20)
    done = scan(tmp_path, path, "--jobs", 2, driver=_POISON)
    assert done.code == SKIPPED
    assert "killed" in str(done.skips)


def test_nothing_is_left_behind(tmp_path: Path, log: Log) -> None:
    (tmp_path / "temporary").mkdir()
    words = command("scan", log(hit(1)), "--jobs", "2")
    env = {**environment(), "TMPDIR": str(tmp_path / "temporary")}
    subprocess.run(words, capture_output=True, env=env, check=False, timeout=LONG)
    assert list((tmp_path / "temporary").iterdir()) == []


# --- exit codes -------------------------------------------------------------------------------------------------------


Call = Callable[..., tuple[int, str]]
_load_rules, _load_schemas = cache(rule.load_rules), cache(schema.load_schemas)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run command lines in this process, where the built-in rules and schemas are loaded once."""
    monkeypatch.setattr(
        rule, "load_rules", lambda given: _load_rules(given) if given is None else rules(given)
    )
    monkeypatch.setattr(
        schema, "load_schemas", lambda given: _load_schemas(given) if given is None else schemas(given)
    )

    def invoke(*words: object) -> tuple[int, str]:
        code = cli.invoke([str(word) for word in words])
        return code, capsys.readouterr().err

    return invoke


rules, schemas = rule.load_rules, schema.load_schemas


SITES = {
    "unknown key": ("[site]\nname = 'x'\ncolour = 'red'\n", 3),
    "not TOML": ("[site]\nname = \n", 2),
    "no network": ("[site]\non_premises = ['10.0.0.0/99']\n", 2),
    "unknown slug": (
        "[[suppress]]\nname = 'a'\nreason = 'b'\nvlans = [1]\nrules = ['imds-contact', 'imds-nothing']\n",
        5,
    ),
    "no name": ("[[suppress]]\nreason = 'b'\nvlans = [1]\n", 1),
    "wrong type": ("[accounts]\nexpected = [123456789012]\n", 2),
}
RULE = """title: x
id: 8f8a1c9e-0f0c-4b5a-9d5e-1d2f3a4b5c6d
status: test
logsource: {category: network}
detection:
    a:
        %s
    condition: %s
level: low
"""


@pytest.mark.parametrize("name", SITES)
def test_a_wrong_site_file_is_exit_2_with_its_line(name: str, tmp_path: Path, log: Log, call: Call) -> None:
    text, line = SITES[name]
    site = log(text.encode(), "site.toml")
    code, err = call("scan", log(hit(1)), "--site", site)
    assert code == WRONG
    assert err.startswith("error: ")
    assert f"--> {site}:{line}" in err


@pytest.mark.parametrize(
    ("line", "condition"),
    [
        ("nonsense_field: 1", "a"),
        ("dst_ip|nomodifier: 1", "a"),
        ("dst_ip: 10.0.0.1", "b"),
        ("dst_ip: [", "a"),
        ("url|re: '('", "a"),
        ("dst_ip: 10.0.0.1", "a | count() > 5"),
    ],
)
def test_a_wrong_rule_is_exit_2(line: str, condition: str, tmp_path: Path, log: Log, call: Call) -> None:
    rule = log((RULE % (line, condition)).encode(), "rules/mine.yml")
    code, err = call("scan", log(hit(1)), "--rules", rule.parent)
    assert code == WRONG
    assert err.startswith("error: ")
    assert "mine.yml" in err


WORDS: dict[str, tuple[list[str], int]] = {
    "clean": (["miss.log"], CLEAN),
    "found": (["hit.log"], FOUND),
    "found and skipped": (["hit.log", "nowhere"], FOUND),
    "only skipped": (["nowhere"], SKIPPED),
    "clean and skipped": (["miss.log", "nowhere"], SKIPPED),
    "stage reached": (["hit.log", "--fail-on", "requested"], FOUND),
    "stage not reached": (["hit.log", "--fail-on", "answered"], CLEAN),
    "stage not reached, something skipped": (["hit.log", "nowhere", "--fail-on", "answered"], SKIPPED),
    "all suppressed": (["hit.log", "--site", "quiet.toml"], CLEAN),
    "all suppressed, shown": (["hit.log", "--site", "quiet.toml", "--show-suppressed"], CLEAN),
    "all suppressed, something skipped": (["hit.log", "nowhere", "--site", "quiet.toml"], SKIPPED),
    "suppression expired": (["hit.log", "--site", "quiet.toml", "--as-of", "2031-01-01"], FOUND),
    "suppression on its last day": (["hit.log", "--site", "quiet.toml", "--as-of", "2030-12-31"], CLEAN),
    "elsewhere": (["hit.log", "--site", "elsewhere.toml"], CLEAN),
    "before": (["hit.log", "--until", "2020-01-01"], CLEAN),
    "since": (["hit.log", "--since", "2020-01-01"], FOUND),
    "a schema that reads nothing of it": (["miss.log", "--schema", "squid"], CLEAN),
    "no paths": ([], WRONG),
    "unknown option": (["hit.log", "--nope"], WRONG),
    "unknown format": (["hit.log", "--format", "xml"], WRONG),
    "unknown stage": (["hit.log", "--fail-on", "high"], WRONG),
    "unknown schema": (["hit.log", "--schema", "nope"], WRONG),
    "bad since": (["hit.log", "--since", "yesterday"], WRONG),
    "bad until": (["hit.log", "--until", "2026-13-01"], WRONG),
    "bad zone": (["hit.log", "--timezone", "Mars/Olympus"], WRONG),
    "zone outside its folder": (["hit.log", "--timezone", "../../etc/passwd"], WRONG),
    "bad day": (["hit.log", "--as-of", "soon"], WRONG),
    "no jobs": (["hit.log", "--jobs", "0"], WRONG),
    "no site file": (["hit.log", "--site", "nowhere"], WRONG),
    "site is a folder": (["hit.log", "--site", "."], WRONG),
    "no rules folder": (["hit.log", "--rules", "nowhere"], WRONG),
    "no schemas folder": (["hit.log", "--schemas", "nowhere"], WRONG),
}


@pytest.mark.parametrize("name", WORDS)
def test_exit_codes(name: str, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    monkeypatch.chdir(tmp_path)
    log(hit(1), "hit.log")
    log(miss(1), "miss.log")
    log(
        b"[[suppress]]\nname = 'a'\nreason = 'b'\nsources = ['10.0.0.0/24']\nexpires = 2030-12-31\n",
        "quiet.toml",
    )
    log(b"[site]\non_premises = ['192.168.0.0/16']\n", "elsewhere.toml")
    words, code = WORDS[name]
    got, err = call("scan", *words, "-q")
    assert got == code, err
    assert "Traceback" not in err
    if code == WRONG:
        assert "rror: " in err
    else:
        assert err == ""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], WRONG),
        (["nonsense"], WRONG),
        (["--version"], CLEAN),
        (["--help"], CLEAN),
        (["scan", "--help"], CLEAN),
        (["rules"], CLEAN),
        (["rules", "imds-nothing"], WRONG),
        (["schemas"], CLEAN),
        (["schemas", "show", "nothing"], WRONG),
        (["schemas", "detect", "/nowhere"], SKIPPED),
    ],
)
def test_exit_codes_of_the_rest(words: list[str], code: int, call: Call) -> None:
    assert call(*words)[0] == code


def test_our_own_bug_is_exit_70_and_one_line(tmp_path: Path, log: Log) -> None:
    broken = (
        "import imdswatch.scan.text as text\ndef fail(*a): raise ZeroDivisionError('token=hunter2hunter2')\n"
    )
    broken += "text.TextScan.run = fail"
    plain = subprocess.run(
        command("scan", log(hit(1)), driver=broken), capture_output=True, env=environment(), check=False
    )
    told = subprocess.run(
        command("scan", log(hit(1)), "-v", driver=broken), capture_output=True, env=environment(), check=False
    )
    assert (plain.returncode, told.returncode) == (70, 70)
    assert plain.stderr.count(b"\n") == 1
    assert b"hunter2" not in plain.stderr
    assert b"Traceback" in told.stderr
