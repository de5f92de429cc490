"""From the alternatives of a rule to Suricata rules without numbers: where each looks, what it asks, what it remembers.

One rule of Suricata 7 looks at one packet, one request or one reply. An alternative that asks both a request and its
reply becomes two: the first remembers the request in a flowbit, the second asks for it. The bit is cleared at each new
request of the flow, so that on a proxy's connection no other reply counts. Where a packet goes is said as `asked` and
`answers`: the side that is asked is the destination of a request and the source of a reply. Pure.

Longer than most: all that a rule can look at, and how several of them work together, is read in one place.

Source: Suricata 7.0 user guide, "Flow Keywords", "Rules Format" (direction), "Thresholding Keywords".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from imdswatch import address
from imdswatch.address import Network
from imdswatch.proxies import marks
from imdswatch.siem import formula as f
from imdswatch.siem import suricata_octets as octets
from imdswatch.siem.emitter import CannotSay
from imdswatch.siem.suricata_options import ADDRESS, PAYLOAD, REPLY, REQUEST, SuricataOptions
from imdswatch.siem.suricata_terms import seen
from imdswatch.siem.terms import Literal, Term

_STATUSES = range(100, 1000)
_COMPARE = {"<": int.__lt__, "<=": int.__le__, ">": int.__gt__, ">=": int.__ge__}
_NO_HTTP = "of a reply that is not HTTP a rule knows the addresses only"


@dataclass(frozen=True, slots=True)
class Draft:
    """One rule of Suricata's without number, message and site.

    key        what it looks at and asks, unique in a rule: its number hangs on it
    proto      the protocol in the header
    answers    whether the packet goes to the victim, from whoever is asked
    asked      the networks of that side, as far as the rule names them
    ports      source and destination
    options    in order
    silent     it remembers something, and raises no alert
    flows      whether its packets belong to a flow, so that flowbits can be asked
    """

    key: str
    proto: str
    options: tuple[str, ...]
    answers: bool = False
    asked: tuple[Network, ...] = ()
    not_asked: tuple[Network, ...] = ()
    ports: tuple[str, str] = ("any", "any")
    silent: bool = False
    flows: bool = True


class Drafts:
    """Makes the drafts of one rule; `lost` collects the alternatives that no rule of Suricata can say."""

    def __init__(self, slug: str, emitter: SuricataOptions) -> None:
        self._slug, self._emitter = slug, emitter
        self.lost: dict[f.Loss, None] = {}
        self._bits: dict[tuple[Literal, ...] | tuple[Draft, ...], str] = {}
        self._before: dict[Draft, None] = {}

    def of(self, found: Iterable[Term]) -> list[Draft]:
        """Return the drafts of all alternatives, what must be remembered first; every key once."""
        drafts: list[Draft] = []
        replies: dict[Term, list[Term]] = {}
        for term in seen(found):
            kinds = {one.atom.column.type for one in term}
            asked = [one for one in term if one.atom.column.type == REQUEST]
            if kinds & {REPLY, PAYLOAD} and any(one.holds for one in asked):
                rest = tuple(one for one in term if one not in asked)
                replies.setdefault(rest, []).append(tuple(asked))
            else:
                drafts += self._said(term, self._term)
        for rest, requests in replies.items():
            drafts += self._said(rest, partial(self._reply_to, requests))
        return _numbered(dict.fromkeys([*self._clear(), *self._before, *drafts]))

    def _said(self, term: Term, say: Callable[[Term], Iterator[Draft]]) -> list[Draft]:
        """Return the drafts, or none, and note why."""
        try:
            return list(say(term))
        except CannotSay as reason:
            text = " and ".join(dict.fromkeys(one.field for one in term if one.holds))
            self.lost[f.Loss(text, str(reason))] = None
            return []

    def _term(self, term: Term) -> Iterator[Draft]:
        rest = [one for one in term if one.atom.column.type != ADDRESS]
        looks = tuple(sorted({one.atom.column.type for one in rest}))
        placed = _placed(term)
        match looks:
            case ():
                yield placed
                yield from _spoken_of(placed)
            case ("request",):
                yield replace(placed, answers=False, proto="http", options=self._request(rest))
            case ("dns question",):
                yield replace(placed, answers=False, proto="dns", options=self._options(rest))
            case ("tls",):
                yield replace(placed, answers=False, proto="tls", options=self._options(rest))
            case ("dns answer",):
                yield replace(
                    placed, proto="dns", answers=True, options=("flow:to_client;", *self._options(rest))
                )
            case ("neighbour",):
                yield replace(placed, proto="icmpv6", answers=True, options=self._options(rest))
            case ("offer",):
                yield from _offers(placed, rest)
            case _ if REPLY in looks and set(looks) <= {REQUEST, REPLY}:
                unless = (
                    self._bit([(Literal(one.atom, True),)], placed)
                    for one in rest
                    if one.atom.column.type == REQUEST
                )
                asked = tuple(f"flowbits:isnotset,{bit};" for bit in unless)
                yield from self._reply(placed, asked, [one for one in rest if one.atom.column.type == REPLY])
            case _ if PAYLOAD in looks:
                yield from self._payload(placed, rest)
            case _:
                raise CannotSay(f"one rule of Suricata cannot look at {' and '.join(looks)}")

    def _options(self, literals: Iterable[Literal]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._emitter.options(one.atom, one.holds) for one in literals))

    def _request(self, literals: Iterable[Literal]) -> tuple[str, ...]:
        return ("flow:to_server,established;", *self._options(literals))

    # Replies.

    def _reply_to(self, requests: Sequence[Term], term: Term) -> Iterator[Draft]:
        """Yield the rules for a reply to one of several requests: they share a flowbit."""
        rest = [one for one in term if one.atom.column.type != ADDRESS]
        if any(one.atom.column.type == PAYLOAD for one in rest):
            raise CannotSay(_NO_HTTP)
        placed = _placed(term)
        asked = f"flowbits:isset,{self._bit(requests, placed)};"
        yield from self._reply(replace(placed, key=f"{placed.key}, to a request"), (asked,), rest)

    def _reply(self, placed: Draft, asked: tuple[str, ...], literals: list[Literal]) -> Iterator[Draft]:
        """Yield the rules for a reply in HTTP; errors apart, of which a proxy may be the author."""
        status = [one for one in literals if one.field == "http.stat_code"]
        by = [one for one in literals if one.field == "reply_by"]
        body = self._options(one for one in literals if one not in (*status, *by))
        if any(one.holds for one in by):
            raise CannotSay("a reply of the proxy's own is never asked for by itself")
        draft = replace(placed, proto="http", answers=True)
        common = ("flow:to_client,established;", *asked)
        if not status:
            yield replace(draft, options=(*common, *body))
            return
        allowed = {number for number in _STATUSES if all(_fits(one, number) for one in status)}
        errors = {one for one in allowed if one >= 400} if by else set()
        if allowed - errors:
            yield replace(draft, options=(*common, _status(allowed - errors), *body))
        if errors:
            options = (*common, _status(errors), _no_proxy(), *body)
            yield replace(draft, key=f"{placed.key}, error", options=options)

    def _bit(self, requests: Sequence[Term], placed: Draft) -> str:
        """Return the flowbit for one of these requests, and draft the rules that set it."""
        drafts = tuple(
            replace(
                placed,
                key=f"remember {_key(one)}",
                proto="http",
                options=self._request(one),
                answers=False,
                silent=True,
            )
            for one in requests
        )
        if drafts not in self._bits:
            bit = f"imdswatch.{self._slug}.{len(self._bits) + 1}"
            self._bits[drafts] = bit
            for draft in drafts:
                self._before[
                    replace(draft, options=(*draft.options, f"flowbits:set,{bit};", "priority:2;"))
                ] = None
        return self._bits[drafts]

    def _clear(self) -> list[Draft]:
        """Return the rule that forgets the request before: by its priority it is asked before those that remember."""
        if not self._bits:
            return []
        unset = (f"flowbits:unset,{bit};" for bit in self._bits.values())
        options = ("flow:to_server,established;", 'http.method; pcre:"/./";', *unset, "priority:1;")
        return [Draft("next request", "http", options, silent=True)]

    def _payload(self, placed: Draft, literals: list[Literal]) -> Iterator[Draft]:
        """Yield the rules for a reply that is no HTTP: any octets behind the headers of TCP or UDP."""
        for one in literals:
            unseen = one.field == "http.stat_code" and isinstance(one.atom.test, f.Present) and not one.holds
            if not (
                unseen
                or (one.field == "resp_bytes" and one.holds)
                or (one.field == "reply_by" and not one.holds)
            ):
                raise CannotSay(_NO_HTTP)
        if not placed.asked:
            raise CannotSay(_NO_HTTP)
        ends = "flow:to_client;", "dsize:>0;"
        yield replace(placed, proto="tcp", answers=True, options=(*ends, "app-layer-protocol:!http;"))
        yield replace(placed, key=f"{placed.key}, udp", proto="udp", answers=True, options=ends)


# Names ----------------------------------------------------------------------------------------------------------------


def _key(term: Term) -> str:
    return " + ".join(dict.fromkeys(one.field for one in term if one.holds))


def _numbered(drafts: Iterable[Draft]) -> list[Draft]:
    count: dict[str, int] = {}
    out = []
    for draft in drafts:
        count[draft.key] = count.get(draft.key, 0) + 1
        out.append(draft if count[draft.key] == 1 else replace(draft, key=f"{draft.key} {count[draft.key]}"))
    return out


def at_once(draft: Draft) -> list[Draft]:
    """Return the same rule for one packet, where it reads a body.

    Suricata looks at a reply when the client has acknowledged it, with the server's next packet: on a connection that
    is kept open, long after the client used what it got. One packet that holds all of it is seen at once.
    """
    if not any(option.startswith("http.response_body;") for option in draft.options):
        return []
    options = tuple(option.removeprefix("http.response_body; ") for option in draft.options)
    return [replace(draft, key=f"{draft.key}, at once", proto="tcp-pkt", options=options)]


# Headers -----------------------------------------------------------------------------------------------------------


def _placed(term: Term) -> Draft:
    """Return a draft with the addresses of a term in its header.

    An endpoint as source is one that answers: in Suricata's flows the destination is always the side that was asked.
    """
    draft = Draft(_key(term), "ip", ())
    for one in term:
        if one.atom.column.type != ADDRESS:
            continue
        test = one.atom.test
        if not isinstance(test, f.Inside):
            raise CannotSay("a rule asks addresses by network only")
        if one.field == "src_ip":
            if not one.holds or not all(
                str(net.network_address) in address.ENDPOINTS for net in test.networks
            ):
                raise CannotSay(
                    "the source is the site's to choose; a rule asks only whether the endpoint answers"
                )
            draft = replace(draft, answers=True)
        if one.holds:
            draft = replace(draft, asked=(*draft.asked, *test.networks))
        else:
            draft = replace(draft, not_asked=(*draft.not_asked, *test.networks))
    return draft


def _spoken_of(placed: Draft) -> Iterator[Draft]:
    """Yield rules for packets that only speak of a destination: who has it, and that it cannot be reached."""
    hosts = [net.network_address for net in placed.asked if net.prefixlen == net.max_prefixlen]
    if placed.answers or placed.not_asked or len(hosts) != len(placed.asked):
        return
    nowhere = replace(placed, asked=())
    for one in hosts:
        data = f'content:"{octets.contents(one.packed)}"; offset'
        if one.version == 4:
            # type 3, RFC 792: the header of the packet stands behind eight octets, its destination at 16
            yield replace(
                nowhere,
                key="unreachable",
                proto="icmp",
                options=(f"itype:3; {data}:16; depth:4;",),
                answers=True,
            )
        else:
            # RFC 4861 4.3, RFC 4443 3.1
            yield replace(
                nowhere, key="solicitation", proto="icmpv6", options=(f"itype:135; {data}:4; depth:16;",)
            )
            yield replace(
                nowhere,
                key="unreachable6",
                proto="icmpv6",
                options=(f"itype:1; {data}:24; depth:16;",),
                answers=True,
            )


# Replies and offers ------------------------------------------------------------------------------------------------


def _fits(one: Literal, status: int) -> bool:
    match one.atom.test:
        case f.Present():
            return one.holds
        case f.Numbers(values):
            return (status in values) is one.holds
        case f.Ordered(op, value):
            return _COMPARE[op](status, int(value)) is one.holds
    raise CannotSay("a status is compared as a number only")


def _status(allowed: set[int]) -> str:
    """Return the option for one of these statuses, in hundreds, and what of them is left out."""
    if not allowed:
        raise CannotSay("no status is asked for")
    hundreds = sorted({one // 100 for one in allowed})
    out = [one for one in _STATUSES if one // 100 in hundreds and one not in allowed]
    if len(out) > 50:
        return f'http.stat_code; pcre:"/^(?:{"|".join(map(str, sorted(allowed)))})$/";'
    unless = f"(?!{'|'.join(map(str, out))})" if out else ""
    spans = re.sub(r"(\d)(\d*)(\d)", lambda found: f"{found[1]}-{found[3]}", "".join(map(str, hundreds)))
    if hundreds != list(range(hundreds[0], hundreds[-1] + 1)):
        spans = "".join(map(str, hundreds))
    return f'http.stat_code; pcre:"/^{unless}[{spans}]\\d\\d$/";'


def _no_proxy() -> str:
    """Return the option for: no header says that a proxy made this error itself (`imdswatch.proxies`)."""
    found = []
    for name, holds in marks():
        value = rf"[^\r\n]*{re.escape(holds)}" if holds else ""
        found.append(rf"{re.escape(name)}\x3a{value}".replace("/", r"\/"))
    return f'http.header; pcre:!"/^(?:{"|".join(found)})/mi";'


def _offers(placed: Draft, literals: list[Literal]) -> Iterator[Draft]:
    """Yield one rule for each protocol that offers the routes of a term."""
    if len(literals) != 1 or not literals[0].holds or not isinstance(literals[0].atom.test, f.Texts):
        raise CannotSay("a rule asks for routes that are offered, by themselves")
    patterns = literals[0].atom.test.patterns
    cookie = f'content:"{octets.COOKIE}"; offset:236; depth:4;'
    looks = (
        ("dhcp", "udp", octets.dhcp(patterns), ('content:"|02|"; depth:1;', cookie)),
        ("advertisement", "icmpv6", octets.advertisement(patterns), ("itype:134;",)),
        ("redirect", "icmp", octets.redirect(patterns, 4), ("itype:5;",)),
        ("redirect6", "icmpv6", octets.redirect(patterns, 6), ("itype:137;",)),
    )
    for name, proto, found, options in looks:
        if found:
            ports = ("67", "[67,68]") if name == "dhcp" else ("any", "any")
            yield replace(
                placed,
                key=name,
                proto=proto,
                answers=True,
                ports=ports,
                flows=name != "redirect",
                options=(*options, f'pcre:"/{found}/s";'),
            )
