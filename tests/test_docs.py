"""The documentation tells the truth: generated pages are current, commands in README run, links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from doc_commands import DOCS, ROOT, Command, commands, first_missing, install, markdown, other_commands, run
from imdswatch.cli import main
from imdswatch.outlook import Can, outlook
from imdswatch.rule import load_rules
from imdswatch.schema import load_schemas

PAGES = ("rules.md", "schemas.md", "fields.md", "commands.md", "remedies.md")
MADE_LATER = {"docs/benchmark.md"}
"""Written by `make bench`; may be missing in a clone that never ran it."""
SETUP = {"make demo", "make test", "pip install ."}
"""Commands of README that are not run here: the first is run by CI itself, the others would run this."""


@cache
def generated() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.pages())


@pytest.mark.parametrize("page", PAGES)
def test_generated_page_is_current(page: str) -> None:
    assert set(generated()) == set(PAGES)
    committed = (DOCS / page).read_text(encoding="utf-8")
    assert committed == generated()[page], f"docs/{page} is out of date: run `make docs`"


def test_every_rule_and_schema_has_its_anchor() -> None:
    for page, names in (
        ("rules.md", [rule.slug for rule in load_rules()]),
        ("schemas.md", list(load_schemas().names)),
    ):
        headings = re.findall(r"(?m)^## (\S+)$", generated()[page])
        assert sorted(headings) == sorted(names)


def test_every_rule_of_the_pack_can_fire_on_some_schema_or_says_that_it_cannot() -> None:
    rules, schemas = load_rules(), load_schemas()
    page = generated()["rules.md"]
    for rule in rules:
        can = any(outlook(rule, schema, rules).answer.can is not Can.NEVER for schema in schemas.values())
        section = page.split(f"\n## {rule.slug}\n")[1].split("\n## ")[0]
        assert can != ("no schema of this release" in section)


def test_every_help_text_shown_in_a_page_is_current() -> None:
    shown = [
        (path, block)
        for path in markdown()
        for block in re.findall(
            r"```\w*\n(Usage: imdswatch.*?)```", path.read_text(encoding="utf-8"), re.DOTALL
        )
    ]
    assert shown
    for path, block in shown:
        assert block in generated()["commands.md"], path


def test_figures_are_those_of_the_captures() -> None:
    spec = importlib.util.spec_from_file_location("figures", DOCS / "figures.py")
    assert spec is not None
    assert spec.loader is not None
    figures = importlib.util.module_from_spec(spec)
    sys.modules["figures"] = figures  # its dataclasses look for their module
    spec.loader.exec_module(figures)
    for name, figure in figures.FIGURES_BY_NAME.items():
        assert (DOCS / "figures" / f"{name}.svg").read_text(encoding="utf-8") == figures.svg(figure), name


# README


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def unrun() -> Iterator[tuple[str, str]]:
    """Yield page and words of each `imdswatch` command of other blocks, which `test_docs_machine` runs where it can."""
    for command in other_commands():
        for part in re.split(r"\s*\|\s*|&&|;", command.line):
            found = re.search(r"(?:^|=|root )imdswatch ([a-z].*)$", part.strip())
            if found is not None:
                yield command.page, found[1]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what README's commands look at, and `imdswatch` on the path."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("examples", "docs"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "LICENSE", folder)
    install(folder)
    return folder


OWN_TEST = {"incident.md"}
"""Pages whose commands a test of their own runs, on a capture that it puts there."""
SHOWN = [page for page in markdown() if page.name not in OWN_TEST]


@pytest.mark.parametrize(
    "command", list(commands(SHOWN)), ids=lambda command: f"{command.page}: {command.line}"
)
def test_a_command_runs_as_its_page_shows(command: Command, clone: Path) -> None:
    code, actual = run(command.line, clone)
    assert code == command.code, "\n".join(actual)
    missing = first_missing(command.output, actual)
    assert missing is None, f"{command.page} shows {missing!r}, but the output is\n" + "\n".join(actual)


@pytest.mark.parametrize(("page", "words"), sorted(set(unrun())))
def test_a_command_that_is_not_run_is_at_least_understood(page: str, words: str) -> None:
    """Its options and arguments are read as the program would; where it ends, nothing has been done."""
    command: click.Command = main
    context = click.Context(main, info_name="imdswatch")
    rest = shlex.split(re.sub(r"\s[<>].*$", "", words))
    while isinstance(command, click.Group) and rest and command.get_command(context, rest[0]):
        found = command.get_command(context, rest.pop(0))
        assert found is not None
        command, context = found, click.Context(found, context, info_name=found.name)
    assert not (isinstance(command, click.Group) and rest and rest[0][0] != "-"), f"no command {rest[0]}"
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            parameter.type.exists = False  # what it names need not be here
    command.parse_args(context, rest)


def test_readme_shows_every_command_and_no_other_setup() -> None:
    shown = {command.line for command in commands([ROOT / "README.md"])}
    for name in ("scan", "rules", "schemas", "schemas show", "schemas detect"):
        assert any(f"imdswatch {name}" in line for line in shown), name
    setup = [
        line.partition("  #")[0].strip()
        for block in re.findall(r"```sh\n(.*?)```", readme(), re.DOTALL)
        for line in block.splitlines()
    ]
    assert set(setup) == SETUP
    targets = re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert {line.removeprefix("make ") for line in setup if line.startswith("make ")} <= set(targets)


def test_first_screen_of_readme_says_what_for_and_shows_output() -> None:
    first = readme().splitlines()[:30]
    text = "\n".join(first)
    for word in ("AWS-2025-021", "make demo", "make test", "$ imdswatch scan examples", "credentials-used"):
        assert word in text
    assert all(len(line) <= 120 for line in first)


def test_site_file_in_readme_is_the_one_in_docs() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", readme(), re.DOTALL)
    assert block == (DOCS / "site.toml").read_text(encoding="utf-8")


# All pages


@pytest.mark.parametrize("path", markdown(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"(?s)```.*?```", "", path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if str(there.relative_to(ROOT.resolve())) in MADE_LATER:
            continue
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"(?m)^#+ (.+)$", there.read_text(encoding="utf-8"))
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, target


@pytest.mark.parametrize("path", markdown(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_machine_path_in_a_page(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(?:work|tmp|root|home)/", text)


def test_decisions_are_numbered_and_fit_on_a_page() -> None:
    files = sorted((DOCS / "decisions").glob("*.md"))
    numbers = [path.name[:4] for path in files]
    assert len(set(numbers)) == len(numbers), "a number is given once; gaps are decisions taken back"
    for path in files:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines[0].startswith(f"# {int(path.name[:4])}. ")
        assert len(lines) <= 40, path.name
        for heading in ("## Context", "## Decision", "## Consequences", "## What else was considered"):
            assert heading in lines, path.name


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lines = (ROOT / "requirements-dev.in").read_text(encoding="utf-8").splitlines()
    wanted = [
        *project["project"]["dependencies"],
        *project["build-system"]["requires"],
        *(line for line in lines if line and not line.startswith(("#", "-"))),
    ]
    names = {re.split(r"[^\w.-]", one)[0].lower() for one in wanted}
    rows = re.findall(
        r"(?m)^\| `([\w.-]+)` \|(.*)\|(.*)\|(.*)\|$", (DOCS / "dependencies.md").read_text(encoding="utf-8")
    )
    told = {row[0].lower() for row in rows}
    assert names <= told, f"docs/dependencies.md says nothing of {sorted(names - told)}"
    assert told - names <= {"pip-tools"}, "docs/dependencies.md names what is no dependency any more"
    assert all(cell.strip() for row in rows for cell in row)
