"""docs/incident.md shows what the program prints of the capture that it is about, and names what stands in it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from doc_commands import DOCS, ROOT, Command, first_missing, install, run
from imdswatch.finding import STAGES

PAGE = DOCS / "incident.md"
CAPTURE = ROOT / "tests" / "captures" / "recorded" / "onlink-arp-used.pcap"


def _page() -> str:
    return PAGE.read_text(encoding="utf-8")


def _commands() -> Iterator[Command]:
    for block in re.findall(r"```console\n(.*?)```", _page(), re.DOTALL):
        (text, _, note), *output = (
            (line.partition("  # exit ") if number == 0 else line)
            for number, line in enumerate(block.removeprefix("$ ").rstrip("\n").split("\n"))
        )
        yield Command("docs/incident.md", text, int(note or 0), tuple(output))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the capture and the site file under the names of the page, and `imdswatch` on the path."""
    folder = tmp_path_factory.mktemp("incident")
    shutil.copy(CAPTURE, folder / "incident.pcap")
    shutil.copy(DOCS / "site.toml", folder / "site.toml")
    install(folder)
    return folder


@pytest.mark.parametrize("command", list(_commands()), ids=lambda command: command.line)
def test_the_page_shows_what_is_printed(command: Command, folder: Path) -> None:
    code, actual = run(command.line, folder)
    assert code == command.code, "\n".join(actual)
    missing = first_missing(command.output, actual)
    assert missing is None, f"the page shows {missing!r}, but the output is\n" + "\n".join(actual)


def test_the_page_says_what_to_do_at_every_stage() -> None:
    section = _page().split("## Do this first, by stage")[1].split("\n## ")[0]
    assert re.findall(r"(?m)^\| `([a-z-]+)` \|", section) == list(STAGES)


def test_every_spelling_of_the_mac_is_that_of_the_finding() -> None:
    wanted = "020000000132"
    section = _page().split("## From the MAC to the switch port")[1].split("How far away")[0]
    rows = [row for row in section.splitlines() if row.startswith("| ") and "`" in row]
    assert len(rows) >= 8
    for row in rows:
        assert wanted in re.sub(r"[.:-]", "", row.lower()), row
