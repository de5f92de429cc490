"""The Event: one observed exchange in canonical fields, whatever tool saw it.

`FIELDS` is the one list of field names that schemas fill and rules ask for (docs/fields.md is generated from it).
An Event keeps what the sensor saw: source and destination are never swapped. Who asked (`victim`), what was asked
(`endpoint`) and whether anything replied (`answered`) are derived here, in one place, for every rule and every sink.
Everything is pure. Header values, tokens and secret keys have no field, so they cannot enter an Event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from imdswatch import address, urlpath


class Kind(Enum):
    """How a field's values are compared."""

    TEXT = "text, without case"
    ADDRESS = "IP address, in any spelling"
    MAC = "MAC address, in any spelling"
    HOST = "host name, or an address in any spelling a URL may carry; a port is not compared"
    NAME = "name in DNS, without case and final dot"
    URL = "URL: path decoded and resolved, without case"
    PATH = "path: decoded and resolved, without case"
    INT = "number"
    FLOAT = "time, seconds since 1970 UTC"
    BOOL = "true or false"


@dataclass(frozen=True, slots=True)
class Field:
    """One canonical field: how it is compared, whether it holds several values, and what it means."""

    kind: Kind
    meaning: str
    many: bool = False


FIELDS: dict[str, Field] = {
    "timestamp": Field(Kind.FLOAT, "when it happened"),
    "sensor": Field(Kind.TEXT, "device, interface, zone or exporter that saw it"),
    "session": Field(Kind.TEXT, "key that joins records of one connection"),
    "src_ip": Field(Kind.ADDRESS, "source, as the sensor saw it"),
    "dst_ip": Field(
        Kind.ADDRESS, "destination, as the sensor saw it; in a proxy log the origin server, never the proxy"
    ),
    "src_port": Field(Kind.INT, "source port"),
    "dst_port": Field(Kind.INT, "destination port"),
    "src_mac": Field(Kind.MAC, "MAC address of the source"),
    "dst_mac": Field(Kind.MAC, "MAC address of the destination: names the responder on the same segment"),
    "src_host": Field(Kind.TEXT, "host name of the source"),
    "nat_dst": Field(Kind.ADDRESS, "destination after address translation, where it differs"),
    "nat_dst_port": Field(Kind.INT, "destination port after address translation"),
    "vlan": Field(Kind.INT, "802.1Q ids, outer first", many=True),
    "proto": Field(Kind.TEXT, "transport protocol"),
    "ttl": Field(Kind.INT, "IP TTL or hop limit of the reply"),
    "process": Field(Kind.TEXT, "process that asked"),
    "process_origin": Field(Kind.TEXT, "its pid, user and control group, as the sensor names them"),
    "url": Field(Kind.URL, "full URL, may lack the scheme"),
    "host": Field(Kind.HOST, "Host header or host of the URL"),
    "uri_path": Field(Kind.PATH, "path, without query"),
    "uri_query": Field(Kind.TEXT, "query"),
    "method": Field(Kind.TEXT, "HTTP method"),
    "user_agent": Field(Kind.TEXT, "User-Agent"),
    "client": Field(Kind.TEXT, "client software, told from how it asks rather than from what it says"),
    "req_header": Field(Kind.TEXT, "names of request headers, never their values", many=True),
    "status": Field(Kind.INT, "HTTP status the client got"),
    "resp_mime": Field(Kind.TEXT, "content type of the response"),
    "resp_document": Field(
        Kind.TEXT,
        "what the body was seen to be: credentials, roles, token … or `other`; absent if nobody saw it whole",
    ),
    "dns_query": Field(Kind.NAME, "name asked"),
    "dns_answer": Field(Kind.HOST, "addresses or names answered", many=True),
    "tls_sni": Field(Kind.NAME, "TLS server name"),
    "arp_opcode": Field(Kind.TEXT, "request or reply; source is the sender, destination the target"),
    "nd_target": Field(Kind.ADDRESS, "target of an IPv6 neighbour advertisement"),
    "offered_route": Field(
        Kind.TEXT, "networks that a DHCP server, router advertisement or redirect routes", many=True
    ),
    "gateway": Field(Kind.ADDRESS, "next hop that an offered route to the endpoint names"),
    "action": Field(Kind.TEXT, "allow, deny, reset or detect"),
    "conn_state": Field(Kind.TEXT, "connection state in the words of the sensor"),
    "resp_bytes": Field(Kind.INT, "payload bytes from the responder"),
    "resp_ip_bytes": Field(Kind.INT, "bytes from the responder, headers included"),
    "resp_packets": Field(Kind.INT, "packets from the responder"),
    "resp_flags": Field(Kind.TEXT, "TCP flags seen from the responder, letters of SAFRPUEC"),
    "reply_by": Field(Kind.TEXT, "`proxy` where the intermediary made the reply itself"),
    "answered": Field(Kind.BOOL, "something at the destination replied with payload"),
    "signature": Field(Kind.TEXT, "IDS signature"),
    "access_key_id": Field(Kind.TEXT, "key id of served credentials"),
    "account_id": Field(Kind.TEXT, "AWS account of served credentials"),
    "role": Field(Kind.TEXT, "role of served credentials"),
    "response_code": Field(Kind.TEXT, "`Code` of a credential document"),
    "expiration": Field(Kind.FLOAT, "end of life of served credentials"),
    "account_claim": Field(
        Kind.TEXT,
        "AWS accounts that an answer names, each after what says so: `iam-info:123456789012`",
        many=True,
    ),
    "signing_key_id": Field(Kind.TEXT, "access key id that signed the request (AWS Signature Version 4)"),
    "step": Field(
        Kind.TEXT, "how far the packets of one victim and endpoint had come: resolve, claim, connect … use"
    ),
    "payload": Field(Kind.TEXT, "raw record, where no schema knows it"),
}

ENDPOINT_LABEL = "instance-data"
"""First label of the endpoint's DNS names: instance-data, .ec2.internal, .REGION.compute.internal (EC2 User Guide)."""
_NO_CARD = "00:00:00:00:00:00"
"""What stands for a MAC address where there is none: on loopback, in an ARP request, in flow records."""
_NO_ANSWER_STATUS = frozenset({407, 502, 503, 504})
_NO_REPLY_STATES = frozenset({"S0", "REJ", "RSTOS0", "SH"})
"""Zeek's words for a connection whose responder said nothing, or refused (Conn::Info, conn_state)."""
_V4_HEADERS, _V6_HEADERS = 60, 80  # bytes: IP header 20/40, TCP header with options at most 40 (RFC 9293 3.1)


def complete(fields: dict[str, Any]) -> dict[str, Any]:
    """Fill url, host, uri_path, uri_query and answered from each other, in place; return the same dict.

    Never replaces what the source said, except that a query inside `uri_path` moves to `uri_query`, an absolute URL in
    `uri_path` (as proxies send it) becomes `url`, and a MAC address of zeros, which names nobody, is left out.
    """
    get = fields.get
    if get("src_mac") == _NO_CARD:
        del fields["src_mac"]
    if get("dst_mac") == _NO_CARD:
        del fields["dst_mac"]
    path, url = get("uri_path"), get("url")
    if path is not None and not path.startswith("/") and "://" in path:
        url = fields.setdefault("url", path)
        del fields["uri_path"]
        path = None
    if path is not None:
        if "?" in path:
            path, _, query = path.partition("?")
            fields["uri_path"] = path
            fields.setdefault("uri_query", query)
        if url is None:
            fields["url"] = url_of(fields)
    elif url is not None:
        parts = urlpath.split(url)
        if parts.path:
            fields["uri_path"] = parts.path
        if parts.query:
            fields.setdefault("uri_query", parts.query)
    if url is not None and "host" not in fields:
        host = urlpath.split(url).host
        if host:
            fields["host"] = host
    if "answered" not in fields:
        answered = derive_answered(fields)
        if answered is not None:
            fields["answered"] = answered
    return fields


def url_of(fields: Mapping[str, Any]) -> str:
    """Return the URL that host, path and query make; there must be a path."""
    query = fields.get("uri_query")
    url: str = fields.get("host", "") + fields["uri_path"]
    return f"{url}?{query}" if query else url


def derive_answered(fields: Mapping[str, Any]) -> bool | None:
    """Say whether something at the destination replied with payload; None where the source cannot know (DESIGN 3).

    A reset, an unreachable, a bare handshake and a reply that the proxy or firewall made itself are no answer.
    """
    get = fields.get
    if get("reply_by") == "proxy" or get("action") in ("deny", "reset"):
        return False
    status = get("status")
    if status is not None and get("method") != "CONNECT":  # there the status is the proxy's own
        return 100 <= status <= 999 and status not in _NO_ANSWER_STATUS
    payload, flags, packets, octets = (
        get("resp_bytes"),
        get("resp_flags"),
        get("resp_packets"),
        get("resp_ip_bytes"),
    )
    if payload is not None and payload > 0:
        return True
    if flags is not None and "P" in flags:
        return True
    if octets is not None and packets is not None and payload is None:
        headers = _V6_HEADERS if ":" in (get("dst_ip") or "") else _V4_HEADERS
        if octets > packets * headers:
            return True
    if (
        payload is None
        and flags is None
        and packets != 0
        and octets != 0
        and (packets is None or octets is None)
    ):
        # Bytes without packets, or packets without bytes: they may be headers alone.
        return False if get("conn_state") in _NO_REPLY_STATES else None
    return False


@dataclass(frozen=True, slots=True)
class Event:
    """One observed exchange: completed canonical fields and where they were read.

    `fields` holds only names of `FIELDS`; a field that the source did not give is absent. `position` is 1-based
    `line N`, `packet N` or `row N`.
    """

    fields: Mapping[str, Any]
    schema: str
    source: str
    position: str

    @property
    def victim_ip(self) -> str | None:
        """The host that asked: the source, or the target where the endpoint itself is the source."""
        return victim_ip(self.fields)

    @property
    def endpoint(self) -> str | None:
        """What was asked: an endpoint's canonical address, or `host:port` of a custom endpoint."""
        return endpoint(self.fields)


def victim_ip(fields: Mapping[str, Any]) -> str | None:
    """Return the address of the host that asked, or None if the record does not say; never the responder's."""
    get = fields.get
    source: str | None = get("src_ip")
    if source in address.ENDPOINTS or get("nd_target") in address.ENDPOINTS or get("offered_route"):
        target: str | None = get("dst_ip")
        if target == source or target is None or not _one_host(target):
            return None
        return target
    return source if source is not None and source not in ("0.0.0.0", "::") else None


def _one_host(text: str) -> bool:
    return text not in ("0.0.0.0", "::", "255.255.255.255") and not text.startswith(("ff0", "224."))


def victim_mac(fields: Mapping[str, Any]) -> str | None:
    """Return the MAC address of the host that asked, or None."""
    get = fields.get
    if get("src_ip") in address.ENDPOINTS or get("nd_target") in address.ENDPOINTS or get("offered_route"):
        mac: str | None = get("dst_mac")
        if mac is None or get("dst_ip") == get("src_ip") or not _one_card(mac):
            return None
        return mac
    return get("src_mac")


def _one_card(mac: str) -> bool:
    """Say whether a MAC address is one network card's: its group bit is not set (IEEE 802-2014 8.2)."""
    return mac[1:2] not in "13579bdfBDF" and mac != _NO_CARD


def endpoint(fields: Mapping[str, Any]) -> str | None:
    """Return what was asked: 169.254.169.254, fd00:ec2::254, or `host:port` of a custom endpoint; None if unknown."""
    get = fields.get
    destination: str | None = get("dst_ip")
    for candidate in (destination, get("src_ip"), get("nd_target")):
        if candidate in address.ENDPOINTS:
            return candidate
    host: str | None = get("host")
    if host is not None:
        named = named_endpoint(host)
        if named is not None:
            return named
    for answer in get("dns_answer") or ():
        if address.parse(answer) in address.ENDPOINTS:
            return address.parse(answer)
    query = get("dns_query")
    if query is not None:
        return named_endpoint(query)
    for route in get("offered_route") or ():
        return address.ENDPOINT_V6 if ":" in route else address.ENDPOINT_V4
    port = get("dst_port")
    if host is not None:
        name, given = address.split_port(host)
        name = address.parse_host(name) or name.lower()
        port = given or port
    elif destination is not None:
        name = destination
    else:
        return None
    return f"[{name}]:{port}" if port and ":" in name else f"{name}:{port}" if port else name


def named_endpoint(host: str) -> str | None:
    """Return the endpoint that a host text names, by address in any spelling or by its DNS name, else None."""
    found = address.parse_host(host)
    if found is not None:
        return found if found in address.ENDPOINTS else None
    name = address.split_port(host)[0].rstrip(".").lower()
    # A resolver appends its search domains, so `instance-data.example.net` is asked for `instance-data` too.
    return address.ENDPOINT_V4 if name.partition(".")[0] == ENDPOINT_LABEL else None
