r"""Elastic's Event Query Language (EQL), which has regular expressions without case and sequences of events.

Constructs with one reading on the server and on the reference engine (`docs/conformance.md`):

- every column but the time is optional (`?name`): an unmapped column is null and no error;
- under `not`, a test stands behind `?name != null`, so that it is false and not null where the column is missing;
- addresses by `cidrMatch`, also single ones: `==` would compare text on the reference engine;
- texts by `like~`, paths by `regex~` written for the whole value; columns are never compared with columns, which the
  server refuses ("EQL syntax reference", limitations), so octets and headers are compared in steps.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from imdswatch.rule import Rule, Text, Wild
from imdswatch.schema import Column
from imdswatch.siem import ecs
from imdswatch.siem import formula as f
from imdswatch.siem.content import Plan, Source
from imdswatch.siem.emitter import CannotSay, spelled
from imdswatch.siem.spelling import host_regex, left_again, mac_forms, path_regex


class EqlBackend(ecs.ElasticEmitter):
    """Writes Elastic EQL over ECS."""

    name = "Elastic EQL by imdswatch"
    identifier = "imdswatch_eql"
    formats: ClassVar[dict[str, str]] = {"default": "EQL query"}
    language = "eql"
    and_token, or_token, not_token = "and", "or", "not"
    eq_token = ":"

    def within(self, column: Column, values: Sequence[str], guarded: bool) -> str:
        """Ask `cidrMatch`, also for single addresses."""
        texts = ", ".join(f'"{ecs.with_length(text)}"' for text in values)
        return _guard(column, f"cidrMatch({_name(column)}, {texts})", guarded)

    def texts(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Compare without case, or with it where the rule says `cased`."""
        if ecs.is_ip(atom.column) or ecs.is_number(atom.column):
            raise CannotSay("texts are compared on text fields only")
        if atom.take:
            raise CannotSay("a part of a URL cannot be asked for")
        out = []
        for operator, cased in (("like~", False), ("like", True)):
            values = [_pattern(pattern.parts) for pattern in patterns if pattern.cased == cased]
            if values:
                out.append(f"{_name(atom.column)} {operator} ({', '.join(values)})")
        return _guard(atom.column, out[0] if len(out) == 1 else f"({' or '.join(out)})", guarded)

    def paths(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Read the path as logged, in every spelling."""
        if any(map(spelled, patterns)):
            return self.texts(atom, patterns, guarded)
        return self._decoded(atom, patterns, guarded)

    def _decoded(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        regex, name = path_regex(patterns, encoded=True), _name(atom.column)
        if atom.take:
            regex = f"([a-z][a-z0-9+.\\-]*://)?[^/?#]*{regex}([?#].*)?"
        said, back = f"{name} regex~ {_regex(regex)}", left_again(patterns)
        if back:
            said = f"({said} and not {name} regex~ {_regex(path_regex(back, encoded=True))})"
        return _guard(atom.column, said, guarded)

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
            return self.within(atom.column, addresses, guarded)
        regex = host_regex(addresses, names, encoded=True)
        if atom.take:
            inner = regex.replace(".*", "[^/?#]*")
            regex = f"([a-z][a-z0-9+.\\-]*://)?([^/?#@]*[@])?{inner}([/?#].*)?"
        return _guard(atom.column, f"{_name(atom.column)} regex~ {_regex(regex)}", guarded)

    def macs(self, atom: f.Atom, values: Sequence[str], guarded: bool) -> str:
        """Ask for the usual spellings without case."""
        forms = ", ".join(f'"{form}"' for value in values for form in mac_forms(value))
        return _guard(atom.column, f"{_name(atom.column)} like~ ({forms})", guarded)

    def numbers(self, atom: f.Atom, values: Sequence[float], guarded: bool) -> str:
        """Compare numbers, as text where ECS keeps them so (VLAN ids)."""
        if ecs.is_number(atom.column):
            said = f"{_name(atom.column)} in ({', '.join(f'{value:g}' for value in values)})"
        else:
            quoted = ", ".join(f'"{value:g}"' for value in values)
            said = f"{_name(atom.column)} in ({quoted})"
        return _guard(atom.column, said, guarded)

    def ordered(self, atom: f.Atom, op: str, value: float, guarded: bool) -> str:
        """Compare numbers."""
        if not ecs.is_number(atom.column):
            raise CannotSay("order is asked of numbers only")
        return _guard(atom.column, f"{_name(atom.column)} {op} {value:g}", guarded)

    def flag(self, atom: f.Atom, value: bool, guarded: bool) -> str:
        """Compare a boolean."""
        return _guard(atom.column, f"{_name(atom.column)} == {str(value).lower()}", guarded)

    def present(self, atom: f.Atom) -> str:
        """Ask for a value; an empty text is none."""
        if atom.take:
            raise CannotSay("a part of a URL cannot be asked for")
        some = f"{_name(atom.column)} != null"
        return (
            some
            if atom.column.type.removesuffix("[]") in ("ip", "long", "date")
            else f'({some} and {_name(atom.column)} != "")'
        )

    def excess(self, atom: f.Atom, packets: Column, destination: Column | None, guarded: bool) -> str:
        """Compare octets with the headers of so many packets, step by step."""
        octets, count = _name(atom.column), _name(packets)

        def some(per: int) -> str:
            found = (f"({count} <= {most} and {octets} > {more})" for most, more in ecs.steps(per))
            return f"({' or '.join(found)})"

        if destination is None:
            said = some(80)
        else:
            four = ", ".join(f'"{net}"' for net in ecs.V4)
            said = f"({some(80)} or (cidrMatch({_name(destination)}, {four}) and {some(60)}))"
        known = f"({octets} != null and {count} != null and {said})"
        return f"({known[1:-1]} and {_name(destination)} != null)" if destination and guarded else known

    def caveat(self, atom: f.Atom) -> str:
        """Tell what steps miss."""
        return ecs.STEPS_CAVEAT if isinstance(atom.test, f.Excess) else ""

    def frame(self, condition: str, source: Source, rule: Rule, plan: Plan) -> str:
        """Ask events of any category; index patterns stand in the rule."""
        return f"any where {condition}"

    def sequence(self, source: Source, rule: Rule, plan: Plan) -> str:
        """Relate the later event to the earlier one of the same source."""
        victim = source.naming.columns["src_ip"][0].name
        first = self.compose(plan.first, indent=2)
        then = self.compose(f.all_of([plan.where, f.negated(plan.mute)]), indent=2)
        span = f"{plan.within // 3600}h" if plan.within % 3600 == 0 else f"{plan.within}s"
        return f"sequence by {victim} with maxspan={span}\n  [any where {first}]\n  [any where {then}]"


def _name(column: Column) -> str:
    return (
        f"?{column.name}" if column.name.replace(".", "").replace("_", "").isalnum() else f"`{column.name}`"
    )


def _guard(column: Column, said: str, guarded: bool) -> str:
    return f"({_name(column)} != null and {said})" if guarded else said


def _pattern(parts: Sequence[str | Wild]) -> str:
    out = "".join(
        part.value if isinstance(part, Wild) else _escaped(part.replace("*", "\\*").replace("?", "\\?"))
        for part in parts
    )
    return f'"{out}"'


def _escaped(text: str) -> str:
    return (
        text.replace("\\", "\\\\")
        .replace('"', '\\"')
        .replace("\n", "\\n")
        .replace("\r", "\\r")
        .replace("\t", "\\t")
    )


def _regex(text: str) -> str:
    return f'"""{text}"""'
