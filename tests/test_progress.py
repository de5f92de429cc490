"""The progress bar: it never spoils output, goes when it is done, and starts no thread before it is needed."""

from __future__ import annotations

import io
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imdswatch.report.progress import Bar, progress_bar
from patience import until


class Terminal(io.StringIO):
    """A handle that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "logs" / "deep").mkdir(parents=True)
    (tmp_path / "logs" / "a.log").write_bytes(b"x" * 1000)
    (tmp_path / "logs" / "deep" / "b.log").write_bytes(b"x" * 3000)
    (tmp_path / "logs" / "loop").symlink_to(tmp_path / "logs")
    return str(tmp_path / "logs")


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[Bar, Terminal]]]:
    monkeypatch.setenv("TERM", "xterm")
    made: list[Bar] = []

    def make(*paths: str) -> tuple[Bar, Terminal]:
        terminal = Terminal()
        made.append(progress_bar(paths, terminal, [sys.stdout, sys.stderr]))
        return made[-1], terminal

    yield make
    for bar in made:
        bar.close()


def screen(text: str) -> str:
    """Return what stands on a terminal's screen: enough of one for carriage returns and erased lines."""
    rows = [""]
    for piece in re.split(r"(\r\x1b\[2K|\r|\n)", re.sub(r"\x1b\[[0-9;]*m", "", text)):
        if piece == "\r\x1b[2K":
            rows[-1] = ""
        elif piece == "\n":
            rows.append("")
        elif piece != "\r":
            rows[-1] += piece
    return "\n".join(rows)


def test_nothing_happens_before_the_first_call(file: str, bars: Callable[..., tuple[Bar, Terminal]]) -> None:
    before = threading.active_count()
    _, terminal = bars(file)
    assert threading.active_count() == before
    assert terminal.getvalue() == ""


def test_bar_shows_bytes_and_goes_when_the_total_is_reached(
    file: str, bars: Callable[..., tuple[Bar, Terminal]]
) -> None:
    bar, terminal = bars(file)
    bar(1000)
    until(lambda: "1.0/4.0 kB" in screen(terminal.getvalue()))
    bar(3000)
    assert screen(terminal.getvalue()) == ""
    shown = terminal.getvalue()
    time.sleep(0.5)
    assert terminal.getvalue() == shown


def test_what_else_is_written_stays_whole(
    file: str, bars: Callable[..., tuple[Bar, Terminal]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bar, terminal = bars(file)
    monkeypatch.setattr(sys, "stdout", terminal)  # the same terminal
    bar(1000)
    until(lambda: "kB" in screen(terminal.getvalue()))
    print('{"type":"skipped"}')
    until(
        lambda: (
            screen(terminal.getvalue()).startswith('{"type":"skipped"}\n')
            and "kB" in screen(terminal.getvalue())
        )
    )
    terminal.write("begun ")
    time.sleep(0.5)
    assert screen(terminal.getvalue()).endswith("\nbegun ")
    terminal.write("and ended\n")
    bar.close()
    assert screen(terminal.getvalue()) == '{"type":"skipped"}\nbegun and ended\n'
    assert "write" not in vars(terminal)


def test_a_second_pass_begins_anew(file: str, bars: Callable[..., tuple[Bar, Terminal]]) -> None:
    bar, terminal = bars(file)
    bar(1000)
    until(lambda: "kB" in screen(terminal.getvalue()))
    bar(3000)
    bar(2000)
    until(lambda: "2.0/4.0 kB" in screen(terminal.getvalue()))
    bar(2000)
    assert screen(terminal.getvalue()) == ""


@pytest.mark.parametrize("paths", [(), ("-",), ("no such file",), ("a\x00b",)])
def test_nothing_to_count_shows_nothing_for_long(
    paths: tuple[str, ...], bars: Callable[..., tuple[Bar, Terminal]]
) -> None:
    bar, terminal = bars(*paths)
    bar(0)
    until(lambda: bar._drawing is None)
    assert screen(terminal.getvalue()) == ""


def test_a_terminal_that_goes_away_ends_it(file: str, bars: Callable[..., tuple[Bar, Terminal]]) -> None:
    bar, terminal = bars(file)
    bar(1)
    until(lambda: "kB" in terminal.getvalue())
    terminal.close()
    until(lambda: bar._over)
    bar(3999)


def test_a_dumb_terminal_gets_no_bar(
    file: str, bars: Callable[..., tuple[Bar, Terminal]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    bar, terminal = bars(file)
    bar(1000)
    time.sleep(0.3)
    assert terminal.getvalue() == ""


def test_no_colour_where_none_is_wanted(
    file: str, bars: Callable[..., tuple[Bar, Terminal]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    bar, terminal = bars(file)
    bar(1000)
    until(lambda: "kB" in terminal.getvalue())
    assert not re.search(r"\x1b\[[0-9;]*m", terminal.getvalue().replace("\x1b[0m", ""))
