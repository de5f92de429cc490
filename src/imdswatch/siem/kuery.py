r"""Kibana's query language KQL (`kuery`), of which no other converter knows.

It has no regular expressions, no `?`, no functions and no way to ask without case; in exchange a missing field is
simply no match, in `not` as well, and a field with several values matches by any of them. So:

- addresses are compared on fields of type `ip`, where every spelling is the same; IPv4 networks stand bare and IPv6
  ones in quotes, as Elastic's own rules write them;
- texts are asked in the spellings that occur (as written, lower, UPPER, Every-Word), and what that misses is told;
- only `\():<>"*{}` are escaped; `\/` is a syntax error in Kibana's grammar.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import ClassVar

from imdswatch.rule import Rule, Text, Wild
from imdswatch.schema import Column
from imdswatch.siem import ecs
from imdswatch.siem import formula as f
from imdswatch.siem.content import Plan, Source
from imdswatch.siem.emitter import CannotSay
from imdswatch.siem.spelling import host_texts, mac_forms

_PATH_CAVEAT = (
    "Kibana KQL compares case and does not decode: asked are lower, UPPER and Every-Word spelling; percent-encoding, "
    "doubled slashes, dot segments and other mixtures of case are not seen (languages eql and esql see them)"
)
_ONE_CAVEAT = "Kibana KQL has no `?`: `*` stands for the digits of a date"
_HOST_CAVEAT = "Kibana KQL has no regular expressions: mixtures of decimal, hex and octal parts are not seen"


class KueryBackend(ecs.ElasticEmitter):
    """Writes Kibana KQL over ECS."""

    name = "Kibana KQL (kuery) by imdswatch"
    identifier = "imdswatch_kuery"
    formats: ClassVar[dict[str, str]] = {"default": "Kibana KQL"}
    language = "kuery"
    and_token, or_token, not_token = "and", "or", "not"
    eq_token = ":"

    def within(self, column: Column, values: Sequence[str], guarded: bool) -> str:
        """Compare on fields of type `ip`; what holds a colon stands in quotes."""
        return _any(column, [text if ":" not in text else f'"{text}"' for text in values])

    def texts(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Ask for the usual spellings."""
        if atom.take or ecs.is_ip(atom.column):
            raise CannotSay("a part of a URL cannot be asked for")
        return _any(atom.column, _values(patterns))

    def paths(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Ask for the usual spellings; what steps back in its path is left out, as its end is not known."""
        said = self.texts(atom, patterns, guarded)
        if all(Wild.ANY not in pattern.parts for pattern in patterns):
            return said
        return f"({said} and not {atom.column.name} : (*/../* or */..))"

    def urls(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Ask for the usual spellings, also with encoded slashes, as a URL stands in the query of another."""
        inner = [
            replace(pattern, parts=_encoded(pattern.parts, code))
            for code in ("%2F", "%2f")
            for pattern in patterns
        ]
        return self.paths(atom, list(dict.fromkeys((*patterns, *inner))), guarded)

    def hosts(self, atom: f.Atom, addresses: Sequence[str], names: Sequence[Text], guarded: bool) -> str:
        """Ask for the usual spellings of addresses and names."""
        if ecs.is_ip(atom.column):
            if not addresses:
                raise CannotSay("a field of type ip holds no names")
            return self.within(atom.column, addresses, guarded)
        if atom.take:
            raise CannotSay("the host inside a URL cannot be asked for: url.domain is")
        return _any(atom.column, _values(host_texts(addresses, names), str.lower, str.upper, _words))

    def macs(self, atom: f.Atom, values: Sequence[str], guarded: bool) -> str:
        """Ask for the usual spellings; ECS wants upper case with hyphens."""
        forms = [form for value in values for text in mac_forms(value) for form in (text.upper(), text)]
        return _any(atom.column, [f'"{form}"' for form in dict.fromkeys(forms)])

    def numbers(self, atom: f.Atom, values: Sequence[float], guarded: bool) -> str:
        """Compare numbers, as text where ECS keeps them so (VLAN ids)."""
        quote = "" if ecs.is_number(atom.column) else '"'
        return _any(atom.column, [f"{quote}{value:g}{quote}" for value in values])

    def ordered(self, atom: f.Atom, op: str, value: float, guarded: bool) -> str:
        """Compare numbers."""
        if not ecs.is_number(atom.column):
            raise CannotSay("order is asked of numbers only")
        return f"{atom.column.name} {op} {value:g}"

    def flag(self, atom: f.Atom, value: bool, guarded: bool) -> str:
        """Compare a boolean."""
        return f"{atom.column.name} : {str(value).lower()}"

    def present(self, atom: f.Atom) -> str:
        """Ask for any value; Elasticsearch keeps an empty text as a value, so that is excluded."""
        if atom.take:
            raise CannotSay("a part of a URL cannot be asked for")
        some = f"{atom.column.name} : *"
        return (
            some
            if atom.column.type.removesuffix("[]") in ("ip", "long", "date")
            else f'({some} and not {atom.column.name} : "")'
        )

    def excess(self, atom: f.Atom, packets: Column, destination: Column | None, guarded: bool) -> str:
        """Compare octets with the headers of so many packets, step by step."""

        def some(per: int) -> str:
            found = (
                f"({packets.name} <= {count} and {atom.column.name} > {octets})"
                for count, octets in ecs.steps(per)
            )
            return f"({packets.name} >= 0 and ({' or '.join(found)}))"

        if destination is None:
            return some(80)
        return f"({some(80)} or ({destination.name} : ({' or '.join(ecs.V4)}) and {some(60)}))"

    def until(self, day: date) -> str:
        """Compare the time of the event: KQL has no clock, and a rule looks at fresh events."""
        return f'@timestamp < "{day + timedelta(days=1)}T00:00:00.000Z"'

    def caveat(self, atom: f.Atom) -> str:
        """Tell what the spellings miss."""
        match atom.test:
            case f.Paths(patterns) | f.Urls(patterns):
                one = any(Wild.ONE in pattern.parts for pattern in patterns)
                return f"{_PATH_CAVEAT}. {_ONE_CAVEAT}" if one else _PATH_CAVEAT
            case f.Hosts(addresses) if addresses and not ecs.is_ip(atom.column):
                return _HOST_CAVEAT
            case f.Excess():
                return ecs.STEPS_CAVEAT
        return ""

    def frame(self, condition: str, source: Source, rule: Rule, plan: Plan) -> str:
        """A KQL query is a condition; index patterns stand in the rule."""
        return condition


def _any(column: Column, values: Sequence[str]) -> str:
    values = list(dict.fromkeys(values))
    if len(values) == 1:
        return f"{column.name} : {values[0]}"
    return f"{column.name} : ({' or '.join(values)})"


def _values(
    patterns: Sequence[Text], *spellings: Callable[[str], str], plain: Callable[[str], str] = str
) -> list[str]:
    out: dict[str, None] = {}
    for pattern in patterns:
        for cased in (plain,) if pattern.cased else spellings or (plain, str.lower, str.upper, str.title):
            out[_value([cased(part) if isinstance(part, str) else part for part in pattern.parts])] = None
    return list(out)


def _encoded(parts: Sequence[str | Wild], code: str) -> tuple[str | Wild, ...]:
    return tuple(part.replace("/", code) if isinstance(part, str) else part for part in parts)


def _words(text: str) -> str:
    """Return a name with every word in upper case; a number stays as it is."""
    return text if any(char.isdigit() for char in text) else text.title()


_SPECIAL = re.compile(r'[\\():<>"*{}]')


def _value(parts: Sequence[str | Wild]) -> str:
    if all(isinstance(part, str) for part in parts):
        text = "".join(map(str, parts))
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if any(isinstance(part, str) and re.search(r"\s", part) for part in parts):
        raise CannotSay("Kibana KQL has no wildcard in a text with blanks")
    out = "".join("*" if isinstance(part, Wild) else _SPECIAL.sub(r"\\\g<0>", part) for part in parts)
    return re.sub(r"\*{2,}", "*", out)
