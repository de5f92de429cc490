"""Patterns for the byte search, derived from the rules: what a raw record must contain if a rule can match it.

`needed(condition)` walks a condition tree and returns byte patterns (Hyperscan syntax, caseless) of which at least
one stands in every record that the predicate could accept, or None where no such pattern exists (then every record
must be parsed, and `scan` says so). The patterns only over-approximate: they know no fields, only how a field's
value can be spelled in a log line. tests/test_prefilter.py checks exactly that on random events and spellings.

How spelling is covered, by kind of field:

- ADDRESS: dotted decimal; IPv6 in every compression; mapped, NAT64 and 6to4 forms; the hex of a sockaddr (auditd).
- HOST: those, and the one- to four-part decimal, hex and octal forms of inet_aton(3), as far as tells them from
  a plain address: the engine is quickest on words, and these few are rarer than what a whole expression would spare.
- URL, PATH: a slash as `/`, `\\/`, `%2f`, `%252f`, `\\u002f`, repeated, with `.` segments between. Backslashes may be
  many: a record inside a text inside a record (Docker, journald, Filebeat) has its escapes escaped.
- TEXT, NAME: the longest run of characters that no log format escapes; of a name without its final dot.

Rare spellings would make every pattern large, so they have patterns of their own (`hatches`), each of which sends the
record to the parser whatever it is about: a percent-, \\u- or \\x-encoded letter or digit (nobody needs to encode
those, RFC 3986 2.3), a `..` segment, a full-width digit, a journald message written as a list of octets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from imdswatch import address
from imdswatch.event import FIELDS, Kind
from imdswatch.rule import And, Cidr, Exists, Match, Node, Not, Null, Or, Regex, Test, Text, Wild
from imdswatch.scan.regexes import COLON, translate

SEPARATOR = r"[\\/%.u025f]+"
"""Slashes in any spelling, repeated, with `.` segments between: the octets that they are written with, in any order."""
_BEFORE, _BEHIND = "[/f]", r"[/%\\]"
"""How any spelling of a slash ends and begins."""
_WIDE_DOTS = (
    r"\xef\xbc\x8e", r"\\+uff0e", "%ef%bc%8e", "%25ef%25bc%258e", r"\\xef\\xbc\\x8e",
    r"\xe3\x80\x82", r"\\+u3002", "%e3%80%82", "%25e3%2580%2582", r"\\xe3\\x80\\x82",
    r"\xef\xbd\xa1", r"\\+uff61", "%ef%bd%a1", "%25ef%25bd%25a1", r"\\xef\\xbd\\xa1",
)  # fmt: skip
_PLAIN_RUN = re.compile(r"[A-Za-z0-9_.:\-]+")
_MIN_RUN = 3  # a shorter run stands in so many records that searching it would cost more than parsing


@dataclass(frozen=True, slots=True)
class Pattern:
    """One search pattern; `weight` is how many fixed characters it has, the measure of how rarely it stands.

    `field` is the canonical field whose value it stands for, empty for a keyword.
    """

    text: str
    weight: int
    field: str = ""


Needed = tuple[Pattern, ...] | None
Presence = Callable[[str], Needed]
"""Field name → patterns of which one stands in every record whose schema fills the field; None if unknown."""


def hatches(kinds: Iterable[Kind]) -> list[str]:
    """Return the patterns for spellings that the patterns of these kinds of field leave out."""
    kinds = set(kinds)
    unreserved = "2[de]|3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9a]"
    # `%` and `:` too, which percent-encoding and addresses are made of; `/` has its place in SLASH. Logs of TLS sent to
    # a web port are full of \x16 and \xa4, but no writer spells a printable character so.
    out = [rf"\\u00(?:{unreserved}|25|3a)", rf"\\x(?:{unreserved}|2[5f]|3a)"]
    # A backslash before punctuation means nothing in CEF, LEEF and quoted values, so some writers put one.
    out.append(r"[0-9a-z:]\\+[.:_\-][0-9a-z:]")
    # journalctl -o json writes a message that is not UTF-8 as a list of numbers (systemd, logs-show.c).
    out.append(r'MESSAGE\\*"\s*:\s*\[')
    if kinds & {Kind.URL, Kind.PATH, Kind.HOST}:
        out.append(rf"%(?:25)?(?:{unreserved})")
        out += [
            r"\xef\xbc[\x90-\x99]",
            r"\\uff1[0-9]",
            r"%ef%bc%9[0-9]",
            r"%25ef%25bc%259",
            r"\\xef\\xbc\\x9",
        ]
        out += [rf"[0-9a-f]{stop}[0-9]" for stop in _WIDE_DOTS]
    if kinds & {Kind.URL, Kind.PATH}:
        out.append(rf"{_BEFORE}\.\.{_BEHIND}")
    return out


def needed(node: Node, presence: Presence) -> Needed:
    """Return patterns of which one stands in every record that the condition accepts; () if it accepts none."""
    match node:
        case Match():
            return _match(node, presence)
        case Not():
            return None
        case Or(nodes):
            found = [needed(child, presence) for child in nodes]
            if any(one is None for one in found):
                return None
            return tuple(dict.fromkeys(p for one in found if one is not None for p in one))
        case And(nodes):
            known = [one for one in (needed(child, presence) for child in nodes) if one is not None]
            if not known:
                return None
            return max(known, key=lambda one: min((p.weight for p in one), default=1 << 20))
    raise AssertionError(node)


def minimal(patterns: Iterable[str]) -> list[str]:
    """Drop patterns that another one makes needless: what contains `meta-data` need not be searched beside it."""
    found = list(dict.fromkeys(patterns))
    simple = {text: short for text in found if not re.search(r"[()\[\]{}|*+?]", short := _shortened(text))}
    lowered = {text: short.lower() for text, short in simple.items()}

    def needless(text: str) -> bool:
        if any(text.startswith(other + SEPARATOR) for other in found):
            return True
        mine = lowered.get(text)
        if mine is None:
            # Alternatives and repeats: only the fixed end of the pattern is looked at.
            mine = re.split(r"[()\[\]{}|*+?]", _shortened(text).lower())[-1]
        return any(
            other != text and part in mine and (part != mine or other < text)
            for other, part in lowered.items()
        )

    return [text for text in found if not needless(text)]


def _shortened(text: str) -> str:
    return text.replace(SEPARATOR, "\0").replace(_BEFORE, "\0")


def _match(match: Match, presence: Presence) -> Needed:
    if match.field is not None and not isinstance(match.test, Null) and match.test != Exists(False):
        given = presence(match.field)
        if given is not None and not given:
            return ()  # no schema fills this field
    found = _test(match, presence)
    if not found or match.field is None or match.test == Exists(True):
        return found
    return tuple(replace(pattern, field=match.field) for pattern in found)


def _test(match: Match, presence: Presence) -> Needed:
    if match.field is None and _may_be_made(match.test):
        return None
    kind = FIELDS[match.field].kind if match.field is not None else Kind.TEXT
    match match.test:
        case Text(parts, _):
            if kind is Kind.PATH and Wild.ONE in parts and (found := _path_with_wildcards(parts)) is not None:
                return found
            literals = [part for part in parts if isinstance(part, str)]
            return _text(kind, literals, whole=len(parts) == 1)
        case Regex(pattern, flags):
            return _regex(kind, pattern, flags)
        case Cidr(network):
            return _cidr(kind, network)
        case Exists(True) if match.field is not None:
            return presence(match.field)
    return None


def _may_be_made(keyword: Test) -> bool:
    """Say whether a keyword could stand in a value that no record spells so: an address, a number, true or false."""
    if not isinstance(keyword, Text):
        return not isinstance(keyword, Cidr)
    texts = [part.lower() for part in keyword.parts if isinstance(part, str)]
    return all(re.fullmatch(r"[0-9a-f.:+\-]*|[truefals]{1,5}", text) for text in texts)


def _text(kind: Kind, literals: list[str], *, whole: bool) -> Needed:
    if kind is Kind.ADDRESS or kind is Kind.HOST:
        if whole and literals:
            found = address.parse_host(literals[0]) if kind is Kind.HOST else address.parse(literals[0])
            if found is not None:
                return _address(found, in_url=kind is Kind.HOST)
        if kind is Kind.ADDRESS or any(_address_like(text) for text in literals):
            return None
        return _runs(literals)
    if kind is Kind.MAC:
        digits = re.sub(r"[^0-9a-f]", "", literals[0].lower()) if whole and literals else ""
        if len(digits) != 12:
            return None
        pairs = [digits[i : i + 2] for i in range(0, 12, 2)]
        return (Pattern("[:.-]?".join(re.sub("^0", "0?", pair) for pair in pairs), 12),)
    if kind is Kind.URL or kind is Kind.PATH:
        return _path(kind, literals)
    if kind is Kind.TEXT:
        return _runs(literals)
    if kind is Kind.NAME:
        return _runs([text.rstrip(".") for text in literals])
    return None


def _runs(literals: list[str]) -> Needed:
    runs = [run for text in literals for run in _PLAIN_RUN.findall(text)]
    best = max(runs, key=len, default="")
    return (Pattern(re.escape(best), len(best)),) if len(best) >= _MIN_RUN else None


def _path(kind: Kind, literals: list[str]) -> Needed:
    pieces: list[str] = []
    for text in literals:
        for piece in re.split(r"://|\?", text):
            if kind is Kind.URL and "/" in piece and not piece.startswith("/"):
                # Host and path may stand in different columns of a record.
                host, _, piece = piece.partition("/")
                pieces.append(host)
            pieces.append(piece)
    found = [pattern for piece in pieces if (pattern := _segments(kind, piece)) is not None]
    best = max(found, key=lambda pattern: pattern.weight, default=None)
    return (best,) if best is not None and best.weight >= _MIN_RUN else None


def _path_with_wildcards(parts: tuple[str | Wild, ...]) -> Needed:
    """Return one pattern for `/20??-??-??/dynamic/*`: its longest piece, if a segment begins with it.

    What stands before the wildcards is left out: nothing slows the engine like two words with a gap between.
    """
    index, piece = max(((i, part) for i, part in enumerate(parts) if isinstance(part, str)), key=_length)
    if index == 0 or not re.fullmatch(r"/[A-Za-z0-9_.:/\-]+", piece) or "//" in piece or "/." in piece:
        return None
    return (Pattern(_BEFORE + SEPARATOR.join(map(_segment, piece.strip("/").split("/"))), len(piece)),)


def _length(numbered: tuple[int, str]) -> int:
    return len(numbered[1])


def _segments(kind: Kind, piece: str) -> Pattern | None:
    segments = [segment for segment in piece.split("/") if segment]
    if "/" not in piece and _address_like(piece) and kind is Kind.URL:
        return None  # could be part of a host that the log spells as a number
    best: list[str] = []
    run: list[str] = []
    for segment in segments:
        if _PLAIN_RUN.fullmatch(segment):
            run.append(segment)
        else:
            inner = max(_PLAIN_RUN.findall(segment), key=len, default="")
            best = max(best, run, [inner], key=lambda r: len("".join(r)))
            run = []
    best = max(best, run, key=lambda r: len("".join(r)))
    if not best:
        return None
    return Pattern(SEPARATOR.join(map(_segment, best)), len("".join(best)))


def _segment(text: str) -> str:
    return re.escape(text).replace(":", COLON)


def _address_like(text: str) -> bool:
    return re.fullmatch(r"[0-9a-fA-F.:]+", text) is not None


def _regex(kind: Kind, pattern: str, flags: int) -> Needed:
    text = kind in (Kind.TEXT, Kind.NAME)
    if text or kind in (Kind.URL, Kind.PATH):
        lead = pattern.removeprefix("^").removeprefix(
            "/"
        )  # what stands before the first segment adds nothing
        done = translate(pattern if text else lead, flags, None if text else SEPARATOR)
        spans = kind is Kind.URL and _spans_columns(pattern)
        if done and not spans and min(weight for _, weight in done) >= _MIN_RUN:
            return tuple(Pattern(*one) for one in done)
    return None


def _spans_columns(pattern: str) -> bool:
    # A URL is put together from host, path and query where the log has them apart.
    return not pattern.lstrip("^(?:").startswith("/") or "\\?" in pattern or "[?]" in pattern


def _address(text: str, *, in_url: bool) -> Needed:
    if ":" in text:
        return _address_v6(IPv6Address(text))
    return _address_v4(IPv4Address(text), in_url=in_url)


def address_in_url(found: str) -> list[str] | None:
    """Return the patterns of an address in every spelling that a URL can carry; None where there are none."""
    patterns = _address(found, in_url=True)
    return None if patterns is None else [pattern.text for pattern in patterns]


def _odd_hosts(octets: bytes) -> list[str]:
    """Return patterns for the forms of inet_aton(3) in two to four parts that are not four plain numbers.

    They go as far as the first part that no plain address has: a number above 255 (taken modulo 256 by some), a zero
    before a digit (octal) or an `x`, or several octets in one number.
    """
    first, *others = octets
    seconds = [rf"{number}\." for number in _modulo(others[0])] + ["0", str(int.from_bytes(others))]
    heads = [*map(str, _modulo(first)[1:]), f"0{first:o}", f"[x0]{first:x}"]
    out = [rf"{head}\.{second}" for head in heads for second in seconds]
    plain = rf"{first}\."
    for place, octet in enumerate(others, 1):
        rest = octets[place:]
        out += [f"{plain}0[0-9x]", *(rf"{plain}{number}" for number in _modulo(octet)[1:])]
        out += [f"{plain}{int.from_bytes(rest)}"] if len(rest) > 1 else []
        plain += rf"{octet}\."
    return out


def _modulo(octet: int) -> range:
    """Return the decimal numbers of up to three digits that some read as this octet, itself first."""
    return range(octet, 1000, 256)


def _address_v4(found: IPv4Address, *, in_url: bool) -> Needed:
    value = int(found)
    octets = found.packed
    high, low = value >> 16, value & 0xFFFF
    out = [
        Pattern(r"\.".join(str(octet) for octet in octets), len(str(found))),
        Pattern(rf"{high:x}{COLON}0{{0,3}}{low:x}", 8),  # mapped, NAT64, 6to4
        Pattern(f"{value:08x}", 8),  # sockaddr in hex; also 0xa9fea9fe
    ]
    if in_url:
        out += [Pattern(text, 8) for text in _odd_hosts(octets)]
        out += [Pattern(str(value), 10), Pattern(f"0{value:o}", 10)]
    return tuple(out)


def _address_v6(found: IPv6Address) -> Needed:
    groups = [int(group, 16) for group in found.exploded.split(":")]
    gap = rf"{COLON}[0:%253a]*"  # zeros and further colons, however they are written
    used = [f"{group:x}" for group in groups if group]
    if len("".join(used)) < _MIN_RUN:
        return None
    packed = found.packed
    tail = r"\.".join(str(octet) for octet in packed[12:])
    head = used[: sum(1 for group in groups[:6] if group)]
    weight = len("".join(used)) + 4
    return (
        Pattern(gap.join(used), weight),
        Pattern(gap.join([*head, tail]), weight),  # last 32 bits dotted, RFC 4291 2.2
        Pattern(packed.hex(), 32),
    )


def _cidr(kind: Kind, text: str) -> Needed:
    network = address.network(text)
    if network.prefixlen == network.max_prefixlen:
        return _address(str(network.network_address), in_url=kind is Kind.HOST)
    octets = network.prefixlen // 8
    if (
        kind is not Kind.ADDRESS
        or not isinstance(network, IPv4Network)
        or not network.network_address.packed[0]
        or octets < 1
    ):
        return None
    packed = network.network_address.packed[:octets]
    out = [
        # Not \b: a tab inside JSON is the letters \t.
        Pattern(r"(?:^|[^0-9])" + r"\.".join(map(str, packed)) + r"\.", 3 * octets),
        Pattern(f"0200[0-9a-f]{{4}}{packed.hex()}", 2 * octets),
    ]
    if octets >= 2:
        # The group of two octets as an IPv6 form prints it. Shorter prefixes have no fixed group.
        out.append(Pattern(rf"{int.from_bytes(packed[:2]):x}:", 4))
    else:
        out.append(Pattern(rf"ffff:0?{packed[0]:x}[0-9a-f]{{2}}:", 6))  # mapped
        if IPv4Address(address.ENDPOINT_V4) in network:
            out.append(Pattern(r"a9fe:a9fe", 9))  # the other forms, which are known for the endpoint only
    return tuple(out)
