"""Records of a schema as QRadar would hold them: each address in the column of its family, names as ids."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from ipaddress import IPv6Address
from typing import Any
from zlib import crc32

from imdswatch.siem.aql import name_of
from imdswatch.siem.content import Source

_SIDES = (("sourceip", "sourcev6"), ("destinationip", "destinationv6"))
_TIMES = ("starttime", "firstpackettime")


def event(record: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """Return the event or flow of a record; what is empty in a column of addresses or numbers is NULL."""
    out = dict(record)
    for four, six in _SIDES:
        text = str(out.get(four) or "")
        if ":" in text:
            out[six] = out.pop(four)
        for name in (four, six):
            if out.get(name) == "":
                out[name] = None
        if out.get(six) is not None:
            assert IPv6Address(out[six])
    for column in (one for several in source.naming.columns.values() for one in several):
        name = (
            column.name.partition("(")[2].rstrip(")") or column.name
        )  # of an id that a function turns into a name
        value = out.get(name)
        if column.type != "text" and value == "":
            out[name] = None
        elif column.type == "name" and isinstance(value, str):
            out[f"{column.name.partition('(')[0].lower()}_{name}"] = value  # as the API's JSON names it
            out[name] = _id(value)
        elif isinstance(value, list):  # QRadar's properties have one value
            out[name] = value[0] if column.type == "number" else ", ".join(map(str, value))
    for name in _TIMES:
        if isinstance(out.get(name), str):
            out[name] = datetime.fromisoformat(out[name]).timestamp() * 1000
    return out


def properties(source: Source) -> dict[str, str]:
    """Return the custom properties that a source asks for, and their kinds."""
    columns = (column for several in source.naming.columns.values() for column in several)
    return {column.name: column.type for column in columns if name_of(column).startswith('"')}


def names(source: Source) -> dict[str, dict[str, str]]:
    """Return what the functions give that turn ids into names: function → id → name."""
    keys = [key for spec in source.schema.all_fields() for key, _ in spec.map]
    columns = (column for several in source.naming.columns.values() for column in several)
    functions = [column.name.partition("(")[0] for column in columns if column.type == "name"]
    return {function: {str(_id(key)): key for key in keys} for function in functions}


def _id(name: str) -> int:
    return crc32(name.lower().encode()) % 10_000
