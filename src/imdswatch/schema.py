"""The Schema: one log layout, how to recognise it, read it, write it and name its fields.

A Schema is one YAML file (`schemafile` reads it) and a two-way codec without I/O: `read_object` and `read_text` make
canonical fields of one record, `write` makes the record of canonical fields. `Schemas` is the ordered set of them;
which schema a record belongs to is decided by the order priority, then name, never by what was read before.
Canonical fields here are what the source says: `event.complete` derives the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imdswatch.errors import SchemaError, UsageError
from imdswatch.kept import kept
from imdswatch.layouts import Layout
from imdswatch.layouts.delimited import Delimited
from imdswatch.layouts.fieldmap import Field, FieldMap
from imdswatch.layouts.recognise import Recognise, fits
from imdswatch.layouts.result import Malformed, Sources
from imdswatch.layouts.times import Clock
from imdswatch.yamlfolder import by_stem

if TYPE_CHECKING:
    from imdswatch.read.lines import LineReader

BUILT_IN = Path(__file__).parent / "data" / "schemas"


@dataclass(frozen=True)
class Form:
    """One layout with its field map; a variant applies where the source fields in `when` have these values."""

    layout: Layout
    fields: FieldMap
    when: tuple[tuple[str, frozenset[str]], ...] = ()


@dataclass(frozen=True)
class Base:
    """A layout of a schema and the variants of it."""

    form: Form
    variants: tuple[Form, ...] = ()

    def read(
        self, sources: Mapping[str, Any], text: str | None, clock: Clock
    ) -> dict[str, Any] | Malformed | None:
        """Make canonical fields of source fields, by the first variant that fits; never raises."""
        form = self.form
        for variant in self.variants:
            if fits(sources, variant.when, form.layout.nested):
                if variant.layout is not form.layout and text is not None:
                    again = variant.layout.parse(text)
                    if again is None or isinstance(again, Malformed):
                        return again
                    outer = {name: value for name, value in sources.items() if name.startswith("syslog.")}
                    sources = {**again, **outer}
                form = variant
                break
        return form.fields.convert(sources, clock)

    @property
    def forms(self) -> tuple[Form, ...]:
        """The layout itself and its variants."""
        return (self.form, *self.variants)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a SIEM: its name there, and its type in the SIEM's own word (ip, keyword, string, long …)."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Naming:
    """How one SIEM (a target of `export`) names the fields of a schema, and where its records are to be asked for.

    `columns` are of canonical fields; several columns of one field hold its values together (any of them). `partly`
    says of a field that has columns what they do not carry. `settings` are words only the target understands.
    """

    target: str
    schema: str
    """Name under which `export TARGET --schema` knows it."""
    part: str
    """`network` or `web` where a rule needs a query each, else empty."""
    table: str
    columns: Mapping[str, tuple[Column, ...]]
    partly: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Schema:
    """One log layout; see the module docstring."""

    name: str
    title: str
    origin: str
    version: str
    references: tuple[str, ...]
    layer: str
    vantage: str
    priority: int
    recognise: Recognise
    bases: tuple[Base, ...]
    cannot: dict[str, str] = field(default_factory=dict)
    needs: dict[str, str] = field(default_factory=dict)
    opaque: tuple[str, ...] = ()
    siem: tuple[Naming, ...] = ()
    file: str = ""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The layout kinds, in the order in which they are tried."""
        return tuple(type(base.form.layout).__name__.lower() for base in self.bases)

    def recognises_header(self, line: str | bytes) -> bool:
        """Say whether a line is a header that names the columns of this schema."""
        text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
        text = text.strip("\ufeff\r\n")
        for base in self.bases:
            if isinstance(base.form.layout, Delimited):
                columns = base.form.layout.header_columns(text)
                if columns and self.recognise.header(columns):
                    return True
        return False

    def read_text(
        self, base: Base, message: str, outer: Sources | None, clock: Clock
    ) -> dict[str, Any] | Malformed | None:
        """Read one message with one of the layouts; None if it is not of that layout."""
        sources = base.form.layout.parse(message)
        if sources is None or isinstance(sources, Malformed):
            return sources
        if outer:
            sources.update(outer)
        return base.read(sources, message, clock)

    def all_fields(self) -> Iterator[Field]:
        """Yield the field specifications of all layouts and variants."""
        for base in self.bases:
            for form in base.forms:
                yield from form.fields.fields

    def carries(self, name: str) -> bool:
        """Say whether `write` can put this canonical field into a record so that reading gives it back."""
        from imdswatch.read import writing  # the writer is for the lab and tests; scanning never needs it

        return writing.carries(self, name)

    def write(self, fields: Mapping[str, Any]) -> list[bytes]:
        """Write canonical fields as a record: header lines first where the layout has a header.

        Fields that the schema does not carry are left out; empty if it cannot be written at all.
        """
        from imdswatch.read import writing

        return [line.encode("utf-8", "replace") for line in writing.write(self, fields)]

    def header(self) -> list[bytes]:
        """Return the header lines that `write` puts before a record; empty for layouts without a header."""
        from imdswatch.read import writing

        return [line.encode() for line in writing.header(self)]

    def explain(self) -> dict[str, Any]:
        """Return what `schemas show` and `schemas detect` tell: plain values, ready for JSON."""
        sources: dict[str, list[str]] = {}
        for spec in self.all_fields():
            known = sources.setdefault(spec.name, [])
            known += [source for source in spec.all_sources() if source not in known]
        constants = {name: value for base in self.bases for name, value in base.form.fields.constants}
        return {
            "name": self.name,
            "title": self.title,
            "origin": self.origin,
            "version": self.version,
            "references": list(self.references),
            "layer": self.layer,
            "vantage": self.vantage,
            "priority": self.priority,
            "layout": list(self.kinds),
            "fields": sources,
            "constants": constants,
            "cannot": dict(self.cannot),
            "needs": dict(self.needs),
            "opaque": list(self.opaque),
        }


class Schemas(Mapping[str, Schema]):
    """All schemas by name, iterated in the order in which they claim a record: priority, then name.

    They may be given as a function, which is called when the first of them is asked for.
    """

    def __init__(self, schemas: Iterable[Schema] | Callable[[], Iterable[Schema]]) -> None:
        self._given = schemas

    @cached_property
    def _by_name(self) -> dict[str, Schema]:
        given = self._given() if callable(self._given) else self._given
        return {s.name: s for s in sorted(given, key=lambda s: (-s.priority, s.name))}

    def __reduce__(self) -> tuple[Callable[..., Schemas], tuple[object, ...]]:
        """Return what travels to another machine: nothing of the built-in schemas, the texts of others."""
        if callable(self._given):
            return load_schemas, ()
        files = [Path(schema.file) for schema in self.values()]
        return _of_texts, (tuple((path.read_text(encoding="utf-8"), str(path), path.stem) for path in files),)

    @property
    def names(self) -> tuple[str, ...]:
        """The names, sorted."""
        return tuple(sorted(self._by_name))

    def __getitem__(self, name: str) -> Schema:
        try:
            return self._by_name[name]
        except KeyError:
            raise UsageError(
                f"there is no schema {name!r}",
                help=f"one of: {', '.join(self.names)}; see `imdswatch schemas`",
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def reader(
        self, default_timezone: tzinfo = UTC, year_not_after: float | None = None, only: str | None = None
    ) -> LineReader:
        """Return a reader for the lines of one file.

        `default_timezone` is that of times without zone, `year_not_after` (epoch seconds, default now) the latest
        moment of times without year. With `only`, no other schema is considered; an unknown name is a UsageError.
        """
        # `read` is a capability and imports this module; only this one method goes the other way.
        from imdswatch.read.lines import LineReader

        latest = time.time() if year_not_after is None else year_not_after
        return LineReader([self[only]] if only else list(self.values()), Clock(default_timezone, latest))


def load_schemas(extra: Path | None = None) -> Schemas:
    """Load the built-in schemas and those of a folder and its subfolders, where the same file name replaces.

    Raises SchemaError with file and line for the first mistake. Without an overlay they are read when the first is
    asked for: a scan of captures needs none.
    """
    files = {path.stem: path for path in sorted(BUILT_IN.glob("*.yml"))}
    if extra is None:
        return Schemas(lambda: kept("schemas", files.values(), lambda: tuple(map(_fresh, files.values()))))
    if not extra.is_dir():
        raise SchemaError("the schema folder does not exist", file=str(extra))
    files.update(by_stem(extra, SchemaError))
    return Schemas([load_schema(path) for path in files.values()])


def _of_texts(texts: Iterable[tuple[str, str, str]]) -> Schemas:
    return Schemas([_parsed(*one) for one in texts])


def load_schema(path: Path) -> Schema:
    """Load one schema file; raises SchemaError if it cannot be read or is invalid."""
    return _parsed(_text(path), str(path), path.stem)


def _fresh(path: Path) -> Schema:
    """Load one schema file into a schema that nobody used: what use adds to one cannot be kept."""
    return _parse(_text(path), str(path), path.stem)


def _text(path: Path) -> str:
    if path.exists() and not path.is_file():  # a pipe would wait for its writer for ever
        raise SchemaError("is no file", file=str(path))
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SchemaError(f"the schema file cannot be read: {error.strerror}", file=str(path)) from None
    except UnicodeDecodeError:
        raise SchemaError("the schema file is not UTF-8 text", file=str(path)) from None


def _parse(text: str, file: str, stem: str) -> Schema:
    from imdswatch.schemafile import parse  # it needs the classes above

    return parse(text, file, stem)


_parsed = lru_cache(maxsize=256)(_parse)
