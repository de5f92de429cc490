"""Reads the YAML of a schema file into a Schema, and says with file and line what is wrong with it.

Pure: text in, Schema or SchemaError out. Checked are: unknown and missing keys, names of canonical fields and
conversions, source fields that the layout cannot have, regular expressions, time formats, and that every layout can
be told from others.
"""

from __future__ import annotations

import re

from imdswatch.event import FIELDS
from imdswatch.layouts import KINDS, Layout, conversions
from imdswatch.layouts.delimited import Delimited
from imdswatch.layouts.fieldmap import UNSET, Field, FieldMap, constant
from imdswatch.layouts.json import Json
from imdswatch.layouts.keyvalue import KeyValue
from imdswatch.layouts.recognise import Recognise
from imdswatch.layouts.times import Clock, format_reader
from imdswatch.schema import Base, Column, Form, Naming, Schema
from imdswatch.yamlfile import Table, load

LAYERS = ("flow", "http", "dns", "tls", "l2", "host")
VANTAGES = ("sensor", "proxy", "server", "firewall", "host", "siem")
ORIGINS = ("real", "documentation")


def parse(text: str, file: str, stem: str) -> Schema:
    """Return the Schema that the YAML text describes; `stem` is the file name it must be called after."""
    top = load(text, file)
    name = top.text("name")
    if name != stem:
        raise top.error("name", f"`name` is {name!r} but the file is called {stem!r}", "they must be equal")
    layouts = _layouts(top)
    recognise = _recognise(top)
    for layout in layouts:
        _check_recognisable(top, layout, recognise)
    fields = _fields(top.table("fields"), layouts)
    if not fields:
        raise top.error("fields", "`fields` names no field")
    constants = _constants(top)
    variants = [_variant(table, layouts, fields) for table in top.tables("variants")]
    schema = Schema(
        name=name,
        title=top.text("title"),
        origin=top.choice("origin", ORIGINS),
        version=top.text("version"),
        references=top.texts("references"),
        layer=top.choice("layer", LAYERS),
        vantage=top.choice("vantage", VANTAGES),
        priority=top.number("priority", 0, 100),
        recognise=recognise,
        bases=tuple(_base(layout, fields, constants, variants) for layout in layouts),
        cannot=_per_field(top, "cannot"),
        needs=_per_field(top, "needs"),
        opaque=top.texts("opaque"),
        siem=_siem(top, fields),
        file=file,
    )
    top.done()
    return schema


def _layouts(top: Table) -> list[Layout]:
    if "layout" not in top:
        raise top.error("layout", "key 'layout' is missing")
    tables = [top.table("layout")] if top.is_table("layout") else top.tables("layout")
    if not tables:
        raise top.error("layout", "`layout` is empty")
    return [_layout(table) for table in tables]


def _layout(table: Table) -> Layout:
    kind = table.choice("kind", tuple(KINDS))
    unset = frozenset(table.texts("unset")) if "unset" in table else UNSET
    layout = KINDS[kind].load(table, unset)
    table.done()
    return layout


def _recognise(top: Table) -> Recognise:
    table = top.table("recognise")
    regex = table.optional("regex")
    if regex is not None:
        _check_regex(table, "regex", regex)
    found = Recognise(
        keys=table.texts("keys"),
        any=table.texts("any"),
        equals=table.choices("equals"),
        absent=table.texts("absent"),
        regex=regex,
        columns=table.texts("columns"),
        program=table.texts("program"),
    )
    table.done()
    return found


def _check_recognisable(top: Table, layout: Layout, recognise: Recognise) -> None:
    if isinstance(layout, Json):
        if not (recognise.keys or recognise.any or recognise.equals):
            raise top.error("recognise", "a json layout needs `keys`, `any` or `equals` in `recognise`")
    elif isinstance(layout, Delimited) and layout.header:
        if not recognise.columns:
            raise top.error("recognise", "a layout with a header needs `columns` in `recognise`")
    elif isinstance(layout, (Delimited, KeyValue)) and not (recognise.regex or recognise.program):
        raise top.error(
            "recognise", "this layout reads almost any text: it needs `regex` or `program` in `recognise`"
        )


def _check_regex(table: Table, key: str, text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise table.error(key, f"`{key}` is no regular expression: {error}") from None


def _fields(table: Table, layouts: list[Layout]) -> dict[str, Field | None]:
    fields: dict[str, Field | None] = {}
    for name in table.names():
        if name not in FIELDS:
            raise table.error(name, f"{name!r} is no canonical field", "docs/fields.md lists them")
        if table.is_table(name):
            fields[name] = _field(name, table.table(name), layouts)
        else:
            sources = table.texts(name)
            _check_sources(table, name, sources, layouts)
            fields[name] = Field(name, sources, conversions.default(name)) if sources else None
    return fields


def _field(name: str, table: Table, layouts: list[Layout]) -> Field:
    sources = table.texts("from")
    if not sources:
        raise table.error("from", f"field {name!r} needs `from`")
    _check_sources(table, "from", sources, layouts)
    convert = table.choice("as", tuple(conversions.READ), conversions.default(name))
    match = table.optional("match")
    if match is not None and "v" not in _check_regex(table, "match", match).groupindex:
        raise table.error("match", "`match` needs a group (?P<v>…)")
    mapping = tuple(table.mapping("map").items())
    formats = table.texts("formats")
    try:
        format_reader(formats)
    except ValueError as error:
        raise table.error("formats", str(error)) from None
    if formats and convert not in ("time", "when"):
        raise table.error("formats", "`formats` goes with `as: time`")
    join, glue = table.choice("join", ("all", ""), "") == "all", _glue(table)
    if join and not FIELDS[name].many:
        raise table.error("join", f"field {name!r} holds one value: `join` is for lists")
    less_of, times = None, 0
    if "less" in table:
        less = table.table("less")
        less_of, times = less.text("of"), less.number("times", 0, 10_000)
        _check_sources(less, "of", (less_of,), layouts)
        less.done()
    otherwise = _field(name, table.table("or"), layouts) if "or" in table else None
    table.done()
    for key, value in mapping:
        _check_constant(table, "map", name, value, convert, key)
    return Field(name, sources, convert, join, glue, match, mapping, formats, less_of, times, otherwise)


def _glue(table: Table) -> str | None:
    return table.text("glue") if "glue" in table else None


def _check_constant(table: Table, key: str, name: str, value: str, convert: str, mapped: str) -> None:
    if conversions.READ[convert](value, Clock()) is None:
        raise table.error(key, f"{mapped!r} maps to {value!r}, which is no value of {name!r}")


def _check_sources(table: Table, key: str, sources: tuple[str, ...], layouts: list[Layout]) -> None:
    known: set[str] = set()
    for layout in layouts:
        names = layout.names()
        if names is None:
            return
        known |= names
    for source in sources:
        if source not in known and not source.startswith("syslog."):
            raise table.error(
                key, f"the layout has no source field {source!r}", f"it has: {', '.join(sorted(known))}"
            )


def _constants(top: Table) -> tuple[tuple[str, object], ...]:
    table = top.table("constants")
    out: list[tuple[str, object]] = []
    for name in table.names():
        if name not in FIELDS:
            raise table.error(name, f"{name!r} is no canonical field", "docs/fields.md lists them")
        try:
            out.append((name, constant(name, table.text(name))))
        except ValueError as error:
            raise table.error(name, str(error)) from None
    return tuple(out)


def _per_field(top: Table, key: str) -> dict[str, str]:
    table = top.table(key)
    for name in table.names():
        if name not in FIELDS:
            raise table.error(name, f"{name!r} is no canonical field", "docs/fields.md lists them")
    return top.mapping(key)


PARTS = ("network", "web", "dns", "l2", "")


def _siem(top: Table, fields: dict[str, Field | None]) -> tuple[Naming, ...]:
    """Return the namings: `siem:` holds one, or a list where several SIEMs keep records of this layout."""
    tables = [top.table("siem")] if top.is_table("siem") else top.tables("siem")
    return tuple(_naming(table, fields) for table in tables)


def _naming(table: Table, fields: dict[str, Field | None]) -> Naming:
    naming = Naming(
        target=table.text("target"),
        schema=table.text("schema"),
        part=table.choice("part", PARTS, ""),
        table=table.text("table"),
        columns=_columns(table.table("columns"), fields),
        partly=_per_field(table, "partly"),
        settings=table.mapping("settings"),
    )
    for name in naming.partly:
        if name not in naming.columns:
            raise table.error("partly", f"{name!r} has no column: say under `cannot` why")
    table.done()
    return naming


def _columns(table: Table, fields: dict[str, Field | None]) -> dict[str, tuple[Column, ...]]:
    columns: dict[str, tuple[Column, ...]] = {}
    for name in table.names():
        if fields.get(name) is None:  # what a query asks for, `scan` must be able to read from an export, too
            raise table.error(name, f"`fields` does not say where {name!r} comes from")
        types = table.mapping(name)
        if not types or not all(types.values()):
            raise table.error(name, f"{name!r} needs columns and their types", "{SrcIpAddr: string}")
        columns[name] = tuple(Column(column, kind) for column, kind in types.items())
    return columns


Variant = tuple[tuple[tuple[str, frozenset[str]], ...], Layout | None, dict[str, Field | None]]


def _variant(table: Table, layouts: list[Layout], fields: dict[str, Field | None]) -> Variant:
    when = table.choices("when")
    if not when:
        raise table.error("when", "a variant needs `when`")
    _check_sources(table, "when", tuple(when), layouts)
    own = _layout(table.table("layout")) if "layout" in table else None
    known = [own] if own else layouts
    merged = {**fields, **_fields(table.table("fields"), known)}
    if own:  # the fields it inherits must be there too
        for name, spec in merged.items():
            if spec:
                _check_sources(table, "layout", spec.all_sources(), [own, *layouts])
                merged[name] = spec
    table.done()
    return tuple((source, frozenset(values)) for source, values in when.items()), own, merged


def _base(
    layout: Layout,
    fields: dict[str, Field | None],
    constants: tuple[tuple[str, object], ...],
    variants: list[Variant],
) -> Base:
    def form(
        own: Layout, specs: dict[str, Field | None], when: tuple[tuple[str, frozenset[str]], ...]
    ) -> Form:
        chosen = tuple(spec for spec in specs.values() if spec is not None)
        return Form(own, FieldMap(chosen, constants, own.unset, own.nested), when)

    return Base(
        form(layout, fields, ()),
        tuple(form(own or layout, specs, when) for when, own, specs in variants),
    )
