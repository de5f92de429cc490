"""The house rules of docs/architecture.md that a machine can check: rooms, sizes, names, who may print."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "imdswatch"
MODULES = sorted(PACKAGE.rglob("*.py"))
CAPABILITIES = {"scan", "siem", "probe", "host", "lab", "report"}
# `read` turns bytes into records and `layouts` cuts records: scanning is built on both, they know nothing of it.
# `wire` turns octets of a network into protocol values.
BELOW = {
    "read": {"layouts", "wire"},
    "layouts": set(),
    "wire": set(),
    "scan": {"read", "layouts", "wire"},
    "watch": {"read", "layouts", "wire", "scan"},
    "report": {"read"},
    "delivery": set(),
    "siem": {"layouts"},
    "probe": set(),
    "host": set(),
    "lab": set(),
}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc", "handler"}


def room(path: Path) -> str:
    """Return the folder of a module below the package, or its own name for a core noun."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_keeps_to_its_room(path: Path) -> None:
    here = room(path)
    if here in ("", "cli"):
        return
    for imported in imports(tree(path)):
        parts = imported.split(".")
        if parts[0] != "imdswatch" or len(parts) < 2 or not (PACKAGE / parts[1]).is_dir():
            continue
        other = parts[1]
        if other not in (here, "data"):
            assert other in BELOW[here], f"{name(path)} reaches into {other}/"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_is_small_enough_and_says_what_it_is(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= 500, "over 500 lines a module is split"
    doc = ast.get_docstring(tree(path))
    assert doc, "a module begins with a docstring"
    assert re.match(r"[^\n]*(?:\n(?!\n)[^\n]*)?[.:](\s|$)", doc), "its first sentence is a full one"
    if path.name == "__init__.py":
        assert lines <= 40, "a front door has at most 40 lines"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_junk_drawers(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ClassDef):
            assert not node.name.lower().endswith(("utils", "helper", "manager", "handler")), node.name


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_only_the_command_line_prints_and_exits(path: Path) -> None:
    if room(path) == "cli" or path.name == "__main__.py":
        return
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "exit", "quit", "input"), f"line {node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys":
            assert node.attr not in ("argv", "exit", "stdout", "stderr"), f"line {node.lineno}"


def test_everything_is_caught_in_one_place() -> None:
    found = [
        f"{name(path)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler)
        and (
            node.type is None
            or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException"))
        )
    ]
    assert len(found) == 1, found
    assert found[0].startswith("cli/invoke.py"), found


def test_pysigma_stays_behind_its_wall() -> None:
    users = {
        name(path) for path in MODULES for module in imports(tree(path)) if module.split(".")[0] == "sigma"
    }
    assert {name for name in users if not name.startswith("siem/")} == {"sigma_tree.py"}


def test_dataclasses_of_the_core_are_frozen() -> None:
    for path in MODULES:
        if room(path):
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                for decorator in node.decorator_list:
                    if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "dataclass":
                        assert any(word.arg == "frozen" for word in decorator.keywords), (
                            f"{name(path)}: {node.name}"
                        )


def test_no_machine_path_and_no_registry_host_in_the_tree() -> None:
    root = PACKAGE.parents[1]
    odd = re.compile(r"(?:^|[\s\"'=(])/(?:work|root|home)/[a-z]|https?://[^\s]*/simple\b")
    for path in [*PACKAGE.rglob("*"), *root.glob("*.md"), *root.glob("docs/**/*.md"), root / "Makefile"]:
        if path.is_file() and path.suffix in (".py", ".yml", ".md", ""):
            found = odd.search(path.read_text(encoding="utf-8"))
            assert found is None, f"{path}: {found}"
