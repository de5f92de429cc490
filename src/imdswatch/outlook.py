"""The Outlook: what a log of one schema can and cannot ever show to one rule, and why.

Decided from the rule's condition tree and from the fields that the schema fills, without looking at any log:
a test on a field that the source never carries cannot hold, so an `and` over it cannot, and an `or` only by
its other branches. A negation holds on a missing field. `seen` narrows it: a field met in real records needs
no switch. Everything is pure; what is said is true of single events (correlations say what else they need).
A little over 300 lines, because the values and the walk over the tree that makes them belong together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from imdswatch import address
from imdswatch.finding import Skipped
from imdswatch.rule import And, Exists, FieldRef, Match, Node, Not, Null, Or, Placeholder, Rule, Text
from imdswatch.schema import Form, Schema

Reason = tuple[str, str]
"""Canonical field (or empty), and what is to be said about it."""

_COMPLETED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    # imdswatch.event.complete and derive_answered: each tuple is one way, all of its fields are needed
    "url": (("uri_path",),),
    "host": (("url",),),
    "uri_path": (("url",),),
    "uri_query": (("url",), ("uri_path",)),
    "answered": (("status",), ("resp_bytes",), ("resp_flags",), ("resp_ip_bytes", "resp_packets")),
}
_KIN: Mapping[str, tuple[str, ...]] = {
    # where a schema explains a missing field under the name of a related one
    "url": ("uri_path", "host"),
    "host": ("url",),
    "uri_path": ("url",),
    "answered": ("resp_bytes", "resp_ip_bytes", "status", "resp_flags"),
    "account_id": ("access_key_id", "role"),
    "access_key_id": ("role",),
    "response_code": ("access_key_id", "role"),
    "nd_target": ("arp_opcode",),
    "method": ("url",),
    "user_agent": ("url",),
    "req_header": ("url",),
}
NOT_LOGGED = "not in this log"
"""The reason where a schema gives none of its own."""
_NEVER_SOURCE = "the source of a request is who asked, never the endpoint"
_UNKNOWN_GIVES = frozenset({"dst_ip", "url", "payload"})
"""What `imdswatch.read.unknown` finds in a record that no schema knows."""
_SOURCE_ASKS = ("http", "dns", "tls")
"""Layers whose records are of a request: the source of one is whoever asked, never the endpoint."""


class Can(IntEnum):
    """Whether a rule can fire on a source."""

    NEVER = 0
    IF = 1
    YES = 2


@dataclass(frozen=True, slots=True)
class Answer:
    """One verdict; `why` is what is missing (NEVER), what must be done (IF), or what it is blind to (YES)."""

    can: Can
    why: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one rule can do with one source; `schema` names the layout of it through which it does best."""

    rule: str
    stage: str
    schema: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Seen:
    """A schema that read records of a source, how many of those looked at, and the fields they gave."""

    schema: Schema
    records: int
    fields: frozenset[str]


@dataclass(frozen=True, slots=True)
class Detected:
    """What a source is, and what can come of it; made by `imdswatch.scan.detect`."""

    source: str
    streams: int
    records: int
    unread: int
    complete: bool
    """Whether everything was looked at, rather than the beginning of each stream only."""
    schemas: tuple[Seen, ...]
    outlooks: tuple[Outlook, ...]
    site: tuple[tuple[str, str, Answer], ...]
    """Keys of the site file, schema, and whether its records can be judged by them."""
    skipped: tuple[Skipped, ...]


_YES = Answer(Can.YES)
_OWN_ADDRESS = (
    "the log gives the answerer's own address as destination (a proxy, a custom endpoint), not the endpoint's"
)


def outlook(rule: Rule, schema: Schema, rules: Sequence[Rule], seen: frozenset[str] = frozenset()) -> Outlook:
    """Return what a rule can do with records of a schema; `rules` are all of them, for correlations."""
    answers = [_Layer(schema, form, seen).rule(rule) for form in _forms(schema)]
    best = max(answers, key=lambda answer: (answer.can, -len(answer.why)))
    if rule.correlation is not None and best.can is not Can.NEVER:
        best = _all(
            [Answer(best.can, best.why if best.can is Can.IF else ()), _before(rule, schema, rules, seen)]
        )
    return Outlook(rule.slug, rule.stage, schema.name, best)


def _before(rule: Rule, schema: Schema, rules: Sequence[Rule], seen: frozenset[str]) -> Answer:
    assert rule.correlation is not None
    wanted = rule.correlation.after
    here = [
        outlook(one, schema, rules, seen) for one in rules if one.slug in wanted and one.correlation is None
    ]
    if here and max(one.answer.can for one in here) is Can.YES:
        return _YES
    return Answer(Can.IF, (("", f"scanned together with a source that can show {', '.join(wanted)}"),))


def best_of(outlooks: Sequence[Outlook]) -> Outlook:
    """Return the best outlook of a rule over a source that mixes schemas; of equals the best explained."""

    def key(one: Outlook) -> tuple[Can, bool, int]:
        return one.answer.can, all(text != NOT_LOGGED for _, text in one.answer.why), -len(one.answer.why)

    return max(outlooks, key=key)


def site_keys(schema: Schema, seen: frozenset[str] = frozenset()) -> tuple[tuple[str, Answer], ...]:
    """Return keys of the site file, and whether records of a schema carry what these are compared with."""
    layers = [_Layer(schema, form, seen) for form in _forms(schema)]

    def best(*names: str) -> Answer:
        return _any([_any([layer.field(name) for name in names]) for layer in layers])

    claims = best("arp_opcode", "nd_target").can is not Can.NEVER
    responders = best("src_mac") if claims else best("dst_mac", "nat_dst")
    if responders.can is Can.NEVER and best("dst_ip").can is not Can.NEVER:
        responders = Answer(Can.IF, (("dst_ip", _OWN_ADDRESS),))
    return (
        ("vlans, on_premises_vlans", best("vlan")),
        ("sources, on_premises", best("src_ip")),
        ("responders", responders),
    )


def _forms(schema: Schema) -> list[Form]:
    found: dict[tuple[object, ...], Form] = {}
    for base in schema.bases:
        for form in base.forms:
            found.setdefault((form.fields.fields, form.fields.constants), form)
    return list(found.values())


class _Layer:
    """One set of fields of a schema (its own or a variant's), asked what it carries."""

    def __init__(self, schema: Schema, form: Form, seen: frozenset[str]) -> None:
        self._schema = schema
        self._seen = seen | _UNKNOWN_GIVES if "unknown" in schema.kinds else seen
        self._specs = {spec.name: spec for spec in form.fields.fields}
        self._constants = dict(form.fields.constants)

    def rule(self, rule: Rule) -> Answer:
        """Return whether the rule's condition can hold."""
        answer = self.holds(rule.condition)
        if rule.placeholders and answer.can is not Can.NEVER:
            listed = Answer(Can.IF, (("", "the site file lists your accounts under [accounts] expected"),))
            answer = _all([answer if answer.can is Can.IF else _YES, listed])
        return Answer(Can.YES, self._blind(rule.condition)) if answer.can is Can.YES else answer

    def holds(self, node: Node) -> Answer:
        """Return whether a condition can be true."""
        match node:
            case Match():
                return self._test(node)
            case And(nodes):
                return _all([self.holds(child) for child in nodes])
            case Or(nodes):
                return _any([self.holds(child) for child in nodes])
            case Not(inner):
                return _YES if self._fails(inner) else Answer(Can.NEVER)
        raise AssertionError(node)

    def _fails(self, node: Node) -> bool:
        """Say whether a condition can be false: anything but the absence of a field that is never there."""
        match node:
            case Match(name, Null() | Exists(False)) if name is not None:
                return self.field(name).can is not Can.NEVER
            case And(nodes):
                return any(self._fails(child) for child in nodes)
            case Or(nodes):
                return all(self._fails(child) for child in nodes)
            case Not(inner):
                return self.holds(inner).can is not Can.NEVER
        return True

    def _test(self, match: Match) -> Answer:
        name, test = match.field, match.test
        if name is None:
            return _YES
        if isinstance(test, Null | Exists) and not (isinstance(test, Exists) and test.value):
            return (
                Answer(Can.NEVER, ((name, f"{name} is always there"),)) if name in self._constants else _YES
            )
        if name == "src_ip" and self._schema.layer in _SOURCE_ASKS and _names_endpoint(test):
            return Answer(Can.NEVER, ((name, _NEVER_SOURCE),))
        answer = self.field(name)
        if answer.can is not Can.NEVER and isinstance(test, Text) and not self._possible(name, test):
            return Answer(Can.NEVER, ((name, f"{name} never has that value here"),))
        if isinstance(test, FieldRef):
            return _all([answer, self.field(test.other)])
        return answer

    def _possible(self, name: str, test: Text) -> bool:
        """Say whether a field that can only have listed values can have the one a rule wants."""
        if len(test.parts) != 1 or not isinstance(test.parts[0], str):
            return True
        wanted = test.parts[0].lower()
        if name in self._constants:
            return str(self._constants[name]).lower() == wanted
        spec = self._specs.get(name)
        if spec is None or not spec.map or spec.otherwise is not None:
            return True
        return wanted in {value.lower() for _, value in spec.map}

    def field(self, name: str) -> Answer:
        """Return whether records carry a field, themselves or by completion."""
        own = self._own(name)
        ways = [own, *(_all([self._own(one) for one in way]) for way in _COMPLETED.get(name, ()))]
        best = _any(ways)
        return best if best.can is not Can.NEVER else Answer(Can.NEVER, ((name, self._why_not(name)),))

    def _own(self, name: str) -> Answer:
        if name in self._constants or name in self._seen:
            return _YES
        if name not in self._specs:
            return Answer(Can.NEVER)
        need = self._schema.needs.get(name)
        return Answer(Can.IF, ((name, need),)) if need else _YES

    def _why_not(self, name: str) -> str:
        cannot, needs = self._schema.cannot, self._schema.needs
        for one in (name, *_KIN.get(name, ())):
            said = cannot.get(one) or needs.get(one)
            if said:
                return said
        return NOT_LOGGED

    def _blind(self, condition: Node) -> tuple[Reason, ...]:
        """Return the gaps of a rule that can fire: what else it asks for, and why that is not there."""
        out: list[Reason] = []
        for match in _asked(condition):
            if match.field is None or isinstance(match.test, Placeholder):
                continue
            answer = self._test(match)
            if answer.can is not Can.YES:
                # What this kind of log has no notion of is no gap: only what its schema explains is.
                out += [reason for reason in answer.why if reason[1] not in (NOT_LOGGED, _NEVER_SOURCE)]
        return _unique(out)


def _asked(node: Node) -> Iterable[Match]:
    match node:
        case Match():
            yield node
        case And(nodes) | Or(nodes):
            for child in nodes:
                yield from _asked(child)


def _names_endpoint(test: object) -> bool:
    if not isinstance(test, Text) or len(test.parts) != 1 or not isinstance(test.parts[0], str):
        return False
    return address.parse(test.parts[0]) in address.ENDPOINTS


def _all(answers: Sequence[Answer]) -> Answer:
    can = min((answer.can for answer in answers), default=Can.YES)
    if can is Can.YES:
        return _YES
    if can is Can.NEVER:  # one thing that is missing is reason enough
        return min((answer for answer in answers if answer.can is can), key=lambda answer: len(answer.why))
    return Answer(can, _unique(reason for answer in answers if answer.can is can for reason in answer.why))


def _any(answers: Sequence[Answer]) -> Answer:
    can = max((answer.can for answer in answers), default=Can.NEVER)
    if can is Can.YES:
        return _YES
    return Answer(can, _unique(reason for answer in answers if answer.can is can for reason in answer.why))


def _unique(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    found = tuple(dict.fromkeys(reasons))
    return tuple(reason for reason in found if reason[1] != _NEVER_SOURCE) or found
