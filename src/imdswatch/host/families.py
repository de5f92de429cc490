"""How each kind of AWS client decides whether it asks the metadata service: `data/host/families.yml` as values.

Pure but for reading the package's own data, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from imdswatch.yamlfile import Table, load

_KEYS = ("AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY",)
_CONTAINERS = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
_SWITCHES = ("true", "boolean", "not-false", "any", "set", "never")
_AFTER = ("error", "imds", "unknown")


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of client; what each field means stands at the head of the data file."""

    name: str
    title: str
    source: str
    switch: str
    always: bool
    profile: tuple[str, ...]
    missing: str
    hidden_keys: bool
    half_keys: str
    keys: tuple[tuple[str, str], ...]
    empty_keys: bool
    containers: tuple[str, ...]
    named_only: bool
    roles: bool
    broken: str
    goes_on: frozenset[str]
    config: str
    paths: str
    region: tuple[str, ...]
    modes: bool
    lookup_switch: str
    source_switch: str
    proxy: tuple[str, ...]
    networks: bool
    endpoint: str
    profile_off: tuple[str, ...]
    properties: tuple[str, ...]
    caveat: str


@dataclass(frozen=True, slots=True)
class Package:
    """What brings a family to a host: names in package systems, binaries, interpreters that may load it."""

    name: str
    family: str
    names: Mapping[str, tuple[str, ...]]
    binaries: tuple[str, ...]
    runs: tuple[str, ...]
    package: str
    major: str


_SYSTEMS = (
    *("pip", "dpkg", "rpm", "apk", "npm", "jar", "gem", "composer", "module", "assembly", "library", "go"),
    "folder",
)


@cache
def families() -> Mapping[str, Family]:
    """Return every family by its name."""
    table = _load("families.yml")
    found = {name: _family(name, table.table(name)) for name in table.names()}
    table.done()
    return found


@cache
def packages() -> tuple[Package, ...]:
    """Return what can bring a client to a host."""
    table, found = _load("tools.yml"), []
    for name in table.names():
        one = table.table(name)
        found.append(
            Package(
                name=name,
                family=one.choice("family", tuple(families())),
                names={system: one.texts(system) for system in _SYSTEMS if system in one},
                binaries=one.texts("binaries"),
                runs=one.texts("runs"),
                package=one.text("package", ""),
                major=one.text("major", ""),
            )
        )
        one.done()
    return tuple(found)


@cache
def changes() -> Mapping[str, str]:
    """Return the sentence of each change by its slug."""
    return {slug: text for slug, (text, _) in _changes().items()}


@cache
def by_hand() -> Mapping[str, str]:
    """Return why no program makes a change, by the slugs of those that are for a person's hands."""
    return {slug: reason for slug, (_, reason) in _changes().items() if reason}


@cache
def _changes() -> Mapping[str, tuple[str, str]]:
    table, found = _load("changes.yml"), {}
    for name in table.names():
        one = table.table(name)
        found[name] = one.text("text"), one.text("by_hand", "")
        one.done()
    return found


def _load(name: str) -> Table:
    text = files("imdswatch").joinpath(f"data/host/{name}").read_text(encoding="utf-8")
    return load(text, f"data/host/{name}")


def _family(name: str, one: Table) -> Family:
    pairs = [pair.partition(" ") for pair in one.texts("keys") or _KEYS]
    switch = one.choice("switch", _SWITCHES)
    found = Family(
        name=name,
        title=one.text("title"),
        source=one.text("source"),
        switch=switch,
        always=one.choice("asks", ("for-credentials", "always"), "for-credentials") == "always",
        profile=one.texts("profile"),
        missing=one.choice("missing", _AFTER, "imds"),
        hidden_keys=one.flag("hidden_keys"),
        half_keys=one.choice("half_keys", _AFTER, "imds"),
        keys=tuple((first, second) for first, _, second in pairs),
        empty_keys=one.flag("empty_keys"),
        containers=one.texts("containers") or _CONTAINERS,
        named_only=one.flag("named_only"),
        roles=one.choice("roles", ("true", "false"), "true") == "true",
        broken=one.choice("broken", _AFTER, "error"),
        goes_on=frozenset(one.texts("goes_on")),
        config=one.text("config"),
        paths=one.text("paths", ""),
        region=one.texts("region"),
        modes=one.flag("modes"),
        lookup_switch=one.choice("lookup_switch", _SWITCHES, switch),
        source_switch=one.choice("source_switch", _SWITCHES, switch),
        proxy=one.texts("proxy"),
        networks=one.flag("networks"),
        endpoint=one.choice("endpoint", ("both", "variable", "none"), "none"),
        profile_off=one.texts("profile_off"),
        properties=one.texts("properties"),
        caveat=one.text("caveat", ""),
    )
    one.done()
    return found
