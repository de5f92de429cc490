"""AQL functions of single values, each named after its heading in IBM's guide.

Pages: "AQL data calculation and formatting functions", "AQL data retrieval functions", "Reference data query
examples". A function that is in neither is an error that names it. NULL gives NULL unless said otherwise.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from engines.readings_one import Readings

from .errors import AqlError
from .values import Value, address, network, number, pattern, text

NULL_TEST = "NULL in LIKE, MATCHES or INCIDR (NULL, or false)"


@dataclass(frozen=True, slots=True)
class Context:
    """What functions may look at besides their arguments."""

    readings: Readings
    sets: Mapping[str, Any]
    maps: Mapping[str, Any]
    now: float | None


Answer = Callable[[Context, list[Value]], Value]


def incidr(of: Context, args: list[Value]) -> bool | None:
    """ "CIDR IP addresses in AQL queries": an IPv4 or IPv6 subnet, or a bare address, and a column.

    The page shows IPv4 subnets on sourceip and destinationip and an IPv6 address on destinationv6. What a subnet of
    one family says about an address of the other is not shown.
    """
    if args[0] is None or network(text(args[0])) is None:
        raise AqlError(f"INCIDR: {args[0]!r} is no address or subnet")
    if args[1] is None:
        return of.readings.take(NULL_TEST, None, False)
    net, host = network(text(args[0])), address(text(args[1]))
    if net is None or host is None:
        return of.readings.take("INCIDR on a value that is no address", False, None)
    if net.version != host.version:
        mapped = getattr(host, "ipv4_mapped", None)
        return of.readings.take(
            "INCIDR with a subnet of the other IP family", False, None, mapped is not None and mapped in net
        )
    return host in net


def in_set(of: Context, args: list[Value]) -> bool | None:
    """REFERENCESETCONTAINS('name', value).

    A set is a list of values or {type: ALN|ALNIC|NUM|IP|PORT, values: […]}. "The IP type stores IPv4 addresses. The
    Alphanumeric (Ignore Case) type automatically changes any alphanumeric value to lowercase" (Administration Guide,
    "Adding, editing, and deleting reference sets"). Nothing says that an element may be a subnet.
    """
    name = text(args[0])
    if name not in of.sets:
        raise AqlError(f"unknown reference set {name!r}")
    entry = of.sets[name]
    kind, values = (
        (entry.get("type", "ALN"), entry["values"]) if isinstance(entry, Mapping) else ("ALN", entry)
    )
    elements = [text(value) for value in values]
    if kind == "IP" and (wrong := [one for one in elements if not re.fullmatch(r"\d+(\.\d+){3}", one)]):
        raise AqlError(f"reference set {name!r} of type IP stores IPv4 addresses, not {wrong[0]!r}")
    if args[1] is None:
        return of.readings.take(NULL_TEST, None, False)
    value = text(args[1])
    if kind == "ALNIC":
        return value.lower() in [one.lower() for one in elements]
    if value in elements:
        return True
    host = address(value)
    spelled = host is not None and any(address(one) == host for one in elements)
    if spelled:
        return of.readings.take("a reference set that has an address in another spelling", True, False)
    covered = host is not None and any(
        "/" in one and (net := network(one)) and host in net for one in elements
    )
    if covered:
        return of.readings.take("a subnet as an element of a reference set", False, True)
    folded = value.lower() in [one.lower() for one in elements]
    return of.readings.take("case in a reference set of type ALN", False, True) if folded else False


def in_map(of: Context, args: list[Value]) -> Value:
    """REFERENCEMAP('name', key): the value, NULL for a key the map does not have."""
    name = text(args[0])
    if name not in of.maps:
        raise AqlError(f"unknown reference map {name!r}")
    return None if args[1] is None else of.maps[name].get(text(args[1]))


def in_map_of_sets(of: Context, args: list[Value]) -> bool:
    """REFERENCEMAPSETCONTAINS('name', key, value)."""
    name = text(args[0])
    if name not in of.maps:
        raise AqlError(f"unknown reference map of sets {name!r}")
    return (
        args[1] is not None
        and args[2] is not None
        and text(args[2]) in map(text, of.maps[name].get(text(args[1]), []))
    )


def named(function: str) -> Answer:
    """A function that gives the name of a number (LOGSOURCETYPENAME, QIDNAME, …), from `maps[function]`.

    A column that holds the name already, as small test events do, is given back as it is.
    """

    def run(of: Context, args: list[Value]) -> Value:
        if args[0] is None:
            return None
        names = of.maps.get(function)
        if names is not None:
            return names.get(text(args[0]), names.get(args[0]))
        if number(args[0]) is None:
            return text(args[0])
        raise AqlError(f"{function}({text(args[0])}): no name is known; give maps={{{function!r}: …}}")

    return run


def simple(answer: Callable[..., Value]) -> Answer:
    return lambda of, args: None if any(arg is None for arg in args) else answer(*args)


def long(value: Value) -> Value:
    """LONG: a number, or an IPv4 address as a number."""
    host, amount = address(text(value)), number(value)
    if amount is not None:
        return int(amount)
    if host is not None and host.version == 4:
        return int(host)
    raise AqlError(f"LONG({value!r}): no number")


def substring(value: Value, start: Value, length: Value = None) -> Value:
    """SUBSTRING(text, start, length), counted from zero."""
    word, first = text(value), int(start)
    return word[first:] if length is None else word[first : first + int(length)]


def position(value: Value, part: Value, start: Value = 0) -> int:
    """STRPOS(text, part, start): counted from zero, -1 if it is not there."""
    return text(value).find(text(part), int(start))


def replaced(count: int) -> Callable[[Value, Value, Value], str]:
    """REPLACEALL and REPLACEFIRST (regex, text, replacement); `$1` stands for a group."""

    def run(regex: Value, value: Value, new: Value) -> str:
        form = re.sub(r"\$(\d)", r"\\g<\1>", text(new).replace("\\", "\\\\"))
        return pattern(text(regex), caseless=False).sub(form, text(value), count=count)

    return run


LETTERS = {"yyyy": "%Y", "yy": "%y", "MM": "%m", "MMM": "%b", "dd": "%d", "HH": "%H", "hh": "%I", "mm": "%M"}
LETTERS |= {"ss": "%S", "a": "%p", "EEE": "%a", "z": "%Z", "Z": "%z", "YYYY": "%Y"}


def date_format(value: Value, layout: Value) -> str:
    """DATEFORMAT(milliseconds, Java date pattern), in UTC. `YYYY`, which IBM's examples use, is read as the year."""
    when = datetime.fromtimestamp(float(value) / 1000, UTC)
    out = []
    for part in re.finditer(r"'([^']*)'|(([A-Za-z])\3*)|(.)", text(layout), re.DOTALL):
        if part[1] is not None or part[4] is not None:
            out.append(part[1] if part[1] is not None else part[4])
        elif part[2] == "SSS":
            out.append(f"{when.microsecond // 1000:03d}")
        elif part[2] in LETTERS:
            out.append(when.strftime(LETTERS[part[2]]))
        else:
            raise AqlError(f"DATEFORMAT: {part[2]!r} is not known to this evaluator")
    return "".join(out)


def clock(of: Context, args: list[Value]) -> Value:
    """NOW(): milliseconds since 1970."""
    if of.now is None:
        raise AqlError("NOW() needs now=")
    return int(of.now * 1000)


UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}


def parse_date_time(of: Context, args: list[Value]) -> Value:
    """PARSEDATETIME('1 hour ago' | 'now'): milliseconds ("Time criteria in AQL queries")."""
    if of.now is None:
        raise AqlError("PARSEDATETIME() needs now=")
    word = text(args[0]).strip().lower()
    if word == "now":
        return int(of.now * 1000)
    ago = re.fullmatch(r"(\d+) (\w+?)s? ago", word)
    if not ago or ago[2] not in UNITS:
        raise AqlError(f"PARSEDATETIME({args[0]!r}) is not known to this evaluator")
    return int((of.now - int(ago[1]) * UNITS[ago[2]]) * 1000)


def coalesced(of: Context, args: list[Value]) -> Value:
    """COALESCE is on neither function page: the first value that is not NULL, or nothing at all."""
    return of.readings.take(
        "COALESCE, which the guide's function pages do not list",
        next((arg for arg in args if arg is not None), None),
        None,
    )


NAMES: tuple[str, ...] = (
    "APPLICATIONNAME",
    "CATEGORYNAME",
    "DOMAINNAME",
    "LOGSOURCENAME",
    "LOGSOURCETYPENAME",
    "LOGSOURCEGROUPNAME",
)
NAMES += (
    "PROTOCOLNAME",
    "QIDNAME",
    "QIDDESCRIPTION",
    "RULENAME",
    "NETWORKNAME",
    "FULLNETWORKNAME",
    "HOSTNAME",
)

FUNCTIONS: dict[str, tuple[Answer, int, int | None]] = {
    **{name: (named(name), 1, 2) for name in NAMES},
    "BASE64": (simple(lambda value: base64.b64encode(text(value).encode()).decode()), 1, 1),
    "COALESCE": (coalesced, 1, None),
    "CONCAT": (simple(lambda *args: "".join(map(text, args))), 1, None),
    "DATEFORMAT": (simple(date_format), 2, 2),
    "DOUBLE": (simple(lambda value: float(value)), 1, 1),
    "INCIDR": (incidr, 2, 2),
    "LONG": (simple(long), 1, 1),
    "LOWER": (simple(lambda value: text(value).lower()), 1, 1),
    "NOW": (clock, 0, 0),
    "PARSEDATETIME": (parse_date_time, 1, 1),
    "REFERENCEMAP": (in_map, 2, 2),
    "REFERENCEMAPSETCONTAINS": (in_map_of_sets, 3, 3),
    "REFERENCESETCONTAINS": (in_set, 2, 2),
    "REPLACEALL": (simple(replaced(0)), 3, 3),
    "REPLACEFIRST": (simple(replaced(1)), 3, 3),
    "STR": (simple(text), 1, 1),
    "STRLEN": (simple(lambda value: len(text(value))), 1, 1),
    "STRPOS": (simple(position), 2, 3),
    "SUBSTRING": (simple(substring), 2, 3),
    "UPPER": (simple(lambda value: text(value).upper()), 1, 1),
    "UTF8": (simple(text), 1, 1),
}
