"""A schema's field map, compiled into one Python function that makes canonical fields of source fields.

An interpreter over the field map takes 15 µs for a Zeek record, the generated function 2 µs; the prefilter lets
millions of records through on a busy day. For objects with one set of keys, as one tool writes them, there is a
shorter one (`convert_for`): half of a field map is other spellings. Generated source contains only names made here
and literals made by `repr` of validated schema texts; log content is never part of it. `FieldMap.source` shows it.

The pieces of the generated function and the functions it calls are kept in this one file, to be read side by side.
Order of work inside one field: from (first that gives a value, or glue, or join) → match → map → as → less → or.

Longer than most: the writer of the source and what it binds are useless apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from imdswatch import address
from imdswatch.event import FIELDS
from imdswatch.layouts import conversions
from imdswatch.layouts.required import anchored
from imdswatch.layouts.times import Clock, format_reader

UNSET = frozenset({"", "-", "(empty)"})
"""What tools write for "nothing": Zeek and W3C `-`, Zeek's `(empty)` set."""

Convert = Callable[[Mapping[str, Any], Clock], dict[str, Any]]
Search = Callable[[str], re.Match[str] | None]


@dataclass(frozen=True, slots=True)
class Field:
    """Where one canonical field comes from; `convert` is a name of the closed vocabulary."""

    name: str
    sources: tuple[str, ...]
    convert: str
    join: bool = False
    glue: str | None = None
    match: str | None = None
    map: tuple[tuple[str, str], ...] = ()
    formats: tuple[str, ...] = ()
    less_of: str | None = None
    less_times: int = 0
    otherwise: Field | None = None

    @property
    def plain(self) -> bool:
        """Say whether the default conversion of one source is all there is to do."""
        return self.convert == conversions.default(self.name) and not (
            self.join or self.glue is not None or self.match or self.map or self.formats or self.less_of
        )

    @property
    def part(self) -> tuple[Search, int] | None:
        """If a part of one text is all there is to it, as the path of a web request: its search, and its group."""
        if (
            self.match is None
            or self.map
            or self.formats
            or self.less_of
            or self.join
            or self.glue is not None
        ):
            return None
        if (
            FIELDS[self.name].many
            or conversions.reader(self.name, self.convert, "") is not conversions.to_text
        ):
            return None
        compiled = re.compile(self.match)
        return anchored(compiled), compiled.groupindex["v"]

    def all_sources(self) -> tuple[str, ...]:
        """Return every source field that can have a say in this field, alternatives included."""
        more = self.otherwise.all_sources() if self.otherwise else ()
        return self.sources + ((self.less_of,) if self.less_of else ()) + more

    def read(self, source: str = "") -> conversions.Reader:
        """Return the function that makes the canonical value of one source value (match, map, as)."""
        inner = conversions.reader(self.name, self.convert, source)
        if self.formats:
            inner = format_reader(self.formats)
        if not self.map and not self.match:
            return inner
        if self.map:
            inner = _mapped(self.map, inner)
        if self.match:
            inner = _matched(self.match, inner)
            if self.part is not None:
                return _part(*self.part, _each(inner, many=False))
        return _each(inner, FIELDS[self.name].many)


def _mapped(pairs: tuple[tuple[str, str], ...], inner: conversions.Reader) -> conversions.Reader:
    exact = {key.lower(): value for key, value in pairs if not key.endswith("*")}
    # The longest prefix first, so that `TCP_DENIED*` wins over `TCP_*` whatever their order in the file.
    prefixes = sorted(
        ((k[:-1].lower(), v) for k, v in pairs if k.endswith("*")), key=lambda pair: -len(pair[0])
    )

    def read(value: Any, clock: Clock) -> Any:
        text = conversions.to_text(value, clock)
        if text is None:
            return None
        text = text.lower()
        found = exact.get(text)
        if found is None:
            found = next((to for prefix, to in prefixes if text.startswith(prefix)), None)
        return inner(found, clock) if found is not None else None

    return read


def _matched(pattern: str, inner: conversions.Reader) -> conversions.Reader:
    compiled = re.compile(pattern)
    search, group = anchored(compiled), compiled.groupindex["v"]

    def read(value: Any, clock: Clock) -> Any:
        text = value if value.__class__ is str else conversions.to_text(value, clock)
        found = search(text) if text is not None else None
        part = found[group] if found is not None else None
        return inner(part, clock) if part else None

    return read


def _part(search: Search, group: int, other: conversions.Reader) -> conversions.Reader:
    """Read a part of a text, as `other` does, in half the time: the path of every web request is read so."""

    def read(value: Any, clock: Clock) -> Any:
        if value.__class__ is not str:
            return other(value, clock)
        found = search(value)
        return None if found is None else found[group] or None

    return read


def _each(inner: conversions.Reader, many: bool) -> conversions.Reader:
    """Let match and map work on every element of a list: all that give a value, or the first for a scalar field."""

    def read(value: Any, clock: Clock) -> Any:
        if value.__class__ is not list:
            return inner(value, clock)
        out: list[Any] = []
        for item in value:
            found = inner(item, clock) if item.__class__ is not list else None
            if found is None:
                continue
            if not many:
                return found
            out.extend(found)
        return tuple(out) or None

    return read


def _joined(
    readers: list[conversions.Reader], unset: frozenset[str]
) -> Callable[[tuple[Any, ...], Clock], Any]:
    def read(values: tuple[Any, ...], clock: Clock) -> tuple[Any, ...] | None:
        out: dict[Any, None] = {}  # keeps the order; a value that repeats counts once
        for value, inner in zip(values, readers, strict=True):
            if value is None or (value.__class__ is str and value in unset):
                continue
            found = inner(value, clock)
            if found is not None:
                out.update(dict.fromkeys(found if found.__class__ is tuple else (found,)))
        return tuple(out) or None

    return read


def _glued(
    glue: str, inner: conversions.Reader, unset: frozenset[str]
) -> Callable[[tuple[Any, ...], Clock], Any]:
    def read(values: tuple[Any, ...], clock: Clock) -> Any:
        texts = [v if v.__class__ is str else conversions.to_text(v, clock) for v in values if v is not None]
        present = [text for text in texts if text is not None and text not in unset]
        return inner(glue.join(present), clock) if present else None

    return read


def _less(value: Any, of: Any, times: int, clock: Clock) -> int | None:
    """Subtract; without the number to subtract there is no value, since it could not tell anything."""
    count = conversions.to_int(of, clock)
    return None if count is None else max(0, int(value) - times * count)


def step(value: Any, key: str) -> Any:
    """Return what stands under a key of an object, or of each object of an array; None if nothing does."""
    if value.__class__ is dict:
        return value.get(key)
    if value.__class__ is not list:
        return None
    found: list[Any] = []
    for item in value:
        if item.__class__ is dict:
            inner = item.get(key)
            if inner.__class__ is list:
                found.extend(inner)
            elif inner is not None:
                found.append(inner)
    return found or None


def lookup(record: Mapping[str, Any], path: str) -> Any:
    """Return the value of a source path: the literal dotted key first, then nested; None if absent."""
    value = record.get(path)
    if value is not None or "." not in path:
        return value
    found: Any = record
    for key in path.split("."):
        found = step(found, key)
        if found is None:
            return None
    return found


_INLINE = {
    # The commonest conversions, spelled out to spare a call: a test, what must hold too for there to be a value, and
    # the value. What the test does not cover goes to the function.
    "text": ("v.__class__ is str", "v not in UNSET", "v"),
    "upper": ("v.__class__ is str", "v not in UNSET", "v.upper()"),
    "lower": ("v.__class__ is str", "v not in UNSET", "v.lower()"),
    "time": ("v.__class__ is float and 1e8 < v < 1e11", "", "v"),
    "int": ("v.__class__ is int and -1 < v < 9999999999999999999", "", "v"),
    "address": (f"v.__class__ is str and len(v) < {conversions.LONGEST_ADDRESS}", "", "parse_address(v)"),
}


@dataclass(frozen=True)
class FieldMap:
    """The fields and constants of one layout; `convert` is compiled on first use.

    With `nested`, source names are paths into a JSON object, else plain keys of a flat mapping.
    """

    fields: tuple[Field, ...]
    constants: tuple[tuple[str, Any], ...]
    unset: frozenset[str]
    nested: bool

    @cached_property
    def convert(self) -> Convert:
        """Return the function (source fields, clock) → canonical fields; it never raises."""
        return _compiled(*self._generated(None))

    def convert_for(self, keys: frozenset[str]) -> Convert:
        """Return what gives the same as `convert`, in three quarters of the time, for records with these keys.

        It takes a millisecond to make: worth it where such records come by the thousand.
        """
        return _compiled(*self._generated(keys))

    @property
    def source(self) -> str:
        """The generated Python source, for the curious and for tests."""
        return self._generated(None)[0]

    def _generated(self, keys: frozenset[str] | None) -> tuple[str, dict[str, Any]]:
        writer = _Writer(self, keys)
        for field in self.fields:
            writer.field(field, "")
        if any(field.name in ("nat_dst", "nat_dst_port") for field in self.fields):
            writer.scope["tidy"] = _tidy_nat
            writer.lines.append("tidy(out)")
        body = "\n    ".join([*writer.lines, "return out"])
        return f"def convert(record, clock):\n    {body}\n", writer.scope


def _compiled(source: str, scope: dict[str, Any]) -> Convert:
    exec(compile(source, "<field map>", "exec"), scope)  # see the module docstring for what can be in it
    made: Convert = scope["convert"]
    return made


class _Writer:
    """Writes the lines of the generated function and collects what they call; `keys` are a record's, if known."""

    def __init__(self, fields: FieldMap, keys: frozenset[str] | None) -> None:
        self.unset, self.nested, self._keys = fields.unset, fields.nested, keys
        self.scope: dict[str, Any] = {
            "step": step,
            "less": _less,
            "parse_address": address.parse,
            "UNSET": fields.unset,
        }
        self.lines = [f"out = {dict(fields.constants)!r}", "get = record.get"]
        self._opened: dict[str, str] = {}
        self._constants = {name for name, _ in fields.constants}

    def _bind(self, value: Any) -> str:
        name = f"f{len(self.scope)}"
        self.scope[name] = value
        return name

    def field(self, field: Field, indent: str) -> None:
        """Write the lines that set one canonical field, its alternative included."""
        target = f"out[{field.name!r}]"
        sources = [source for source in field.sources if self._may_stand(source)]
        if not sources:
            if field.otherwise:
                self.field(field.otherwise, indent)
            return
        if field.join or field.glue is not None:
            values = f"({', '.join(self._access(source, indent) for source in sources)},)"
            nothing = f"({'None, ' * len(sources)})"
            if field.join:
                call = self._bind(_joined([field.read(source) for source in sources], self.unset))
            else:
                call = self._bind(_glued(field.glue or "", field.read(), self.unset))
            lines = [f"v = {values}", f"v = {call}(v, clock) if v != {nothing} else None"]
            self._set(field, lines, target, indent)
        else:
            if (
                len(sources) == 1
                and field.otherwise is None
                and self._short(field, sources[0], target, indent)
            ):
                return
            for position, source in enumerate(sources):
                deeper = indent
                if position:
                    self.lines.append(f"{indent}if v is None:")
                    deeper = indent + "    "
                value = self._access(source, deeper)
                self._set(field, [f"v = {value}", *self._conversion(field, source)], target, deeper)
        if field.otherwise and any(map(self._may_stand, field.otherwise.all_sources())):
            self.lines.append(f"{indent}if v is None:")
            self.field(field.otherwise, indent + "    ")

    def _may_stand(self, source: str) -> bool:
        """Say whether a record can have a value under this path."""
        if self._keys is None or source in self._keys:
            return True
        return self.nested and "." in source and source.partition(".")[0] in self._keys

    def _short(self, field: Field, source: str, target: str, indent: str) -> bool:
        """Write the lines of a field that has one source and nothing else to try; say whether there are any."""
        part = field.part
        if part is not None and self._keys is not None:
            search, group = self._bind(part[0]), part[1]
            lines = [
                "if v.__class__ is str:",
                f"    found = {search}(v) if v not in UNSET else None",
                f"    if found is not None and (v := found[{group}]): {target} = v",
            ]
        elif (
            self._keys is not None and field.plain and field.convert in _INLINE and field.convert != "address"
        ):
            test, too, value = _INLINE[field.convert]
            lines = [f"if {test}:", f"    {f'if {too}: ' if too else ''}{target} = {value}"]
        else:
            return False
        call = self._unless_unset(field, f"{self._bind(field.read(source))}(v, clock)")
        lines += ["elif v is not None:", f"    v = {call}", f"    if v is not None: {target} = v"]
        self.lines += [f"{indent}{line}" for line in [f"v = {self._access(source, indent)}", *lines]]
        return True

    def _conversion(self, field: Field, source: str) -> list[str]:
        if field.plain and field.convert in _INLINE:
            test, too, value = _INLINE[field.convert]
            call = f"{self._bind(field.read(source))}(v, clock)"
            if too or (field.convert == "address" and self._marks_read_as("address")):
                value = f"{value} if v not in UNSET else None"
            return [f"if v is not None: v = ({value}) if {test} else {self._unless_unset(field, call)}"]
        call = f"{self._bind(field.read(source))}(v, clock)"
        return [f"if v is not None: v = {self._unless_unset(field, call)}"]

    def _unless_unset(self, field: Field, call: str) -> str:
        if field.plain and not self._marks_read_as(field.convert):
            return call
        return f"{call} if v.__class__ is not str or v not in UNSET else None"

    def _marks_read_as(self, convert: str) -> bool:
        """Say whether an unset mark could be read as a value, so that it must be tested for."""
        clock = Clock()
        return any(conversions.READ[convert](mark, clock) is not None for mark in self.unset)

    def _set(self, field: Field, lines: list[str], target: str, indent: str) -> None:
        self.lines += [indent + line for line in lines]
        if field.less_of is not None:
            of = self._access(field.less_of, indent)
            self.lines.append(f"{indent}if v is not None: v = less(v, {of}, {field.less_times}, clock)")
        self.lines.append(f"{indent}if v is not None: {target} = v")

    def _access(self, source: str, indent: str) -> str:
        """Return the expression of a source value, adding the lines that open the objects on its way."""
        if self._keys is not None and source in self._keys:
            return f"record[{source!r}]"
        if not self.nested or "." not in source:
            return f"get({source!r})"
        parent, _, key = source.rpartition(".")
        opened = self._open(parent)
        inner = f"({opened}.get({key!r}) if {opened}.__class__ is dict else step({opened}, {key!r}))"
        if self._keys is not None:
            return f"(None if {opened} is None else {inner})"
        return f"(get({source!r}) if {opened} is None else get({source!r}, {inner}))"

    def _open(self, path: str) -> str:
        if path not in self._opened:
            parent, _, key = path.rpartition(".")
            if parent:
                outer = self._open(parent)
                inner = f"{outer}.get({key!r}) if {outer}.__class__ is dict else step({outer}, {key!r})"
                value = f"None if {outer} is None else {inner}"
            else:
                value = f"get({key!r})"
            name = self._opened[path] = f"p{len(self._opened)}"
            # Opened at the top of the function: the lines that use it may stand inside an `if`.
            self.lines.insert(1 + len(self._opened), f"{name} = {value}")
        return self._opened[path]


def _tidy_nat(out: dict[str, Any]) -> None:
    """Drop a translated destination that says "no translation": equal to the original, 0.0.0.0, or port 0."""
    if "nat_dst" in out and out["nat_dst"] in (out.get("dst_ip"), "0.0.0.0", "::"):
        del out["nat_dst"]
    if "nat_dst_port" in out and (
        out["nat_dst_port"] == 0 or ("nat_dst" not in out and out["nat_dst_port"] == out.get("dst_port"))
    ):
        del out["nat_dst_port"]


def constant(name: str, text: str) -> Any:
    """Return a constant of a schema file in the type of its canonical field; raises ValueError if it does not fit."""
    value = conversions.READ[conversions.default(name)](text, Clock())
    if value is None:
        raise ValueError(f"{text!r} is no value of {name}")
    return value
