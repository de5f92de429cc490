"""Writes one test as options of a Suricata 7 rule: which buffer, and what must be found in it.

A column is a place where Suricata can look; its type is the kind of look that a rule must be to see it (`LOOKS`).
Sources: Suricata 7.0 user guide, chapters 8.7 to 8.15 and 8.34 (payload, transformations, HTTP, DNS, TLS keywords).

`http.uri` is decoded once and resolved by libhtp, and has no host; `url_decode` decodes it once more, as
`imdswatch.urlpath` does. A name of a header, a path or a host is compared without case. Stateless.

Longer than most: one method a test, as in every emitter, and the places where Suricata looks beside them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv6Network

from imdswatch.address import Network
from imdswatch.event import FIELDS
from imdswatch.rule import Rule, Text, Wild
from imdswatch.schema import Column
from imdswatch.siem import formula as f
from imdswatch.siem import suricata_octets as octets
from imdswatch.siem.content import Plan, Source
from imdswatch.siem.emitter import CannotSay, Emitter
from imdswatch.siem.spelling import host_regex, path_regex

ADDRESS, REQUEST, REPLY, PAYLOAD = "address", "request", "reply", "payload"
DNS_QUESTION, DNS_ANSWER, TLS, NEIGHBOUR, OFFER = "dns question", "dns answer", "tls", "neighbour", "offer"
LOOKS = (ADDRESS, REQUEST, REPLY, PAYLOAD, DNS_QUESTION, DNS_ANSWER, TLS, NEIGHBOUR, OFFER)

_PLACES: dict[str, tuple[tuple[str, str], ...]] = {
    "timestamp": (("timestamp", ADDRESS),),
    "src_ip": (("src_ip", ADDRESS),),
    "dst_ip": (("dst_ip", ADDRESS),),
    "host": (("http.host", REQUEST),),
    "uri_path": (("http.uri", REQUEST),),
    "uri_query": (("http.uri", REQUEST),),
    "method": (("http.method", REQUEST),),
    "user_agent": (("http.user_agent", REQUEST),),
    "req_header": (("http.header_names", REQUEST),),
    "signing_key_id": (("http.header", REQUEST), ("signed query", REQUEST)),
    "status": (("http.stat_code", REPLY),),
    "resp_mime": (("http.content_type", REPLY),),
    "reply_by": (("reply_by", REPLY),),
    "resp_document": (("resp_document", REPLY),),
    "access_key_id": (("access_key_id", REPLY),),
    "account_id": (("account_id", REPLY),),
    "response_code": (("response_code", REPLY),),
    "resp_bytes": (("resp_bytes", PAYLOAD),),
    "dns_query": (("dns.query", DNS_QUESTION),),
    "dns_answer": (("dns answer", DNS_ANSWER),),
    "tls_sni": (("tls.sni", TLS),),
    "nd_target": (("nd_target", NEIGHBOUR),),
    "offered_route": (("offered_route", OFFER),),
}
COLUMNS = {field: tuple(Column(*place) for place in places) for field, places in _PLACES.items()}
assert set(COLUMNS) <= set(FIELDS)

_KEY_ID = r"[A-Za-z0-9_]{3,128}"
_SIGNED = {
    "http.header": (
        rf'http.header; pcre:"/^authorization\x3a[^\r\n]*(?:credential=\x22?{_KEY_ID}(?:\/|%2f)'
        rf'|aws {_KEY_ID}\x3a)/mi";'
    ),
    "signed query": rf'http.uri.raw; pcre:"/[?&](?:x-amz-credential={_KEY_ID}(?:\/|%2f)|awsaccesskeyid={_KEY_ID})/i";',
}
_HEADERS = {"http.user_agent": "user-agent", "http.content_type": "content-type"}
_BODY, _END = "http.response_body;", r"\x22"
_IDS, _SECRETS = (
    octets.member("AccessKeyId", r"[A-Za-z0-9_-]{3,128}\x22"),
    octets.member("SecretAccessKey", r"[^\x22]"),
)
_DOCUMENT = (
    f'{_BODY} content:"AccessKeyId"; nocase; content:"SecretAccessKey"; nocase; '
    f'pcre:"/{_IDS}/i"; pcre:"/{_SECRETS}/i";'
)
_DATED_ID = r"A[A-Z0-9]{3}[Q-Z2-7][A-Z2-7]{15}\x22"  # of the format that carries the account
_CODE = r'pcre:"/\x22Code\x22\s*\x3a/i";'


class SuricataOptions(Emitter):
    """Suricata 7 rule options; one text a test, negated where it is `guarded`."""

    name = "Suricata rules"
    identifier = "imdswatch_suricata"
    language = "suricata"
    target = "suricata"
    usual_schema = "rules"
    and_token, or_token, not_token = "and", "or", "not"

    def inside(self, atom: f.Atom, networks: Sequence[Network], guarded: bool) -> str:
        """Ask an advertisement for its target; elsewhere an address stands in the header of a rule."""
        if atom.column.type == NEIGHBOUR:
            hosts = [net for net in networks if isinstance(net, IPv6Network) and net.prefixlen == 128]
            if not hosts or guarded:
                raise CannotSay("a rule asks an advertisement for whole IPv6 addresses only")
            found = "|".join(octets.octets(net.network_address.packed) for net in hosts)
            return f'itype:136; pcre:"/^.{{4}}(?:{found})/s";'
        if atom.column.type == ADDRESS:
            return ", ".join(map(str, networks))
        raise CannotSay("Suricata compares addresses in the header of a rule only")

    def an_address(self, atom: f.Atom, guarded: bool) -> str:
        """Say nothing: a packet always has one, and the site asks in the header."""
        return ""

    def texts(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Look into the buffer of the column, without case."""
        match atom.column.name:
            case "offered_route":
                if octets.routes(patterns) is None:
                    raise CannotSay("only networks can be found in a route offered")
                return ""  # one look for each protocol that offers routes: `suricata_drafts`
            case "resp_document" | "reply_by":
                return ""  # replaced before it is written
            case "response_code":
                found = "|".join(octets.member("Code", _inner(one, "[^\\x22]")) + _END for one in patterns)
                return f'{_BODY} pcre:{"!" * guarded}"/{found}/i";'
            case "account_id":
                return self._accounts(patterns, guarded)
            case "http.uri":
                return _pcre(
                    "http.uri; url_decode; url_decode;",
                    rf"\?(?:.*&)?(?:{_whole(patterns)})",
                    guarded,
                    patterns,
                )
            case "http.header_names":
                return self._header_names(patterns, guarded)
            case "http.header" | "signed query" | "access_key_id" | "dns answer":
                raise CannotSay("a rule cannot compare this text")
        if guarded and atom.column.name in _HEADERS:
            # A negation finds nothing where the buffer is missing, so it asks all headers.
            found = "|".join(_inner(one, "[^\\r\\n]") for one in patterns)
            return f'http.header; pcre:!"/^{_HEADERS[atom.column.name]}\\x3a[ \\t]*(?:{found})\\r?$/mi";'
        if guarded and atom.column.type != REQUEST:
            raise CannotSay("a rule cannot ask for what is missing there")
        return _text(f"{atom.column.name};", patterns, guarded)

    def _accounts(self, patterns: Sequence[Text], guarded: bool) -> str:
        accounts = ["".join(map(str, one.parts)) for one in patterns]
        if not all(re.fullmatch(r"[0-9]{12}", one) for one in accounts):
            raise CannotSay("an account is found by its whole number only")
        found = octets.member("AccessKeyId", f"(?:{'|'.join(map(octets.key_ids, accounts))}){_END}")
        return f'{_BODY} pcre:{"!" * guarded}"/{found}/";'

    def _header_names(self, patterns: Sequence[Text], guarded: bool) -> str:
        """Names stand between line ends; the first one has a line end before it, too."""
        if len(patterns) == 1 and len(patterns[0].parts) == 3:
            head, name, tail = patterns[0].parts
            if head is Wild.ANY and tail is Wild.ANY and isinstance(name, str):
                return f'http.header_names; content:{"!" * guarded}"{_escaped(name)}"; nocase;'
        found = "|".join(_inner(one, "[^\\r\\n]") for one in patterns)
        return f'http.header_names; pcre:{"!" * guarded}"/^(?:{found})\\r?$/mi";'

    def paths(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Look into the path, up to the query."""
        shared = "" if guarded else _shared(patterns)
        found = _bounded(path_regex(patterns, encoded=False)).replace("/", r"\/+")
        return f'http.uri; url_decode; {shared}pcre:{"!" * guarded}"/^{found}(?:\\?|$)/i";'

    def urls(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Look into path and query, decoded twice."""
        for one in patterns:
            parts = one.parts
            if (
                len(parts) != 3
                or parts[0] is not Wild.ANY
                or parts[2] is not Wild.ANY
                or not str(parts[1]).startswith("/")
            ):
                raise CannotSay("a text that may begin in the host cannot be found: http.uri has no host")
        return _text("http.uri; url_decode; url_decode;", patterns, guarded)

    def hosts(self, atom: f.Atom, addresses: Sequence[str], names: Sequence[Text], guarded: bool) -> str:
        """Look into the host that was asked, or into the records of a DNS answer."""
        if atom.column.type == DNS_ANSWER:
            if names or guarded:
                raise CannotSay("a rule finds addresses in DNS answers, no names")
            return f'pcre:"/{octets.answers(addresses)}/s";'
        found = _bounded(host_regex(addresses, names, encoded=True))
        return f'http.host; pcre:{"!" * guarded}"/^{found}$/i";'  # http.host is lower case, but for IPv6

    def macs(self, atom: f.Atom, values: Sequence[str], guarded: bool) -> str:
        """Refuse: rules have no keyword for them."""
        raise CannotSay("Suricata's rules have no keyword for MAC addresses")

    def numbers(self, atom: f.Atom, values: Sequence[float], guarded: bool) -> str:
        """Say nothing here: statuses are put together by `suricata_drafts`, and an empty body has no buffer."""
        if atom.column.name not in ("http.stat_code", "resp_bytes"):
            raise CannotSay("a rule cannot compare this number")
        return ""

    def ordered(self, atom: f.Atom, op: str, value: float, guarded: bool) -> str:
        """Say nothing here, as for numbers; how much was sent cannot be asked, only that something was."""
        if atom.column.name == "resp_bytes" and (op, value) != (">", 0):
            raise CannotSay("a rule sees one packet, and cannot add up what a reply held")
        return self.numbers(atom, (value,), guarded)

    def flag(self, atom: f.Atom, value: bool, guarded: bool) -> str:
        """Refuse: there is no such keyword."""
        raise CannotSay("a rule has nothing that is true or false")

    def present(self, atom: f.Atom) -> str:
        """Ask whether the buffer has anything, or the body a member."""
        name = atom.column.name
        match name:
            case "access_key_id":
                return _DOCUMENT
            case "account_id":
                return f'{_BODY} pcre:"/{octets.member("AccessKeyId", _DATED_ID)}/";'
            case "response_code":
                return f"{_BODY} {_CODE}"
            case "http.header" | "signed query":
                return _SIGNED[name]
            case "http.stat_code" | "offered_route" | "resp_bytes":
                return ""
        if atom.column.type in (REQUEST, DNS_QUESTION, TLS):
            return f"{name}; bsize:>0;"
        raise CannotSay("a rule cannot ask whether this is there")

    def path(self, source: Source, rule: Rule) -> str:
        """Return the one file of the tree."""
        return "imdswatch.rules"

    def frame(self, condition: str, source: Source, rule: Rule, plan: Plan) -> str:
        """Return the condition: what surrounds options is made by `suricata`."""
        return condition

    def options(self, atom: f.Atom, holds: bool) -> str:
        """Return the options of a test that must hold, or must not; raises CannotSay."""
        if holds or not isinstance(atom.test, f.Present):
            return self.leaf(atom, not holds)
        text = self.present(atom)
        if atom.column.name != "response_code":
            raise CannotSay("a rule cannot ask whether a buffer is missing")
        return text.replace("pcre:", "pcre:!")


# Texts -------------------------------------------------------------------------------------------------------------


def _escaped(text: str) -> str:
    """Return a text for `content`: what separates options, and what is no printable ASCII, as octets."""
    out = []
    for char in text:
        plain = char.isascii() and char.isprintable() and char not in '";:\\|'
        out.append(char if plain else f"|{char.encode().hex(' ')}|")
    return "".join(out)


def _pattern(text: str) -> str:
    """Return a text for a PCRE in a rule."""
    return "".join(
        char
        if re.fullmatch(r"[A-Za-z0-9_ %=&,-]", char)
        else "".join(f"\\x{one:02x}" for one in char.encode())
        if char in '";:' or not char.isascii()
        else "\\" + char
        for char in text
    )


def _inner(one: Text, any_char: str) -> str:
    return "".join(
        _pattern(part) if isinstance(part, str) else any_char + ("*" if part is Wild.ANY else "")
        for part in one.parts
    )


def _whole(patterns: Sequence[Text]) -> str:
    return "|".join(_inner(one, ".") for one in patterns)


def _pcre(buffer: str, found: str, guarded: bool, patterns: Sequence[Text]) -> str:
    case = "" if any(one.cased for one in patterns) else "i"
    return f'{buffer} pcre:{"!" * guarded}"/{found}/{case}";'


def _text(buffer: str, patterns: Sequence[Text], guarded: bool) -> str:
    """Return the options for: the whole text of a buffer matches one of the patterns."""
    if len(patterns) == 1 and (simple := _content(patterns[0], guarded)):
        return f"{buffer} {simple}"
    alternatives = []
    for one in patterns:
        parts = list(one.parts)
        head = "" if parts and parts[0] is Wild.ANY else "^"
        tail = "" if parts and parts[-1] is Wild.ANY else "$"
        inner = Text(tuple(parts[not head : len(parts) - (not tail)]))
        alternatives.append(head + _inner(inner, ".") + tail)
    return _pcre(buffer, "|".join(alternatives), guarded, patterns)


def _content(one: Text, guarded: bool) -> str:
    texts = [part for part in one.parts if isinstance(part, str)]
    if len(texts) != 1 or Wild.ONE in one.parts or not texts[0]:
        return ""
    ends = ("" if one.parts[0] is Wild.ANY else " startswith;") + (
        "" if one.parts[-1] is Wild.ANY else " endswith;"
    )
    return f'content:{"!" * guarded}"{_escaped(texts[0])}";{"" if one.cased else " nocase;"}{ends}'


def _bounded(regex: str) -> str:
    """Keep the wildcards of a portable expression inside the path, and its separators out of the rule's."""
    rest = {".*": "[^?]*", ".": "[^?]", ":": r"\x3a"}
    return re.sub(
        r"\\.|\[[^]]*\]|\.\*|\.|:|\(", lambda found: {**rest, "(": "(?:"}.get(found[0], found[0]), regex
    )


def _shared(patterns: Sequence[Text]) -> str:
    """Return a `content` that every pattern has, which spares Suricata the expression on all other requests."""
    segments = [
        {
            piece
            for part in one.parts
            if isinstance(part, str)
            for piece in part.lower().split("/")
            if len(piece) > 4
        }
        for one in patterns
    ]
    found = sorted(set.intersection(*segments), key=len) if segments else []
    return f'content:"{_escaped(found[-1])}"; nocase; ' if found else ""
