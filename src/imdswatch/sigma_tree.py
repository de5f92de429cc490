"""pySigma documents in, our own nodes out: the one place that touches pySigma's types.

Every modifier and condition that pySigma 1.5 parses either becomes a node of `imdswatch.rule` or is refused by name.
Nothing is approximated. Raises RuleError with file and line; never lets a pySigma exception through.

Longer than most: each thing that pySigma parses and we refuse has its own message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sigma import conditions as sc
from sigma import types as st
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError
from sigma.modifiers import SigmaBase64OffsetModifier, SigmaUTF16Modifier, reverse_modifier_mapping
from sigma.rule import SigmaDetection, SigmaRule

from imdswatch import rule as nodes
from imdswatch.errors import RuleError
from imdswatch.event import FIELDS, Kind
from imdswatch.sigma_lines import Marked, guess_line, line_of, line_with
from imdswatch.sigma_yaml import read_marked

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
    parts = read_marked(text, file)
    if not parts or not all(isinstance(part.document, dict) for part in parts):
        raise RuleError(
            "this is no Sigma rule",
            file=file,
            line=1,
            help="a rule is a YAML mapping with title, logsource, detection",
        )
    meta = parts[-1].document
    if str(meta.get("status", "")) == "unsupported":
        return Documents((nodes.And(()),), meta, None)
    for part in parts:
        _check_types(part.document, part.text, file)
    documents = []
    for part in parts:
        with _refusing(part, file):
            correlated = "correlation" in part.document
            documents.append((SigmaCorrelationRule if correlated else SigmaRule).from_dict(part.document))
    rules = [doc for doc in documents if isinstance(doc, SigmaRule)]
    last, look = documents[-1], None
    if isinstance(last, SigmaCorrelationRule):
        with _refusing(parts[-1], file):
            look = _second_look(last, rules, parts[-1].text, file)
    if len(documents) > (2 if look else 1):
        raise RuleError(
            "a rule file holds one rule, or one rule and the correlation that uses it",
            file=file,
            line=line_with(text, "\n---") + 1,
            help="give each rule a file of its own",
        )
    conditions = []
    for doc, part in zip(documents, parts, strict=True):
        if isinstance(doc, SigmaRule):
            with _refusing(part, file):
                conditions.append(_rule_condition(doc, part.detection, file))
    return Documents(tuple(conditions), meta, look)


@contextmanager
def _refusing(part: Marked, file: str) -> Iterator[None]:
    """Turn whatever pySigma raises about one document into a RuleError with its place."""
    try:
        yield
    except SigmaError as error:
        what = _in_rule_words(str(error))
        raise RuleError(f"invalid Sigma rule: {what}", file=file, line=guess_line(part, what)) from error
    except RecursionError as error:
        line = line_of(part.detection, "condition") or 1
        raise RuleError("the condition is nested too deeply", file=file, line=line) from error
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        # pySigma checks types unevenly; a wrong type in a document surfaces as one of these.
        what = f"{type(error).__name__}: {error}"
        raise RuleError(
            f"invalid Sigma rule: {what}", file=file, line=guess_line(part, str(error))
        ) from error


_LISTS = ("blind_spots", "falsepositives", "references", "tags")
_TEXTS = ("id", "name", "stage", "remedy", "description", "level", "status")


def _check_types(doc: dict[str, Any], text: str, file: str) -> None:
    """Refuse what pySigma would read wrongly, or only complain about in words of its own."""

    def wrong(key: str, what: str) -> RuleError:
        return RuleError(f"invalid Sigma rule: {what}", file=file, line=line_of(text, key) or 1)

    for key in ("filter", "action"):
        if key in doc:
            raise wrong(key, f"a document with `{key}` (Sigma {_FOREIGN[key]}) cannot be run")
    for key in _TEXTS:
        if key in doc and not isinstance(doc[key], str):
            raise wrong(key, f"`{key}` must be a text")
    for key in _LISTS:
        if key in doc and not _is_list_of_texts(doc[key]):
            raise wrong(key, f"`{key}` must be a list of texts")
    if "correlation" in doc:
        if not isinstance(doc["correlation"], dict):
            raise wrong("correlation", "`correlation` must be a mapping")
        kind = doc["correlation"].get("type")
        if kind != "temporal_ordered":
            raise RuleError(
                f"a correlation of type `{kind}` cannot be run",
                file=file,
                line=line_of(text, "type") or 1,
                help="temporal_ordered is what imdswatch runs: findings of one rule, then events of another",
            )
        return
    detection = doc.get("detection")
    if isinstance(detection, dict) and "condition" in detection:
        condition = detection["condition"]
        if not isinstance(condition, str) and not (condition and _is_list_of_texts(condition)):
            raise wrong("condition", "`condition` must be a text or a list of texts")


_FOREIGN = {"filter": "filters", "action": "1 collections"}


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _second_look(doc: SigmaCorrelationRule, rules: list[SigmaRule], text: str, file: str) -> SecondLook:
    names = [reference.reference for reference in doc.rules or ()]
    if len(names) < 2 or len(rules) != 1 or names[-1] not in (rules[0].name, str(rules[0].id)):
        raise RuleError(
            "a correlation names rules to come after, then the rule before it in the same file",
            file=file,
            line=line_of(text, "rules") or 1,
        )
    if [nodes.canonical(name) for name in doc.group_by or ()] != ["src_ip"]:
        raise RuleError(
            "a correlation can only be grouped by the victim",
            file=file,
            line=line_of(text, "group-by") or line_of(text, "correlation"),
            help="`group-by: [src_ip]`",
        )
    return SecondLook(tuple(name.replace("_", "-") for name in names[:-1]), int(doc.timespan.seconds))


def node_of(tree: Any, file: str) -> nodes.Node:
    """Return what one parsed condition of pySigma means, for those who come with a rule of pySigma's own."""
    return _node(tree, "", file)


def _rule_condition(doc: SigmaRule, text: str, file: str) -> nodes.Node:
    for detection in doc.detection.detections.values():
        _check_encodings(detection, text, file)
    trees = [_node(condition.parsed, text, file) for condition in doc.detection.parsed_condition]
    whole = trees[0] if len(trees) == 1 else nodes.Or(tuple(trees))
    if _depth(whole) > _MAX_DEPTH:
        raise RecursionError
    return whole


_MAX_DEPTH = 64  # Python's compiler gives up at 100 nested blocks or 200 brackets


def _depth(node: nodes.Node) -> int:
    match node:
        case nodes.Not(inner):
            return 1 + _depth(inner)
        case nodes.And(inside) | nodes.Or(inside):
            return 1 + max(map(_depth, inside), default=0)
    return 1


def _check_encodings(detection: SigmaDetection, text: str, file: str) -> None:
    """Refuse the encodings that pySigma 1.5 does not do as the Sigma modifiers appendix says."""
    for item in detection.detection_items:
        if isinstance(item, SigmaDetection):
            _check_encodings(item, text, file)
        elif SigmaUTF16Modifier in item.modifiers:
            # the mark FF FE becomes the three octets of U+FEFF in UTF-8
            raise RuleError(
                "`|utf16` cannot be run: pySigma writes its byte order mark wrongly",
                file=file,
                line=line_with(text, "|utf16"),
                help="`|wide` is the same without the mark",
            )
        elif SigmaBase64OffsetModifier in item.modifiers and not str(item.original_value).isascii():
            # it counts characters where it should count octets, and cuts the wrong end off
            raise RuleError(
                "`|base64offset` of text outside ASCII cannot be run: pySigma encodes it wrongly",
                file=file,
                line=line_with(text, "|base64offset"),
            )


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
            return _keyword(tree.value, text, file)
    line = line_of(text, "condition")
    if tree is None:
        raise RuleError("a pattern in the condition fits no detection", file=file, line=line)
    raise RuleError(f"a condition of kind {type(tree).__name__} cannot be run", file=file, line=line)


def _keyword(value: Any, text: str, file: str) -> nodes.Node:
    node = _value(None, value, text, file)
    for match in nodes.matches(node):
        if not isinstance(match.test, _KEYWORDS):
            raise RuleError(
                f"a keyword cannot be a {type(match.test).__name__.lower()} test",
                file=file,
                line=line_of(text, "detection") or 1,
                help="a keyword is a text, a number, a regular expression or a network; or name a field",
            )
    return node


_KEYWORDS = (nodes.Text, nodes.Number, nodes.Bool, nodes.Regex, nodes.Cidr)


def _field_value(name: str, value: Any, text: str, file: str) -> nodes.Node:
    field = nodes.canonical(name)
    if field is None:
        raise RuleError(
            f"field `{name}` is not known",
            file=file,
            line=line_of(text, name) or line_with(text, name + "|"),
            help="docs/fields.md lists the canonical fields and their aliases",
        )
    node = _value(field, value, text, file)
    if name in _OF_A_CLIENT:
        return nodes.And((node, nodes.Or(tuple(nodes.Match(one, nodes.Exists(True)) for one in _REQUEST))))
    return node


_OF_A_CLIENT = frozenset({"c-ip"})
"""Names for who asked. W3C logs and Sigma's categories proxy and webserver have them: every record is a request there.

A packet or a flow has a source, but that may be whoever answers (docs/decisions/0052).
"""
_REQUEST = ("method", "url", "status")
"""Fields of which each record of a request has one."""


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
                    f"`|{value.timestamp_part.name.lower()}` needs a time, not `{field or 'a keyword'}`",
                    file=file,
                    line=line_with(text, f"|{value.timestamp_part.name.lower()}"),
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
            if value.regexp.contains_placeholder():
                raise RuleError(
                    "a placeholder in a regular expression cannot be run",
                    file=file,
                    line=line_with(text, "expand"),
                )
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
                    f"field `{value.field}` is not known", file=file, line=line_with(text, value.field)
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
        raise RuleError("a placeholder must be the whole value", file=file, line=line_with(text, "%"))
    name = value.s[0].name
    if name != nodes.EXPECTED_ACCOUNTS:
        raise RuleError(
            f"placeholder `%{name}%` is not known",
            file=file,
            line=line_with(text, f"%{name}%"),
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


def _in_rule_words(message: str) -> str:
    """Return a message of pySigma with the modifier's name for its class, and null for the object."""
    message = re.sub(r"'<sigma\.types\.SigmaNull[^>]*>'", "`null`", message)
    return re.sub(r"Sigma\w+Modifier", lambda m: f"'{reverse_modifier_mapping.get(m[0], m[0])}'", message)
