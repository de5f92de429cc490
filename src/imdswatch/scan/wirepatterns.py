"""`needed_on_wire` says what the octets of a capture must hold if a rule can match an event of it.

The counterpart of `patterns` for captures: addresses stand there in binary, names of DNS as labels, requests as they
were sent, without any writer's escapes. The patterns only over-approximate, and a rule without any makes every packet
be read, which is said. A request that is cut into segments is found by `imdswatch.wire.halves` instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from imdswatch import address
from imdswatch.event import ENDPOINT_LABEL, FIELDS, Kind
from imdswatch.rule import And, Cidr, Exists, Match, Node, Not, Null, Or, Text, Wild
from imdswatch.scan.patterns import SEPARATOR, Needed, Pattern, hatches, minimal, needed
from imdswatch.scan.regexes import COLON

_TOLD = frozenset({"offered_route"})
"""Fields of packets that are read whatever they hold: DHCP and router advertisements."""
_OF_DOCUMENTS = frozenset({"access_key_id", "account_id", "role", "response_code", "expiration"})
"""Fields that only the answer to a metadata request has, and those are searched for anyway (`_RELEVANT`)."""
_NEVER = frozenset(
    {
        "process",
        "process_origin",
        "src_host",
        "sensor",
        "signature",
        "payload",
        "nat_dst",
        "nat_dst_port",
        "action",
    }
)
"""Fields that no capture fills."""
_MARKS = {
    # what stands on the wire wherever the field has a value (wire/http1_message.py)
    "signing_key_id": ("Credential=", "AWSAccessKeyId=", "authorization: AWS ", "authorization:AWS "),
}
_LABELS = frozenset({"dns_query", "dns_answer"})
_TREES = ("meta-data", "user-data", "dynamic", "api/token")
_WIRE_SLASH = "(?:/|%(?:25)?2f)"
_WIRE_SEPARATOR = rf"{_WIRE_SLASH}(?:\.?{_WIRE_SLASH})*"
_LEAST = 4  # octets; three stand somewhere in every sixteen megabytes of anything


@dataclass(frozen=True, slots=True)
class OnWire:
    """What to search a capture for, as expressions: `texts` without case, `octets` exactly.

    `rare` spellings are searched for only in requests, and `hosts` only where a host is a number: such short texts
    stand everywhere in octets of any kind. `everything` says that nothing can be searched for, and `notes` why.
    """

    texts: tuple[str, ...]
    octets: tuple[str, ...]
    rare: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    everything: bool = False
    notes: tuple[str, ...] = ()


def needed_on_wire(conditions: Sequence[tuple[str, Node]]) -> OnWire:
    """Return what to search for, for named conditions over events of captures."""
    found = {slug: _needed(condition) for slug, condition in conditions}
    unbound = [slug for slug, patterns in found.items() if patterns is None]
    if unbound:
        note = (
            f"nothing to search captures for in {', '.join(unbound)}: every packet is read, which is slower"
        )
        return OnWire((), (), (), (), True, (note,))
    patterns = [pattern for some in found.values() for pattern in some or ()]
    octets = [pattern.text for pattern in patterns if pattern.text.startswith(r"\x")]
    words = [pattern for pattern in patterns if not pattern.text.startswith(r"\x")]
    hosts = [pattern.text for pattern in words if pattern.field == "host" and _is_number(pattern.text)]
    texts = [_as_sent(pattern) for pattern in words if pattern.text not in hosts]
    return OnWire(
        tuple(minimal(texts)), tuple(dict.fromkeys(octets)), _rare_spellings(), tuple(minimal(hosts))
    )


def _needed(node: Node) -> Needed:
    match node:
        case Match():
            return _match(node)
        case Not():
            return None
        case Or(nodes):
            found = [_needed(child) for child in nodes]
            if any(one is None for one in found):
                return None
            return tuple(dict.fromkeys(p for one in found if one is not None for p in one))
        case And(nodes):
            known = [one for one in map(_needed, nodes) if one is not None]
            return max(known, key=lambda one: min((p.weight for p in one), default=1 << 20), default=None)
    raise AssertionError(node)


def _match(match: Match) -> Needed:
    field, test = match.field, match.test
    if isinstance(test, Null) or test == Exists(False):
        return None
    if field is None:
        return needed(match, lambda _: None)
    if field in _TOLD or field in _NEVER:
        return ()
    if field in _OF_DOCUMENTS:
        return _RELEVANT
    if field in _MARKS:
        return tuple(Pattern(text, len(text), field) for text in _MARKS[field])
    kind = FIELDS[field].kind
    if kind is Kind.ADDRESS:
        return _address(test)
    if kind is Kind.MAC:
        digits = re.sub(r"[^0-9a-f]", "", str(test.parts[0]).lower()) if isinstance(test, Text) else ""
        return (_octets(bytes.fromhex(digits), field),) if len(digits) == 12 else None
    found = needed(match, lambda _: None)
    if (
        kind is Kind.HOST
        and isinstance(test, Text)
        and found is not None
        and (binary := _address(test)) is not None
    ):
        if field not in _LABELS:
            return (*found, *binary)
        name = str(test.parts[0])
        return binary if ":" in name else (_as_name(name), *binary)
    return found


def _address(test: object) -> Needed:
    """Return an address as it stands in a header; of a network at least the octets that are fixed."""
    if isinstance(test, Text) and len(test.parts) == 1 and isinstance(test.parts[0], str):
        text = address.parse_host(test.parts[0])
        if text is None:
            return None
        packed = IPv6Address(text).packed if ":" in text else IPv4Address(text).packed
        return (_octets(packed),)
    if isinstance(test, Cidr):
        network = address.network(test.network)
        packed = network.network_address.packed[: network.prefixlen // 8]
        return (_octets(packed),) if len(packed) >= _LEAST else None
    return None


def _as_name(text: str) -> Pattern:
    """Return an address that somebody made a name of: labels with their lengths (RFC 1035 3.1)."""
    labels = text.encode().split(b".")
    return _octets(b"".join(bytes([len(label)]) + label for label in labels))


def in_octets(octets: bytes) -> str:
    """Return an expression for these octets."""
    return "".join(f"\\x{octet:02x}" for octet in octets)


def _octets(octets: bytes, field: str = "") -> Pattern:
    return Pattern(in_octets(octets), 2 * len(octets), field)


def _as_sent(pattern: Pattern) -> str:
    """Return a pattern of `patterns` without the spellings that only logs have."""
    text = pattern.text.replace(SEPARATOR, _WIRE_SEPARATOR)
    if pattern.field in _LABELS:
        text = text.replace(r"\.", r"[\x01-\x3f.]")  # a dot of a name is the length of the label behind it
    return text


def _is_number(text: str) -> bool:
    """Say whether a pattern of a host is one of the rare spellings of an address."""
    return (
        re.search(r"[g-wyz]", text.replace(COLON, "")) is None
        and re.fullmatch(r"\d+(\\\.\d+){3}", text) is None
    )


def _rare_spellings() -> tuple[str, ...]:
    """Return the encodings that nobody needs, as `hatches` has them, without those that only logs have."""
    return tuple(
        text
        for text in hatches({Kind.URL, Kind.PATH, Kind.HOST})
        if not text.startswith((r"\\", "[0-9a-z:]", "MESSAGE"))
    )


def _of_relevance() -> tuple[Pattern, ...]:
    paths = [f"/{tree}/{leaf}" for tree in ("latest", "1.0") for leaf in _TREES]
    tests = [Match("uri_path", Text((path,))) for path in paths]
    dated = ("/20", Wild.ONE, Wild.ONE, "-", Wild.ONE, Wild.ONE, "-", Wild.ONE, Wild.ONE)
    tests += [Match("uri_path", Text((*dated, f"/{leaf}"))) for leaf in _TREES]
    tests += [Match("host", Text((name,))) for name in (*sorted(address.ENDPOINTS), ENDPOINT_LABEL)]
    found = [pattern for test in tests for pattern in _match(test) or ()]
    return (*found, Pattern("x-aws-ec2-metadata-token", 24))


_RELEVANT: tuple[Pattern, ...] = _of_relevance()
"""What makes a flow one of the metadata service: its addresses, paths, names and headers."""
