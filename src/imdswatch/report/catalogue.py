"""Rules, schemas, and what a file turned out to be, as plain text for a terminal.

Pure but for the width, which is the terminal's (`COLUMNS`; 100 where there is none). No colour, and nothing
that a pipe would stumble over. Texts may come from a user's own files: hidden characters in them are spelled
out.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from imdswatch.finding import STAGE_RANK
from imdswatch.outlook import NOT_LOGGED, Answer, Can, Detected, Outlook, Reason
from imdswatch.report.escape import visible
from imdswatch.report.headline import plural
from imdswatch.rule import Rule
from imdswatch.schema import Schema, Schemas

_UNKNOWN = (
    "No schema knows these records. A scan still searches them, as `unknown`: an endpoint's address or an "
    "IMDS path that stands there as a whole word gives a finding of low confidence."
)
_WIDEST = 120
_USUAL = 100
_INDENT = 2
_GAP = 2


def show_rules(rules: Sequence[Rule]) -> str:
    """Return the list of rules, by stage: slug, stage, level, title."""
    ordered = sorted(rules, key=lambda rule: (STAGE_RANK[rule.stage], rule.slug))
    rows = [(rule.slug, rule.stage, rule.level, rule.title) for rule in ordered]
    hint = "`imdswatch rules SLUG` shows one: what it needs, what it cannot see, its Sigma text."
    return "\n".join([*_table(("rule", "stage", "level", "title"), rows), "", *_wrapped(hint)])


def show_rule(rule: Rule) -> str:
    """Return one rule: what it means, needs, mistakes and cannot see, what to do, and its Sigma text."""
    lines = [visible(f"{rule.slug}: {rule.title}"), ""]
    lines += _wrapped(rule.description) if rule.description else []
    lines += ["", f"Stage {rule.stage}, level {visible(rule.level)}"]
    lines += [f"ATT&CK {', '.join(map(visible, rule.attack))}"] if rule.attack else []
    needs = definition(rule)
    lines += _section("Needs", [needs] if needs else [])
    lines += _section("Fields it asks for", [", ".join(sorted(rule.fields))])
    if rule.correlation is not None:
        said = f"a second look: counts only for victims of {', '.join(rule.correlation.after)}"
        lines += _section("After", [f"{said}, within {rule.correlation.timespan / 3600:g} hours"])
    lines += _section("False positives", rule.falsepositives)
    lines += _section("Blind spots", rule.blind_spots)
    lines += _section("What to do", [rule.remedy] if rule.remedy else [])
    lines += ["", f"Sigma ({visible(rule.file)})", ""]
    lines += [visible(line) for line in rule.text.rstrip().splitlines()]
    return "\n".join(lines)


def definition(rule: Rule) -> str:
    """Return what a rule says of the sources it needs (Sigma `logsource: definition`), or nothing."""
    for document in yaml.safe_load_all(rule.text):
        if isinstance(document, dict) and isinstance(source := document.get("logsource"), dict):
            return str(source.get("definition", ""))
    return ""


def show_schemas(schemas: Schemas) -> str:
    """Return the list of schemas: name, layer, vantage, origin of the samples, title."""
    rows = [
        (s.name, s.layer, s.vantage, s.origin, s.title) for s in (schemas[name] for name in schemas.names)
    ]
    hint = "real: samples by the tool itself. documentation: samples from a cited document. "
    hint += "`imdswatch schemas show NAME` shows one, `imdswatch schemas detect FILE` says what a file is."
    return "\n".join(
        [*_table(("schema", "layer", "seen from", "samples", "title"), rows), "", *_wrapped(hint)]
    )


def show_schema(schema: Schema) -> str:
    """Return one schema: where each field comes from, what it cannot carry, what switches on what."""
    said: dict[str, Any] = schema.explain()
    about = f"{schema.layer} log, seen from the {schema.vantage}; {schema.version}"
    lines = [visible(f"{schema.name}: {schema.title}"), *_wrapped(about)]
    lines += [f"Layout {', '.join(dict.fromkeys(schema.kinds))}; samples: {schema.origin}"]
    lines += _section("Sources", schema.references)
    lines += ["", "Fields"]
    rows = [(name, ", ".join(sources)) for name, sources in said["fields"].items()]
    lines += _pairs([*rows, *((name, f"always {value}") for name, value in said["constants"].items())])
    for title, reasons in (("Logged only if", schema.needs), ("Cannot carry", schema.cannot)):
        if reasons:
            lines += ["", title, *_pairs(list(reasons.items()))]
    return "\n".join(lines)


def show_detected(found: Detected) -> str:
    """Return what a file is, which rules it can fire and cannot, and what the site file can do with it."""
    lines = [*_what(found)]
    by_can = {can: [one for one in found.outlooks if one.answer.can is can] for can in Can}
    if by_can[Can.YES]:
        blind = [(one.rule, _blind(one)) for one in by_can[Can.YES]]
        lines += ["", "Can fire", *_pairs(blind)]
        more = {reason: None for one in by_can[Can.YES] for reason in one.answer.why}
        if more:
            lines += ["", "What would show more", *_pairs(_merged(more))]
    if by_can[Can.IF]:
        lines += ["", "Can fire if", *_reasoned(by_can[Can.IF])]
    if by_can[Can.NEVER]:
        lines += ["", "Can never fire", *_reasoned(by_can[Can.NEVER])]
    if found.site:
        lines += ["", "Keys of the site file", *_pairs(_site(found.site))]
    if found.skipped:
        lines += ["", "Could not be looked at"]
        for one in found.skipped:
            lines += _wrapped(
                ", ".join(part for part in (one.source, one.position) if part) + f": {one.reason}", _INDENT
            )
    return "\n".join(lines)


def _what(found: Detected) -> Iterable[str]:
    amount = plural(found.records, "record")
    if found.streams > 1:
        amount += f" in {plural(found.streams, 'stream')}"
    begun = "" if found.complete else ", the beginning only"
    yield from _wrapped(f"{found.source}: looked at {amount}{begun}")
    names = [
        (one.schema.name, f"{plural(one.records, 'record')}, {one.schema.title}") for one in found.schemas
    ]
    yield from _pairs(names)
    if found.unread and found.schemas:
        yield from _pairs([("no schema", plural(found.unread, "record"))])
    if not found.schemas and found.records:
        yield from _wrapped(_UNKNOWN)


def _blind(one: Outlook) -> str:
    fields = ", ".join(dict.fromkeys(field for field, _ in one.answer.why if field))
    return f"but not by {fields}" if fields else ""


def _reasoned(outlooks: Sequence[Outlook]) -> list[str]:
    """Return rules with their reasons; rules with the same reasons stand together."""
    groups: dict[tuple[Reason, ...], list[str]] = {}
    for one in outlooks:
        groups.setdefault(one.answer.why, []).append(one.rule)
    rows: list[tuple[str, str]] = []
    for why, rules in groups.items():
        reasons = [f"{fields}: {text}" if fields else text for fields, text in _merged(why)]
        rows += [(rule, "") for rule in rules[:-1]]
        rows += [(rules[-1], reasons[0] if reasons else "")]
        rows += [("", reason) for reason in reasons[1:]]
    return _pairs(rows)


def _merged(reasons: Iterable[Reason]) -> list[tuple[str, str]]:
    """Return the fields that share a reason, with it; what no schema explains comes last."""
    fields: dict[str, list[str]] = {}
    for field, text in reasons:
        fields.setdefault(text, []).extend([field] if field else [])
    rows = [(", ".join(dict.fromkeys(names)), text) for text, names in fields.items()]
    return sorted(rows, key=lambda row: row[1] == NOT_LOGGED)


def _site(answers: Sequence[tuple[str, str, Answer]]) -> list[tuple[str, str]]:
    """Return key and verdict; where the schemas of a mixed source differ, a line for each verdict."""
    rows: list[tuple[str, str]] = []
    for key in dict.fromkeys(key for key, _, _ in answers):
        groups: dict[str, list[str]] = {}
        for other, schema, answer in answers:
            if other == key:
                groups.setdefault(_applies(answer), []).append(schema)
        for text, schemas in groups.items():
            rows.append(
                (
                    key if text == next(iter(groups)) else "",
                    f"{', '.join(schemas)}: {text}" if groups.keys() - {text} else text,
                )
            )
    return rows


def _applies(answer: Answer) -> str:
    text = "; ".join(text for _, text in _merged(answer.why))
    if answer.can is Can.YES:
        return "apply"
    return (
        f"apply if: {text}" if answer.can is Can.IF else f"never apply, so they never hide anything: {text}"
    )


# Plain text


def _width() -> int:
    return max(60, min(_WIDEST, shutil.get_terminal_size((_USUAL, 24)).columns))


def _wrapped(text: str, indent: int = 0) -> list[str]:
    out: list[str] = []
    for paragraph in text.split("\n\n"):
        pad = " " * indent
        out += textwrap.wrap(
            visible(" ".join(paragraph.split())),
            _width(),
            initial_indent=pad,
            subsequent_indent=pad,
            break_on_hyphens=False,
            break_long_words=False,
        )
    return out


def _section(title: str, texts: Iterable[str]) -> list[str]:
    lines: list[str] = []
    for text in texts:
        first, *rest = _wrapped(text, _INDENT + 2) or [""]
        lines += [" " * _INDENT + "- " + first.strip(), *rest]
    return ["", title, *lines] if lines else []


def _pairs(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Return two columns: names, and texts folded beside them."""
    if not rows:
        return []
    left = min(max(len(visible(name)) for name, _ in rows), 26) + _GAP
    lines: list[str] = []
    for name, text in rows:
        shown = visible(name)
        folded = _wrapped(text, _INDENT + left) or [""]
        if len(shown) + _GAP > left:
            lines.append(" " * _INDENT + shown)
            shown = ""
        lines.append((" " * _INDENT + shown.ljust(left) + folded[0].strip()).rstrip())
        lines += folded[1:]
    return lines


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows in columns; the last one is folded to the width."""
    shown = [[visible(value) for value in row] for row in rows]
    widths = [max(len(row[at]) for row in [list(heads), *shown]) for at in range(len(heads) - 1)]
    lines: list[str] = []
    for row in [list(heads), *shown]:
        start = "".join(value.ljust(width + _GAP) for value, width in zip(row, widths, strict=False))
        first, *rest = textwrap.wrap(row[-1], max(20, _width() - len(start))) or [""]
        lines += [start + first, *(" " * len(start) + more for more in rest)]
    return lines
