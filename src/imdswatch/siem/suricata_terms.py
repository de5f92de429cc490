"""What an alternative of a rule means to Suricata: told in what it sees, or left out where it never holds there.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from imdswatch import address
from imdswatch.event import ENDPOINT_LABEL
from imdswatch.rule import Text, Wild
from imdswatch.siem import formula as f
from imdswatch.siem.suricata_options import COLUMNS, PAYLOAD, REPLY
from imdswatch.siem.terms import Literal, Term, minimal


def seen(found: Iterable[Term]) -> list[Term]:
    """Return the alternatives in Suricata's terms.

    - Every HTTP request has a method.
    - A flow has one destination, whichever side is seen: a source that is the endpoint and answers is the destination.
    - The body is there to be read, so `resp_document` is a question to it; one that holds something is not empty.
    - Credentials count in an IMDS dialogue only, as for `scan`: any other service may hand out its own.
    - What stands in a CONNECT tunnel is HTTP again, or cannot be told from the tunnel.
    """
    return minimal(mended for term in found for mended in _mended(term))


def _mended(term: Term) -> Iterator[Term]:
    out: list[Literal] = []
    replies = any(one.atom.column.type in (REPLY, PAYLOAD) for one in term)
    for one in term:
        test = one.atom.test
        if one.field == "http.method" and isinstance(test, f.Present):
            if not one.holds:
                return
            continue
        if one.field == "src_ip" and replies:
            one = Literal(replace(one.atom, column=_DESTINATION), one.holds)
        if one.field == "resp_document" and isinstance(test, f.Texts):
            asks = any(pattern.parts == ("credentials",) for pattern in test.patterns)
            one = Literal(f.Atom(_KEY_ID, f.Present()), one.holds is asks)
        out.append(one)
    methods = [one for one in out if one.field == "http.method"]
    if any(one.holds for one in methods):
        if any(one.field == "resp_bytes" for one in out):
            return
        out = [one for one in out if one.holds or one not in methods or _overlap(one, methods)]
    if not any(one.atom.column == _KEY_ID or one.field == "account_id" for one in out if one.holds):
        yield tuple(out)
        return
    out = [one for one in out if one.field != "resp_bytes"]
    yield from ((*out, mark) for mark in _DIALOGUE)


_DESTINATION, _KEY_ID = COLUMNS["dst_ip"][0], COLUMNS["access_key_id"][0]
_TREES = ("meta-data", "user-data", "dynamic", "api/token")
_VERSIONS: tuple[tuple[str | Wild, ...], ...] = (
    ("/latest/",), ("/1.0/",), ("/20", *[Wild.ONE] * 2, "-", *[Wild.ONE] * 2, "-", *[Wild.ONE] * 2, "/"),
)  # fmt: skip
_PATHS = tuple(
    Text((Wild.ANY, *version[:-1], f"{version[-1]!s}{name}", *more))
    for version in _VERSIONS for name in _TREES for more in ((), ("/", Wild.ANY))
)  # fmt: skip
_ENDPOINTS = tuple(sorted(address.ENDPOINTS))
_NAMES = (Text((ENDPOINT_LABEL,)), Text((f"{ENDPOINT_LABEL}.", Wild.ANY)))
_HEADER = Text((Wild.ANY, "x-aws-ec2-metadata-token", Wild.ANY))
_DIALOGUE = tuple(
    Literal(f.Atom(COLUMNS[field][0], test), True)
    for field, test in (
        ("dst_ip", f.Inside(tuple(address.network(one) for one in _ENDPOINTS))),
        ("host", f.Hosts(_ENDPOINTS, _NAMES)),
        ("req_header", f.Texts((_HEADER,))),
        ("uri_path", f.Paths(_PATHS)),
    )
)
"""What makes an exchange one of an IMDS dialogue: address, name, header, or path."""


def _overlap(negative: Literal, literals: Iterable[Literal]) -> bool:
    """Say whether a method that must not be is one of those that must."""
    wanted = {
        one.parts
        for each in literals
        if each.holds and isinstance(each.atom.test, f.Texts)
        for one in each.atom.test.patterns
    }
    test = negative.atom.test
    return not isinstance(test, f.Texts) or any(one.parts in wanted for one in test.patterns)
