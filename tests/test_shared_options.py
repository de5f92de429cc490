"""Every command with every option that all commands share: it does what it should, or says why it does not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import pytest

from imdswatch.cli import invoke, main
from imdswatch.cli.options import FORMATS
from imdswatch.cli.shared import REFUSED, SHARED, Form, Refused
from imdswatch.finding import STAGES
from imdswatch.watch.state import State

ROOT = Path(__file__).parents[1]
FLAGS = ("show_suppressed", "quiet", "verbose", "version")
WORDS = {
    "scan": ("scan", str(ROOT / "examples" / "squid-access.log"), "--jobs", "1"),
    "watch": ("watch", "--status"),
    "export": ("export", "suricata"),
    "probe": ("probe", "--endpoint", "http://127.0.0.1:1", "--timeout", "0.2s"),
    "audit": ("audit", "--root", str(ROOT / "docs" / "example-host")),
    "harden": ("harden", "--root", str(ROOT / "docs" / "example-host")),
    "lab run": ("lab", "run", "--list"),
    "report": ("report",),
    "rules": ("rules", "imds-contact"),
    "schemas": ("schemas",),
    "schemas list": ("schemas", "list"),
    "schemas show": ("schemas", "show", "squid"),
    "schemas detect": ("schemas", "detect", str(ROOT / "examples" / "squid-access.log")),
    "completion": ("completion", "bash"),
}
"""What is run of each command; `lab serve` does not end by itself."""


def commands(group: click.Group = main, above: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        path = f"{above}{name}"
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield path, command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} ")


COMMANDS = dict(commands())


def option(path: str, name: str) -> click.Parameter:
    """Return the option of a command by the name that all commands share; there has to be one, and no more."""
    (found,) = [one for one in COMMANDS[path].params if SHARED[name][-1] in one.opts]
    return found


@pytest.fixture
def given(tmp_path: Path) -> dict[str, str]:
    """A value for each option that takes one."""
    data = files("imdswatch") / "data"
    for folder, name in (("rules", "imds-contact.yml"), ("schemas", "squid.yml")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(
            (data / folder / name).read_text(encoding="utf-8"), encoding="utf-8"
        )
    State(tmp_path / "state").close()
    end = '{"format": "imdswatch/1", "type": "summary", "sources": 1, "bytes": 5, "records": 1, "seconds": 0.5}\n'
    (tmp_path / "findings.ndjson").write_text(end, encoding="utf-8")
    return {
        "site": str(ROOT / "docs" / "site.toml"),
        "rules": str(tmp_path / "rules"),
        "schemas": str(tmp_path / "schemas"),
        "form": "ndjson",
        "output": str(tmp_path / "out"),
        "fail_on": "credentials-used",
    }


def words(path: str, tmp_path: Path) -> list[str]:
    more = {"report": [str(tmp_path / "findings.ndjson")], "watch": ["--state", str(tmp_path / "state")]}
    return [*WORDS[path], *more.get(path, [])]


def test_the_table_is_of_these_commands_and_options() -> None:
    assert set(REFUSED) == set(COMMANDS)
    assert set(WORDS) | {"lab serve"} == set(COMMANDS)
    for path, reasons in REFUSED.items():
        for name in reasons:
            assert isinstance(option(path, name), Refused), (
                f"{path} declares {name}: there is no use in a reason"
            )


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("path", [path for path in COMMANDS if path != "lab serve"])
def test_an_option_does_what_it_should_or_says_why_not(
    path: str, name: str, tmp_path: Path, given: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    line = words(path, tmp_path)
    expected = invoke(line)
    capsys.readouterr()
    found = option(path, name)
    code = invoke([*line, SHARED[name][-1], *([] if name in FLAGS else [given[name]])])
    shown = capsys.readouterr()
    if isinstance(found, Refused):
        assert (code, shown.out) == (2, "")
        assert f"`imdswatch {path}` takes no `{SHARED[name][-1]}`\n  help: {found.why}\n" in shown.err
        return
    assert "error" not in shown.err.lower()
    if name == "version":
        assert (code, shown.out.split()[0]) == (0, "imdswatch")
    elif name == "fail_on":
        assert code == (0 if expected == 1 else expected), "nothing here got as far as that"
    else:
        assert code == expected
    if name == "output" and path != "watch":  # a status is shown, never appended to the findings
        assert shown.out == ""
        assert Path(given["output"]).exists()
    if name == "form":
        assert [json.loads(one) for one in shown.out.splitlines()]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("path", [path for path in WORDS if path not in ("watch", "lab run", "completion")])
def test_a_format_is_written_or_refused_with_the_reason(
    path: str, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if path == "report":
        end = '{"format": "imdswatch/1", "type": "summary", "sources": 1, "bytes": 5, "records": 1, "seconds": 0.5}\n'
        (tmp_path / "findings.ndjson").write_text(end, encoding="utf-8")
    expected = invoke([*words(path, tmp_path), "-o", str(tmp_path / "plain")])
    capsys.readouterr()
    code = invoke([*words(path, tmp_path), "--format", form, "-o", str(tmp_path / "out")])
    shown = capsys.readouterr()
    kind: Any = option(path, "form").type
    if form in kind.choices:
        assert code == expected, shown.err
        assert (tmp_path / "out").exists()
        return
    assert isinstance(kind, Form)
    assert code == 2
    assert f"`imdswatch {path}` has no format `{form}`\n  help: {kind.others[form]}" in shown.err


def test_a_watch_says_why_it_writes_no_page(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert invoke(["watch", "--follow", str(tmp_path), "--format", "html"]) == 2
    assert (
        "help: a page has an end, a watch has none: --format ndjson -o FILE, and" in capsys.readouterr().err
    )


@pytest.mark.parametrize("path", ["audit", "harden"])
@pytest.mark.parametrize("stage", STAGES)
def test_what_would_ask_counts_as_a_request(path: str, stage: str, tmp_path: Path) -> None:
    line = [*WORDS[path], "-o", str(tmp_path / "out"), "--fail-on", stage]
    assert invoke(line) == (1 if stage in ("attempted", "requested") else 0)


def test_options_of_schemas_may_stand_before_its_commands(
    given: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path(given["schemas"], "squid.yml").read_text(encoding="utf-8")
    mine = re.sub(r"(?m)^name: squid$", "name: mine", text)
    Path(given["schemas"], "mine.yml").write_text(mine, encoding="utf-8")
    for line in (
        ["schemas", "--schemas", given["schemas"], "--format", "ndjson", "show", "mine"],
        ["schemas", "show", "mine", "--schemas", given["schemas"], "--format", "ndjson"],
    ):
        assert invoke(line) == 0
        assert json.loads(capsys.readouterr().out)["schema"] == "mine"


def test_a_rule_and_a_schema_as_objects_say_what_their_pages_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["rules", "--format", "ndjson"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert next(one["rule"] for one in listed) == "imds-contact"
    assert {one["type"] for one in listed} == {"rule"}
    assert invoke(["rules", "imds-l2-claim", "--format", "ndjson"]) == 0
    rule = json.loads(capsys.readouterr().out)
    assert (rule["stage"], rule["sigma"][:6]) == ("answered", "title:")
    assert (
        invoke(["schemas", "detect", str(ROOT / "examples" / "squid-access.log"), "--format", "ndjson"]) == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["schemas"] == [{"schema": "squid", "records": 45}]
    assert {one["can"] for one in found["rules"] if one["rule"] == "imds-l2-claim"} == {"never"}
    assert {one["can"] for one in found["site"] if "vlans" in one["keys"]} == {"never"}
