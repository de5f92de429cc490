"""Flags: what `search` cannot ask is computed by `eval` before it, and then asked for as `flag=1`.

A test is written into a condition as a mark; `Flags` gives every mark a name and makes the `eval` commands, computed
columns (a decoded path, a decoded URL) first. Only `=1` is ever asked, so a flag that is null is as good as 0. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from imdswatch.schema import Column, Naming
from imdswatch.siem import formula as f
from imdswatch.siem.emitter import CannotSay

SCHEME = "([a-zA-Z][a-zA-Z0-9+.-]*://)?"
_STEP_BACK = """replace({}, "/(?![.][.]/)[^/]+/[.][.](?=/)", "")"""
_RESOLVED = (
    # what `imdswatch.urlpath.normal_path` does: slashes collapse, `.` goes, `..` takes a segment back (three deep)
    'replace(replace({}, "/([.]?/)+|/[.]$", "/"), "(?<=/[.][.])$", "/")',
    _STEP_BACK,
    _STEP_BACK,
    _STEP_BACK,
)
_COMPUTED = {
    # name → steps, each an eval expression; {} is what the step before gave, at first the column
    "path": (
        f'replace(replace({{}}, "^{SCHEME}[^/?#]*", ""), "[?#].*$", "")',
        "lower(urldecode(urldecode({})))",
        *_RESOLVED,
        'replace({}, "^(/[.][.])+(?=/)", "")',
    ),
    "url": (f'lower(urldecode(urldecode(replace({{}}, "^{SCHEME}", ""))))', *_RESOLVED),
    "query": ('urldecode(urldecode(replace({}, "^[^?]*[?]?", "")))',),
}
FLAG = re.compile("⟨(?P<kind>[a-z]+)\\|(?P<test>[^⟩]*)⟩")
_USED = re.compile(r"\bimds_(path|url|query)_of_(\w+)")


def mark(kind: str, test: str) -> str:
    """Return a mark for a test that only `eval` can make; `Flags` turns it into a flag and its question."""
    if "⟨" in test or "⟩" in test:
        raise CannotSay("the characters ⟨ and ⟩ cannot be asked for in a search")
    return f"⟨{kind}|{test}⟩"


class Flags:
    """Gives every marked test a flag, and remembers the `eval` that makes it."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def named(self, text: str) -> str:
        """Return the text with flags asked for instead of marks."""
        return FLAG.sub(lambda found: f"{self._name(found['kind'], found['test'])}=1", text)

    def _name(self, kind: str, test: str) -> str:
        if test not in self._names:
            base = f"imds_is_{kind}"
            taken = sum(name == base or name.startswith(f"{base}_") for name in self._names.values())
            self._names[test] = f"{base}_{taken + 1}" if taken else base
        return self._names[test]

    def lines(self, naming: Naming) -> list[str]:
        """Return the `eval` commands, computed columns first."""
        known = {_plain(column.name): column for column in naming.columns.get("url", ())}
        out = []
        for kind, plain in dict.fromkeys(_USED.findall(" ".join(self._names))):
            name = f"imds_{kind}_of_{plain}"
            subject = eval_name(known[plain])
            for step in _COMPUTED[kind]:
                out.append(f"| eval {name}={step.replace('{}', subject)}")
                subject = name
        return out + [f"| eval {name}=if({test}, 1, 0)" for test, name in self._names.items()]


def with_flags(conditions: Sequence[str], naming: Naming) -> list[str]:
    """Return the commands that make the flags of conditions and then ask for them."""
    flags = Flags()
    named = [flags.named(text) for text in conditions]
    return [*flags.lines(naming), *(f"| search {text}" for text in named)]


def eval_name(column: Column) -> str:
    """Return a field as `eval` names it."""
    return column.name if re.fullmatch(r"[A-Za-z_]\w*", column.name) else f"'{column.name}'"


def computed(atom: f.Atom, kind: str = "") -> str:
    """Return the name of a computed column: the path, query or whole of the URL in the atom's column, decoded."""
    kind = kind or {"path": "path", "query": "query"}.get(atom.take, "url")
    return f"imds_{kind}_of_{_plain(atom.column.name)}"


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", name)
