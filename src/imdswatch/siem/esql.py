r"""Elastic's ES|QL, whose types are strict and whose nulls spread.

- `SET unmapped_fields="nullify"` makes an unmapped column null; without it one missing column fails the whole query;
- a scalar function on a field with several values gives null: such fields (`[]` in the schema) are joined to one text
  by MV_CONCAT and searched with separators;
- under NOT, every test is wrapped in COALESCE(…, false);
- LIKE and RLIKE know case, so columns go through TO_LOWER; both mean the whole value.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import ClassVar

from imdswatch.rule import Rule, Text, Wild
from imdswatch.schema import Column
from imdswatch.siem import ecs
from imdswatch.siem import formula as f
from imdswatch.siem.content import Plan, Source
from imdswatch.siem.emitter import CannotSay, spelled
from imdswatch.siem.spelling import host_regex, left_again, mac_forms, path_regex


class EsqlBackend(ecs.ElasticEmitter):
    """Writes Elastic ES|QL over ECS."""

    name = "Elastic ES|QL by imdswatch"
    identifier = "imdswatch_esql"
    formats: ClassVar[dict[str, str]] = {"default": "ES|QL query"}
    language = "esql"
    and_token, or_token, not_token = "AND", "OR", "NOT"
    eq_token = "=="

    def within(self, column: Column, values: Sequence[str], guarded: bool) -> str:
        """Ask `CIDR_MATCH`, also for single addresses."""
        texts = ", ".join(f'"{ecs.with_length(text)}"' for text in values)
        return _guard(f"CIDR_MATCH({_name(column)}, {texts})", guarded)

    def texts(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Compare in lower case, or as written where the rule says `cased`."""
        if ecs.is_ip(atom.column) or ecs.is_number(atom.column):
            raise CannotSay("texts are compared on text fields only")
        if atom.take:
            raise CannotSay("a part of a URL cannot be asked for")
        if _several(atom.column):
            return self._among(atom.column, patterns, guarded)
        out = []
        for cased in (False, True):
            subject = _name(atom.column) if cased else f"TO_LOWER({_name(atom.column)})"
            mine = [pattern for pattern in patterns if pattern.cased == cased]
            exact = [p for p in mine if all(isinstance(part, str) for part in p.parts)]
            if exact:
                out.append(f"{subject} IN ({', '.join(_text(_joined(p, cased)) for p in exact)})")
            out += [f"{subject} LIKE {_like(p, cased)}" for p in mine if p not in exact]
        return _guard(out[0] if len(out) == 1 else f"({' OR '.join(out)})", guarded)

    def _among(self, column: Column, patterns: Sequence[Text], guarded: bool) -> str:
        """Search the values of a field that may have several, joined by a character that none of them holds."""
        subject = f'CONCAT("|", MV_CONCAT(TO_LOWER({_name(column)}), "|"), "|")'
        wrapped = [Text((Wild.ANY, "|", *pattern.parts, "|", Wild.ANY)) for pattern in patterns]
        out = [f"{subject} LIKE {_like(pattern, False)}" for pattern in wrapped]
        return _guard(out[0] if len(out) == 1 else f"({' OR '.join(out)})", guarded)

    def paths(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Read the path as logged, in every spelling."""
        if any(map(spelled, patterns)):
            return self.texts(atom, patterns, guarded)
        return self._decoded(atom, patterns, guarded)

    def _decoded(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        regex, subject = path_regex(patterns, encoded=True), f"TO_LOWER({_name(atom.column)})"
        if atom.take:
            regex = f"([a-z][a-z0-9+.\\-]*://)?[^/?#]*{regex}([?#].*)?"
        said, back = f"{subject} RLIKE {_regex(regex)}", left_again(patterns)
        if back:
            said = f"({said} AND NOT ({subject} RLIKE {_regex(path_regex(back, encoded=True))}))"
        return _guard(said, guarded)

    def urls(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Read the URL as logged, in every spelling."""
        if any(map(spelled, patterns)):
            return self.texts(atom, patterns, guarded)
        return self._decoded(atom, patterns, guarded)

    def hosts(self, atom: f.Atom, addresses: Sequence[str], names: Sequence[Text], guarded: bool) -> str:
        """Ask for all spellings of addresses in a host; a port may follow."""
        if ecs.is_ip(atom.column):
            if not addresses:
                raise CannotSay("a field of type ip holds no names")
            return self._addresses(atom.column, addresses, guarded)
        regex = host_regex(addresses, names, encoded=True)
        if atom.take:
            inner = regex.replace(".*", "[^/?#]*")
            regex = f"([a-z][a-z0-9+.\\-]*://)?([^/?#@]*[@])?{inner}([/?#].*)?"
        subject = f"TO_LOWER({_name(atom.column)})"
        if _several(atom.column):
            subject, regex = f'CONCAT("|", MV_CONCAT({subject}, "|"), "|")', f".*[|]{regex}[|].*"
        return _guard(f"{subject} RLIKE {_regex(regex)}", guarded)

    def _addresses(self, column: Column, addresses: Sequence[str], guarded: bool) -> str:
        if not _several(column):
            return self.within(column, addresses, guarded)
        # An address becomes text in one form only (RFC 5952), so text is safe here.
        subject = f'CONCAT("|", MV_CONCAT(TO_STRING({_name(column)}), "|"), "|")'
        out = [f'{subject} LIKE "*|{text}|*"' for text in addresses]
        return _guard(out[0] if len(out) == 1 else f"({' OR '.join(out)})", guarded)

    def macs(self, atom: f.Atom, values: Sequence[str], guarded: bool) -> str:
        """Ask for the usual spellings without case."""
        forms = ", ".join(f'"{form}"' for value in values for form in mac_forms(value))
        return _guard(f"TO_LOWER({_name(atom.column)}) IN ({forms})", guarded)

    def numbers(self, atom: f.Atom, values: Sequence[float], guarded: bool) -> str:
        """Compare numbers; VLAN ids may be several, and are text in ECS."""
        texts = [f"{value:g}" for value in values]
        if _several(atom.column):
            name = f"TO_STRING({_name(atom.column)})" if ecs.is_number(atom.column) else _name(atom.column)
            subject = f'CONCAT("|", MV_CONCAT({name}, "|"), "|")'
            return _guard(f"{subject} RLIKE {_regex('.*[|](' + '|'.join(texts) + ')[|].*')}", guarded)
        if not ecs.is_number(atom.column):
            texts = [f'"{text}"' for text in texts]
        return _guard(f"{_name(atom.column)} IN ({', '.join(texts)})", guarded)

    def ordered(self, atom: f.Atom, op: str, value: float, guarded: bool) -> str:
        """Compare numbers."""
        if not ecs.is_number(atom.column):
            raise CannotSay("order is asked of numbers only")
        return _guard(f"{_name(atom.column)} {op} {value:g}", guarded)

    def flag(self, atom: f.Atom, value: bool, guarded: bool) -> str:
        """Compare a boolean."""
        return _guard(f"{_name(atom.column)} == {str(value).lower()}", guarded)

    def present(self, atom: f.Atom) -> str:
        """Ask for a value; an empty text is none."""
        if atom.take:
            raise CannotSay("a part of a URL cannot be asked for")
        some = f"{_name(atom.column)} IS NOT NULL"
        if atom.column.type.removesuffix("[]") in ("ip", "long", "date"):
            return some
        if _several(atom.column):  # comparing several values with one gives null
            return f'({some} AND MV_CONCAT({_name(atom.column)}, "") != "")'
        return f'({some} AND {_name(atom.column)} != "")'

    def same(self, atom: f.Atom, other: Column, guarded: bool) -> str:
        """Compare two columns of one type."""
        if atom.column.type != other.type:
            raise CannotSay(f"{atom.column.name} and {other.name} are of different types")
        return _guard(f"{_name(atom.column)} == {_name(other)}", guarded)

    def excess(self, atom: f.Atom, packets: Column, destination: Column | None, guarded: bool) -> str:
        """Compare octets with the headers of the packets."""
        per = "80"
        if destination is not None:
            four = ", ".join(f'"{net}"' for net in ecs.V4)
            per = f"CASE(CIDR_MATCH({_name(destination)}, {four}), 60, 80)"
        return _guard(f"{_name(atom.column)} > {_name(packets)} * {per}", guarded)

    def until(self, day: date) -> str:
        """Ask the clock of the run."""
        return f'NOW() < TO_DATETIME("{day + timedelta(days=1)}T00:00:00.000Z")'

    def frame(self, condition: str, source: Source, rule: Rule, plan: Plan) -> str:
        """Ask the indices; the metadata lets Kibana tell alerts apart."""
        return "\n".join(
            [
                'SET unmapped_fields="nullify";',
                f"FROM {source.naming.table} METADATA _id, _index, _version",
                f"| WHERE {condition}",
            ]
        )


def _several(column: Column) -> bool:
    return column.type.endswith("[]")


def _name(column: Column) -> str:
    return column.name if column.name.replace(".", "").replace("_", "").isalnum() else f"`{column.name}`"


def _guard(said: str, guarded: bool) -> str:
    return f"COALESCE({said}, false)" if guarded else said


def _joined(pattern: Text, cased: bool) -> str:
    text = "".join(part for part in pattern.parts if isinstance(part, str))
    return text if cased else text.lower()


def _like(pattern: Text, cased: bool) -> str:
    out = ""
    for part in pattern.parts:
        if isinstance(part, Wild):
            out += part.value
        else:
            text = part if cased else part.lower()
            out += text.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?")
    return _text(out)


def _text(text: str) -> str:
    return (
        '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r") + '"'
    )


def _regex(text: str) -> str:
    return f'"""{text}"""'
