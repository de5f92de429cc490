"""pySigma documents in, our own nodes out: the one place that touches pySigma's types.

Every modifier and condition that pySigma 1.5 parses either becomes a node of `imdswatch.rule` or is refused by name.
Nothing is approximated. Raises RuleError with file and line; never lets a pySigma exception through.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml
from sigma import conditions as sc
from sigma import types as st
from sigma.correlations import SigmaCorrelationRule, SigmaCorrelationType
from sigma.exceptions import SigmaError
from sigma.rule import SigmaRule

from imdswatch import rule as nodes
from imdswatch.errors import RuleError
from imdswatch.event import FIELDS, Kind

_FLAGS = {
    st.SigmaRegularExpressionFlag.IGNORECASE: re.IGNORECASE,
    st.SigmaRegularExpressionFlag.MULTILINE: re.MULTILINE,
    st.SigmaRegularExpressionFlag.DOTALL: re.DOTALL,
}
_OPS = {
    st.CompareOperators.LT: "<",
    st.CompareOperators.LTE: "<=",
    st.CompareOperators.GT: ">",
    st.CompareOperators.GTE: ">=",
}


@dataclass(frozen=True, slots=True)
class SecondLook:
    """The part of a correlation document that is not in its base rule."""

    after: tuple[str, ...]
    timespan: int


@dataclass(frozen=True, slots=True)
class Documents:
    """What one rule file holds: the conditions of its rules, what it says to people, and a correlation if any."""

    rules: tuple[nodes.Node, ...]
    meta: dict[str, Any]
    correlation: SecondLook | None


def read_documents(text: str, file: str) -> Documents:
    """Parse one rule file; the last document (rule or correlation) is the one that gives title, stage and tags."""
    try:
        raw = [doc for doc in yaml.safe_load_all(text) if doc is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise RuleError(
            f"not valid YAML: {getattr(error, 'problem', error)}",
            file=file,
            line=mark.line + 1 if mark else 0,
        ) from error
    except RecursionError as error:
        raise RuleError("not valid YAML: nested too deeply", file=file) from error
    if not raw or not all(isinstance(doc, dict) for doc in raw):
        raise RuleError(
            "this is no Sigma rule",
            file=file,
            help="a rule is a YAML mapping with title, logsource, detection",
        )
    meta = raw[-1]
    if str(meta.get("status", "")) == "unsupported":
        return Documents((nodes.And(()),), meta, None)
    try:
        documents = [
            SigmaCorrelationRule.from_dict(doc) if "correlation" in doc else SigmaRule.from_dict(doc)
            for doc in raw
        ]
        conditions = tuple(
            _rule_condition(doc, text, file) for doc in documents if isinstance(doc, SigmaRule)
        )
    except SigmaError as error:
        raise RuleError(
            f"invalid Sigma rule: {error}", file=file, line=_guess_line(text, str(error))
        ) from error
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        # pySigma checks types unevenly; a wrong type in a document surfaces as one of these.
        raise RuleError(f"invalid Sigma rule: {type(error).__name__}: {error}", file=file) from error
    last = documents[-1]
    return Documents(
        conditions, meta, _second_look(last, text, file) if isinstance(last, SigmaCorrelationRule) else None
    )


def _second_look(doc: SigmaCorrelationRule, text: str, file: str) -> SecondLook:
    if doc.type is not SigmaCorrelationType.TEMPORAL_ORDERED:
        raise RuleError(
            f"a correlation of type `{doc.type.name.lower()}` cannot be run",
            file=file,
            line=nodes.line_of(text, "type"),
            help="temporal_ordered is what imdswatch runs: findings of one rule, then events of another",
        )
    names = [reference.reference for reference in doc.rules or ()]
    return SecondLook(tuple(name.replace("_", "-") for name in names[:-1]), int(doc.timespan.seconds))


def _rule_condition(doc: SigmaRule, text: str, file: str) -> nodes.Node:
    trees = [_node(condition.parsed, text, file) for condition in doc.detection.parsed_condition]
    return trees[0] if len(trees) == 1 else nodes.Or(tuple(trees))


def _node(tree: Any, text: str, file: str) -> nodes.Node:
    match tree:
        case sc.ConditionAND():
            return nodes.And(tuple(_node(arg, text, file) for arg in tree.args))
        case sc.ConditionOR():
            return nodes.Or(tuple(_node(arg, text, file) for arg in tree.args))
        case sc.ConditionNOT():
            return nodes.Not(_node(tree.args[0], text, file))
        case sc.ConditionFieldEqualsValueExpression():
            return _field_value(tree.field, tree.value, text, file)
        case sc.ConditionValueExpression():
            return _value(None, tree.value, text, file)
    raise RuleError(f"a condition of kind {type(tree).__name__} cannot be run", file=file)


def _field_value(name: str, value: Any, text: str, file: str) -> nodes.Node:
    field = nodes.canonical(name)
    if field is None:
        raise RuleError(
            f"field `{name}` is not known",
            file=file,
            line=nodes.line_of(text, name) or _line_with(text, name + "|"),
            help="docs/fields.md lists the canonical fields and their aliases",
        )
    return _value(field, value, text, file)


def _value(field: str | None, value: Any, text: str, file: str) -> nodes.Node:
    match value:
        case st.SigmaExpansion():
            return nodes.Or(tuple(_value(field, one, text, file) for one in value.values))
        case st.SigmaString() if value.contains_placeholder():
            return nodes.Match(field, _placeholder(value, text, file))
        case st.SigmaString():
            return nodes.Match(field, nodes.Text(_parts(value), isinstance(value, st.SigmaCasedString)))
        case st.SigmaTimestampPart():
            if field is None or FIELDS[field].kind is not Kind.FLOAT:
                raise RuleError(
                    f"`|{value.timestamp_part.name.lower()}` needs a time, not `{field}`", file=file
                )
            return nodes.Match(field, nodes.TimePart(value.timestamp_part.name.lower(), int(value.number)))
        case st.SigmaNumber():
            return nodes.Match(field, nodes.Number(value.number))
        case st.SigmaBool():
            return nodes.Match(field, nodes.Bool(value.boolean))
        case st.SigmaNull():
            return nodes.Match(field, nodes.Null())
        case st.SigmaExists():
            return nodes.Match(field, nodes.Exists(bool(value)))
        case st.SigmaRegularExpression():
            flags = 0
            for flag in value.flags:
                flags |= _FLAGS[flag]
            return nodes.Match(field, nodes.Regex(str(value.regexp), int(flags)))
        case st.SigmaCIDRExpression():
            return nodes.Match(field, nodes.Cidr(nodes.expected_network(value.cidr)))
        case st.SigmaCompareExpression():
            return nodes.Match(field, nodes.Compare(_op(value, file), value.number.number))
        case st.SigmaFieldReference():
            other = nodes.canonical(value.field)
            if other is None:
                raise RuleError(
                    f"field `{value.field}` is not known", file=file, line=_line_with(text, value.field)
                )
            return nodes.Match(field, nodes.FieldRef(other, value.starts_with, value.ends_with))
    raise RuleError(f"a value of kind {type(value).__name__} cannot be run", file=file)


def _op(value: st.SigmaCompareExpression, file: str) -> str:
    op = _OPS.get(value.op)
    if op is None:
        raise RuleError(f"the comparison `{value.op.name.lower()}` cannot be run", file=file)
    return op


def _placeholder(value: st.SigmaString, text: str, file: str) -> nodes.Placeholder:
    if len(value.s) != 1 or not isinstance(value.s[0], st.Placeholder):
        raise RuleError("a placeholder must be the whole value", file=file, line=_line_with(text, "%"))
    name = value.s[0].name
    if name != nodes.EXPECTED_ACCOUNTS:
        raise RuleError(
            f"placeholder `%{name}%` is not known",
            file=file,
            line=_line_with(text, f"%{name}%"),
            help=f"`%{nodes.EXPECTED_ACCOUNTS}%` is the one that the site file fills",
        )
    return nodes.Placeholder(name)


def _parts(value: st.SigmaString) -> tuple[str | nodes.Wild, ...]:
    out: list[str | nodes.Wild] = []
    for part in value.s:
        if part is st.SpecialChars.WILDCARD_MULTI:
            if not (out and out[-1] is nodes.Wild.ANY):
                out.append(nodes.Wild.ANY)
        elif part is st.SpecialChars.WILDCARD_SINGLE:
            out.append(nodes.Wild.ONE)
        elif out and isinstance(out[-1], str):
            out[-1] = f"{out[-1]}{part}"
        else:
            out.append(str(part))
    return tuple(out)


def _line_with(text: str, piece: str) -> int:
    at = text.find(piece)
    return text.count("\n", 0, at) + 1 if at >= 0 else 0


def _guess_line(text: str, message: str) -> int:
    for quoted in re.findall(r"['\"]([A-Za-z_][\w.|-]*)['\"]", message):
        line = nodes.line_of(text, quoted)
        if line:
            return line
    return 0
