"""Seeded random Sigma rules and events for comparing evaluators.

A case is a batch: some rules, some events over the canonical fields, and the truth of a rule as a plain tree over its
detection items. So an evaluator can be asked about whole rules and about single items, and `holds` says what the
whole must be from the items: it knows and, or, not, `1 of` and `all of`, and shares no code with pySigma or imdswatch.

Kinds with comparison rules of our own (addresses, hosts, URLs, paths) get only spellings in which every engine must
agree: canonical addresses, lower-case host names without port, paths without anything to decode or resolve.
"""

from __future__ import annotations

import base64
import fnmatch
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import yaml

Event = dict[str, Any]

WORDS = (
    "curl/8.5", "CURL/8.5", "Wget", "aws-CLI", "a*b", "x?y", "end\\", "C:\\Win", "\\*", "\\\\srv", "100%", "a_b",
    "[z]", "it's", '"q"', "é", "É", "ß", "-out", "/out", "–out", " - ", " ", "line\nfeed", "80", "404", "0x1f",
    "true", "null", "^$", "(a|b)", "{1}", "#c", ": ", "latest", "Meta-Data", "€", "%imds%", "~",
)  # fmt: skip
TEXTS = ("user_agent", "uri_query", "process", "method", "signature", "payload", "role", "req_header")
INTS = ("dst_port", "status", "ttl", "vlan", "resp_bytes")
ADDRESSES = ("src_ip", "dst_ip")
KINDS = {
    **dict.fromkeys(TEXTS, "text"),
    **dict.fromkeys(INTS, "int"),
    **dict.fromkeys(ADDRESSES, "address"),
    "expiration": "float",
    "timestamp": "time",
    "answered": "bool",
    "src_mac": "mac",
    "host": "host",
    "url": "url",
    "uri_path": "path",
}
MANY = ("vlan", "req_header")  # several values in imdswatch; one value here, as the references know no lists
IPS = ("169.254.169.254", "10.0.0.1", "10.20.7.7", "172.31.0.9", "192.0.2.128", "fd00:ec2::254", "2001:db8::1",
       "2001:db8:0:1::ff", "fe80::1")  # fmt: skip
NETS = ("169.254.0.0/16", "10.0.0.0/8", "10.20.0.0/22", "172.31.0.0/20", "192.0.2.128/25", "0.0.0.0/1",
        "169.254.169.254/32", "fd00:ec2::/32", "2001:db8::/32", "fe80::/16")  # fmt: skip
MACS = ("02:00:5e:10:00:01", "aa:bb:cc:00:11:22", "06:0a:0b:0c:0d:0e")
HOSTS = ("example.org", "instance-data", "metadata.internal", "proxy.example.net")
PATHS = ("/latest/meta-data", "/latest/api/token", "/latest", "/", "/index.html", "/a/b/c")
NUMBERS = (0, 1, 6, 8, 53, 64, 80, 200, 403, 404, 443, 1500, 1234567)
TIMES = tuple(
    datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    for text in (
        "2026-11-22 04:05:06", "2026-11-22 23:59:59", "2026-11-23 00:00:00", "2025-01-01 00:30:00",
        "2024-12-30 12:00:00", "2027-01-02 06:45:00", "2026-06-08 13:59:07", "1999-12-31 18:00:00",
    )
)  # fmt: skip
MOMENTS = (0.5, 1.5, 100.0, 1763784306.25, 1763784306.5, 2000000000.0)


@dataclass(frozen=True)
class Item:
    """One detection item: a field (None: keywords), its modifiers, and its values."""

    field: str | None
    modifiers: tuple[str, ...]
    values: tuple[Any, ...]

    @property
    def kind(self) -> str:
        return KINDS[self.field] if self.field is not None else "keyword"

    @property
    def key(self) -> str:
        return "|".join((self.field or "", *self.modifiers))

    @property
    def value(self) -> Any:
        return self.values[0] if len(self.values) == 1 and self.field is not None else list(self.values)

    @property
    def block(self) -> Any:
        """The detection that consists of this item alone."""
        return self.value if self.field is None and not self.modifiers else {self.key: self.value}


@dataclass(frozen=True)
class Rule:
    """A rule: detections as alternatives of lists of items, and conditions as text and as a tree."""

    detections: Mapping[str, tuple[tuple[Item, ...], ...]]
    conditions: tuple[str, ...]
    trees: tuple[Any, ...]

    @property
    def items(self) -> list[Item]:
        return [item for maps in self.detections.values() for items in maps for item in items]

    @property
    def detection(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, maps in self.detections.items():
            blocks = [
                items[0].block if items[0].field is None else {item.key: item.value for item in items}
                for items in maps
            ]
            out[name] = blocks[0] if len(blocks) == 1 else blocks
        out["condition"] = self.conditions[0] if len(self.conditions) == 1 else list(self.conditions)
        return out

    def holds(self, item_holds: Callable[[Item], bool]) -> bool:
        """Say what the rule must answer when its items answer so."""

        def block(name: str) -> bool:
            return any(all(item_holds(item) for item in items) for items in self.detections[name])

        def walk(tree: Any) -> bool:
            match tree:
                case str(name):
                    return block(name)
                case ("not", inner):
                    return not walk(inner)
                case ("and", *inner):
                    return all(walk(one) for one in inner)
                case ("or", *inner):
                    return any(walk(one) for one in inner)
                case ("of", quantifier, pattern):
                    pattern = "*" if pattern == "them" else pattern
                    names = [n for n in self.detections if fnmatch.fnmatchcase(n, pattern) and n[0] != "_"]
                    return (any if quantifier == "1" else all)(block(name) for name in names)
            raise AssertionError(tree)

        return any(walk(tree) for tree in self.trees)


def document(detection: Mapping[str, Any], title: str = "random") -> str:
    """Return the rule file for a detection."""
    rule = {"title": title, "status": "test", "logsource": {"category": "network"}, "detection": detection}
    return str(yaml.safe_dump(rule, allow_unicode=True, sort_keys=False, width=1000))


def item_document(item: Item) -> str:
    """Return the rule file that asks for one item only."""
    return document({"sel": item.block, "condition": "sel"})


@dataclass(frozen=True)
class Batch:
    """Rules and events that share their vocabulary, so that many pairs match."""

    rules: tuple[Rule, ...]
    events: tuple[Event, ...]


def batch(seed: int, rules: int, events: int) -> Batch:
    """Return the batch of a seed; the same for the same arguments, on any machine."""
    chance = random.Random(seed)
    phrases = ["".join(chance.choices(WORDS, k=chance.randint(1, 3))) for _ in range(14)]
    return Batch(
        tuple(_rule(chance, phrases) for _ in range(rules)),
        tuple(_event(chance, phrases) for _ in range(events)),
    )


def _event(chance: random.Random, phrases: list[str]) -> Event:
    makers: dict[str, Callable[[], Any]] = {
        "text": lambda: _event_text(chance, phrases),
        "int": lambda: chance.choice(NUMBERS),
        "float": lambda: chance.choice(MOMENTS),
        "time": lambda: chance.choice(TIMES),
        "bool": lambda: chance.random() < 0.5,
        "address": lambda: chance.choice(IPS),
        "mac": lambda: chance.choice(MACS),
        "host": lambda: chance.choice(HOSTS),
        "url": lambda: chance.choice(HOSTS) + chance.choice(PATHS),
        "path": lambda: chance.choice(PATHS),
    }
    return {name: makers[kind]() for name, kind in KINDS.items() if chance.random() < 0.8}


def _event_text(chance: random.Random, phrases: list[str]) -> str:
    text = chance.choice(phrases)
    shape = chance.random()
    if shape < 0.12:
        raw = (chance.choice(("", "x", "yz")) + text + chance.choice(("", "w"))).encode(
            chance.choice(("utf-8", "utf-16-le", "utf-16-be"))
        )
        return base64.b64encode(raw).decode()
    if shape < 0.4:
        return text.swapcase()
    if shape < 0.6:
        return f"{chance.choice(WORDS)}{text}{chance.choice(WORDS)}"
    return text


def _rule(chance: random.Random, phrases: list[str]) -> Rule:
    names = chance.sample(
        ("sel_a", "sel_b", "selection", "filter_a", "filter_b", "_hidden", "kw_a"), k=chance.randint(1, 4)
    )
    if names == ["_hidden"]:
        names = ["sel_a"]
    detections: dict[str, tuple[tuple[Item, ...], ...]] = {}
    for name in names:
        if name == "kw_a" and chance.random() < 0.7:
            detections[name] = ((_keywords(chance, phrases),),)
            continue
        maps = 1 if chance.random() < 0.75 else chance.randint(2, 3)
        detections[name] = tuple(_map(chance, phrases) for _ in range(maps))
    count = 1 if chance.random() < 0.9 else 2
    trees = tuple(_tree(chance, list(detections), 3) for _ in range(count))
    return Rule(detections, tuple(_condition(chance, tree) for tree in trees), trees)


def _map(chance: random.Random, phrases: list[str]) -> tuple[Item, ...]:
    items = {}
    for _ in range(1 if chance.random() < 0.6 else chance.randint(2, 3)):
        item = _item(chance, phrases)
        items[item.key] = item
    return tuple(items.values())


def _tree(chance: random.Random, names: list[str], depth: int) -> Any:
    shape = chance.random()
    if depth == 0 or shape < 0.3:
        if chance.random() < 0.35:
            visible = [name for name in names if name[0] != "_"]
            pattern = chance.choice(("them", "sel*", "filter_*", "*_a", "*e*", "sel_?"))
            probe = "*" if pattern == "them" else pattern
            if "?" not in pattern and any(fnmatch.fnmatchcase(name, probe) for name in visible):
                return ("of", chance.choice(("1", "all")), pattern)
        return chance.choice(names)
    if shape < 0.5:
        return ("not", _tree(chance, names, depth - 1))
    return (
        "and" if shape < 0.75 else "or",
        *(_tree(chance, names, depth - 1) for _ in range(chance.randint(2, 3))),
    )


_BINDING = {"or": 0, "and": 1, "not": 2}


def _condition(chance: random.Random, tree: Any, outer: int = 0) -> str:
    """Return the text of a condition, with brackets where they are needed and sometimes where they are not."""
    match tree:
        case str(name):
            text, binding = name, 3
        case ("of", quantifier, pattern):
            text, binding = f"{quantifier} of {pattern}", 3
        case ("not", inner):
            text, binding = f"not {_condition(chance, inner, 3)}", 2
        case (word, *inner):
            binding = _BINDING[word]
            text = f" {word} ".join(_condition(chance, one, binding + 1) for one in inner)
    return f"({text})" if binding < outer or chance.random() < 0.1 else text


def _keywords(chance: random.Random, phrases: list[str]) -> Item:
    values: list[Any] = [_pattern(chance, phrases) for _ in range(chance.randint(1, 3))]
    if chance.random() < 0.15:
        values.append(chance.choice(NUMBERS))
    if len(values) > 1 and chance.random() < 0.3:
        return Item(None, ("all",), tuple(values))
    if chance.random() < 0.1:
        return Item(None, ("re",), (_regex(chance, phrases),))
    return Item(None, (), tuple(values))


def _item(chance: random.Random, phrases: list[str]) -> Item:
    field = chance.choice(list(KINDS)) if chance.random() < 0.55 else chance.choice(TEXTS)
    kind = KINDS[field]
    general = chance.random()
    if general < 0.05:
        return Item(field, ("exists",), (chance.random() < 0.5,))
    if general < 0.1:
        return Item(field, (), (None,))
    if kind == "text":
        modifiers, values = _text_item(chance, phrases, field)
    elif kind in ("int", "float"):
        modifiers, values = _number_item(chance, kind)
    elif kind == "time":
        modifiers, values = _time_item(chance)
    elif kind == "bool":
        modifiers, values = (), [chance.random() < 0.5]
    else:
        modifiers, values = _own_kind_item(chance, kind)
    if general < 0.13 and not set(modifiers) & {"re", "cidr"} and kind != "time":
        values.append(None if not modifiers else values[0])
    if len(values) > 1 and chance.random() < 0.2:
        modifiers = (*modifiers, "all")
    if chance.random() < 0.08:
        modifiers = (*modifiers, "neq")
    return Item(field, modifiers, tuple(values))


def _count(chance: random.Random) -> range:
    return range(1 if chance.random() < 0.6 else chance.randint(2, 3))


def _text_item(chance: random.Random, phrases: list[str], field: str) -> tuple[tuple[str, ...], list[Any]]:
    shape = chance.random()
    if shape < 0.15:
        flags = tuple(chance.sample(("i", "m", "s"), k=chance.choice((0, 0, 1, 2))))
        return ("re", *flags), [_regex(chance, phrases) for _ in _count(chance)]
    if shape < 0.23:
        other = chance.choice([name for name in TEXTS if name != field])
        side = chance.choice(((), ("startswith",), ("endswith",), ("contains",)))
        return ("fieldref", *side), [other]
    if shape < 0.31:
        encode = chance.choice(((), ("wide",), ("utf16be",)))
        if chance.random() < 0.5:
            return (*encode, "base64offset", "contains"), [_plain_piece(chance, phrases)]
        return (*encode, "base64", *chance.choice(((), ("contains",)))), [_plain_piece(chance, phrases)]
    if shape < 0.35:
        return (), [chance.choice((80, 404, True, False, 1.5, ""))]
    side = chance.choice(((), ("contains",), ("contains",), ("startswith",), ("endswith",)))
    values: list[Any] = [_pattern(chance, phrases) for _ in _count(chance)]
    if chance.random() < 0.12:
        return ("windash", *side), values
    if chance.random() < 0.2:
        return chance.choice(((*side, "cased"), ("cased", *side))), values
    return side, values


def _number_item(chance: random.Random, kind: str) -> tuple[tuple[str, ...], list[Any]]:
    pool = NUMBERS if kind == "int" else MOMENTS
    shape = chance.random()
    if shape < 0.45:
        bound = chance.choice(pool) if chance.random() < 0.7 else chance.choice((-1, 79.5, 80.5, 1e9))
        return (chance.choice(("lt", "lte", "gt", "gte")),), [bound]
    if shape < 0.85 or kind == "float":
        return (), [chance.choice(pool) for _ in _count(chance)]
    number = str(chance.choice(pool))
    return chance.choice(
        (
            ((), [number]),
            ((), [f"{number[0]}*"]),
            ((), ["?" * len(number)]),
            (("startswith",), [number[0]]),
            (("endswith",), [number[-1]]),
            (("contains",), [number[-1]]),
            (("re",), [f"^{number[0]}[0-9]*$"]),
        )
    )


def _time_item(chance: random.Random) -> tuple[tuple[str, ...], list[Any]]:
    part = chance.choice(("minute", "hour", "day", "week", "month", "year"))
    values = []
    for _ in _count(chance):
        moment = datetime.fromtimestamp(chance.choice(TIMES), UTC)
        values.append(moment.isocalendar().week if part == "week" else getattr(moment, part))
    return (part,), values


def _own_kind_item(chance: random.Random, kind: str) -> tuple[tuple[str, ...], list[Any]]:
    if kind == "address":
        if chance.random() < 0.6:
            return ("cidr",), [chance.choice(NETS) for _ in _count(chance)]
        return (), [chance.choice(IPS) for _ in _count(chance)]
    if kind == "mac":
        return (), [chance.choice((str.lower, str.upper))(chance.choice(MACS)) for _ in _count(chance)]
    pool = HOSTS if kind == "host" else PATHS
    value = chance.choice(pool)
    side = chance.choice(((), ("contains",), ("startswith",), ("endswith",)))
    if side in ((), ("startswith",)) and kind == "url":
        value = chance.choice(HOSTS) + value
    cut = chance.randint(1, len(value))
    value = value[:cut] if side == ("startswith",) else value[-cut:] if side == ("endswith",) else value
    return side, [value.upper() if chance.random() < 0.3 and kind != "host" else value]


def _piece(chance: random.Random, phrases: list[str]) -> str:
    phrase = chance.choice(phrases)
    shape = chance.random()
    if shape < 0.4:
        return phrase
    start = chance.randint(0, len(phrase) - 1)
    piece = phrase[start : start + chance.randint(1, 6)]
    return piece.swapcase() if shape < 0.6 else piece


def _plain_piece(chance: random.Random, phrases: list[str]) -> str:
    """Return a piece for base64: without wildcards, four characters at least, so that every offset has some left."""
    text = "".join(c for c in _piece(chance, phrases) + "pad" if c not in "*?\\" and c.isascii())
    return text + "x" * (4 - len(text))


def _pattern(chance: random.Random, phrases: list[str]) -> str:
    """Return a Sigma string: a piece with wildcards put in, escaped as the rules specification says, or as it is."""
    piece = _piece(chance, phrases)
    if chance.random() < 0.1:
        return piece
    parts: list[str] = []  # literal characters; "\0*" and "\0?" stand for wildcards
    for char in piece:
        wild = chance.random()
        parts.append("\0?" if wild < 0.04 else "\0*" if wild < 0.07 else char)
    if chance.random() < 0.2:
        parts.insert(chance.choice((0, len(parts))), "\0*")
    out = ""
    for index, part in enumerate(parts):
        following = parts[index + 1][-1] if index + 1 < len(parts) else ""
        if part in "*?":
            out += "\\" + part
        elif part == "\\":
            needed = following in ("*", "?", "\\", "")
            out += "\\\\" if needed or chance.random() < 0.5 else "\\"
        else:
            out += part[-1]
    return out


def _regex(chance: random.Random, phrases: list[str]) -> str:
    """Return a regular expression of the metacharacters that Sigma supports, around a piece of a phrase."""
    out = ""
    for char in _piece(chance, phrases):
        shape = chance.random()
        atom = "\\" + char if char in "\\.^$*+?{}[]()|/" else char
        if shape < 0.08:
            atom = "."
        elif shape < 0.16 and char.isascii() and char.isalnum():
            atom = chance.choice(("[a-z]", "[^a-z]", "[0-9A-Z]", f"({char}|zz)", f"[{char}x]"))
        out += atom + (chance.choice(("*", "+", "?", "{1,2}", "{2}")) if chance.random() < 0.08 else "")
    if chance.random() < 0.15:
        out = f"{out}|{chance.choice(('zz', 'curl', '[0-9]{3}'))}"
        return out if chance.random() < 0.5 else f"^({out})$"
    return ("^" if chance.random() < 0.2 else "") + out + ("$" if chance.random() < 0.2 else "")
