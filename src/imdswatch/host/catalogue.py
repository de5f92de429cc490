"""The remedies that close a gap on a host, read from `data/host/hardening.yml`.

Read once and frozen. Every mistake in the file is a SchemaError with its line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from imdswatch.errors import UsageError
from imdswatch.host.families import changes
from imdswatch.yamlfile import Table, load

KINDS = ("assign", "correct", "whole", "json", "cloud", "bypass", "link", "units", "cron", "sudo", "logins")
FORMS = ("pam", "pamconf", "shell", "csh", "fish", "envfile", "systemd")
BLOCKS = ("nft", "routes")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do to one Linux file, or to all that a pattern names; it applies where one of `where` holds.

    In a pattern `*` is any name, and `~` the home of each user.
    """

    do: str
    path: str
    form: str = ""
    where: tuple[str, ...] = ()
    text: str = ""
    key: tuple[str, ...] = ()
    value: tuple[str, ...] = ()
    block: str = ""
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Windows:
    """One registry value, or one key of a JSON file, that Windows needs."""

    key: tuple[str, ...]
    name: str = ""
    data: str = ""
    file: str = ""
    value: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Remedy:
    """One remedy: what it does, why, and how."""

    slug: str
    title: str
    closes: tuple[str, ...]
    """The slugs of `data/host/changes.yml` that this makes unnecessary."""
    why: str
    source: str
    variables: Mapping[str, str]
    steps: tuple[Step, ...]
    windows: tuple[Windows, ...]
    windows_notes: tuple[str, ...]
    macos: tuple[str, ...]
    by_hand: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All remedies by slug, in the order of the file, and the signs that steps ask for: any of these paths."""

    signs: Mapping[str, tuple[str, ...]]
    remedies: Mapping[str, Remedy]

    def slug_of(self, word: str) -> str | None:
        """Return the remedy that a word names: by its own slug, or by that of a change which it closes."""
        if word in self.remedies:
            return word
        return next((slug for slug, remedy in self.remedies.items() if word in remedy.closes), None)


@cache
def catalogue() -> Catalogue:
    """Return the remedies that this program knows."""
    text = files("imdswatch").joinpath("data/host/hardening.yml").read_text(encoding="utf-8")
    return parse(text, "data/host/hardening.yml")


def chosen(catalogue: Catalogue, only: tuple[str, ...], skip: tuple[str, ...]) -> tuple[Remedy, ...]:
    """Return the remedies that the command line asks for; raises UsageError for a slug that nobody knows."""
    named: dict[str, str] = {}
    for word in (*only, *skip):
        slug = catalogue.slug_of(word)
        if slug is None and word in changes():
            raise UsageError(
                f"{word!r} is for a person's hands", help=changes()[word].format(place="its file")
            )
        if slug is None:
            raise UsageError(f"there is no remedy {word!r}", help=f"one of: {', '.join(catalogue.remedies)}")
        named[word] = slug
    wanted = {named[word] for word in only} or set(catalogue.remedies)
    wanted -= {named[word] for word in skip}
    return tuple(remedy for slug, remedy in catalogue.remedies.items() if slug in wanted)


def wanted(
    catalogue: Catalogue, only: tuple[str, ...], skip: tuple[str, ...], block: str | None, slug: str
) -> bool:
    """Say whether the command line leaves a change in, by its slug; those of no remedy go only with `only`."""
    remedy = catalogue.slug_of(slug)
    if remedy is None:
        return not only
    if block == "none" and remedy == "block-endpoint":
        return False
    return remedy in {one.slug for one in chosen(catalogue, only, skip)}


def parse(text: str, file: str) -> Catalogue:
    """Return the remedies of a file's text; raises SchemaError."""
    top = load(text, file)
    signs = top.choices("signs")
    table = top.table("remedies")
    remedies = {slug: _remedy(slug, table.table(slug), signs) for slug in table.names()}
    top.done()
    return Catalogue(signs, remedies)


def _remedy(slug: str, table: Table, signs: Mapping[str, tuple[str, ...]]) -> Remedy:
    remedy = Remedy(
        slug=slug,
        title=_line(table.text("title")),
        closes=table.texts("closes"),
        why=_line(table.text("why")),
        source=_line(table.text("source")),
        variables=table.mapping("variables"),
        steps=tuple(_step(one, signs) for one in table.tables("files")),
        windows=tuple(_windows(one) for one in table.tables("windows")),
        windows_notes=tuple(map(_line, table.texts("windows_notes"))),
        macos=tuple(map(_line, table.texts("macos"))),
        by_hand=tuple(map(_line, table.texts("by_hand"))),
    )
    table.done()
    if not re.fullmatch(r"[a-z][a-z0-9-]*", slug):
        raise table.error(slug, f"{slug!r} is no slug", "lower case letters, digits and hyphens")
    return remedy


def _step(table: Table, signs: Mapping[str, tuple[str, ...]]) -> Step:
    do = table.choice("do", KINDS)
    step = Step(
        do=do,
        path=table.text("path") if do not in ("units", "logins") else "",
        form=table.choice("form", FORMS) if do in ("assign", "correct", "bypass") else "",
        where=table.texts("where"),
        text=table.text("text") if do in ("whole", "link", "sudo") else "",
        key=table.texts("key"),
        value=table.texts("value"),
        block=table.choice("block", (*BLOCKS, "any"), "") if "block" in table else "",
        mode=int(table.text("mode", "644"), 8),
    )
    table.done()
    for sign in step.where:
        if sign not in signs:
            raise table.error("where", f"there is no sign {sign!r}", f"one of: {', '.join(signs)}")
    return step


def _windows(table: Table) -> Windows:
    found = Windows(
        key=table.texts("key"),
        name=table.text("name", ""),
        data=table.text("data", ""),
        file=table.text("file", ""),
        value=table.texts("value"),
    )
    table.done()
    return found


def _line(text: str) -> str:
    return " ".join(text.split())
