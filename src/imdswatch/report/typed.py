"""Values of a finding as formats with types want them: an address, a port, a text; what does not fit is None.

A log may hold anything where an address belongs, and a store that types its fields (Elasticsearch, a lake of OCSF)
refuses the whole document for one such value. So OCSF and ECS put into a typed field only what passes here; the exact
value always stands in their untyped part as well. Pure.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from imdswatch import address
from imdswatch.report import clock, escape

_MAC = re.compile(r"[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}")
_LARGEST = (1 << 63) - 1
"""A `long` of Elasticsearch, Parquet and Java."""


def text(value: object) -> str | None:
    """Return the text as UTF-8 carries it; None for anything empty, or that is no text."""
    return escape.encodable(value) if isinstance(value, str) and value else None


def ip(value: object) -> str | None:
    """Return an IPv4 or IPv6 address in its canonical spelling, without a zone."""
    if not isinstance(value, str):
        return None
    try:
        return str(ipaddress.ip_address(value)) if "%" not in value else None
    except ValueError:
        return None


def mac(value: object) -> str | None:
    """Return a MAC address in small letters with colons."""
    if isinstance(value, str) and _MAC.fullmatch(value):
        return value.lower().replace("-", ":")
    return None


def integer(value: object, most: int = _LARGEST) -> int | None:
    """Return a number from 0 to `most`; None for any other, and for a truth value."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most:
        return value
    return None


def port(value: object) -> int | None:
    """Return a port number."""
    return integer(value, 0xFFFF)


def milliseconds(seconds: float | None) -> int | None:
    """Return epoch milliseconds, None where `clock.moment` knows no time."""
    at = clock.moment(seconds)
    return None if at is None else round(at.timestamp() * 1000)


def asked(responder: Mapping[str, object], request: Mapping[str, object]) -> Mapping[str, object]:
    """Return the other end of the exchange: the responder; where its address is unknown, the host that was asked."""
    host = text(request.get("host"))
    if responder.get("ip") or host is None:
        return responder
    name, number = address.split_port(host)
    found = ip(address.parse_host(host))
    return {"port": number} | dict(responder) | ({"ip": found} if found else {"host": name})


def without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping without what is unknown (None) or empty; False and 0 stay."""
    return {key: value for key, value in values.items() if value is not None and value not in ("", [], {})}
