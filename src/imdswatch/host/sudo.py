"""What sudo lets through to a command: who may use it, and what is left of their variables.

By default nothing of a user's environment but a few names is left (env_reset), so a switch that stands in a start-up
file of theirs does not reach a tool that they start with sudo. Reads only, never raises; settings that hold for some
hosts or commands only are left aside. Sources: sudoers(5); sudo's env.c: what is kept wins over what PAM gives, and
env_file adds what nobody else has set.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from imdswatch.host import syntax
from imdswatch.host.facts import User
from imdswatch.host.setting import Environment, Setting
from imdswatch.host.tree import Tree

SUDOERS = "/etc/sudoers"
_INCLUDE = re.compile(r"[@#](include|includedir) \"?([^\" ]+)\"?\Z")
_DEFAULTS = re.compile(r"Defaults(?:([:>@!]) ?(\S+))? (.*)")
_ALIAS = re.compile(r"User_Alias (.*)")
_PARAMETER = re.compile(r"(!?) ?(\w+) ?(?:([+-]?=) ?(\"(?:[^\"\\]|\\.)*\"|[^, ]*))? ?(?:,|\Z)")
_RULE = re.compile(r"((?:[^ ,=]+ ?, ?)*[^ ,=]+) [^=]+=")
_OTHER_ALIASES = ("Runas_Alias ", "Host_Alias ", "Cmnd_Alias ", "Cmd_Alias ")
_FILES = 200


@dataclass(slots=True)
class Sudoers:
    """What the sudoers files say; working state of `sudoers`."""

    drop_ins: str = ""
    """The folder whose files are read, too; "" for none."""
    defaults: list[tuple[str, str, str]] = field(default_factory=list)
    """Scope, whom it is for, and the parameters."""
    who: set[str] = field(default_factory=set)
    """User names, `%group`, `#uid`, `ALL`, as the rules name them."""
    aliases: dict[str, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Policy:
    """What is left of the environment of one user who becomes root."""

    reset: bool = True
    kept: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    env_file: str = ""

    def left(self, name: str) -> bool:
        """Say whether a variable of the user reaches the command."""
        if self.reset:
            return any(fnmatchcase(name, one) for one in self.kept)
        return not any(fnmatchcase(name, one) for one in self.deleted)


def sudoers(tree: Tree) -> Sudoers | None:
    """Return what the sudoers files say, None where there are none."""
    if not tree.is_file(SUDOERS):
        return None
    found = Sudoers()
    pending, seen = [SUDOERS], set[str]()
    while pending and len(seen) < _FILES:
        path = pending.pop(0)
        if path in seen:
            continue
        seen.add(path)
        for line in _lines(tree.read_text(path) or ""):
            include = _INCLUDE.match(line)
            if include is None:
                _take(found, line)
                continue
            place = include[2] if include[2].startswith("/") else f"{path.rpartition('/')[0]}/{include[2]}"
            if include[1] == "include":
                pending.append(place)
            else:
                found.drop_ins = found.drop_ins or place
                # sudo passes over names with a dot or a ~ at the end: what package managers and editors leave
                names = [name for name in tree.listdir(place) if "." not in name and not name.endswith("~")]
                pending += [f"{place}/{name}" for name in names]
    return found


def _lines(text: str) -> Iterator[str]:
    """Yield what says something, in one line each, blanks made single."""
    for line in text.replace("\\\n", " ").split("\n"):
        bare = " ".join(line.split())
        if not _INCLUDE.match(bare):
            bare = re.sub(r"(?:^| )#(?!\d).*", "", bare)
        if bare:
            yield bare


def _take(found: Sudoers, line: str) -> None:
    if defaults := _DEFAULTS.match(line):
        found.defaults.append((defaults[1] or "", defaults[2] or "", defaults[3]))
    elif alias := _ALIAS.match(line):
        for part in alias[1].split(":"):
            name, _, members = part.partition("=")
            found.aliases[name.strip()] = _names(members)
    elif not line.startswith(_OTHER_ALIASES) and (rule := _RULE.match(line)):
        found.who.update(_names(rule[1]))


def _names(text: str) -> list[str]:
    return [name for name in re.split(r"[,\s]+", text.strip()) if name]


def users(found: Sudoers, known: Sequence[User], groups: dict[str, set[str]]) -> list[User]:
    """Return those who may use sudo, root left out; `groups` has the groups of each user."""
    return [user for user in known if user.uid and _is_named(found, found.who, user, groups)]


def policy(found: Sudoers, user: User, groups: dict[str, set[str]]) -> Policy:
    """Return what holds for a user who becomes root."""
    made = Policy()
    for scope, whom, parameters in found.defaults:
        if scope in ("@", "!") or (scope == ">" and not {"root", "ALL", "#0"} & set(_names(whom))):
            continue
        if scope == ":" and not _is_named(found, _names(whom), user, groups):
            continue
        for sign, name, operator, value in _PARAMETER.findall(parameters):
            _set(made, name, "!" if sign else operator, value)
    return made


def _set(made: Policy, name: str, operator: str, value: str) -> None:
    words = value.strip('"').split()
    listed = {"env_keep": made.kept, "env_check": made.kept, "env_delete": made.deleted}.get(name)
    if name == "env_reset":
        made.reset = operator != "!"
    elif name == "env_file":
        made.env_file = "" if operator == "!" else value.strip('"')
    elif listed is not None and operator == "-=":
        listed[:] = [one for one in listed if one not in words]
    elif listed is not None:
        listed[:] = [*(listed if operator == "+=" else ()), *words] if operator != "!" else []


def _is_named(found: Sudoers, names: Collection[str], user: User, groups: dict[str, set[str]]) -> bool:
    wanted = {"ALL", user.name, f"#{user.uid}", *(f"%{group}" for group in groups.get(user.name, ()))}
    return any(name in wanted or wanted & set(found.aliases.get(name, ())) for name in names)


def groups(tree: Tree, known: Sequence[User]) -> dict[str, set[str]]:
    """Return the groups of each user by /etc/group, with the primary ones of /etc/passwd."""
    found: dict[str, set[str]] = {}
    by_number: dict[str, str] = {}
    for line in (tree.read_text("/etc/group", 16 << 20) or "").splitlines():
        name, *rest = line.split(":")
        if len(rest) == 3:
            by_number[rest[1]] = name
            for member in rest[2].split(","):
                found.setdefault(member.strip(), set()).add(name)
    for line in (tree.read_text("/etc/passwd", 16 << 20) or "").splitlines():
        parts = line.split(":")
        if len(parts) == 7 and parts[3] in by_number:
            found.setdefault(parts[0], set()).add(by_number[parts[3]])
    return found


def passed(tree: Tree, made: Policy, own: Environment, pam: Environment) -> dict[str, Setting]:
    """Return what a command gets: what is left of the user's own, before what PAM gives, before env_file."""
    added = (
        syntax.pam_environment(tree.read_text(made.env_file) or "", made.env_file) if made.env_file else ()
    )
    left = {name: setting for name, setting in own.items() if made.left(name)}
    return {**{setting.name: setting for setting in added}, **pam, **left}
