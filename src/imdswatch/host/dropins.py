"""Drop-ins for units that set or take away a variable by themselves, so that what a manager gives to all is lost there.

A unit of a package is never edited where it lies, nor one that takes a variable away on purpose: a drop-in of ours,
whose name comes last, has the last word. Pure but for reading the tree; a unit that cannot be read whole is left to the
audit, which says so. Sources: systemd.unit(5) drop-ins; systemd.exec(5): environment files win over Environment=, and
an empty UnsetEnvironment= takes back those before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from imdswatch.host import units
from imdswatch.host.tree import Tree

_WHY = "AWS tools must not ask for the EC2 Instance Metadata Service here (AWS-2025-021)"
_HEAD = f"# Written by imdswatch harden: {_WHY}.\n"
_VENDOR = ("/usr/", "/lib/", "/run/")
"""Below these, files belong to packages and programs."""
ENVIRONMENT_D = "/etc/environment.d/zz-imdswatch.conf"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file as it should be: with this text, or, where there is none, with its values corrected."""

    path: str
    text: str = ""


def wanted(tree: Tree, homes: Iterable[str], variables: Mapping[str, str]) -> Iterator[Wanted]:
    """Yield what the units of the system and of each user need so that all of them get these variables."""
    yield from _of(tree, units.SYSTEM, "", variables)
    others = [home for home in homes if any(map(tree.is_folder, units.of_user(home).own))]
    for home in ("/nonexistent", *others):
        yield from _of(tree, units.of_user(home), home, variables)


def _of(tree: Tree, manager: units.Systemd, home: str, variables: Mapping[str, str]) -> Iterator[Wanted]:
    defaults = units.default_environment(tree, manager)
    wrong = [name for name in variables if name in defaults and defaults[name].value != variables[name]]
    if manager is not units.SYSTEM and any(defaults[name].path.startswith(_VENDOR) for name in wrong):
        yield Wanted(ENVIRONMENT_D, _HEAD + "".join(f"{name}={value}\n" for name, value in variables.items()))
    for unit in units.units(tree, defaults, manager):
        units.environment_files(tree, unit, home)
        by_files = {path for path, _, _ in unit.files}
        lacking = {}
        for name, value in variables.items():
            setting = unit.environment.get(name)
            if setting is None:
                own = any(word.partition("=")[0] == name for word in unit.unset)
            else:
                own = setting.value != value and setting != defaults.get(name)
            if (
                own
                and setting is not None
                and setting.path in by_files
                and not setting.path.startswith(_VENDOR)
            ):
                yield Wanted(setting.path)
            elif own:
                lacking[name] = value
        if lacking and unit.whole:
            yield Wanted(unit.drop_in, _drop_in(unit, lacking))


def _drop_in(unit: units.Unit, variables: Mapping[str, str]) -> str:
    lines = [f"{_HEAD}[Service]"]
    kept = [word for word in unit.unset if word.partition("=")[0] not in variables]
    if len(kept) < len(unit.unset):
        lines += [
            "UnsetEnvironment=",
            *(f"UnsetEnvironment={json.dumps(word)}" for word in dict.fromkeys(kept)),
        ]
    lines.append(f"Environment={' '.join(f'{name}={value}' for name, value in variables.items())}")
    return "\n".join([*lines, ""])
