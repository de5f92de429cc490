r"""QRadar's Ariel Query Language (AQL), written with constructs that have one reading.

IBM's guide leaves much open; every construct here has the same answer under every reading of it:

- NULL under NOT is open: a test that stands under one is `(column IS NOT NULL AND …)`, so it is false and not NULL;
- `MATCHES` of a part of a value is open, and so is an anchor: expressions say the whole value between `^` and `$`;
- case: text is compared by `ILIKE` and `IMATCHES`, or in `LOWER(…)`; `%` and `_` have no documented escape in LIKE, so
  texts that hold one go to `IMATCHES`;
- IPv4 lies in sourceip and destinationip, IPv6 in sourcev6 and destinationv6. Each is compared by INCIDR with networks
  of its own family only, which also reads every spelling of an IPv6 address; `=` would compare one. 0.0.0.0 and :: are
  what QRadar writes into the column of the other family: they count as missing;
- paths are read as logged, in every spelling (AQL decodes nothing);
- COALESCE is on no list of IBM's, and not used.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from ipaddress import IPv4Network
from typing import ClassVar

from imdswatch import address
from imdswatch.address import Network
from imdswatch.rule import Rule, Text, Wild
from imdswatch.schema import Column
from imdswatch.siem import formula as f
from imdswatch.siem.content import Plan, Source
from imdswatch.siem.emitter import CannotSay, Emitter, spelled
from imdswatch.siem.kusto import RUNS
from imdswatch.siem.spelling import host_regex, left_again, mac_forms, path_regex, v6_of, without_backslashes
from imdswatch.siem.triage import FIRST_FIELDS

_SCHEME = "([a-z][a-z0-9+.-]*://)?"
_NOWHERE = (address.network("0.0.0.0/32"), address.network("::/128"))
_HALVES = {
    "ipv4": ("0.0.0.0/1", "128.0.0.0/1"),
    "ipv6": ("::/1", "8000::/1"),
}
"""What a length of 0 does is documented nowhere; two halves are the same set."""


class AqlBackend(Emitter):
    """Writes AQL over events and flows."""

    name = "IBM QRadar AQL by imdswatch"
    identifier = "imdswatch_qradar"
    formats: ClassVar[dict[str, str]] = {"default": "AQL query"}
    language = "aql"
    target = "qradar"
    usual_schema = "events"
    and_token, or_token, not_token = "AND", "OR", "NOT"
    eq_token = "="
    group_expression = "({expr})"
    str_quote = "'"
    escape_char = "\\"

    def path(self, source: Source, rule: Rule) -> str:
        """Return the file that holds the query."""
        return f"aql/{source.naming.schema}/{rule.slug}.aql"

    # Tests.

    def inside(self, atom: f.Atom, networks: Sequence[Network], guarded: bool) -> str:
        """Compare addresses by INCIDR with networks of the column's own family."""
        if atom.take:
            raise CannotSay("a host inside a URL is compared with addresses, not with networks")
        name = name_of(atom.column)
        found = [f"INCIDR('{text}', {name})" for text in _texts(atom.column, networks)]
        return _guard(atom.column, _any(found) if found else _never(atom.column), guarded)

    def an_address(self, atom: f.Atom, guarded: bool) -> str:
        """Ask for any address but the one that stands for none."""
        name, nothing = name_of(atom.column), _NOWHERE[_family(atom.column) == "ipv6"]
        found = [f"INCIDR('{half}', {name})" for half in _HALVES[_family(atom.column)]]
        return f"({name} IS NOT NULL AND {_any(found)} AND NOT INCIDR('{nothing}', {name}))"

    def texts(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Compare without case, or with it where the rule says `cased`."""
        if atom.column.type not in ("text", "name"):
            raise CannotSay(f"{atom.column.name} is no text")
        name = name_of(atom.column)
        if atom.take:
            raise CannotSay("a part of a URL cannot be asked for")
        exact = [
            _whole(p) for p in patterns if all(isinstance(part, str) for part in p.parts) and not p.cased
        ]
        out = [_among(f"LOWER({name})", [text.lower() for text in exact])] if exact else []
        for pattern in patterns:
            if pattern.cased or any(isinstance(part, Wild) for part in pattern.parts):
                out.append(_like(name, pattern))
        return _guard(atom.column, _any(out), guarded)

    def paths(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Read the path as logged, in every spelling."""
        if any(map(spelled, patterns)):
            return self.texts(f.Atom(atom.column, atom.test), patterns, guarded)
        return self._decoded(atom, patterns, guarded)

    def urls(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Read the URL as logged, in every spelling."""
        if any(map(spelled, patterns)):
            return self.texts(f.Atom(atom.column, atom.test), patterns, guarded)
        return self._decoded(atom, patterns, guarded)

    def _decoded(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        name = name_of(atom.column)

        def matches(wanted: Sequence[Text]) -> str:
            regex = path_regex(wanted, encoded=True)
            if atom.take:
                regex = f"{_SCHEME}[^/?#]*{regex}([?#].*)?"
            return _imatches(name, regex)

        said, back = matches(patterns), left_again(patterns)
        if back:
            said = f"({said} AND NOT {matches(back)})"
        return _guard(atom.column, said, guarded or bool(back))

    def hosts(self, atom: f.Atom, addresses: Sequence[str], names: Sequence[Text], guarded: bool) -> str:
        """Ask for all spellings of addresses in a host; a port may follow."""
        regex = host_regex(addresses, names, encoded=True)
        if atom.take:
            inner = regex.replace(".*", "[^/?#]*")
            regex = f"{_SCHEME}([^/?#@]*@)?{inner}([/?#].*)?"
        return _guard(atom.column, _imatches(name_of(atom.column), regex), guarded)

    def macs(self, atom: f.Atom, values: Sequence[str], guarded: bool) -> str:
        """Ask for the usual spellings without case."""
        forms = [form for value in values for form in mac_forms(value)]
        return _guard(atom.column, _among(f"LOWER({name_of(atom.column)})", forms), guarded)

    def numbers(self, atom: f.Atom, values: Sequence[float], guarded: bool) -> str:
        """Compare numbers."""
        _numeric(atom.column)
        said = f"{name_of(atom.column)} IN ({', '.join(f'{value:g}' for value in values)})"
        return _guard(atom.column, said, guarded)

    def ordered(self, atom: f.Atom, op: str, value: float, guarded: bool) -> str:
        """Compare numbers."""
        _numeric(atom.column)
        return _guard(atom.column, f"{name_of(atom.column)} {op} {value:g}", guarded)

    def flag(self, atom: f.Atom, value: bool, guarded: bool) -> str:
        """AQL has no booleans in records."""
        raise CannotSay(f"{atom.column.name} is no boolean")

    def present(self, atom: f.Atom) -> str:
        """Ask for a value; an empty text is none, nor is 0.0.0.0."""
        if atom.take:
            raise CannotSay("a part of a URL cannot be asked for")
        if atom.column.type in _HALVES:
            return self.an_address(atom, True)
        name = name_of(atom.column)
        return (
            f"({name} IS NOT NULL AND {name} <> '')"
            if atom.column.type == "text"
            else f"({name} IS NOT NULL)"
        )

    def same(self, atom: f.Atom, other: Column, guarded: bool) -> str:
        """Compare two columns of one type."""
        if atom.column.type != other.type or atom.column.type in _HALVES:
            raise CannotSay(f"{atom.column.name} and {other.name} are not comparable")
        both = f"{name_of(atom.column)} IS NOT NULL AND {name_of(other)} IS NOT NULL"
        return f"({both} AND {name_of(atom.column)} = {name_of(other)})"

    def excess(self, atom: f.Atom, packets: Column, destination: Column | None, guarded: bool) -> str:
        """Compare octets with the headers of the packets: more where the record is one of IPv6."""
        octets, count = name_of(atom.column), name_of(packets)
        known = f"{octets} IS NOT NULL AND {count} IS NOT NULL"
        if destination is None or _family(destination) != "ipv4":
            return f"({known} AND {octets} > {count} * 80)"
        four = self.an_address(f.Atom(destination, f.AnAddress()), True)
        return f"({known} AND ({octets} > {count} * 80 OR ({octets} > {count} * 60 AND {four})))"

    def until(self, day: date) -> str:
        """Ask the clock of the run, which counts milliseconds."""
        end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        return f"NOW() < {end.timestamp() * 1000:.0f}"

    # The whole query.

    def frame(self, condition: str, source: Source, rule: Rule, plan: Plan) -> str:
        """Ask for what an analyst looks at first, as far back as a run that overlaps the one before."""
        return "\n".join(
            [
                f"SELECT {', '.join(_shown(source))}",
                f"FROM {source.naming.table}",
                f"WHERE {condition}",
                f"LAST {RUNS[rule.stage][1]} MINUTES",
            ]
        )


def _shown(source: Source) -> Iterator[str]:
    naming = source.naming
    names = [column for field in FIRST_FIELDS for column in naming.columns.get(field, ())]
    for column in dict.fromkeys(names):
        alias = f' AS "{column.name.partition("(")[0]}"' if column.type == "name" else ""
        yield f"{name_of(column)}{alias}"


# Text -------------------------------------------------------------------------------------------------------------


def name_of(column: Column) -> str:
    """Return a column as AQL names it: custom properties in double quotes, functions as they are."""
    plain = column.type == "name" or re.fullmatch(r"[a-z][a-z0-9]*", column.name)
    return column.name if plain else f'"{column.name}"'


def _family(column: Column) -> str:
    if column.type not in _HALVES:
        raise CannotSay(f"{column.name} is no column of addresses")
    return column.type


def _texts(column: Column, networks: Sequence[Network]) -> list[str]:
    """Return the networks of the column's family; what stands for no address is left out."""
    family = _family(column)
    real = [net for net in networks if net not in _NOWHERE]
    texts = (
        [str(net) for net in real if isinstance(net, IPv4Network)] if family == "ipv4" else list(v6_of(real))
    )
    return [half for text in texts for half in (_HALVES[family] if text.endswith("/0") else (text,))]


def _never(column: Column) -> str:
    """Return a test that no record passes: the column can hold no address of the other family."""
    name = name_of(column)
    return f"({name} IS NULL AND {name} IS NOT NULL)"


def _numeric(column: Column) -> None:
    if column.type != "number":
        raise CannotSay(f"{column.name} is no number")


def _any(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"({' OR '.join(texts)})"


def _among(subject: str, values: Sequence[str]) -> str:
    texts = list(map(_quoted, values))
    return f"{subject} = {texts[0]}" if len(texts) == 1 else f"{subject} IN ({', '.join(texts)})"


def _guard(column: Column, said: str, guarded: bool) -> str:
    return f"({name_of(column)} IS NOT NULL AND {said})" if guarded else said


def _whole(pattern: Text) -> str:
    return "".join(part for part in pattern.parts if isinstance(part, str))


def _like(name: str, pattern: Text) -> str:
    if set(_whole(pattern)) & set("%_\\") or Wild.ONE in pattern.parts:
        flags = "(?s)" if pattern.cased else ""
        operator = "MATCHES" if pattern.cased else "IMATCHES"
        return f"{name} {operator} {_quoted(f'{flags}^{_regex(pattern.parts)}$')}"
    text = "".join(part if isinstance(part, str) else "%" for part in pattern.parts)
    return f"{name} {'LIKE' if pattern.cased else 'ILIKE'} {_quoted(text)}"


def _regex(parts: Sequence[str | Wild]) -> str:
    return "".join(
        "".join(_class(char) for char in part) if isinstance(part, str) else ".*" if part is Wild.ANY else "."
        for part in parts
    )


def _class(char: str) -> str:
    """Return one character as a regular expression without backslashes, which AQL's texts may read as their own."""
    if char in "\\^'[]&\n\r":  # Java reads `[[]` and `[]]` otherwise than PCRE does
        raise CannotSay(f"the character {char!r} cannot be asked for in AQL")
    return char if char.isalnum() or ord(char) > 127 or char in '_-/:%@=~#,;!"<> ' else f"[{char}]"


def _imatches(name: str, regex: str) -> str:
    return f"{name} IMATCHES {_quoted(f'^{without_backslashes(regex, _class)}$')}"


def _quoted(text: str) -> str:
    if "\n" in text or "\r" in text or "\\" in text:
        raise CannotSay("line ends and backslashes cannot be asked for in AQL")
    return "'" + text.replace("'", "''") + "'"
