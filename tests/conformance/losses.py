"""What a schema and a language cannot see, and so may lose: `allowed.yml`, applied to an event.

`visible` leaves out of an event's fields what the schema has no column for, and what the functions here take away;
the predicate of `scan` on the rest says what a query can be expected to answer at best.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import yaml

from conformance.corpus import HERE, Case
from imdswatch import address
from imdswatch.event import complete

Blind = Callable[[dict[str, Any]], dict[str, Any]]


@cache
def _file() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HERE / "allowed.yml").read_text(encoding="utf-8"))
    return found


def entries(target: str, label: str, language: str) -> list[tuple[str, str]]:
    """Return what is allowed to be lost: (field or name of a blind spot, reason)."""
    found = []
    for block in (_file().get(target, {}).get(label, {}), _file().get("languages", {}).get(language, {})):
        for names, why in block.get("lacks", {}).items():
            found += [(name, f"{why} ({block['source']})") for name in names.split()]
        found += [(name, f"{why} ({block['source']})") for name, why in block.get("blind", {}).items()]
    return found


def listed() -> Iterator[tuple[str, str, str, str]]:
    """Yield all that may be lost: place, what, why, source."""
    for target, blocks in _file().items():
        for name, block in blocks.items():
            for kind in ("lacks", "blind"):
                for what, why in block.get(kind, {}).items():
                    place = name if target == "languages" else f"{target} {name}"
                    yield place, what, why, block["source"]


def visible(case: Case, losses: tuple[str, ...]) -> dict[str, Any]:
    """Return the completed fields that are left of an event."""
    left = dict(case.fields)
    if "answered" not in case.given:
        left.pop("answered", None)  # derived again of what is left
    for name in losses:
        if name in BLIND:
            left = BLIND[name](left)
        else:
            left.pop(name, None)
    return complete(left)


def _without(fields: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def _url_without_host(fields: dict[str, Any]) -> dict[str, Any]:
    return _without(fields, "url", "uri_path", "uri_query") if "host" not in fields else fields


def _reset(fields: dict[str, Any]) -> dict[str, Any]:
    return _without(fields, "action") if fields.get("action") == "reset" else fields


def _one_case(text: str) -> bool:
    return text in (text.lower(), text.upper(), text.title())


def _path_in_another_spelling(fields: dict[str, Any]) -> dict[str, Any]:
    path = fields.get("uri_path", "")
    if _one_case(path) and not any(mark in path for mark in ("%", "//", "/.")):
        return fields
    return _without(fields, "uri_path", "url", "uri_query")


def _host_in_another_spelling(fields: dict[str, Any]) -> dict[str, Any]:
    host = fields.get("host", "")
    host = host.rpartition(":")[0] if address.split_port(host)[1] is not None else host
    if address.parse_host(host) is None or (_one_case(host) and host.lower() in _plain_hosts()):
        return fields
    return _without(fields, "host", "url")


@cache
def _plain_hosts() -> frozenset[str]:
    """Return the usual ways to write the endpoints: one radix throughout, IPv6 short, padded or in full."""
    octets, value = (169, 254, 169, 254), 0xA9FEA9FE
    out = {"169.254.169.254", "169.254.169.254.", str(value), f"{value:#x}", f"0{value:o}"}
    out |= {".".join(f"{octet:#x}" for octet in octets), ".".join(f"0{octet:o}" for octet in octets)}
    six = {"::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "fd00:ec2::254", "fd00:ec2:0:0:0:0:0:254"}
    six |= {"fd00:0ec2:0:0:0:0:0:254", "fd00:0ec2:0000:0000:0000:0000:0000:0254"}
    return frozenset(out | six | {f"[{text}]" for text in six})


def _name_in_mixed_case(fields: dict[str, Any]) -> dict[str, Any]:
    return fields if _one_case(fields.get("dns_query", "")) else _without(fields, "dns_query")


def _any_text_for_a_date(fields: dict[str, Any]) -> dict[str, Any]:
    dated = re.compile(r"/20[^/]*-[^/]*-[^/]*/")
    return {
        name: dated.sub("/2021-01-01/", value) if name in ("uri_path", "url") else value
        for name, value in fields.items()
    }


def _translated_to_ipv6(fields: dict[str, Any]) -> dict[str, Any]:
    return _without(fields, "nat_dst") if ":" in (fields.get("nat_dst") or "") else fields


def _one_vlan(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "vlan": fields["vlan"][:1]} if "vlan" in fields else fields


def _many_packets(fields: dict[str, Any]) -> dict[str, Any]:
    packets, octets = fields.get("resp_packets", 0), fields.get("resp_ip_bytes", 0)
    return _without(fields, "resp_packets") if packets > 16 and octets <= 2 * packets * 80 else fields


def _service_as_originator(fields: dict[str, Any]) -> dict[str, Any]:
    turned = fields.get("src_ip") in address.ENDPOINTS and fields.get("src_port") in (53, 80)
    return _without(fields, "resp_bytes", "resp_packets", "resp_ip_bytes") if turned else fields


BLIND: Mapping[str, Blind] = {
    "url without host": _url_without_host,
    "reset": _reset,
    "path in another spelling": _path_in_another_spelling,
    "host in another spelling": _host_in_another_spelling,
    "name in mixed case": _name_in_mixed_case,
    "any text for a date": _any_text_for_a_date,
    "many packets": _many_packets,
    "translated to IPv6": _translated_to_ipv6,
    "one VLAN": _one_vlan,
    "service as originator": _service_as_originator,
}
"""Name of a blind spot → what it leaves of the fields, or what it takes them for."""
