"""A folder over the built-in rules or schemas counts whole: subfolders, loops of links, and what is not in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imdswatch import cli
from imdswatch.errors import RuleError, SchemaError
from imdswatch.rule import load_rules
from imdswatch.schema import load_schemas

RULE = """\
title: {title}
id: 3b6f9f57-2d0c-4bb9-8a3c-0a4f1f6d2a11
status: test
logsource:
    category: network
detection:
    sel:
        dst_ip: 192.0.2.1
    condition: sel
level: low
"""


def put(path: Path, title: str = "Mine") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(RULE.format(title=title), encoding="utf-8")
    return path


def own(folder: Path) -> dict[str, str]:
    """Return slug → file, relative to the folder, of the rules that are not built in."""
    loaded = load_rules(folder)
    return {
        rule.slug: str(Path(rule.file).relative_to(folder))
        for rule in loaded
        if rule.file.startswith(str(folder))
    }


def test_rules_in_subfolders_count(tmp_path: Path) -> None:
    put(tmp_path / "one.yml")
    put(tmp_path / "web" / "two.yaml")
    put(tmp_path / "web" / "deep" / "er" / "imds-contact.yml", "Replaced")
    put(tmp_path / "web" / "two.events.yaml").write_text("not: [a, rule]\n", encoding="utf-8")
    assert own(tmp_path) == {
        "one": "one.yml",
        "two": "web/two.yaml",
        "imds-contact": "web/deep/er/imds-contact.yml",
    }


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    outside = put(tmp_path / "elsewhere" / "linked.yml").parent
    folder = put(tmp_path / "rules" / "one.yml").parent
    (folder / "again").symlink_to(folder)
    (folder / "a").symlink_to(outside)
    (folder / "b").symlink_to(outside)
    (outside / "back").symlink_to(folder)
    assert own(folder) == {"one": "one.yml", "linked": "a/linked.yml"}


def test_a_folder_whose_rules_all_stand_in_subfolders_runs_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "rules" / "team" / "documentation-net.yml")
    log = tmp_path / "conn.log"
    log.write_text(
        '{"ts":1790000000.5,"uid":"C1","id.orig_h":"10.0.0.9","id.orig_p":4,"id.resp_h":"192.0.2.1",'
        '"id.resp_p":80,"proto":"tcp","conn_state":"S0"}\n'
    )
    assert cli.invoke(["scan", str(log), "--rules", str(tmp_path / "rules"), "--format", "ndjson"]) == 1
    assert '"rule":"documentation-net"' in capsys.readouterr().out


@pytest.mark.parametrize("holds", [[], ["sub/readme.txt"], ["x.events.yml"], [".github/workflows/build.yml"]])
def test_a_folder_without_a_rule_is_an_error(tmp_path: Path, holds: list[str]) -> None:
    for name in holds:
        put(tmp_path / name)
    with pytest.raises(RuleError, match="holds no rules") as caught:
        load_rules(tmp_path)
    assert caught.value.file == str(tmp_path)
    assert "below it" in caught.value.help


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "a" / "same.yml")
    put(tmp_path / "b" / "same.yaml")
    with pytest.raises(RuleError, match="two files are called `same`") as caught:
        load_rules(tmp_path)
    assert caught.value.file == str(tmp_path / "b" / "same.yaml")
    assert str(tmp_path / "a" / "same.yml") in caught.value.help


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_subfolder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    put(tmp_path / "one.yml")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    with pytest.raises(RuleError, match="Permission denied") as caught:
        load_rules(tmp_path)
    assert caught.value.file == str(closed)


def test_a_link_to_itself_is_named(tmp_path: Path) -> None:
    put(tmp_path / "one.yml")
    (tmp_path / "two.yml").symlink_to(tmp_path / "two.yml")
    with pytest.raises(RuleError, match="symbolic links") as caught:
        load_rules(tmp_path)
    assert caught.value.file == str(tmp_path / "two.yml")


def test_schemas_in_subfolders_count_too(tmp_path: Path) -> None:
    built_in = Path(load_schemas()["zeek_conn"].file)
    deep = tmp_path / "zeek" / "zeek_conn.yml"
    deep.parent.mkdir()
    text = built_in.read_text(encoding="utf-8")
    deep.write_text(text.replace("title: Zeek conn.log", "title: Ours"), encoding="utf-8")
    assert load_schemas(tmp_path)["zeek_conn"].title.startswith("Ours")
    (tmp_path / "zeek_conn.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SchemaError, match="two files are called `zeek_conn`"):
        load_schemas(tmp_path)
