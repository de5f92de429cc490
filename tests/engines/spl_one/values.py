"""Values of SPL as the manuals describe them: text, numbers, truth, null, and fields with many values.

A field of an event is absent (null), one text, or a list of texts. Numbers are texts that read as numbers.
Pure functions; nothing here raises but `pattern`, which refuses a regular expression it cannot carry over.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterator
from typing import Any

from engines.readings_one import Readings

from .errors import SplError

Value = Any  # None | bool | int | float | str | list[str]
Event = dict[str, Any]

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def event_of(record: dict[str, Any]) -> Event:
    """Turn what a caller gives into an event: no nulls, no empty lists, texts; `id` stays what it is."""
    event: Event = {}
    for name, value in record.items():
        if name == "id":
            event[name] = value
            continue
        many = [text(item) for item in value if item is not None] if isinstance(value, list) else None
        if many is not None:
            value = many[0] if len(many) == 1 else (many or None)
        elif value is not None:
            value = text(value)
        if value is not None:
            event[name] = value
    return event


def listed(value: Value) -> list[Value]:
    """Return the values of a field, none for null."""
    return [] if value is None else list(value) if isinstance(value, list) else [value]


def packed(values: list[Value]) -> Value:
    """Return values as a field holds them: null, one, or many."""
    kept = [value for value in values if value is not None]
    return None if not kept else kept[0] if len(kept) == 1 else kept


def number(value: Value) -> int | float | None:
    """Read a number, or return None (Search Reference, eval: numbers are double-precision)."""
    if isinstance(value, bool) or value is None or isinstance(value, list):
        return None
    if isinstance(value, (int, float)):
        return value
    word = str(value)
    if not _NUMBER.fullmatch(word):
        return None
    return int(word) if re.fullmatch(r"[-+]?\d+", word) else float(word)


def text(value: Value) -> str:
    """Spell a value; a whole number has no decimal point."""
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return value if isinstance(value, str) else str(value)


def ordered(left: Value, right: Value, readings: Readings) -> int:
    """Compare two numbers as numbers and anything else by its text.

    Search Reference, search: `< > <= >=` "numerically compare two numbers and lexicographically compare other
    values". A number beside a text that is none is such an other value in search; eval says only "two numbers or
    two strings", so there it is open and the caller asks.
    """
    one, two = number(left), number(right)
    if one is not None and two is not None:
        return (one > two) - (one < two)
    first, second = text(left), text(right)
    return (first > second) - (first < second)


@functools.lru_cache(maxsize=4096)
def wildcard(pattern_text: str, *, caseless: bool = True) -> re.Pattern[str]:
    """Build the matcher of a search value, in which `*` stands for any characters (Search Manual, Wildcards)."""
    parts = ".*".join(re.escape(part) for part in pattern_text.split("*"))
    return re.compile(parts, re.DOTALL | (re.IGNORECASE if caseless else 0))


@functools.lru_cache(maxsize=4096)
def like(pattern_text: str) -> re.Pattern[str]:
    """Build the matcher of `like`: `%` many characters, `_` one, case-sensitive (Comparison functions, like)."""
    signs = {"%": ".*", "_": "."}
    return re.compile("".join(signs.get(sign, re.escape(sign)) for sign in pattern_text), re.DOTALL)


@functools.lru_cache(maxsize=1024)
def pattern(regex: str) -> re.Pattern[str]:
    """Carry a PCRE over to Python (Search Manual, SPL and regular expressions: SPL uses PCRE).

    Refused, because Python's answer would differ: recursion, `\\K`, `\\h`, branch reset, POSIX classes, and flags
    in the middle of a pattern.
    """
    for sign in (r"\K", r"\h", r"\R", r"\Q", r"\G", "(?|", "(?R)", "(?1)", "(*", "[[:"):
        if sign in regex.replace("\\\\", ""):
            raise SplError(f"regular expression uses {sign}, which this evaluator cannot carry over: {regex}")
    named = re.sub(r"\(\?<(?![=!])", "(?P<", regex)
    try:
        return re.compile(named)
    except re.error as problem:
        raise SplError(f"not a regular expression PCRE would take: {problem}: {regex}") from None


@functools.lru_cache(maxsize=4096)
def network(value: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Read `address/length`, or a bare address as a network of one."""
    try:
        return ipaddress.ip_network(value, strict=False)
    except ValueError:
        return None


@functools.lru_cache(maxsize=4096)
def address(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an address, or return None."""
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        return None


def within(cidr: str, value: Value, readings: Readings) -> bool:
    """Tell whether an address lies in a subnet, for IPv4 and IPv6.

    Comparison and Conditional functions, cidrmatch; search, "CIDR matching"; lookup, match type CIDR. The manuals
    show each family alone; an IPv4-mapped IPv6 address beside an IPv4 subnet is open.
    """
    net, host = network(cidr), address(text(value))
    if net is None or host is None:
        return False
    if (
        isinstance(host, ipaddress.IPv6Address)
        and host.ipv4_mapped
        and isinstance(net, ipaddress.IPv4Network)
    ):
        return readings.take(
            "CIDR: an IPv4-mapped IPv6 address in an IPv4 subnet", False, host.ipv4_mapped in net
        )
    return host.version == net.version and host in net


def matched_names(wanted: str, names: Iterator[str] | list[str]) -> list[str]:
    """Return the field names a name with `*` stands for; field names are case-sensitive."""
    if "*" not in wanted:
        return [wanted]
    matcher = wildcard(wanted, caseless=False)
    return [name for name in names if matcher.fullmatch(name)]
