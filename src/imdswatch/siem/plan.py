"""The planner: what one rule means on one schema of a SIEM, as a formula over that SIEM's columns.

Every clause of the rule becomes typed tests on columns, or is lost with a reason that the schema gives under
`cannot:` or `needs:`. A field that the schema neither maps nor explains is a SchemaError that names it: nothing is
ever left out in silence. A lost test is false, as it is for `scan` on a record without the field, so its negation is
true. What the core derives (`imdswatch.event`: `url`, `host`, `uri_path`, `uri_query`, `answered`) is derived here,
too. Pure.

Longer than most: all kinds of test on all kinds of field are turned into columns here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from imdswatch import address
from imdswatch import rule as r
from imdswatch.errors import SchemaError
from imdswatch.event import FIELDS, Kind
from imdswatch.schema import Column
from imdswatch.siem import formula as f
from imdswatch.siem.content import Clause, Source
from imdswatch.siem.emitter import CannotSay, Emitter
from imdswatch.sigma_lines import line_of

_KIN = {
    # where a schema explains a missing field under the name of a related one
    "url": ("uri_path", "host"),
    "host": ("url",),
    "uri_path": ("url",),
    "uri_query": ("url",),
    "answered": ("resp_bytes", "resp_ip_bytes", "status", "resp_flags"),
    "account_id": ("access_key_id", "role"),
    "access_key_id": ("role",),
    "response_code": ("access_key_id", "role"),
    "signing_key_id": ("access_key_id", "role"),
    "resp_document": ("access_key_id", "role"),
    "nd_target": ("arp_opcode",),
    "method": ("url",),
    "user_agent": ("url",),
    "req_header": ("url",),
    "resp_mime": ("url",),
}
_FOLDED = (Kind.URL, Kind.PATH)
_NOTHING: dict[str, f.Test] = {
    # values that say: none. Firewalls write an address of zeros; VLAN 0 is a priority tag (802.1Q 9.6).
    "nat_dst": f.Inside((address.network("0.0.0.0/32"), address.network("::/128"))),
    "vlan": f.Numbers((0,)),
}


class Planner:
    """Plans one rule on one source; collects what is lost and what became of each clause on the way.

    `siblings` are the other parts of the same schema: what one of them carries is no loss of the schema.
    """

    def __init__(
        self,
        emitter: Emitter,
        source: Source,
        rule: r.Rule,
        siblings: Sequence[Source] = (),
        values: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.emitter, self.source, self.rule, self.siblings = emitter, source, rule, siblings
        self._values = values or {}
        self.lost: dict[f.Loss, None] = {}
        self.clauses: list[Clause] = []
        self._specs = {spec.name: spec for spec in source.schema.all_fields()}

    # The condition of a rule.

    def condition(self, node: r.Node) -> f.Formula:
        """Return the formula of a condition."""
        match node:
            case r.And(nodes):
                return f.all_of([self.condition(child) for child in nodes])
            case r.Or(nodes):
                return f.any_of(
                    [
                        self._clause(found) if isinstance(found, list) else self.condition(found)
                        for found in _grouped(nodes)
                    ]
                )
            case r.Not(inner):
                return f.negated(self.condition(inner))
            case r.Match():
                return self._clause([node])
        raise AssertionError(node)

    def _clause(self, matches: Sequence[r.Match]) -> f.Formula:
        text = clause_text(matches)
        origin = f"line {self._line(matches)}"
        formula = self._matches(matches, text)
        if isinstance(formula, f.Const):
            self.clauses.append(Clause(text, origin, ""))
            return formula
        self.clauses.append(Clause(text, origin, self.emitter.compose(formula)))
        return formula

    def _matches(self, matches: Sequence[r.Match], text: str) -> f.Formula:
        field, test = matches[0].field, matches[0].test
        if field is None:
            return self.loses(text, "a keyword means the whole record; the tables of a SIEM have columns")
        if isinstance(test, r.Exists | r.Null):
            here = self.known(field)
            return (
                f.negated(here)
                if isinstance(test, r.Null) or not test.value
                else self._or_lost(here, field, text)
            )
        if field == "answered" and isinstance(test, r.Bool):
            answered = self._or_lost(self.answered(text), field, text)
            return answered if test.value else f.negated(answered)
        if isinstance(test, r.FieldRef):
            return self._reference(field, test, text)
        if isinstance(test, r.Placeholder):
            matches = [r.Match(field, r.Text((value,))) for value in self._values.get(test.name, ())]
        found = f.any_of([self.test(field, one, text) for one in _merged(field, matches)])
        return self._or_lost(found, field, text)

    def _or_lost(self, formula: f.Formula, field: str, text: str) -> f.Formula:
        if isinstance(formula, f.Const) and not formula.value and not formula.why:
            if any(field in sibling.naming.columns for sibling in self.siblings):
                part = next(one.naming.part for one in self.siblings if field in one.naming.columns)
                return f.Const(False, (f.Loss(text, f"the {part} part carries it"),))
            return self.loses(text, self.why(field))
        return formula

    def loses(self, text: str, why: str) -> f.Const:
        """Note a loss, and return what is left of the clause."""
        loss = f.Loss(text, why)
        self.lost[loss] = None
        return f.Const(False, (loss,))

    def why(self, field: str) -> str:
        """Return why the schema does not carry a field; raises SchemaError where it does not say."""
        schema = self.source.schema
        for name in (field, *_KIN.get(field, ())):
            said = schema.cannot.get(name) or schema.needs.get(name)
            if said:
                return said
        raise SchemaError(
            f"schema `{schema.name}` has no column for `{field}`, which rule {self.rule.slug} asks for",
            file=schema.file,
            help=f"name it under `siem: columns:`, or say under `cannot:` why `{field}` cannot be there",
        )

    # One field.

    def columns(self, field: str) -> list[tuple[Column, str]]:
        """Return the columns that carry a field, and which part of each is meant (`imdswatch.event.complete`)."""
        naming = self.source.naming.columns
        own = [(column, "") for column in naming.get(field, ())]
        match field:
            case "uri_path" if not own:
                return [(column, "path") for column in naming.get("url", ())]
            case "uri_query" if not own:
                return [(column, "query") for column in naming.get("url", ())]
            case "host":
                return own + [(column, "host") for column in naming.get("url", ())]
            case "url":
                parts = [column for name in ("uri_path", "uri_query") for column in naming.get(name, ())]
                return own + [(column, "") for column in parts]
        return own

    def known(self, field: str) -> f.Formula:
        """Return the formula for: the record has this field."""
        here = f.any_of([self.atom(column, f.Present(), take) for column, take in self.columns(field)])
        nothing = _NOTHING.get(field)
        if nothing is None:
            return here
        none = f.any_of([self.atom(column, nothing) for column, _ in self.columns(field)])
        return f.all_of([here, f.negated(none)])

    def atom(
        self, column: Column, test: f.Test, take: str = "", label: str = "", text: str = ""
    ) -> f.Formula:
        """Return one test, or nothing where the language cannot say it (told with `text`)."""
        atom = f.Atom(column, test, take, label)
        try:
            self.emitter.leaf(atom)
        except CannotSay as reason:
            return self.loses(text or column.name, str(reason))
        caveat = self.emitter.caveat(atom) if text else ""
        if caveat:
            self.lost[f.Loss(text, caveat)] = None
        return atom

    def test(self, field: str, test: r.Test | f.Test, text: str, label: str = "") -> f.Formula:
        """Return the formula of one test on one field: on any of its columns."""
        translated = self._mapped(field, test) if isinstance(test, r.Text | r.Bool) else None
        typed = translated or _typed(field, test)
        if typed is None:
            return self.loses(text, f"a test of kind {type(test).__name__} cannot be asked of a SIEM")
        found: list[f.Formula] = []
        refused: list[tuple[str, str]] = []
        for column, take in self.columns(field):
            try:
                self.emitter.leaf(f.Atom(column, typed, take, label))
            except CannotSay as refusal:
                refused.append((take, str(refusal)))
            else:
                found.append(self.atom(column, typed, take, label, text))
        for take, why in refused:
            if not found or not take:  # what another column says as well is no loss
                self.loses(text, why)
        partly = self.source.naming.partly.get(field)
        if partly and text:
            self.lost[f.Loss(text, partly)] = None
        return f.any_of(found) if found or not refused else f.Const(False, (f.Loss(text, refused[0][1]),))

    def _mapped(self, field: str, test: r.Text | r.Bool) -> f.Test | None:
        """Return the test on what stands in the column, where the schema translates its values."""
        spec = self._specs.get(field)
        if spec is None or not spec.map:
            return None
        if isinstance(test, r.Bool):
            wanted = str(test.value).lower()
        elif len(test.parts) == 1 and isinstance(test.parts[0], str):
            wanted = test.parts[0].lower()
        else:
            return None
        keys = [key for key, value in spec.map if value.lower() == wanted]
        return f.Texts(tuple(_pattern(key) for key in keys)) if keys else None

    def _reference(self, field: str, test: r.FieldRef, text: str) -> f.Formula:
        here, there = self.columns(field), self.columns(test.other)
        if test.starts or test.ends:
            return self.loses(text, "only equality of two columns can be asked")
        if not here or not there:
            return self._or_lost(f.FALSE, field if not here else test.other, text)
        return self.atom(here[0][0], f.Same(there[0][0]), text=text)

    # What the core derives.

    def answered(self, text: str) -> f.Formula:
        """Return the formula of `answered: true` (`imdswatch.event.derive_answered`, DESIGN 3)."""
        own = self.source.naming.columns.get("answered", ())
        said = f.any_of([self.test("answered", r.Bool(True), "") for _ in own[:1]])
        status, tunnel = self.known("status"), self._is("method", "CONNECT")
        by_status = f.all_of(
            [
                self._number("status", r.Compare(">=", 100)),
                self._number("status", r.Compare("<=", 999)),
                f.negated(self._any_number("status", (407, 502, 503, 504))),
                f.negated(tunnel),
            ]
        )
        payload = self.known("resp_bytes")
        by_bytes = f.any_of(
            [
                self._number("resp_bytes", r.Compare(">", 0)),
                self.test("resp_flags", r.Text((r.Wild.ANY, "P", r.Wild.ANY)), ""),
                f.all_of([f.negated(payload), self._excess(text)]),
            ]
        )
        other = f.all_of([f.negated(f.all_of([status, f.negated(tunnel)])), by_bytes])
        positive = f.any_of([by_status, other])
        if isinstance(positive, f.Const):
            return f.any_of([said, positive])
        guards = []
        for field, value in (("reply_by", "proxy"), ("action", "deny"), ("action", "reset")):
            guard = self._is(field, value)
            if isinstance(guard, f.Const):
                self._tell_guard(field, value)
            guards.append(guard)
        derived = f.all_of([positive, f.negated(f.any_of(guards))])
        if own:
            derived = f.all_of([derived, f.negated(self.known("answered"))])
        return f.any_of([said, derived])

    def _tell_guard(self, field: str, value: str) -> None:
        said = self.source.schema.cannot.get(field) or self.source.schema.needs.get(field)
        if said:
            self.lost[f.Loss(f"answered, unless {field}: {value}", said)] = None

    def _is(self, field: str, value: str) -> f.Formula:
        spec = self._specs.get(field)
        if spec is not None and spec.map and value.lower() not in {v.lower() for _, v in spec.map}:
            return f.FALSE  # the column never says so
        return self.test(field, r.Text((value,)), "")

    def _number(self, field: str, test: r.Compare) -> f.Formula:
        return self.test(field, test, "")

    def _any_number(self, field: str, values: tuple[int, ...]) -> f.Formula:
        return self.test(field, f.Numbers(values), "")

    def _excess(self, text: str) -> f.Formula:
        octets, packets = self.columns("resp_ip_bytes"), self.columns("resp_packets")
        if not octets or not packets:
            return f.FALSE
        destination = next((column for column, _ in self.columns("dst_ip")), None)
        excess = self.atom(octets[0][0], f.Excess(packets[0][0], destination), text=text)
        return f.all_of([excess, *map(f.negated, self._elsewise("resp_ip_bytes"))])

    def _elsewise(self, field: str) -> Iterator[f.Formula]:
        """Yield the conditions of those variants of the schema in which a field is not read."""
        for base in self.source.schema.bases:
            for form in base.variants:
                if field not in {spec.name for spec in form.fields.fields}:
                    asked = []
                    for source, values in form.when:
                        texts = tuple(r.Text((value,), cased=True) for value in sorted(values))
                        asked.append(self.atom(Column(source, "keyword"), f.Texts(texts)))
                    yield f.all_of(asked)

    def _line(self, matches: Sequence[r.Match]) -> int:
        """Return the line of the rule's file on which the first value stands; 1 where it cannot be told."""
        for match in matches:
            test = match.test
            wanted = [part for part in getattr(test, "parts", ()) if isinstance(part, str)]
            wanted += [
                str(getattr(test, name)) for name in ("network", "pattern", "name") if hasattr(test, name)
            ]
            for number, line in enumerate(self.rule.text.splitlines(), 1):
                if (
                    wanted
                    and max(wanted, key=len) in line
                    and not line.lstrip().startswith(("#", "title", "http"))
                ):
                    return number
        return line_of(self.rule.text, matches[0].field or "detection") or 1


def _grouped(nodes: Sequence[r.Node]) -> list[list[r.Match] | r.Node]:
    """Put alternatives together that can be asked together: texts, numbers or networks of one field."""
    out: list[list[r.Match] | r.Node] = []
    groups: dict[tuple[str | None, type, bool], list[r.Match]] = {}
    for node in nodes:
        if not isinstance(node, r.Match) or not isinstance(node.test, r.Text | r.Number | r.Cidr):
            out.append([node] if isinstance(node, r.Match) else node)
            continue
        key = (node.field, type(node.test), isinstance(node.test, r.Text) and node.test.cased)
        if key not in groups:
            out.append(groups.setdefault(key, []))
        groups[key].append(node)
    return out


def _merged(field: str, matches: Sequence[r.Match]) -> list[r.Test | f.Test]:
    """Put alternatives on one field into as few tests as there are kinds of them."""
    out: list[r.Test | f.Test] = []
    for match in matches:
        test = match.test if len(matches) == 1 else _typed(field, match.test) or match.test
        for at, before in enumerate(out):
            joined = f.joined(before, test)
            if joined is not None:
                out[at] = joined
                break
        else:
            out.append(test)
    return out


def _typed(field: str, test: r.Test | f.Test) -> f.Test | None:
    """Return the typed test for a field of this kind, or None if no SIEM can be asked."""
    kind = FIELDS[field].kind
    match test:
        case r.Text(parts, cased):
            exact = parts[0] if len(parts) == 1 and isinstance(parts[0], str) else None
            return _text(kind, test, exact, cased)
        case r.Number(value):
            return (
                f.Numbers((value,)) if kind in (Kind.INT, Kind.FLOAT) else f.Texts((r.Text((str(value),)),))
            )
        case r.Compare(op, value):
            return f.Ordered(op, value)
        case r.Bool(value):
            return f.Flag(value) if kind is Kind.BOOL else f.Texts((r.Text((str(value),)),))
        case r.Cidr(network):
            return f.Inside((address.network(network),)) if kind is Kind.ADDRESS else None
        case r.Regex(pattern, flags):
            return f.Found(pattern, flags)
        case r.Exists() | r.Null() | r.FieldRef() | r.TimePart() | r.Placeholder():
            return None
        case _:
            return test


def _text(kind: Kind, test: r.Text, exact: str | None, cased: bool) -> f.Test:
    if kind is Kind.ADDRESS and exact is not None and (found := address.parse(exact)) is not None:
        return f.Inside((address.network(found),))
    if kind is Kind.HOST and not cased:
        named = address.parse_host(exact) if exact is not None else None
        return f.Hosts((named,), ()) if named is not None else f.Hosts((), (test,))
    if kind is Kind.MAC and exact is not None and not cased:
        return f.Macs((exact.lower().replace("-", ":"),))
    if kind is Kind.INT and exact is not None and exact.isdigit():
        return f.Numbers((int(exact),))
    if kind in _FOLDED and not cased:
        return f.Paths((test,)) if kind is Kind.PATH else f.Urls((test,))
    return f.Texts((test,))


def _pattern(key: str) -> r.Text:
    """Return the pattern of a key of a schema's `map` (it may end in `*`)."""
    if key.endswith("*"):
        return r.Text((key[:-1], r.Wild.ANY) if key != "*" else (r.Wild.ANY,))
    return r.Text((key,))


def clause_text(matches: Sequence[r.Match]) -> str:
    """Return a clause as a person reads it: field, what is asked, the first values."""
    field, test = matches[0].field or "keyword", matches[0].test
    match test:
        case r.Text():
            shown = [_shown(match.test) for match in matches if isinstance(match.test, r.Text)]
            more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
            return f"{field}: {', '.join(shown[:3])}{more}"
        case r.Number() | r.Bool():
            return f"{field}: {', '.join(str(getattr(match.test, 'value', '')) for match in matches)}"
        case r.Compare(op, value):
            return f"{field} {op} {value:g}"
        case r.Exists(value):
            return f"{field} is {'there' if value else 'missing'}"
        case r.Null():
            return f"{field} is empty"
        case r.Cidr(network):
            return f"{field} in {network}"
        case r.Regex(pattern):
            return f"{field} matches {pattern}"
        case r.FieldRef(other):
            return f"{field} equals {other}"
        case r.Placeholder(name):
            return f"{field} is one of %{name}%"
    return field


def _shown(test: r.Text) -> str:
    return "".join(part if isinstance(part, str) else part.value for part in test.parts)
