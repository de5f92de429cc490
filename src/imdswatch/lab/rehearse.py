"""One performance: a network is made, a scenario is played, a victim asks, and the sensor's capture is judged.

The judge is the program itself, as users run it: `python -m imdswatch scan - --format ndjson` in a process of its own.
To be used in an enclosure only (`lab.enclosure`); everything that a performance made is gone when it ends.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

from imdswatch.errors import UsageError
from imdswatch.lab.asking import ask
from imdswatch.lab.clients import BUILT_IN, Client, Command, Missing, command, version_command
from imdswatch.lab.enclosure import WORK, Enclosure
from imdswatch.lab.judge import Alarm, judge
from imdswatch.lab.moves import MOVES, CannotPlay, Play
from imdswatch.lab.network import ENDPOINT, ENDPOINT6, Network
from imdswatch.lab.scenario import Scenario
from imdswatch.lab.sensor import HEADER, Sensor
from imdswatch.lab.server import Heard
from imdswatch.redact import redact

_LONGEST = 45.0
_QUIET, _RELAYED = 0.25, 0.75  # seconds; frames of a trunk come through a thread, which may be late
_MOST_TEXT = 200
_MARKS = (  # the endpoints in any packet: as addresses, and as text
    *(ipaddress.ip_address(one).packed for one in (ENDPOINT, ENDPOINT6)),
    ENDPOINT.encode(),
    ENDPOINT6.encode(),
)


@dataclass(frozen=True, slots=True)
class Performance:
    """What one client did in one scenario, and what came of it.

    `skipped`: why it could not be played, empty if it was. `setup` and `seconds` are wall time; `capture` has the
    packets in pcap's record format.
    """

    scenario: Scenario
    client: Client
    operation: str = ""
    asked: tuple[Heard, ...] = ()
    said: str = ""
    packets: int = 0
    alarms: tuple[Alarm, ...] = ()
    findings: tuple[Mapping[str, Any], ...] = ()
    wrong: tuple[str, ...] = ()
    skipped: str = ""
    setup: float = 0.0
    seconds: float = 0.0
    capture: bytes = field(default=b"", repr=False)

    @property
    def passed(self) -> bool:
        """Every alarm rang, and none was false."""
        return not (self.skipped or self.wrong or any(alarm.wrong for alarm in self.alarms))


def version(enclosure: Enclosure, client: Client, folder: Path | None) -> str | Missing:
    """Return the version of a client as it prints it; asked in a namespace, like everything of it."""
    from imdswatch import __version__

    if client.run == BUILT_IN:
        return __version__
    found = version_command(client, folder)
    if isinstance(found, Missing):
        return found
    space = enclosure.space("nowhere")
    try:
        text = _run(enclosure, "nowhere", space, found, {}, 20.0)
    finally:
        enclosure.close()
    if not text.ok:
        return Missing(f"its version command fails: {text.last}")
    if client.matches and client.matches not in text.whole:
        return Missing(f"what is called so here is another program: {text.last}")
    line = text.whole.strip().split("\n")[0]
    number = re.search(r"[0-9]+(?:\.[0-9]+)+", line)
    return number[0] if number else line[:_MOST_TEXT]


def perform(enclosure: Enclosure, scenario: Scenario, client: Client, folder: Path | None) -> Performance:
    """Play a scenario with a client, once; `Unsafe` goes through, for then nothing may go on."""
    operation = scenario.operation(client)
    start = time.monotonic()
    try:
        with closing(enclosure):
            play = Play(enclosure, Network(enclosure, scenario.vlan))
            setup = time.monotonic() - start
            with closing(play), closing(Sensor(play.network["sensor"], "eth0")) as sensor:
                for move, values in scenario.steps:
                    MOVES[move](play, **values)
                said = _ask(play, client, operation, folder) if operation else ""
                sensor.quiet(_QUIET if scenario.vlan is None else _RELAYED, 3.0)
                capture, packets = sensor.stop(), len(sensor)
    except (CannotPlay, UsageError, OSError, NetlinkError) as error:  # a kernel without IPv6, say
        return Performance(scenario, client, operation, skipped=str(error))
    findings, trouble = _scan(HEADER + capture)
    wrong = list(trouble)
    if scenario.silent and any(mark in capture for mark in _MARKS):
        wrong.append("something for the endpoint was sent")
    return Performance(
        scenario,
        client,
        operation,
        tuple(play.heard),
        said,
        packets,
        judge(scenario.expected(client, operation), findings),
        findings,
        tuple(wrong),
        "",
        setup,
        time.monotonic() - start,
        capture,
    )


def _ask(play: Play, client: Client, operation: str, folder: Path | None) -> str:
    victim = play.network["victim"]
    if client.run == BUILT_IN:
        with victim:
            play.enclosure.verify(victim)
            return ask(operation, play.environment)
    found = command(client, operation, folder)
    if isinstance(found, Missing):
        raise CannotPlay(found.why)
    environment = {**client.environment, **play.environment}
    return _run(play.enclosure, "victim", victim, found, environment, _LONGEST).last


@dataclass(frozen=True, slots=True)
class _Said:
    ok: bool
    whole: str

    @property
    def last(self) -> str:
        """The last line, without secrets: a client may print what it took."""
        lines = [line for line in self.whole.split("\n") if line.strip()] or [""]
        return redact(lines[-1].strip())[:_MOST_TEXT]


def _run(
    enclosure: Enclosure,
    name: str,
    space: Any,
    found: Command,
    environment: Mapping[str, str],
    longest: float,
) -> _Said:
    home = WORK / f"home-{name}-{time.monotonic_ns()}"
    home.mkdir(mode=0o700)
    clean = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        **environment,
        **found.environment,
    }
    process = enclosure.start(space, found.words, environment=clean, folder=found.folder)
    try:
        out, _ = process.communicate(timeout=longest)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return _Said(False, f"ended after {longest:.0f} s")
    return _Said(process.returncode == 0, out.decode("utf-8", "replace"))


def _scan(capture: bytes) -> tuple[tuple[Mapping[str, Any], ...], list[str]]:
    """Return what `imdswatch scan` finds in a capture, and what is wrong with how it ran."""
    done = subprocess.run(
        [sys.executable, "-m", "imdswatch", "scan", "-", "--format", "ndjson", "--jobs", "1"],
        input=capture,
        capture_output=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    findings = tuple(line for line in lines if line["type"] == "finding")
    trouble = [
        f"scan skipped {line['position']}: {line['reason']}" for line in lines if line["type"] == "skipped"
    ]
    if not lines or lines[-1]["type"] != "summary":
        trouble.append(f"scan ended with {done.returncode} and no summary")
    return findings, trouble
