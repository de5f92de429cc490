"""Every command line of the documentation is run: those that need root, a network, archives or receivers on a machine
made for them (`doc_machine`), in the order of their pages, each with the exit code and the output that it should have.

`console` blocks are run by `test_docs`. What no test runs stands in `NOT_RUN`, by name, with its reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from doc_commands import ROOT, Command, first_missing, other_commands
from patience import LONG

pytestmark = pytest.mark.slow  # part of `make test`, not of `make check`

NOT_RUN = {
    "make": "is what runs this: CI begins with `make demo`; fuzzing takes hours",
    "pip": "fetches packages; `make package` installs the wheel with it (test_package)",
    "pipx": "fetches packages; `make package` installs the wheel with it (test_package)",
    "uv": "fetches packages; `make package` installs the wheel with it (test_package)",
    "podman": "fetches an image, and is not in CI; test_package reads what the container file says",
    "systemctl": "no systemd runs in a namespace; test_systemd_units has systemd judge the units",
    "sigma": "sigma-cli is no dependency of ours; test_export_sigma converts with the same plugins",
    "spark-submit": "needs Java and Spark; `make spark` runs this very job (test_spark)",
    ".venv/bin/python": "is what `make fuzz` runs, for as long as one wants",
    "python": "reads a page of AWS that is not ours to keep; test_probe_identity has its parser",
    "imdswatch scan /mnt/lake --engine spark --master": "needs Java and Spark; test_spark has such a scan",
    "imdswatch lab run --client all": "all scenarios with all clients: `make lab` plays them, for minutes",
    "imdswatch report rehearsal.ndjson": "needs what the line before it writes; test_report_beside has such a report",
    "imdswatch lab run": "all scenarios: test_lab_run runs this line",
}
"""First words of command lines, and why no test here runs them. The last is the whole line."""

_FINDING = '"type":"finding"'
_HERE, _LOGGED = f"findings.ndjson: {_FINDING}", f"/var/log/imdswatch/findings.ndjson: {_FINDING}"
_FOLLOW = "imdswatch watch --follow /var/log/squid/access.log --follow /opt/zeek/logs"
ENDED = {
    "imdswatch lab serve": "Boto3",
    "imdswatch probe --repeat": '"type":"summary"',
    "imdswatch watch --interface eth1 --site site.toml --format ndjson -o findings": _HERE,
    "imdswatch watch --interface eth1 --site site.toml --format ndjson -o /var": _LOGGED,
    "imdswatch watch --interface eth1 --user": _FINDING,
    f"{_FOLLOW} --format": _HERE,
    f"{_FOLLOW} --site": _LOGGED,
}
"""What goes on until it is ended by a signal, and what it shows before, itself or in a file. The exit code is 0."""

CODES = {
    "imdswatch audit": 1,  # something asks
    "imdswatch harden": 1,  # changes needed
    "imdswatch harden --apply": 0,
    "imdswatch harden --revert": 0,
    "imdswatch probe": 1,  # an impostor
    "imdswatch report": 1,
    "imdswatch scan": 1,  # findings
}
"""Exit codes by the longest beginning of the line; others end with 0."""

BEFORE = {
    "docs/delivery.md": ["rm -rf /var/lib/imdswatch/spool"],
    "docs/report.md": [
        "mkdir hosts",
        "imdswatch scan /var/log/zeek --format ndjson -o hosts/one.ndjson",
        "imdswatch probe --format ndjson -o probe.ndjson",
    ],
    "docs/for/network-engineer.md": ["rm -f findings.ndjson"],
    "docs/sensor.md": ["rm -f /var/log/imdswatch/findings.ndjson"],
}
"""What a page takes for granted."""

AFTER = {
    "imdswatch export elastic --site site.toml -o content/": "test -s content/README.md",
    "imdswatch completion fish": "grep -q imdswatch ~/.config/fish/completions/imdswatch.fish",
    "*/10 * * * * root imdswatch probe": 'grep -q "imdswatch probe: exit 1" /var/log/auth.log',
    "imdswatch scan /var/log/zeek --spool": "test -s findings.txt && ! grep -q 'not delivered' findings.txt",
    "imdswatch harden --apply": "grep -qx AWS_EC2_METADATA_DISABLED=true /etc/environment",
    "imdswatch harden --revert": "grep -qx AWS_EC2_METADATA_DISABLED=1 /etc/environment",
    "imdswatch report": "grep -q '<html' report.html",
    "imdswatch scan /var/log --format html": "grep -q '<html' report.html",
    "imdswatch scan /archive": "grep -q 10.0.0.4 findings.ndjson && grep -q 10.0.0.6 findings.ndjson",
}
"""What holds when a command is through, as a command that says so."""

COMMANDS = list(dict.fromkeys(other_commands()))
SAIL = ROOT / ".cache" / "sail" / "bin" / "python"


def of(table: Mapping[str, Any], line: str) -> Any:
    """Return the entry with the longest name that a line begins with."""
    names = [name for name in table if line.startswith(name)]
    return table[max(names, key=len)] if names else None


def why_not(command: Command) -> str:
    """Return why no test runs a command at all, if so."""
    for name, why in NOT_RUN.items():
        if command.line == name or (name != "imdswatch lab run" and command.line.startswith(f"{name} ")):
            return why
    return ""


def missing(command: Command) -> str:
    """Return what this machine lacks for a command, if anything."""
    if ".cache/clients" in command.line and not (ROOT / ".cache/clients/stamp").exists():
        return "`make clients` was not run"
    if "--remote sc://" in command.line and not SAIL.exists():
        return "`make sail` was not run"
    for name in ("tshark", "zsh"):
        if name in command.line and not os.access(f"/usr/bin/{name}", os.X_OK):
            return f"no {name} here"
    if "harden" in command.line and not os.access("/usr/sbin/nft", os.X_OK):
        return "no nft here, as on the host of the page"
    return ""


def job(command: Command) -> dict[str, Any]:
    """Return what the machine is to do for a command."""
    line = command.line.removeprefix("ExecStart=").removeprefix("*/10 * * * * root ")
    made: dict[str, Any] = {"command": command.line, "line": line}
    if (until := of(ENDED, line)) is not None:
        made |= {"until": until, "asks": "lab serve" in line}
    if line == "imdswatch watch --status":
        watch = "imdswatch watch --follow /var/log/squid/access.log --format ndjson -o other.ndjson"
        made |= {"beside": [watch], "ready": f"other.ndjson: {_FINDING}"}
    if "completion zsh" in line:
        made["line"] = f"zsh -fc 'autoload -Uz compinit; compinit -u; {line}; (( $+_comps[imdswatch] ))'"
    if "completion bash" in line:
        made["line"] = f"{line}; complete -p imdswatch"
    if "--remote sc://" in line:
        made["beside"] = [f"{SAIL} {ROOT / 'tests/clusters.py'} 15002; echo ended"]
        made["line"] = (
            "until echo > /dev/tcp/127.0.0.1/15002; do sleep 0.1; done 2> /dev/null; "
            + line.replace("imdswatch", f"{SAIL} -m imdswatch", 1)
        )
    if (check := of(AFTER, command.line)) is not None:
        made["after"] = check
    return made


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, dict[str, Any]]:
    """All commands, run one after the other on a new machine."""
    folder = tmp_path_factory.mktemp("machine")
    jobs: list[dict[str, Any]] = []
    pages = dict.fromkeys(command.page for command in COMMANDS)
    for page in pages:
        jobs += [{"line": line} for line in BEFORE.get(page, ())]
        jobs += [job(one) for one in COMMANDS if one.page == page and not (why_not(one) or missing(one))]
    jobs = list({one["line"]: one for one in reversed(jobs)}.values())[::-1]  # the same line once
    (folder / "jobs").write_text(json.dumps(jobs), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("doc_machine.py")), folder / "jobs", folder / "results"],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"},
        capture_output=True, text=True, timeout=8 * LONG, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in (folder / "results").read_text(encoding="utf-8").splitlines()]
    if results and "cannot" in results[0]:
        pytest.skip(f"no namespaces here: {results[0]['cannot']}")
    return {one["command"]: one for one in results if "command" in one}


@pytest.mark.parametrize(
    "command",
    [command for command in COMMANDS if not why_not(command)],
    ids=lambda command: f"{command.page}: {command.line}",
)
def test_a_command_does_what_its_page_says(command: Command, played: Mapping[str, dict[str, Any]]) -> None:
    if lack := missing(command):
        pytest.skip(lack)
    done = played[command.line]
    shown = "\n".join(done["shown"])
    assert done["code"] == (of(CODES, command.line.removeprefix("ExecStart=")) or 0), shown
    assert "never ended" not in shown, shown
    lacks = first_missing(command.output, done["shown"])
    assert lacks is None, f"{command.page} shows {lacks!r}, but the output is\n{shown}"
    assert done.get("holds", 0) == 0, f"not so: {done.get('after')}\n{shown}"


def test_what_is_not_run_is_all_named_and_none_too_many() -> None:
    reasons = {why_not(command) for command in COMMANDS} - {""}
    assert reasons == set(NOT_RUN.values())
    for table in (ENDED, BEFORE, AFTER):
        for name in table:
            assert any(
                command.line.removeprefix("ExecStart=").startswith(name) or command.page == name
                for command in COMMANDS
            ), name
