"""Spellings of one meaning, for languages that compare texts: addresses, paths and hosts as logs may print them.

Regular expressions made here use only what RE2, PCRE, Java, Python and Lucene read alike: literals, `\\`-escaped
punctuation, `[…]`, `(…)`, `|`, `.`, `*`, `+`, `?`. They are lower case and unanchored: the emitter asks without case
and for the whole value. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from imdswatch import address
from imdswatch.address import Network
from imdswatch.rule import Text, Wild

_MAPPED = 0xFFFF << 32  # ::ffff:0:0/96, RFC 4291 2.5.5.2
_ENDPOINT = int(IPv4Address(address.ENDPOINT_V4))
_EMBEDDED = (
    IPv6Network((int(IPv6Address("64:ff9b::")) | _ENDPOINT, 128)),  # NAT64, RFC 6052
    IPv6Network((_ENDPOINT, 128)),  # IPv4-compatible, RFC 4291 2.5.5.1
    IPv6Network((0xFFFF << 48 | _ENDPOINT, 128)),  # IPv4-translated, RFC 2765
    IPv6Network(((0x2002 << 112) | _ENDPOINT << 80, 48)),  # 6to4, RFC 3056
)
"""The forms of the IPv4 endpoint that `imdswatch.address` takes for it; of no other address."""

NOT_A_HOST = tuple(address.network(text) for text in ("0.0.0.0/32", "::/128", "169.254.0.0/16", "fe80::/10"))
"""Sources that do not tell which host asked (DESIGN 5)."""


def single(text: str) -> Network:
    """Return the network of one canonical address."""
    return address.network(text)


def v4_of(networks: Iterable[Network]) -> tuple[str, ...]:
    """Return the IPv4 networks as text, a single address without its length."""
    return tuple(_text(net) for net in networks if isinstance(net, IPv4Network))


def v6_of(networks: Iterable[Network], *, mapped: bool = True) -> tuple[str, ...]:
    """Return the IPv6 networks as text, with what stands for the IPv4 endpoint, and (`mapped`) the IPv4-mapped twin
    of every IPv4 network; always with a length."""
    out: dict[str, None] = {}
    for net in networks:
        if isinstance(net, IPv6Network):
            out[str(net)] = None
            continue
        if mapped:
            value = _MAPPED | int(net.network_address)
            out[f"::ffff:{value >> 16 & 0xFFFF:x}:{value & 0xFFFF:x}/{96 + net.prefixlen}"] = None
        if net == single(address.ENDPOINT_V4):
            out.update(dict.fromkeys(map(str, _EMBEDDED)))
    return tuple(out)


def _text(net: Network) -> str:
    return str(net.network_address) if net.prefixlen == net.max_prefixlen else str(net)


def overlaps(networks: Iterable[Network], others: Iterable[Network]) -> bool:
    """Say whether any network shares an address with any of the others."""
    pairs = [(one, other) for one in networks for other in others if one.version == other.version]
    return any(one.overlaps(other) for one, other in pairs)


def mac_forms(mac: str) -> tuple[str, ...]:
    """Return the ways logs print a MAC address, lower case: colons, hyphens (ECS, Windows), Cisco's dots, nothing."""
    digits = mac.replace(":", "")
    dotted = ".".join(digits[at : at + 4] for at in (0, 4, 8))
    return mac, mac.replace(":", "-"), dotted, digits


def literal(text: str) -> str:
    """Return a regular expression for exactly this text."""
    return "".join(
        char if char.isalnum() or ord(char) > 127 or char in "_-/: %" else "\\" + char for char in text
    )


# Paths ------------------------------------------------------------------------------------------------------------


def path_regex(patterns: Sequence[Text], *, encoded: bool) -> str:
    """Return one expression for the whole of a lower-case path that matches any of the patterns.

    With `encoded` it reads the path as logged: percent-encoded up to twice, slashes repeated, `.` segments, and
    segments taken back by `..` before the first that counts. Otherwise it reads a path that was decoded and resolved.
    Patterns are put together by their segments, so that a person still can read them.
    """
    write = _encoded if encoded else _plain
    whole = _factored([_segments(pattern) for pattern in patterns], write)
    return f"({_TAKEN_BACK})*{whole}" if encoded else whole


def left_again(patterns: Sequence[Text]) -> tuple[Text, ...]:
    """Return patterns of paths that begin like one of these and step back at once: /latest/meta-data/../news."""
    out = []
    for pattern in patterns:
        *head, last = pattern.parts
        if last is Wild.ANY and head and isinstance(head[-1], str):
            stem = head[-1].removesuffix("/")
            out += [Text((*head[:-1], stem + "/..")), Text((*head[:-1], stem + "/../", Wild.ANY))]
    return tuple(out)


def _segments(pattern: Text) -> tuple[tuple[str | Wild, ...], ...]:
    """Split a pattern at its slashes; the slash before a segment belongs to it."""
    out: list[list[str | Wild]] = [[]]
    for part in pattern.parts:
        if isinstance(part, Wild):
            out[-1].append(part)
            continue
        first, *rest = re.split("(?=/)", part.lower())
        if first:
            out[-1].append(first)
        out += [[piece] for piece in rest]
    return tuple(tuple(segment) for segment in out if segment)


_Segments = tuple[tuple[str | Wild, ...], ...]
_Writer = Callable[[Iterable[str | Wild]], str]


def _factored(paths: Sequence[_Segments], write: _Writer) -> str:
    """Join alternatives: those with the same rest share it, so `(a|b)/(x|y)` and not four texts."""
    rests: dict[tuple[str | Wild, ...], dict[_Segments, None]] = {}
    ends = False
    for path in paths:
        if path:
            rests.setdefault(path[0], {})[path[1:]] = None
        else:
            ends = True
    heads: dict[tuple[_Segments, ...], list[tuple[str | Wild, ...]]] = {}
    for head, found in rests.items():
        heads.setdefault(tuple(sorted(found, key=repr)), []).append(head)
    out: list[str] = []
    for rest, names in heads.items():
        texts, more = [write(head) for head in names], _factored(rest, write)
        out += texts if not more else [_choice(texts) + more]
    whole = _choice(out)
    return f"({whole})?" if ends and out else whole


def _choice(texts: Sequence[str]) -> str:
    texts = list(dict.fromkeys(texts))
    if len(texts) < 2:
        return texts[0] if texts else ""
    heads = (_SLASH, "/", "")
    shared = next(head for head in heads if all(text.startswith(head) for text in texts))
    return shared + "(" + "|".join(text[len(shared) :] for text in texts) + ")"


_SLASH = "((/|%(25)?2f)+((\\.|%(25)?2e)(/|%(25)?2f)+)*)"
_TAKEN_BACK = "(/|%(25)?2f)+[^/%.]+(/|%(25)?2f)+(\\.|%(25)?2e)(\\.|%(25)?2e)"


def _plain(segment: Iterable[str | Wild]) -> str:
    return "".join(
        literal(part) if isinstance(part, str) else ".*" if part is Wild.ANY else "." for part in segment
    )


def _encoded(segment: Iterable[str | Wild]) -> str:
    out = []
    for part in segment:
        if part is Wild.ANY:
            out.append(".*")
        elif part is Wild.ONE:
            out.append("(.|%(25)?[0-9a-f][0-9a-f])")
        else:
            out += [_SLASH if char == "/" else _char(char) for char in part]
    return "".join(out)


def _char(char: str) -> str:
    """Return one character as it is, or percent-encoded once or twice, in either case of a letter."""
    if not char.isascii():
        return char
    code = f"{ord(char):02x}"
    if char.isalpha():
        code = ("[46]" if code[0] == "6" else "[57]") + code[1]
    return f"({literal(char)}|%(25)?{code})"


def without_backslashes(regex: str, write: Callable[[str], str]) -> str:
    """Return an expression of this module with each escaped character as `write` writes it (`[.]` for one).

    A bracket, which has no form that all engines read alike, becomes any character that no host is written with.
    """
    return re.sub(r"\\(.)", lambda found: _ODD if found[1] in "[]" else write(found[1]), regex)


_ODD = "[^a-z0-9.:%/?#@_-]"


# Hosts ------------------------------------------------------------------------------------------------------------


def host_regex(addresses: Sequence[str], names: Sequence[Text], *, encoded: bool) -> str:
    """Return one expression for the whole of a lower-case host text, port allowed, that names any of these.

    IPv4 addresses are found in the forms of inet_aton(3) (decimal, hex, octal, one to four parts, mixed, octets that
    overflow), IPv6 addresses in every printed form, with or without brackets; with `encoded` also dotted decimal with
    percent-encoding.
    """
    found = [_v4_host(one) for one in addresses if ":" not in one]
    if encoded:
        found += ["".join(map(_char, one)) for one in addresses if ":" not in one]
    for one in addresses:
        if ":" in one:
            found.append(rf"\[?{v6_regex(one)}(%[a-z0-9%]+)?\]?")
        else:
            found += [rf"\[?{form}\]?" for form in _mapped_forms(one)]
    found += [
        _plain(part.lower() if isinstance(part, str) else part for part in name.parts) for name in names
    ]
    return f"({'|'.join(found)})" + r"\.?(:[0-9]*)?"


def _v4_host(text: str) -> str:
    value = int(IPv4Address(text))
    octets = [value >> shift & 0xFF for shift in (24, 16, 8, 0)]
    forms = []
    for parts in (4, 3, 2, 1):
        last = value & ((1 << 8 * (5 - parts)) - 1)
        numbers = [*octets[: parts - 1], last]
        forms.append(r"\.".join(_number(number, wraps=parts == 4) for number in numbers))
    return f"({'|'.join(forms)})"


def _number(number: int, *, wraps: bool) -> str:
    """Return a number in decimal, hex and octal; an octet may overflow three digits, as some parsers let it."""
    decimal = "|".join(str(more) for more in range(number, 1000 if wraps else number + 1, 256))
    return f"({decimal}|0x0*{number:x}|0+{number:o})"


def _mapped_forms(text: str) -> tuple[str, str]:
    value = int(IPv4Address(text))
    high, low = f"{value >> 16:x}", f"{value & 0xFFFF:x}"
    zeros = "(0*:)+"
    return f"{zeros}ffff:{literal(text)}", f"{zeros}ffff:0*{high}:0*{low}"


def host_texts(addresses: Sequence[str], names: Sequence[Text]) -> tuple[Text, ...]:
    """Return the usual ways to write these hosts, for languages without regular expressions; a port may follow.

    Not all of inet_aton(3): decimal, hex and octal as one number or four, no mixtures.
    """
    out: list[Text] = []
    for one in addresses:
        forms = [one]
        if ":" in one:
            full = IPv6Address(one).exploded
            short = ":".join(f"{int(group, 16):x}" for group in full.split(":"))
            padded = ":".join("0" if not int(group, 16) else group for group in full.split(":"))
            half = ":".join([*padded.split(":")[:-1], short.rpartition(":")[2]])
            forms = [form for text in (one, short, half, padded, full) for form in (text, f"[{text}]")]
        else:
            value = int(IPv4Address(one))
            octets = [value >> shift & 0xFF for shift in (24, 16, 8, 0)]
            forms += [one + ".", str(value), f"{value:#x}", f"0{value:o}"]
            forms += [
                ".".join(f"{octet:#x}" for octet in octets),
                ".".join(f"0{octet:o}" for octet in octets),
            ]
            mapped = (f"::ffff:{one}", f"::ffff:{value >> 16:x}:{value & 0xFFFF:x}")
            forms += [form for text in mapped for form in (text, f"[{text}]")]
        out += [Text((form,)) for form in forms]
        out += [Text((f"{form}:", Wild.ANY)) for form in forms if ":" not in form or form.startswith("[")]
    for name in names:
        out.append(name)
        if name.parts[-1] is not Wild.ANY:
            out += [Text((*name.parts, "."))]
            out += [Text((*name.parts, ":", Wild.ANY)), Text((*name.parts, ".:", Wild.ANY))]
    return tuple(out)


def v6_regex(text: str) -> str:
    """Return an expression for every printed form of an IPv6 address: zeros, compression and length of groups."""
    groups = [int(group, 16) for group in IPv6Address(text).exploded.split(":")]
    out: list[str] = []
    zeros = False
    for group in groups:
        if group:
            joint = "(:0*)*:" if zeros and out else "(0*:)*" if zeros else ":" if out else ""
            out.append(f"{joint}0*{group:x}" if joint or zeros else f"{group:x}")
            zeros = False
        else:
            zeros = True
    return "".join(out) + ("(:0*)*" if zeros else "")
