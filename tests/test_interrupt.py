"""SIGINT is the end of standard input: what came before it is reported, wherever the program was (DESIGN 6).

Each case waits until the program has taken what it was given; from then on there is nothing to race with.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from typing import IO

import pytest

from commandline import command, environment
from patience import LONG, unread, until

pytestmark = pytest.mark.slow  # part of `make test`, not of `make check`

HIT = (
    b'{"ts":1795309301.5,"uid":"C1","id.orig_h":"10.0.0.1","id.orig_p":40000,"id.resp_h":"169.254.169.254",'
    b'"id.resp_p":80,"trans_depth":1,"method":"GET","host":"169.254.169.254","uri":"/latest/meta-data/iam/"}\n'
)
MISS = HIT.replace(b"169.254.169.254", b"198.51.100.7").replace(b"/latest/meta-data/iam/", b"/index.html")


@contextlib.contextmanager
def scanning() -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Yield a scan of standard input, and its standard input."""
    with subprocess.Popen(
        command("scan", "-", "--format", "ndjson"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    ) as process:  # fmt: skip
        assert process.stdin is not None
        try:
            yield process, process.stdin
        finally:
            process.kill()


def taken(pipe: IO[bytes]) -> None:
    """Wait until all that was written was read."""
    pipe.flush()
    until(lambda: unread(pipe.fileno()) == 0, "the scan reads nothing")


def told(process: subprocess.Popen[bytes]) -> tuple[int, list[str]]:
    """Interrupt the scan; return its exit code and the types of what it reports."""
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = process.stdout.read(), process.stderr.read()
    assert not err
    return process.wait(timeout=LONG), [json.loads(line)["type"] for line in out.splitlines()]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(HIT, id="less than what a layout is recognised by"),
        pytest.param(HIT + MISS * 5000, id="more"),
        pytest.param(HIT + MISS[:-20], id="half a line"),
        pytest.param(gzip.compress(HIT + MISS * 5000)[:-40], id="packed, and cut where it was interrupted"),
    ],
)
def test_an_interrupt_ends_standard_input(given: bytes) -> None:
    with scanning() as (process, pipe):
        pipe.write(given)
        taken(pipe)
        assert told(process) == (1, ["finding", "summary"])


def test_an_interrupt_before_anything_came_is_an_empty_input() -> None:
    with scanning() as (process, pipe):
        pipe.write(b"\n")
        taken(pipe)
        assert told(process) == (0, ["summary"])


def test_an_interrupt_ends_an_input_that_never_pauses() -> None:
    with scanning() as (process, pipe):
        pipe.write(HIT)
        taken(pipe)

        def feed() -> None:
            with contextlib.suppress(BrokenPipeError):
                while True:
                    pipe.write(MISS * 500)

        feeder = threading.Thread(target=feed)
        feeder.start()
        assert told(process) == (1, ["finding", "summary"])
        feeder.join()
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


def test_a_second_interrupt_ends_the_program() -> None:
    """By then the report is in the works: an impatient user gets what they ask for."""
    driver = (
        "import os, signal\n"
        "from imdswatch.read.interrupt import Interrupt\n"
        "interrupt = Interrupt()\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "assert not interrupt.wait(0)\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = subprocess.run(command(driver=driver), capture_output=True, env=environment(), timeout=LONG)
    assert done.returncode != 0
    assert b"KeyboardInterrupt" in done.stderr


def test_what_ignores_interrupts_goes_on_ignoring_them() -> None:
    driver = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from imdswatch.read.interrupt import Interrupt\n"
        "interrupt = Interrupt()\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "interrupt.close()\n"
        "sys.exit(interrupt.came)\n"
    )
    assert subprocess.run(command(driver=driver), env=environment(), timeout=LONG).returncode == 0
