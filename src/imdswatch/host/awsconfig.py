"""The AWS config and credentials files of one user: which profiles there are, and what each has.

`parse` is pure. Source: AWS SDKs and Tools Reference Guide, "Shared config and credentials files": credentials win over
config, a profile but the default one is `[profile NAME]` in config, indented lines belong to the key above them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from imdswatch.host.setting import Environment, Setting, value_of
from imdswatch.host.tree import Tree

Keys = Mapping[str, Setting]


@dataclass(frozen=True, slots=True)
class Profiles:
    """What both files hold; `readable` is False where one is there and could not be read."""

    config_path: str
    credentials_path: str
    config: Mapping[str, Keys] = field(default_factory=dict)
    credentials: Mapping[str, Keys] = field(default_factory=dict)
    readable: bool = True
    usual: Profiles | None = None
    """What stands at the usual places, where variables name others: not every client reads these variables."""

    def profile(self, name: str, *, config: bool = True) -> Keys | None:
        """Return all keys of a profile, None where it does not exist; `config` False leaves that file out."""
        parts = [self.config.get(name) if config else None, self.credentials.get(name)]
        if parts == [None, None]:
            return None
        return {key: setting for part in parts if part is not None for key, setting in part.items()}


def profiles(tree: Tree, environment: Environment, home: str) -> Profiles:
    """Return the profiles that a process with this environment and home would see."""
    usual = (_path("~/.aws/config", home), _path("~/.aws/credentials", home))
    config = _path(value_of(environment, "AWS_CONFIG_FILE"), home) or usual[0]
    credentials = _path(value_of(environment, "AWS_SHARED_CREDENTIALS_FILE"), home) or usual[1]
    found = _read(tree, config, credentials)
    return found if (config, credentials) == usual else replace(found, usual=_read(tree, *usual))


def _read(tree: Tree, config: str, credentials: str) -> Profiles:
    texts = [tree.read_text(config), tree.read_text(credentials)]
    return Profiles(
        config,
        credentials,
        _of_config(parse(texts[0] or "", config)),
        parse(texts[1] or "", credentials),
        readable=not any(_skipped(tree, path) for path in (config, credentials)),
    )


def parse(text: str, path: str) -> dict[str, dict[str, Setting]]:
    """Return the keys of each section; a section that stands twice is one, keys are lower case."""
    found: dict[str, dict[str, Setting]] = {}
    section: dict[str, Setting] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;" or line[0] in " \t":
            continue
        if stripped.startswith("["):
            name = stripped[1:].split("]", 1)[0].strip()
            section = found.setdefault(name, {})
        elif section is not None:
            key, sign, value = stripped.partition("=")
            if sign:
                key = key.strip().lower()
                section[key] = Setting(key, value.strip(), path, number)
    return found


def _of_config(sections: Mapping[str, Keys]) -> dict[str, Keys]:
    named: dict[str, Keys] = {}
    for section, keys in sections.items():
        found = re.fullmatch(r"profile\s+(?:\"([^\"]*)\"|'([^']*)'|(.+))", section)
        if found:
            named[found[1] or found[2] or found[3]] = keys
        elif section == "default":
            named.setdefault("default", keys)
    return named


def _path(path: str, home: str) -> str:
    return f"{home.rstrip('/')}/{path[2:]}" if path.startswith("~/") else path


def _skipped(tree: Tree, path: str) -> bool:
    return any(path == one.source or path.startswith(f"{one.source}/") for one in tree.skipped)
