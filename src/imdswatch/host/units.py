"""What systemd gives to the services of this host: defaults, units, drop-ins, environment files, in their order.

The system's manager and, with other folders, the manager of each user (`SYSTEM`, `of_user`). Sources:
systemd-system.conf(5) DefaultEnvironment=, environment.d(5), systemd.unit(5) search path and drop-ins, systemd.exec(5)
Environment=, EnvironmentFile=, UnsetEnvironment=.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from imdswatch.host import syntax
from imdswatch.host.sessions import RELEVANT
from imdswatch.host.setting import Environment, Setting
from imdswatch.host.tree import Tree

_CONF = ("/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd")
_DROP_IN = "zz-imdswatch.conf"
"""Drop-ins are read by name, so this one comes after what anybody else is likely to have written."""


@dataclass(frozen=True, slots=True)
class Systemd:
    """One service manager: its word (system, user), the folders of its units, and those of its configuration."""

    word: str
    roots: tuple[str, ...]
    """Where units lie, the first wins."""
    conf: tuple[str, ...]
    environment_d: tuple[str, ...] = ()
    """Folders of environment.d(5), the first wins; the system's manager reads none."""
    own: tuple[str, ...] = ()
    """Those of all these folders that belong to one user."""


SYSTEM = Systemd("system", tuple(f"{folder}/system" for folder in _CONF), _CONF)


def of_user(home: str) -> Systemd:
    """Return the manager of a user, by their home."""
    at = home.rstrip("/")
    conf, share, variables = (
        f"{at}/.config/systemd",
        f"{at}/.local/share/systemd",
        f"{at}/.config/environment.d",
    )
    return Systemd(
        "user",
        tuple(f"{folder}/user" for folder in (conf, *_CONF[:2], share, *_CONF[2:])),
        (conf, *_CONF),
        (variables, *(folder.replace("systemd", "environment.d") for folder in _CONF)),
        (conf, share, variables),
    )


@dataclass(slots=True)
class Unit:
    """One service, put together from its file and all drop-ins; working state of `units`."""

    name: str
    path: str
    manager: Systemd = SYSTEM
    user: str = "root"
    commands: list[str] = field(default_factory=list)
    environment: dict[str, Setting] = field(default_factory=dict)
    files: list[tuple[str, int, str]] = field(default_factory=list)
    """Environment files that are still to be read: path, line and file that name it."""
    unset: list[str] = field(default_factory=list)
    """Words of UnsetEnvironment=: names, or a name with the one value that is taken away."""
    whole: bool = True
    defaults: Environment = field(default_factory=dict)
    """What the manager gives to every service."""

    @property
    def drop_in(self) -> str:
        """The drop-in in which a setting of its own belongs."""
        return drop_in(self.name, self.manager)


def drop_in(name: str, manager: Systemd = SYSTEM) -> str:
    """Return the drop-in in which a setting for one unit belongs."""
    return f"/etc/systemd/{manager.word}/{name}.d/{_DROP_IN}"


def default_environment(
    tree: Tree, manager: Systemd = SYSTEM, given: Environment | None = None
) -> Environment:
    """Return what a manager gives to every service; `given` is what it was started with itself.

    A user's manager adds what environment.d says after DefaultEnvironment= (systemd's manager_startup()).
    """
    found: dict[str, Setting] = dict(given or {})
    for path in _fragments(tree, f"{manager.word}.conf", manager.conf):
        for number, section, key, value in syntax.unit_lines(tree.read_text(path) or ""):
            if section == "Manager" and key == "DefaultEnvironment":
                if not value:
                    found = dict(given or {})
                _take(found, syntax.assignments(value, path, number))
    for path in _by_name(tree, manager.environment_d):
        _take(found, syntax.environment_d(tree.read_text(path) or "", path))
    return found


def units(tree: Tree, defaults: Environment, manager: Systemd = SYSTEM) -> Iterator[Unit]:
    """Yield every service of a manager, each once, by name; its environment files are not read yet."""
    seen: dict[str, str] = {}
    roots = _roots(tree, manager)
    for root in roots:
        for name in tree.listdir(root):
            if name.endswith(".service") and name not in seen:
                seen[name] = f"{root}/{name}"
    for name, path in sorted(seen.items()):
        if tree.resolve(path) in (None, "/dev/null"):  # masked
            continue
        before = len(tree.skipped)
        unit = Unit(name, path, manager, environment=dict(defaults), defaults=defaults)
        for fragment in (path, *_drop_ins(tree, name, roots)):
            _read(tree, unit, fragment)
        unit.whole = len(tree.skipped) == before
        yield unit


def environment_files(tree: Tree, unit: Unit, home: str) -> None:
    """Add what a unit's environment files set; they win over what the unit says itself. `home` is what %h means."""
    before = len(tree.skipped)
    for given, number, asked_by in unit.files:
        path = given.replace("%h", home if unit.manager is not SYSTEM else "/root")
        if "%" in path or "*" in path:
            tree.skip(
                asked_by, f"EnvironmentFile={path} has a pattern that is not followed", f"line {number}"
            )
        else:
            text = tree.read_text(path)
            _take(unit.environment, syntax.systemd_file(text or "", path))
    for word in unit.unset:
        name, equals, value = word.partition("=")
        setting = unit.environment.get(name)
        if setting is not None and (not equals or setting.value == value):
            del unit.environment[name]
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
            if not value:
                unit.unset.clear()
            unit.unset += syntax.systemd_words(value)
        elif key == "User":
            unit.user = value or "root"
        elif key in ("ExecStart", "ExecStartPre", "ExecStartPost"):
            if not value:
                unit.commands.clear()
            unit.commands.append(value)


def _take(environment: dict[str, Setting], settings: Iterator[Setting]) -> None:
    environment.update({setting.name: setting for setting in settings if RELEVANT.fullmatch(setting.name)})


def _roots(tree: Tree, manager: Systemd) -> tuple[str, ...]:
    """Return the folders of units; /lib is a link to /usr/lib, or looked at beside it."""
    if manager is not SYSTEM or tree.resolve("/lib") == "/usr/lib":
        return manager.roots
    return (*manager.roots, "/lib/systemd/system")


def _drop_ins(tree: Tree, name: str, roots: tuple[str, ...]) -> list[str]:
    """Return the drop-ins of a unit: by name, wherever they lie; of one name the nearest to the unit's own counts."""
    stem, dot, kind = name.rpartition(".")
    template, at, _ = stem.partition("@")
    prefixes = [template[: found.end()] for found in re.finditer("-", template)]
    names = [
        name,
        *([f"{template}@{dot}{kind}"] if at else []),
        *(f"{one}{dot}{kind}" for one in reversed(prefixes)),
        kind,
    ]
    return _by_name(tree, tuple(f"{root}/{one}.d" for one in names for root in roots))


def _by_name(tree: Tree, folders: tuple[str, ...]) -> list[str]:
    """Return the .conf files of some folders in the order of their names; of one name the first folder's."""
    named: Mapping[str, str] = {
        name: f"{folder}/{name}"
        for folder in reversed(folders)
        for name in tree.listdir(folder)
        if name.endswith(".conf")
    }
    return [path for _, path in sorted(named.items())]


def _fragments(tree: Tree, name: str, roots: tuple[str, ...]) -> list[str]:
    """Return the main file, the first that exists, and the drop-ins of all roots, by name."""
    main = next((f"{root}/{name}" for root in roots if tree.is_file(f"{root}/{name}")), None)
    return [*([main] if main else []), *_by_name(tree, tuple(f"{root}/{name}.d" for root in roots))]
