"""The closed vocabulary `as:` of schema files: how a source value becomes a canonical value, and back.

Every reader takes (value, clock) and returns the canonical value or None; it never raises, whatever the value is:
log content is written by strangers. Every writer is the inverse for one source field; a conversion that reads only a
part of its source has no writer of its own and is composed in `writing`. Pure.
A new conversion is code, reviewed here; schema files cannot carry any. The vocabulary stands in one file, long as it
is, so that it can be read through.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from imdswatch import address
from imdswatch.event import FIELDS, Kind
from imdswatch.layouts.times import Clock, iso, to_time

Reader = Callable[[Any, Clock], Any]

LONGEST_ADDRESS = 90  # 39 letters of an IPv6 address, brackets, and a zone of any sensible length
_LONGEST_NUMBER = 19  # digits of 2**63; a longer "number" is an attack or a mistake
_HEX_MAC = re.compile(r"[0-9a-f]{12}\Z")
_VLAN = re.compile(r"(?:.*[.]|[Vv][Ll][Aa][Nn][ _-]?)?(\d{1,4})\Z", re.DOTALL)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # a header name, RFC 9110 5.6.2
_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) +(.*?)(?: +HTTP/[0-9.]+)?\Z", re.DOTALL)
_FLAG_BITS = "FSRPAUEC"  # bit 0 up: FIN SYN RST PSH ACK URG ECE CWR, RFC 9293 3.1
_FLAG_WORDS = {"FIN": "F", "SYN": "S", "RST": "R", "PSH": "P", "ACK": "A", "URG": "U", "ECE": "E", "CWR": "C"}
_TRUE = frozenset({"true", "yes", "t", "1", "y"})
_FALSE = frozenset({"false", "no", "f", "0", "n"})


def to_text(value: Any, clock: Clock) -> str | None:
    """Return the value as text; of a list its first element; None for an object and for nothing."""
    kind = value.__class__
    if kind is str:
        return value or None
    if kind is bool:
        return "true" if value else "false"
    if kind is int or kind is float:
        return str(value)
    if kind is list and value:
        return to_text(value[0], clock) if value[0].__class__ is not list else None
    return None


def to_lower(value: Any, clock: Clock) -> str | None:
    """Return the text in lower case."""
    text = value if value.__class__ is str else to_text(value, clock)
    return text.lower() if text else None


def to_upper(value: Any, clock: Clock) -> str | None:
    """Return the text in upper case."""
    text = value if value.__class__ is str else to_text(value, clock)
    return text.upper() if text else None


def to_int(value: Any, clock: Clock) -> int | None:
    """Return a whole number; "123", "123.0" and -5 are numbers, "1_0" and 10**30 are none."""
    kind = value.__class__
    if kind is int:
        return int(value) if -(10**_LONGEST_NUMBER) < value < 10**_LONGEST_NUMBER else None
    if kind is float:
        return int(value) if value == value and abs(value) < 1e18 else None
    text = to_text(value, clock) if kind is not str else value
    if not text:
        return None
    digits = text.strip().removesuffix(".0")
    if len(digits) <= _LONGEST_NUMBER and digits.isascii() and digits.removeprefix("-").isdigit():
        return int(digits)
    return None


def to_hexint(value: Any, clock: Clock) -> int | None:
    """Return the number that hexadecimal text names, with or without 0x."""
    text = to_text(value, clock)
    if text is None or len(text) > 18 or not re.fullmatch(r"(?:0[xX])?[0-9a-fA-F]+", text):
        return None
    return int(text, 16)


def to_bool(value: Any, clock: Clock) -> bool | None:
    """Return True or False for true/false, yes/no, T/F, 1/0 in any case."""
    text = (to_text(value, clock) or "").lower()
    return True if text in _TRUE else False if text in _FALSE else None


def to_address(value: Any, clock: Clock) -> str | None:
    """Return the canonical text of an address (see imdswatch.address)."""
    text = to_text(value, clock) if value.__class__ is not str else value
    return address.parse(text) if text and len(text) <= LONGEST_ADDRESS else None


def to_mac(value: Any, clock: Clock) -> str | None:
    """Return a MAC address lower case with colons, from any of its spellings (`-`, `:`, `.` or no separator)."""
    text = value if value.__class__ is str else to_text(value, clock)
    return _mac(text) if text is not None and len(text) <= 24 else None


@lru_cache(maxsize=1 << 14)
def _mac(text: str) -> str | None:
    digits = text.strip().lower().replace(":", "").replace("-", "").replace(".", "")
    if not _HEX_MAC.match(digits):
        parts = text.strip().lower().split(":")  # Solaris and macOS drop leading zeros: 2:0:5e:1:2:3
        if len(parts) != 6 or not all(re.fullmatch(r"[0-9a-f]{1,2}", part) for part in parts):
            return None
        digits = "".join(part.zfill(2) for part in parts)
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def to_nlmac_src(value: Any, clock: Clock) -> str | None:
    """Return the source of netfilter's `MAC=`: destination 6, source 6, type 2 octets (nf_log_syslog.c)."""
    return _nlmac(value, clock, 6)


def to_nlmac_dst(value: Any, clock: Clock) -> str | None:
    """Return the destination of netfilter's `MAC=`."""
    return _nlmac(value, clock, 0)


def _nlmac(value: Any, clock: Clock, start: int) -> str | None:
    octets = (to_text(value, clock) or "")[:64].split(":")
    return to_mac(":".join(octets[start : start + 6]), clock) if len(octets) == 14 else None


def to_vlan(value: Any, clock: Clock) -> tuple[int, ...] | None:
    """Return 802.1Q ids as a tuple from 120, "120", "eth0.120", "vlan120", "10,20" or a list; 0 and 4095 are no id."""
    if value.__class__ is list:
        values = value[:8]
    elif value.__class__ is str and ("," in value or " " in value):
        values = re.split(r"[,\s]+", value[:128])
    else:
        values = [value]
    ids: list[int] = []
    for item in values:
        text = to_text(item, clock)
        found = _VLAN.match(text) if text and len(text) < 128 else None
        if found and 0 < int(found[1]) < 4095:
            ids.append(int(found[1]))
    return tuple(ids) or None


def _epoch(divisor: float) -> Reader:
    def read(value: Any, clock: Clock) -> float | None:
        kind = value.__class__
        try:
            if (kind is str and len(value) <= 32) or kind is float or kind is int:
                number = float(value)
            else:
                return None
        except (ValueError, OverflowError):
            # A table may hold the same column as a point in time.
            return to_time(value, clock) if kind is str and value[4:5] == "-" else None
        seconds = number / divisor
        return seconds if 0 <= seconds < 253402300800.0 else None

    return read


to_epoch = _epoch(1.0)


def to_base64(value: Any, clock: Clock) -> str | None:
    """Return the text that base64 or base64url text encodes, padding optional."""
    text = to_text(value, clock)
    if text is None:
        return None
    plain = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        raw = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    try:
        return raw.decode() or None
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def to_sockaddr_ip(value: Any, clock: Clock) -> str | None:
    """Return the address in a hexadecimal `struct sockaddr` as Linux audit prints it (little-endian family)."""
    raw = _sockaddr(value, clock)
    if raw[:2] == b"\x02\x00" and len(raw) >= 8:
        return address.parse(str(IPv4Address(raw[4:8])))
    if raw[:2] == b"\x0a\x00" and len(raw) >= 24:
        return address.parse(str(IPv6Address(raw[8:24])))
    return None


def to_sockaddr_port(value: Any, clock: Clock) -> int | None:
    """Return the port in a hexadecimal `struct sockaddr`."""
    raw = _sockaddr(value, clock)
    return (
        int.from_bytes(raw[2:4], "big") if raw[:2] in (b"\x02\x00", b"\x0a\x00") and len(raw) >= 8 else None
    )


def _sockaddr(value: Any, clock: Clock) -> bytes:
    try:
        return bytes.fromhex((to_text(value, clock) or "")[:256])
    except ValueError:
        return b""


def to_names(value: Any, clock: Clock) -> tuple[str, ...] | None:
    """Return header names from a list, a list of {name, …}, an object, "A,B", "A|B" or "A: x\\r\\nB: y".

    Values are never returned: a text with a colon is taken as header lines, and of each line only the part before
    its first colon counts, if it is a token.
    """
    found: list[str] = []
    if value.__class__ is list and len(value) <= 64:
        try:
            return _name_list(tuple(value))  # one client sends the same set again and again
        except TypeError:
            pass  # a list of objects
    if value.__class__ is dict:
        found = list(value)
    elif value.__class__ is list:
        for item in value:
            if item.__class__ is dict:
                item = item.get("name")
            if item.__class__ is str:
                found.append(item.partition(":")[0])
    else:
        text = to_text(value, clock) or ""
        if ":" in text:
            lines = re.split(r"\r\n|\n|\r|\\r\\n|\\n", text)
            found = [line.partition(":")[0] for line in lines if ":" in line]
        else:
            found = re.split(r"[,|;\s]+", text)
    return _tokens(found)


@lru_cache(maxsize=1 << 10)
def _name_list(values: tuple[Any, ...]) -> tuple[str, ...] | None:
    return _tokens([value.partition(":")[0] for value in values if value.__class__ is str])


def _tokens(found: list[str]) -> tuple[str, ...] | None:
    names = tuple(name.strip() for name in found if len(name) < 256 and _TOKEN.match(name.strip()))
    return tuple(name for name in names if name != "-") or None


def to_list(value: Any, clock: Clock) -> tuple[str, ...] | None:
    """Return the elements of a list, or of text split on commas; empty ones and "-" are left out."""
    items = value if value.__class__ is list else (to_text(value, clock) or "").split(",")
    texts = (to_text(item, clock) for item in items)
    return tuple(text.strip() for text in texts if text and text.strip() not in ("", "-", "(empty)")) or None


def header_name(source: str) -> Reader:
    """Return the reader that gives the NAME of the header a source field holds, if the field has any value.

    The value itself is a secret and is looked at only for being there.
    """
    found = re.fullmatch(
        r"%\{(?:[^}:]*:)?([^}]+)\}\S*|[\w-]+\(([^)]+)\)|\$(?:sent_)?http_(\w+)|(?:hdr_)?(.+)", source
    )
    name = next((part for part in found.groups() if part), source) if found else source
    if source.startswith("$") or re.fullmatch(r"[a-z0-9_]+", name):
        name = name.replace("_", "-")

    def read(value: Any, clock: Clock) -> str | None:
        return name if to_text(value, clock) is not None else None

    return read


def to_dhcp_routes(value: Any, clock: Clock) -> tuple[str, ...] | None:
    """Return the networks of DHCP option 121 or 249 given as hex octets (RFC 3442); gateways are dropped."""
    try:
        raw = bytes.fromhex(re.sub(r"[^0-9A-Fa-f]", "", (to_text(value, clock) or "")[:2048]))
    except ValueError:
        return None
    routes: list[str] = []
    at = 0
    while at < len(raw) and raw[at] <= 32:
        octets = (raw[at] + 7) // 8
        network = raw[at + 1 : at + 1 + octets]
        if at + 1 + octets + 4 > len(raw):
            break
        routes.append(f"{IPv4Address(network.ljust(4, bytes(1)))}/{raw[at]}")
        at += 1 + octets + 4
    return tuple(routes) or None


def _write_routes(value: Any) -> str | None:
    raw = b""
    for route in value:
        base, _, length = route.partition("/")
        if ":" in base or not length.isdigit() or int(length) > 32:
            return None
        raw += bytes([int(length)]) + IPv4Address(base).packed[: (int(length) + 7) // 8] + bytes(4)
    return raw.hex(":")


def to_flags(value: Any, clock: Clock) -> str | None:
    """Return TCP flags as letters of SAFRPUEC from a bit mask (27, "0x1b", "1b"), ".AP.SF" or "SYN ACK"."""
    text = to_text(value, clock)
    if text is None or len(text) > 64:
        return None
    if value.__class__ is str and not re.fullmatch(r"(?:0[xX])?[0-9a-fA-F]{2}|0[xX][0-9a-fA-F]+", text):
        if text.isascii() and text.isdigit():
            mask = int(text[:4])
        else:
            words = re.split(r"[^A-Z]+", text.upper())
            letters = "".join(_FLAG_WORDS.get(word, word) for word in words)
            return "".join(flag for flag in "SAFRPUEC" if flag in letters) or None
    else:
        mask = to_hexint(text, clock) or 0 if value.__class__ is str else to_int(value, clock) or 0
    return "".join(flag for flag in "SAFRPUEC" if mask >> _FLAG_BITS.index(flag) & 1) or None


def to_request_method(value: Any, clock: Clock) -> str | None:
    """Return GET of "GET /x HTTP/1.1"."""
    found = _REQUEST_LINE.match(to_text(value, clock) or "")
    return found[1].upper() if found else None


def to_request_uri(value: Any, clock: Clock) -> str | None:
    """Return /x of "GET /x HTTP/1.1"; blanks inside the target stay."""
    found = _REQUEST_LINE.match(to_text(value, clock) or "")
    return found[2] or None if found else None


def to_host_port_host(value: Any, clock: Clock) -> str | None:
    """Return the host of "host:port" or "[v6]:port"."""
    return address.split_port((to_text(value, clock) or "").strip())[0] or None


def to_host_port_port(value: Any, clock: Clock) -> int | None:
    """Return the port of "host:port" or "[v6]:port"."""
    return address.split_port((to_text(value, clock) or "").strip())[1]


READ: dict[str, Reader] = {
    "text": to_text,
    "lower": to_lower,
    "upper": to_upper,
    "int": to_int,
    "hexint": to_hexint,
    "bool": to_bool,
    "address": to_address,
    "mac": to_mac,
    "macs": to_mac,  # to_text takes the first of a list
    "nlmac_src": to_nlmac_src,
    "nlmac_dst": to_nlmac_dst,
    "vlan": to_vlan,
    "time": to_time,
    "when": to_time,  # to_time tells the unit of a bare number by its size
    "epoch": to_epoch,
    "epoch_ms": _epoch(1e3),
    "epoch_us": _epoch(1e6),
    "epoch_ns": _epoch(1e9),
    "base64": to_base64,
    "sockaddr_ip": to_sockaddr_ip,
    "sockaddr_port": to_sockaddr_port,
    "names": to_names,
    "header_name": to_text,  # `reader` puts the function of the source field in its place
    "dhcp_routes": to_dhcp_routes,
    "list": to_list,
    "flags": to_flags,
    "request_method": to_request_method,
    "request_uri": to_request_uri,
    "host_port_host": to_host_port_host,
    "host_port_port": to_host_port_port,
    "percent_cr": to_text,  # kept as logged: the core decodes paths for comparison, evidence shows what stood there
}


def _same(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


WRITE: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(
        ("text", "lower", "upper", "int", "bool", "address", "mac", "names", "list", "percent_cr"), _same
    ),
    "hexint": lambda value: f"{value:x}",
    "macs": lambda value: [value],
    "vlan": lambda value: value[0] if len(value) == 1 else list(value),
    "time": iso,
    "when": iso,
    "epoch": float,
    "dhcp_routes": _write_routes,
    "epoch_ms": lambda value: round(value * 1e3),
    "epoch_us": lambda value: round(value * 1e6),
    "epoch_ns": lambda value: round(value * 1e6) * 1000,
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "flags": lambda value: (
        f"0x{sum(1 << _FLAG_BITS.index(flag) for flag in set(value) & set(_FLAG_BITS)):02x}"
    ),
}
"""What a whole source field says; conversions that read a part of it are composed by `writing`."""


def default(canonical: str) -> str:
    """Name the conversion of a canonical field whose schema gives none."""
    if canonical == "vlan":
        return "vlan"
    if canonical == "req_header":
        return "names"
    if canonical == "method":
        return "upper"
    if canonical in ("proto", "arp_opcode", "action", "reply_by"):
        return "lower"
    field = FIELDS[canonical]
    if field.many:
        return "list"
    kinds = {Kind.ADDRESS: "address", Kind.MAC: "mac", Kind.INT: "int", Kind.FLOAT: "time", Kind.BOOL: "bool"}
    return kinds.get(field.kind, "text")


_FITS = {
    "address": {"address", "sockaddr_ip"},
    "mac": {"mac", "macs", "nlmac_src", "nlmac_dst"},
    "int": {"int", "hexint", "sockaddr_port", "host_port_port"},
    "time": {"time", "when", "epoch", "epoch_ms", "epoch_us", "epoch_ns"},
    "bool": {"bool"},
    "vlan": {"vlan"},
    "list": {"list", "names", "dhcp_routes"},
    "names": {"names"},
}


def reader(canonical: str, name: str, source: str = "") -> Reader:
    """Return the reader of a canonical field by conversion name; the result always has the field's own type.

    Where the named conversion gives another type (the host of "10.0.0.1:80" is text), the default follows it.
    """
    first, second = READ[name], default(canonical)
    if name == "header_name":
        first = header_name(source)
    if name in _FITS.get(second, {name}):
        return first
    last = READ[second]

    def both(value: Any, clock: Clock) -> Any:
        between = first(value, clock)
        if between is None:
            return None
        return last(list(between) if between.__class__ is tuple else between, clock)

    return both
