"""The systemd units say what systemd understands, and keep the promises of docs/sensor.md."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from imdswatch.cli import main
from imdswatch.cli.group import COMMANDS

FOLDER = Path(__file__).parents[1] / "deploy" / "systemd"
UNITS = sorted(path.name for path in FOLDER.iterdir())


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here")
def test_systemd_takes_every_unit_as_it_is(tmp_path: Path) -> None:
    program = tmp_path / "imdswatch"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name in UNITS:
        text = (FOLDER / name).read_text(encoding="utf-8").replace("/usr/bin/imdswatch", str(program))
        (tmp_path / name).write_text(text, encoding="utf-8")
    units = [str(tmp_path / name) for name in UNITS]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "imdswatch" in line]
    assert ours == []
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here")
@pytest.mark.parametrize(
    ("name", "most"),
    [("imdswatch-watch.service", 2.0), ("imdswatch-sensor@.service", 2.0), ("imdswatch-probe.service", 2.5)],
)
def test_a_service_is_exposed_no_more_than_it_needs(name: str, most: float) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(FOLDER / name)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    level = re.search(r"Overall exposure level for .*?: ([0-9.]+)", done.stdout)
    assert level is not None, done.stderr
    assert float(level[1]) <= most


@pytest.mark.parametrize("name", [name for name in UNITS if name.endswith(".service")])
def test_a_command_in_a_unit_exists(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    command = re.search(r"ExecStart=/usr/bin/imdswatch (\S+)(.*)", text)
    assert command is not None
    assert command[1] in COMMANDS
    found = main.get_command(click.Context(main), command[1])
    assert found is not None
    options = {word for one in found.params for word in one.opts}
    assert {word for word in command[2].split() if word.startswith("-")} <= options
