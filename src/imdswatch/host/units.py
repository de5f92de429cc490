"""What systemd gives to the services of this host: defaults, units, drop-ins, environment files, in their order.

Sources: systemd-system.conf(5) DefaultEnvironment=, systemd.unit(5) search path and drop-ins, systemd.exec(5)
Environment=, EnvironmentFile=, UnsetEnvironment=.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from imdswatch.host import syntax
from imdswatch.host.sessions import RELEVANT
from imdswatch.host.setting import Environment, Setting
from imdswatch.host.tree import Tree

_ROOTS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
)
"""Where units lie, the first wins; /lib is a link to /usr/lib, or looked at beside it."""
_CONF = ("/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd")
_DROP_IN = "50-imdswatch.conf"


@dataclass(slots=True)
class Unit:
    """One service, put together from its file and all drop-ins; working state of `units`."""

    name: str
    path: str
    user: str = "root"
    commands: list[str] = field(default_factory=list)
    environment: dict[str, Setting] = field(default_factory=dict)
    files: list[tuple[str, int, str]] = field(default_factory=list)
    """Environment files that are still to be read: path, line and file that name it."""
    unset: list[str] = field(default_factory=list)
    whole: bool = True
    defaults: Environment = field(default_factory=dict)
    """What the manager gives to every service."""

    @property
    def drop_in(self) -> str:
        """The drop-in in which a setting of its own belongs."""
        return f"/etc/systemd/system/{self.name}.d/{_DROP_IN}"


def default_environment(tree: Tree) -> Environment:
    """Return what systemd gives to every service."""
    found: dict[str, Setting] = {}
    for path in _fragments(tree, "system.conf", _CONF):
        for number, section, key, value in syntax.unit_lines(tree.read_text(path) or ""):
            if section == "Manager" and key == "DefaultEnvironment":
                if not value:
                    found.clear()
                _take(found, syntax.assignments(value, path, number))
    return found


def units(tree: Tree, defaults: Environment) -> Iterator[Unit]:
    """Yield every service of this host, each once, by name; its environment files are not read yet."""
    seen: dict[str, str] = {}
    roots = _roots(tree)
    for root in roots:
        for name in tree.listdir(root):
            if name.endswith(".service") and name not in seen:
                seen[name] = f"{root}/{name}"
    everyone = _drop_ins(tree, "service", roots)
    for name, path in sorted(seen.items()):
        if tree.resolve(path) in (None, "/dev/null"):  # masked
            continue
        before = len(tree.skipped)
        unit = Unit(name, path, environment=dict(defaults), defaults=defaults)
        stems = [f"{name.partition('@')[0]}@.service", name] if "@" in name else [name]
        own = [drop_in for stem in stems for drop_in in _drop_ins(tree, stem, roots)]
        for fragment in (path, *everyone, *own):
            _read(tree, unit, fragment)
        unit.whole = len(tree.skipped) == before
        yield unit


def environment_files(tree: Tree, unit: Unit) -> None:
    """Add what a unit's environment files set; they win over what the unit says itself."""
    before = len(tree.skipped)
    for path, number, asked_by in unit.files:
        if "%" in path or "*" in path:
            tree.skip(
                asked_by, f"EnvironmentFile={path} has a pattern that is not followed", f"line {number}"
            )
        else:
            text = tree.read_text(path)
            _take(unit.environment, syntax.systemd_file(text or "", path))
    for name in unit.unset:
        unit.environment.pop(name, None)
    unit.whole = unit.whole and len(tree.skipped) == before


def _read(tree: Tree, unit: Unit, path: str) -> None:
    for number, section, key, value in syntax.unit_lines(tree.read_text(path) or ""):
        if section != "Service":
            continue
        if key == "Environment":
            if not value:  # takes back what the unit said, not what the manager gives (systemd.exec(5))
                unit.environment.clear()
                unit.environment.update(unit.defaults)
            _take(unit.environment, syntax.assignments(value, path, number))
        elif key == "EnvironmentFile":
            if not value:
                unit.files.clear()
            else:
                unit.files.append((value.removeprefix("-"), number, path))
        elif key == "UnsetEnvironment":
            unit.unset += [word.partition("=")[0] for word in syntax.systemd_words(value)]
        elif key == "User":
            unit.user = value or "root"
        elif key in ("ExecStart", "ExecStartPre", "ExecStartPost"):
            if not value:
                unit.commands.clear()
            unit.commands.append(value)


def _take(environment: dict[str, Setting], settings: Iterator[Setting]) -> None:
    environment.update({setting.name: setting for setting in settings if RELEVANT.fullmatch(setting.name)})


def _roots(tree: Tree) -> tuple[str, ...]:
    return _ROOTS if tree.resolve("/lib") == "/usr/lib" else (*_ROOTS, "/lib/systemd/system")


def _drop_ins(tree: Tree, stem: str, roots: tuple[str, ...]) -> list[str]:
    named: Mapping[str, str] = {
        name: f"{root}/{stem}.d/{name}"
        for root in reversed(roots)
        for name in tree.listdir(f"{root}/{stem}.d")
        if name.endswith(".conf")
    }
    return [path for _, path in sorted(named.items())]


def _fragments(tree: Tree, name: str, roots: tuple[str, ...]) -> list[str]:
    """Return the main file, the first that exists, and the drop-ins of all roots, by name."""
    main = next((f"{root}/{name}" for root in roots if tree.is_file(f"{root}/{name}")), None)
    return [*([main] if main else []), *_drop_ins(tree, name, roots)]
