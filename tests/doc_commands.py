"""Commands as pages of the documentation show them: found, run in a terminal, held against the output that is shown."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
_COLUMNS = 100
_COMMAND = re.compile(
    r"(?:ExecStart=|\*/10 \* \* \* \* root )?imdswatch [a-z]|eval |(?:[\w./]+/)?(?:cp|echo|install|make|pip|pipx|podman"
    r"|python|sha256sum|sigma|spark-submit|systemctl|tshark|uv) "
)
"""What begins a command line, where no prompt says so."""


@dataclass(frozen=True)
class Command:
    """One command line of a page, the exit code it promises, and the output it shows."""

    page: str
    line: str
    code: int
    output: tuple[str, ...]


def markdown() -> list[Path]:
    """Return all pages."""
    return sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").glob("*.md")])


def commands(pages: Sequence[Path]) -> Iterator[Command]:
    """Yield the commands of `console` blocks; every one is run and its output compared."""
    for page in pages:
        for block in re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for part in re.split(r"(?m)^\$ ", block)[1:]:
                line, *output = part.rstrip("\n").split("\n")
                text, _, note = line.partition("  # exit ")
                yield Command(str(page.relative_to(ROOT)), text, int(note or 0), tuple(output))


def other_commands() -> Iterator[Command]:
    """Yield the command lines of blocks that are no `console`: they need a network, root, archives or receivers.

    A note `# exit N` is honoured; so is what stands below a line that begins with `$ `.
    """
    for page in markdown():
        if page.name in (
            "commands.md",
            "rules.md",
        ):  # what --help says is folded, and no line of it a command
            continue
        place = str(page.relative_to(ROOT))
        fenced = re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"))
        for text in (text for language, text in fenced if language in ("", "sh", "text", "bash", "ini")):
            shown = re.split(r"(?m)^\$ ", text)[1:]
            for line in shown or re.sub(r"\\\n\s*", "", text).splitlines():
                words, *output = line.rstrip("\n").split("\n")
                if shown or _COMMAND.match(words):
                    words, _, note = words.partition("  #")
                    code = re.match(r" exit (\d)", note)
                    yield Command(place, words.rstrip(), int(code[1]) if code else 0, tuple(output))


def install(folder: Path) -> None:
    """Put `imdswatch` into the folder's `.bin`, which is on the path of what is run there."""
    program = folder / ".bin" / "imdswatch"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m imdswatch "$@"\n', encoding="utf-8")
    program.chmod(0o755)


def environment(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of what is run in a folder: our sources, no colour, the terminal's own size."""
    left_out = ("COLUMNS", "LINES", "FORCE_COLOR")
    return {
        **{name: value for name, value in os.environ.items() if name not in left_out},
        "NO_COLOR": "1",
        "PATH": f"{folder / '.bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        **(more or {}),
    }


def terminal() -> tuple[int, int]:
    """Return both ends of a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, _COLUMNS, 0, 0))
    return ours, theirs


def lines_of(output: bytes) -> list[str]:
    """Return the lines that a terminal was sent."""
    return output.decode(errors="replace").replace("\r\n", "\n").split("\n")


def run(command: str, folder: Path) -> tuple[int, list[str]]:
    """Run a command in a terminal of 100 columns without colour; return its exit code and its lines."""
    ours, theirs = terminal()
    with subprocess.Popen(
        command, shell=True, cwd=folder, env=environment(folder), stdin=subprocess.DEVNULL, stdout=theirs
    ) as process:
        os.close(theirs)
        out = b""
        try:
            while data := os.read(ours, 1 << 16):
                out += data
        except OSError:
            pass  # Linux says EIO where the other side is closed
        finally:
            os.close(ours)
    return process.returncode, lines_of(out)


def first_missing(shown: Sequence[str], actual: Sequence[str]) -> str | None:
    """Return the first shown line that the output lacks: `…` alone is any lines, at the end of a line any text."""
    at, free = 0, False
    for line in shown:
        if line == "…":
            free = True
            continue
        start = line[:-1].rstrip() if line.endswith(" …") else None
        while at < len(actual):
            found = actual[at].rstrip()
            at += 1
            if found == line.rstrip() or (start is not None and found.startswith(start)):
                break
            if not free:
                return line
        else:
            return line
        free = False
    return None
