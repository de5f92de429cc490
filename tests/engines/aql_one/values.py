"""Values of AQL: texts, addresses, numbers, times and NULL, and how columns get their kind.

Columns and their kinds stand in fields.yml; custom properties are declared by the caller. Pure functions.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from .errors import AqlError

Value = Any  # None | bool | int | float | str | Address
KINDS = ("ip", "ipv4", "ipv6", "time", "number", "payload", "text")


class Address(str):
    """The text of an address that comes from an IP column."""

    __slots__ = ()


@functools.lru_cache(maxsize=1)
def tables() -> dict[str, dict[str, str]]:
    """Return the built-in columns of events and flows with their kinds."""
    loaded = yaml.safe_load(Path(__file__).with_name("fields.yml").read_text(encoding="utf-8"))
    return {
        table: {name: kind for kind, names in kinds.items() for name in names}
        for table, kinds in loaded.items()
    }


def columns_of(table: str, declared: Mapping[str, Any] | list[str]) -> dict[str, tuple[str, str]]:
    """Return lower-case name → (name as declared, kind) for a table and its custom properties.

    `declared` is name → kind, or a list of names of texts; under the keys `events` and `flows` each table has its own.
    """
    found = {name: (name, kind) for name, kind in tables()[table].items()}
    if isinstance(declared, Mapping) and set(declared) <= {"events", "flows"} and declared:
        declared = declared.get(table, {})
    given = dict(declared) if isinstance(declared, Mapping) else dict.fromkeys(declared, "text")
    for name, kind in given.items():
        if kind not in KINDS:
            raise AqlError(f"custom property {name!r} is declared as {kind!r}, none of {', '.join(KINDS)}")
        found[name.lower()] = (name, kind)
    return found


def held(value: Value, kind: str) -> Value:
    """Turn what a caller gives into a value of a column."""
    if value is None or isinstance(value, list):
        if isinstance(value, list):
            raise AqlError(f"a column of Ariel holds one value, not {value!r}")
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if kind in ("ip", "ipv4", "ipv6"):
        return Address(value)
    if kind == "time":
        return moment(value)
    if kind == "number":
        amount = number(value)
        return str(value) if amount is None else amount
    return str(value) if not isinstance(value, bytes) else value.decode("utf-8", "replace")


def moment(value: Value) -> int | float | None:
    """Read a time column: milliseconds since 1970, or an ISO 8601 text."""
    amount = number(value)
    if amount is not None:
        return amount
    try:
        when = datetime.fromisoformat(str(value))
    except ValueError:
        raise AqlError(f"not a time: {value!r}") from None
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)


def number(value: Value) -> int | float | None:
    """Read a number, or return None."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d+", value):
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"[-+]?\d*\.\d+", value):
        return float(value)
    return None


def text(value: Value) -> str:
    """Spell a value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


@functools.lru_cache(maxsize=4096)
def network(value: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(value, strict=False)
    except ValueError:
        return None


@functools.lru_cache(maxsize=4096)
def address(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        return None


@functools.lru_cache(maxsize=1024)
def like(form: str, *, caseless: bool) -> re.Pattern[str]:
    """Build the matcher of LIKE: `%` any characters, `_` one ("LIKE clause")."""
    signs = {"%": ".*", "_": "."}
    body = "".join(signs.get(sign, re.escape(sign)) for sign in form)
    return re.compile(body, re.DOTALL | (re.IGNORECASE if caseless else 0))


@functools.lru_cache(maxsize=1024)
def pattern(regex: str, *, caseless: bool) -> re.Pattern[str]:
    r"""Carry a Java regular expression over to Python; what Python reads otherwise is refused.

    The guide does not name the dialect; REPLACEALL's examples and `(?i)` (IBM support, "Ariel 'contains' filter")
    are Java's. Refused: `\p{…}`, `\Q…\E`, `\h`, class intersection `&&`, and flags in the middle.
    """
    for sign in (r"\p", r"\P", r"\Q", r"\h", r"\R", "&&"):
        if sign in regex.replace("\\\\", ""):
            raise AqlError(f"regular expression uses {sign}, which this evaluator cannot carry over: {regex}")
    try:
        return re.compile(re.sub(r"\(\?<(?![=!])", "(?P<", regex), re.IGNORECASE if caseless else 0)
    except re.error as problem:
        raise AqlError(f"not a regular expression: {problem}: {regex}") from None
