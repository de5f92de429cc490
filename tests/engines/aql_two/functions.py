"""AQL's functions as Python functions that DuckDB calls.

IBM Ariel Query Language guide, "AQL data calculation and formatting functions" and "AQL data retrieval functions".
Each entry of `CALLS` has the kinds of its parameters, the kind of its result, and the function; null in gives null out.
`tables` are the names and reference data that the caller of `run` has given.
"""

from __future__ import annotations

import base64
import functools
import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from .errors import AqlError

NAMED_GROUP = re.compile(r"\(\?<(?=[A-Za-z])")  # Java writes (?<name>...), Python (?P<name>...)
# SimpleDateFormat letters that the guide's examples use; hh is the hour of the half day.
LETTERS = {"yyyy": "%Y", "yy": "%y", "MMM": "%b", "MM": "%m", "dd": "%d", "HH": "%H", "hh": "%I", "mm": "%M",
           "ss": "%S", "a": "%p", "EEE": "%a", "Z": "%z", "z": "%Z"}  # fmt: skip


def address(text: Any) -> str | None:
    """Write an address in its one canonical form; None for what is no address."""
    try:
        return str(ipaddress.ip_address(str(text).strip()))
    except ValueError:
        return None


@functools.cache
def java_regex(pattern: str, caseless: bool) -> re.Pattern[str]:
    """Compile a Java regular expression with Python's `re`."""
    try:
        return re.compile(NAMED_GROUP.sub("(?P<", pattern), re.IGNORECASE if caseless else 0)
    except re.error as error:
        raise AqlError(f"no regular expression: {error}") from None


def network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Read the first argument of INCIDR, a network or one address."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise AqlError(f"no IP address or CIDR range: {text!r}") from None


def in_cidr(cidr: str, text: str) -> bool:
    """INCIDR: "Filters on IP addresses that are in the specified CIDR range", IPv4 or IPv6."""
    held = address(text)
    return held is not None and ipaddress.ip_address(held) in network(cidr)


def date_format(milliseconds: int, form: str) -> str:
    """DATEFORMAT: milliseconds since the epoch by a SimpleDateFormat pattern, in UTC."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)

    def part(found: re.Match[str]) -> str:
        letters = found[0]
        if letters == "SSS":
            return f"{milliseconds % 1000:03d}"
        if letters not in LETTERS:
            raise AqlError(f"DATEFORMAT letters {letters!r} are not in this evaluator")
        return moment.strftime(LETTERS[letters])

    return re.sub(r"([A-Za-z])\1*", part, form)


def position(text: str, part: str, start: int = 0) -> int:
    """STRPOS: the index of a string in another, from zero, -1 if it is not there."""
    return text.find(part, start)


def substring(text: str, start: int, length: int) -> str:
    """SUBSTRING(text, start, length): the index starts at zero."""
    return text[start : start + length]


def replace_all(pattern: str, text: str, by: str) -> str:
    """REPLACEALL(regex, text, replacement)."""
    return java_regex(pattern, False).sub(re.sub(r"\$(\d)", r"\\g<\1>", by), text)


def replace_first(pattern: str, text: str, by: str) -> str:
    """REPLACEFIRST(regex, text, replacement)."""
    return java_regex(pattern, False).sub(re.sub(r"\$(\d)", r"\\g<\1>", by), text, count=1)


def long_of(value: str) -> int | None:
    """LONG: a value that represents a number, or an IP address, as a long integer."""
    held = address(value) if not re.fullmatch(r"-?\d+", value) else None
    if held:
        return int(ipaddress.ip_address(held))
    return int(float(value)) if re.fullmatch(r"-?\d+(?:\.\d+)?", value) else None


def double_of(value: str) -> float | None:
    """DOUBLE: a value that represents a number."""
    return float(value) if re.fullmatch(r"-?\d+(?:\.\d+)?", value) else None


Call = tuple[tuple[str, ...], str, Callable[..., Any]]
CALLS: dict[str, Call] = {
    "LOWER": (("text",), "text", str.lower),
    "UPPER": (("text",), "text", str.upper),
    "UTF8": (("bytes",), "text", lambda payload: payload),
    "BASE64": (("bytes",), "text", lambda payload: base64.b64encode(payload.encode()).decode()),
    "STR": (("any",), "text", lambda value: value),
    "LONG": (("any",), "number", long_of),
    "DOUBLE": (("any",), "double", double_of),
    "STRLEN": (("text",), "number", len),
    "STRPOS": (("text", "text"), "number", position),
    "SUBSTRING": (("text", "number", "number"), "text", substring),
    "REPLACEALL": (("text", "text", "text"), "text", replace_all),
    "REPLACEFIRST": (("text", "text", "text"), "text", replace_first),
    "DATEFORMAT": (("number", "text"), "text", date_format),
}
# "AQL data retrieval functions": an id gives a name. The names come from the caller, maps={"QIDNAME": {...}}.
NAMES = ("LOGSOURCETYPENAME", "LOGSOURCENAME", "QIDNAME", "CATEGORYNAME", "PROTOCOLNAME", "APPLICATIONNAME")
AGGREGATES = {"COUNT", "UNIQUECOUNT", "DISTINCTCOUNT", "MIN", "MAX", "SUM", "AVG", "FIRST", "LAST"}


def retrieval(sets: Mapping[str, Any], maps: Mapping[str, Any]) -> dict[str, Call]:
    """Return the functions that need reference data of the caller; an unknown set or map is an error."""

    def reference(kind: Mapping[str, Any], name: str, what: str) -> Any:
        if name not in kind:
            raise AqlError(f"unknown {what} {name!r}")
        return kind[name]

    def key(value: str) -> str:
        return address(value) or value

    def set_contains(name: str, value: str) -> bool:
        """REFERENCESETCONTAINS: true if the value is in the set."""
        return key(value) in {key(str(item)) for item in reference(sets, name, "reference set")}

    def in_map(name: str, value: str) -> str | None:
        """REFERENCEMAP: the value for a key, null if there is none."""
        table = {key(str(item)): held for item, held in reference(maps, name, "reference map").items()}
        found = table.get(key(value))
        return None if found is None else str(found)

    def map_set_contains(name: str, value: str, item: str) -> bool:
        """REFERENCEMAPSETCONTAINS: true if the set under that key has the value."""
        table = {
            key(str(held)): items for held, items in reference(maps, name, "reference map of sets").items()
        }
        return key(item) in {key(str(held)) for held in table.get(key(value), ())}

    def named(function: str) -> Call:
        def name_of(value: str) -> str | None:
            table = {str(item): held for item, held in reference(maps, function, "names: maps=").items()}
            return table.get(value)

        return (("any",), "text", name_of)

    return {
        "REFERENCESETCONTAINS": (("text", "any"), "bool", set_contains),
        "REFERENCEMAP": (("text", "any"), "text", in_map),
        "REFERENCEMAPSETCONTAINS": (("text", "any", "any"), "bool", map_set_contains),
        **{function: named(function) for function in NAMES},
    }
