"""Writes the pages that are made from the data: rules, schemas, fields and the help texts of all commands.

`pages` is pure and returns file name and text; running the file writes them beside it. tests/test_docs.py
fails where what is committed differs, so these pages cannot go stale. Texts of rules and schemas are escaped
for Markdown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from imdswatch.cli import main
from imdswatch.cli.shared import REFUSED, SHARED
from imdswatch.event import FIELDS
from imdswatch.finding import STAGE_RANK
from imdswatch.host.catalogue import BLOCKS, catalogue
from imdswatch.outlook import Can, Outlook, outlook
from imdswatch.report.catalogue import definition
from imdswatch.rule import Rule, aliases, load_rules
from imdswatch.schema import Schema, Schemas, load_schemas

_SHOWN: dict[str, Any] = {**main.context_settings, "terminal_width": 100}
_MADE = "<!-- Made by docs/generate.py (make docs). Do not edit: change {source}. -->"


def pages() -> Mapping[str, str]:
    """Return the text of each generated page by its file name in docs/."""
    rules, schemas = load_rules(), load_schemas()
    made = {
        "rules.md": _rules(rules, schemas),
        "schemas.md": _schemas(schemas),
        "fields.md": _fields(),
        "commands.md": _commands(),
        "remedies.md": _remedies(),
    }
    return {name: "\n".join(lines).rstrip() + "\n" for name, lines in made.items()}


# Rules


def _rules(rules: Sequence[Rule], schemas: Schemas) -> Iterator[str]:
    yield from (_MADE.format(source="src/imdswatch/data/rules"), "", "# Rules", "")
    yield "Each rule is one Sigma 2.1 document over [canonical fields](fields.md); its file stem is its name here. The"
    yield "stage says how far the impersonation got ([glossary](glossary.md)); severity and cause of a finding follow"
    yield "from what its events show. `imdswatch rules SLUG` shows the same in a terminal."
    yield ""
    ordered = sorted(rules, key=lambda rule: (STAGE_RANK[rule.stage], rule.slug))
    rows = [(f"[{rule.slug}](#{rule.slug})", rule.stage, rule.level, md(rule.title)) for rule in ordered]
    yield from _table(("rule", "stage", "level", "what it says"), rows)
    for rule in ordered:
        yield from _rule(rule, rules, schemas)


def _rule(rule: Rule, rules: Sequence[Rule], schemas: Schemas) -> Iterator[str]:
    yield from ("", f"## {rule.slug}", "", f"**{md(rule.title)}.** {md(rule.description)}", "")
    yield f"- Stage: `{rule.stage}`, level: {rule.level}, ATT&CK: {', '.join(rule.attack)}"
    yield f"- Needs: {md(definition(rule))}"
    yield f"- Asks for: {', '.join(f'`{name}`' for name in sorted(rule.fields))}"
    if rule.correlation is not None:
        hours = f"{rule.correlation.timespan / 3600:g} hours"
        yield f"- Second look: only at victims of {', '.join(rule.correlation.after)}, for {hours}"
    looks = [outlook(rule, schema, rules) for schema in schemas.values()]
    for can, words in (
        (Can.YES, "Can fire on"),
        (Can.IF, "Can fire on, where a switch is set ([which](schemas.md)) or the site file says more"),
    ):
        names = sorted(one.schema for one in looks if one.answer.can is can)
        if names:
            yield f"- {words}: {', '.join(names)}"
    if not any(one.answer.can is not Can.NEVER for one in looks):
        yield "- Can fire on: no schema of this release carries what it needs"
    yield from _list("False positives", rule.falsepositives)
    yield from _list("Blind spots", rule.blind_spots)
    yield from ("", "What to do:", "", md(rule.remedy))
    yield from (
        "",
        "<details><summary>Sigma</summary>",
        "",
        "```yaml",
        rule.text.rstrip(),
        "```",
        "",
        "</details>",
    )


# Schemas


def _schemas(schemas: Schemas) -> Iterator[str]:
    known = [schemas[name] for name in schemas.names]
    rules = load_rules()
    yield from (_MADE.format(source="src/imdswatch/data/schemas"), "", "# Schemas", "")
    yield f"The {len(known) - 1} log layouts that are read by name. `real`: the samples in tests/schemas/ were written"
    yield "by the tool itself. `documentation`: they come from the sources named below; tell us if your log differs."
    yield "Everything else is searched as [unknown](#unknown). `imdswatch schemas detect FILE` says what a file is."
    yield ""
    rows = [(f"[{s.name}](#{s.name})", md(s.title), s.layer, s.vantage, s.origin) for s in known]
    yield from _table(("schema", "what", "layer", "seen from", "samples"), rows)
    for schema in known:
        yield from _schema(schema, [outlook(rule, schema, rules) for rule in rules])


def _schema(schema: Schema, looks: Sequence[Outlook]) -> Iterator[str]:
    said = schema.explain()
    yield from ("", f"## {schema.name}", "", f"{md(schema.title)}. {md(schema.version)}.", "")
    yield f"- Samples: {schema.origin}"
    yield f"- Layout: {', '.join(dict.fromkeys(schema.kinds))}"
    never = [f"[{one.rule}](rules.md#{one.rule})" for one in looks if one.answer.can is Can.NEVER]
    if never:
        yield f"- Can never fire: {', '.join(never)}"
    yield from _list("Sources", schema.references)
    rows = [(f"`{name}`", ", ".join(map(_code, sources))) for name, sources in said["fields"].items()]
    rows += [(f"`{name}`", f"always {_code(str(value))}") for name, value in said["constants"].items()]
    yield ""
    yield from _table(("field", "from"), rows)
    for title, reasons in (("logged only if", schema.needs), ("cannot carry", schema.cannot)):
        if reasons:
            yield ""
            yield from _table(
                (title, "why or how"), [(f"`{name}`", md(text)) for name, text in reasons.items()]
            )


# Fields


def _fields() -> Iterator[str]:
    yield from (_MADE.format(source="src/imdswatch/event.py and data/aliases.yml"), "", "# Fields", "")
    yield "The canonical fields: schemas fill them, rules ask for them. A rule may use an alias instead of the name."
    yield ""
    names: dict[str, list[str]] = {}
    for alias, name in aliases().items():
        names.setdefault(name, []).append(alias)
    rows = []
    for name, field in FIELDS.items():
        how = field.kind.value + (", several" if field.many else "")
        also = ", ".join(
            _code(alias) for alias in sorted(names.get(name, []), key=lambda one: (one.lower(), one))
        )
        rows.append((f"`{name}`", md(field.meaning), how, also))
    yield from _table(("field", "meaning", "compared as", "aliases in rules"), rows)
    yield ""
    yield "`url`, `host`, `uri_path`, `uri_query` and `answered` are completed from each other and from the reply"
    yield "where a source gives only some of them. Header values, tokens and secret keys have no field, so no log can"
    yield "put them into a finding by way of one."


# Remedies


def _remedies() -> Iterator[str]:
    yield from (_MADE.format(source="src/imdswatch/data/host/hardening.yml"), "", "# Remedies", "")
    yield "What `imdswatch harden` does to a host, and what it leaves to you ([how](harden.md))."
    for slug, remedy in catalogue().remedies.items():
        yield from ("", f"## {slug}", "", f"**{md(remedy.title)}.** {md(remedy.why)}", "")
        yield f"- Source: {md(remedy.source)}"
        yield f"- Closes what the audit calls: {', '.join(map(_code, remedy.closes))}"
        yield from (f"- Sets {_code(f'{name}={value}')}" for name, value in remedy.variables.items())
        yield ""
        rows: dict[tuple[str, str], list[str]] = {}
        for step in remedy.steps:
            block = f" ({step.block})" if step.block in BLOCKS else ""
            where = "any host" if not step.where else f"with {' or '.join(step.where)}"
            path = _code(step.path) if step.path else "of those that need it"
            rows.setdefault((_DOES[step.do] + block, where), []).append(path)
        yield from _table(
            ("does", "where", "files"), [(*key, ", ".join(paths)) for key, paths in rows.items()]
        )
        windows = [
            f"{_code(value.file)}: {_code('.'.join(value.key))} = {_code(', '.join(value.value))}"
            if value.file
            else f"{_code(value.key[0])}, {_code(value.name)} = {_code(value.data)}"
            for value in remedy.windows
        ]
        for title, texts in (
            ("Windows", [*windows, *map(md, remedy.windows_notes)]),
            ("macOS", [*map(md, remedy.macos)]),
            ("By hand", [*map(md, remedy.by_hand)]),
        ):
            if texts:
                yield from ("", f"{title}:", "", *(f"- {text}" for text in texts))


_DOES = {
    "correct": "corrects values",
    "assign": "sets the variables",
    "whole": "makes a file",
    "json": "sets a key",
    "cloud": "takes Ec2 off the list, with `strict_id`",
    "bypass": "lets the addresses go around a proxy",
    "link": "makes a link",
    "logins": "where PAM gives no variables, sets them in users' start-up files",
    "units": "makes drop-ins for units that set or take away the variables themselves",
    "cron": "corrects values; where PAM gives cron no variables, sets them above the jobs",
    "sudo": "where PAM gives sudo no variables, makes a file",
}


# Commands


def _commands() -> Iterator[str]:
    yield from (_MADE.format(source="src/imdswatch/cli/"), "", "# Commands", "")
    yield "What `--help` says. Exit codes: 0 clean and complete, 1 findings, 2 wrong usage or configuration,"
    yield "3 no findings but something could not be looked at, 70 a bug of ours."
    yield from ("", "## What commands make of common options", "")
    yield "`●`: the option is heeded. `○`: there is nothing here that it could change. A number: it is refused, with"
    yield "exit code 2 and the reason below; nobody may believe that it was heeded. Every command has `--version`, `-q`"
    yield "and `-v`."
    yield ""
    yield from _shared()
    yield from _help(main, click.Context(main, info_name="imdswatch", **_SHOWN))


def _shared() -> Iterator[str]:
    reasons: dict[str, int] = {}
    shown = [name for name in SHARED if name not in ("quiet", "verbose", "version")]
    rows, formats = [], []
    for path, refused in REFUSED.items():
        command = _at(path)
        marks = []
        for name in shown:
            declared = [one for one in command.params if SHARED[name][-1] in one.opts]
            if name in refused:
                marks.append(str(reasons.setdefault(refused[name], len(reasons) + 1)))
            else:
                marks.append("●" if any(one.expose_value for one in declared) else "○")
            if name == "form" and name not in refused and isinstance(kind := declared[0].type, click.Choice):
                formats.append((_code(path), ", ".join(map(_code, kind.choices))))
        rows.append((_code(path), *marks))
    yield from _table(("command", *(_code(SHARED[name][-1]) for name in shown)), rows)
    yield ""
    yield from (f"{number}. {md(reason)}" for reason, number in reasons.items())
    yield ""
    yield from _table(("command", "formats"), formats)


def _at(path: str) -> click.Command:
    """Return a command by its path, such as `lab run`."""
    command: click.Command = main
    for name in path.split():
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    return command


def _help(command: click.Command, context: click.Context) -> Iterator[str]:
    yield from ("", f"## {context.command_path}", "", "```text", command.get_help(context).rstrip(), "```")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _help(inner, click.Context(inner, context, name, **_SHOWN))


# Markdown


def md(text: str) -> str:
    """Return a text for Markdown, on one line: what would be markup is escaped, except `code`."""
    parts = " ".join(text.split()).split("`")
    plain = "<>*[]|\\" if len(parts) % 2 else "<>*[]|\\`"  # an odd backtick opens nothing
    for at in range(0, len(parts), 2):
        parts[at] = "".join(f"\\{one}" if one in plain else one for one in parts[at])
    for at in range(1, len(parts), 2):
        parts[at] = parts[at].replace("|", "\\|")
    return "`".join(parts)


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    return f"{fence}{text.replace('|', chr(92) + '|')}{fence}"


def _list(title: str, texts: Iterable[str]) -> Iterator[str]:
    items = [f"- {md(text)}" for text in texts]
    if items:
        yield from ("", f"{title}:", "", *items)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield "|" + " --- |" * len(heads)
    for row in rows:
        yield f"| {' | '.join(row)} |"


if __name__ == "__main__":
    import json_schema
    import manual

    (Path(__file__).parent / json_schema.NAME).write_text(json_schema.text(), encoding="utf-8")
    (Path(__file__).parent / "man" / "imdswatch.1").write_text(manual.page(), encoding="utf-8")
    for page, content in pages().items():
        (Path(__file__).parent / page).write_text(content, encoding="utf-8")
