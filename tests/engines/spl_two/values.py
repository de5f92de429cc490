"""Values of fields: numbers, addresses, patterns, and fields with several values.

Pure. A field is absent (None), a text, a number, or a list of these (a multivalue field).
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import Any

Event = dict[str, Any]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
# PCRE writes (?<name>...), Python (?P<name>...); (?<= and (?<! are the same in both.
NAMED_GROUP = re.compile(r"\(\?<(?=[A-Za-z_])")


def values_of(value: Any) -> list[Any]:
    """Return the values of a field, none of them null."""
    if isinstance(value, list | tuple):
        return [item for item in value if item is not None]
    return [] if value is None else [value]


def field_of(values: list[Any]) -> Any:
    """Return what a field with these values holds: nothing, the one value, or the list."""
    return None if not values else values[0] if len(values) == 1 else values


def text_of(value: Any) -> str:
    """Write a value as text; whole numbers have no fraction (Search Reference, eval: numbers are doubles)."""
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def number_of(value: Any) -> float | int | None:
    """Return the number that a value is or spells, else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if isinstance(value, str) and NUMBER.fullmatch(value):
        number = float(value)
        return int(number) if number.is_integer() and abs(number) < 1e15 else number
    return None


@functools.cache
def network_of(text: str) -> Network | None:
    """Return the network of `net/len`, else None; a plain address is no network."""
    if "/" not in text:
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def in_network(network: Network, value: Any) -> bool:
    """Say whether a value is an address of that network; IPv4 and IPv6 never meet."""
    try:
        address = ipaddress.ip_address(text_of(value))
    except ValueError:
        return False
    return address in network


@functools.cache
def wildcard(pattern: str, caseless: bool = True) -> re.Pattern[str]:
    """Compile a text in which `*` stands for any characters; it matches whole values."""
    parts = (re.escape(part) for part in pattern.split("*"))
    return re.compile(".*".join(parts), re.DOTALL | (re.IGNORECASE if caseless else 0))


@functools.cache
def pcre(pattern: str) -> re.Pattern[str]:
    """Compile a PCRE pattern with Python's `re`; raises `re.error` where it cannot."""
    return re.compile(NAMED_GROUP.sub("(?P<", pattern))


def compare(left: Any, right: Any) -> int:
    """Order two values: as numbers if both are, else by code points.

    Search Reference, `search` and `where`: <, >, <=, >= compare two numbers numerically and other values
    lexicographically.
    """
    one, two = number_of(left), number_of(right)
    if one is None or two is None:
        a, b = text_of(left), text_of(right)
        return (a > b) - (a < b)
    return (one > two) - (one < two)
