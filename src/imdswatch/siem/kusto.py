r"""Microsoft Sentinel's Kusto Query Language, written with constructs that have one reading.

Why each is as it is (facts: Microsoft's KQL reference; what stock converters get wrong is in docs/conformance.md):

- IPv4 text has one spelling, so single addresses are compared by `in`; ranges by `ipv4_is_in_any_range`. Everything
  IPv6, and IPv4 in IPv6 clothes, by `ipv6_is_in_any_range`. Both give null for what is no address: hence
  `coalesce(…, false)`, also because `not(null)` would drop the record.
- `contains`, `startswith`, `=~` are without case; `has` cuts words at punctuation and is never used.
- Paths are decoded twice and resolved in computed columns (`imds_path`), as `imdswatch.urlpath` does.
- A string is never null in Kusto, a number can be: under `not` numbers are wrapped in `coalesce(…, false)`.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, timedelta
from typing import ClassVar

from imdswatch.address import Network
from imdswatch.rule import Rule, Text, Wild
from imdswatch.schema import Column
from imdswatch.siem import formula as f
from imdswatch.siem.content import Plan, Source
from imdswatch.siem.emitter import CannotSay, Emitter, spelled
from imdswatch.siem.spelling import host_regex, path_regex, v4_of, v6_of

_SCHEME = r"[a-zA-Z][a-zA-Z0-9+.\-]*://"
_STEP_BACK = r"/([^/.]|\.[^/.]|\.\.[^/])[^/]*//\.\./"


def _resolved(name: str) -> tuple[str, ...]:
    """Return the steps that collapse slashes and resolve dot segments, two deep and any number side by side.

    RE2 cannot look ahead, so every slash is doubled: each segment then has one before and one behind of its own.
    """
    return (
        rf'replace_regex(replace_regex({name}, @"/\.$", "/"), @"/(\.?/)+", "/")',
        f'strcat(replace_string({name}, "/", "//"), "/")',
        *[f'replace_regex({name}, @"{_STEP_BACK}", "")'] * 2,
        rf'replace_regex({name}, @"(//\.\.)+/", "/")',
        f'replace_regex(replace_regex({name}, @"/$", ""), @"/+", "/")',
    )


_COMPUTED = {
    # name → steps, each a Kusto expression; {} is the column
    "imds_path": (
        rf'extract(@"^(?:{_SCHEME})?[^/?#]*(/[^?#]*)", 1, {{}})',
        "tolower(url_decode(url_decode(imds_path)))",
        *_resolved("imds_path"),
    ),
    "imds_url": (
        rf'tolower(url_decode(url_decode(replace_regex({{}}, @"^{_SCHEME}", ""))))',
        *_resolved("imds_url"),
    ),
    "imds_query": (r'url_decode(url_decode(extract(@"\?([^#]*)", 1, {})))',),
}
_HALVES = {"0.0.0.0/0": ("0.0.0.0/1", "128.0.0.0/1"), "::/0": ("::/1", "8000::/1")}
"""What a length of 0 does is documented nowhere; two halves are the same set."""

RUNS = {
    # stage → how often an analytics rule runs, how far it looks back (minutes): the overlap is for late records
    "attempted": (60, 75),
    "requested": (60, 75),
    "answered": (15, 30),
    "credentials-served": (15, 30),
    "credentials-used": (15, 30),
}


class KustoBackend(Emitter):
    """Writes Kusto queries for Microsoft Sentinel: ASIM, CommonSecurityLog, DeviceNetworkEvents."""

    name = "Microsoft Sentinel (Kusto) by imdswatch"
    identifier = "imdswatch_sentinel"
    formats: ClassVar[dict[str, str]] = {"default": "Kusto query"}
    language = "kusto"
    target = "sentinel"
    usual_schema = "asim"
    and_token, or_token, not_token = "and", "or", "not"
    eq_token = "=~"
    group_expression = "({expr})"
    str_quote = '"'
    escape_char = "\\"

    def path(self, source: Source, rule: Rule) -> str:
        """Return the analytics rule that holds the query."""
        part = f"-{source.naming.part}" if source.naming.part else ""
        return f"analytics-rules/{source.naming.schema}/{rule.slug}{part}.yaml"

    # Tests.

    def inside(self, atom: f.Atom, networks: Sequence[Network], guarded: bool) -> str:
        """Compare addresses as addresses, by the function of their family."""
        if atom.take:
            raise CannotSay("a host inside a URL is compared with addresses, not with networks")
        return self.in_ranges(_name(atom.column), v4_of(networks), v6_of(networks))

    def in_ranges(self, column: str, v4: Sequence[str], v6: Sequence[str]) -> str:
        """Return the test of a column against networks of both families, given as text."""
        out = []
        singles = [text for text in v4 if "/" not in text]
        ranges = [half for text in v4 if "/" in text for half in _HALVES.get(text, (text,))]
        if singles:
            out.append(f"{column} in {_list(singles)}")
        if ranges:
            out.append(f"coalesce(ipv4_is_in_any_range({column}, {_dynamic(ranges)}), false)")
        if v6:
            halves = [half for text in v6 for half in _HALVES.get(text, (text,))]
            out.append(f"coalesce(ipv6_is_in_any_range({column}, {_dynamic(halves)}), false)")
        return out[0] if len(out) == 1 else f"({' or '.join(out)})"

    def an_address(self, atom: f.Atom, guarded: bool) -> str:
        """Ask for any address of either family."""
        return self.in_ranges(_name(atom.column), ("0.0.0.0/0",), ("::/0",))

    def texts(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Compare without case, or with it where the rule says `cased`."""
        column = "imds_query" if atom.take == "query" else _name(atom.column)
        return self._patterns(column, patterns)

    def _patterns(self, column: str, patterns: Sequence[Text]) -> str:
        exact: dict[str, list[str]] = {}
        out = []
        for pattern in patterns:
            cs = "_cs" if pattern.cased else ""
            match pattern.parts:
                case (str(text),):
                    exact.setdefault("in" if pattern.cased else "in~", []).append(text)
                case (Wild.ANY,) | ():
                    out.append(f"isnotempty({column})" if pattern.parts else f"isempty({column})")
                case (Wild.ANY, str(text), Wild.ANY):
                    out.append(f"{column} contains{cs} {_text(text)}")
                case (str(text), Wild.ANY):
                    out.append(f"{column} startswith{cs} {_text(text)}")
                case (Wild.ANY, str(text)):
                    out.append(f"{column} endswith{cs} {_text(text)}")
                case parts:
                    out.append(f"{column} matches regex {_regex(_wild_regex(parts), cased=pattern.cased)}")
        for operator, values in exact.items():
            one = "==" if operator == "in" else "=~"
            said = f"{one} {_text(values[0])}" if len(values) == 1 else f"{operator} {_list(values)}"
            out.insert(0, f"{column} {said}")
        return out[0] if len(out) == 1 else f"({' or '.join(out)})"

    def paths(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Compare the computed path, which is decoded, resolved and lower case."""
        if any(map(spelled, patterns)):
            return self._patterns(_name(atom.column), patterns)
        if all(Wild.ONE not in pattern.parts for pattern in patterns) and len(patterns) < 5:
            return self._patterns("imds_path", patterns)
        return f'imds_path matches regex @"^{path_regex(patterns, encoded=False)}$"'

    def urls(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Compare the computed URL."""
        if any(map(spelled, patterns)):
            return self._patterns(_name(atom.column), patterns)
        return self._patterns("imds_url", patterns)

    def hosts(self, atom: f.Atom, addresses: Sequence[str], names: Sequence[Text], guarded: bool) -> str:
        """Ask for all spellings of addresses in a host; a port may follow."""
        regex = host_regex(addresses, names, encoded=False)
        if atom.take == "host":
            inner = regex.replace(".*", "[^/?#]*")
            regex = f"({_SCHEME})?([^/?#]*@)?{inner}([/?#]|$)"
        else:
            regex += "$"
        return f'url_decode(url_decode({_name(atom.column)})) matches regex @"(?i)^{regex}"'

    def macs(self, atom: f.Atom, values: Sequence[str], guarded: bool) -> str:
        """Compare the digits alone, since products separate them differently."""
        digits = [value.replace(":", "") for value in values]
        return f'tolower(replace_regex({_name(atom.column)}, @"[^0-9a-fA-F]", "")) in {_list(digits)}'

    def numbers(self, atom: f.Atom, values: Sequence[float], guarded: bool) -> str:
        """Compare as numbers, also where the column is text."""
        said = f"{_number(atom.column)} in ({', '.join(f'{value:g}' for value in values)})"
        return f"coalesce({said}, false)" if guarded else said

    def ordered(self, atom: f.Atom, op: str, value: float, guarded: bool) -> str:
        """Compare as numbers, also where the column is text."""
        said = f"{_number(atom.column)} {op} {value:g}"
        return f"coalesce({said}, false)" if guarded else said

    def flag(self, atom: f.Atom, value: bool, guarded: bool) -> str:
        """Compare a bool, which can be null."""
        return f"coalesce({_name(atom.column)} == {str(value).lower()}, false)"

    def present(self, atom: f.Atom) -> str:
        """A text is never null, only empty; a status that is no number is no status."""
        if atom.take:
            name = {"path": "imds_path", "query": "imds_query"}.get(atom.take, _name(atom.column))
            return f"isnotempty({name})"
        return (
            f"isnotempty({_name(atom.column)})"
            if atom.column.type == "string"
            else f"isnotnull({_name(atom.column)})"
        )

    def same(self, atom: f.Atom, other: Column, guarded: bool) -> str:
        """Compare two columns."""
        return f"(isnotempty({_name(atom.column)}) and {_name(atom.column)} =~ {_name(other)})"

    def excess(self, atom: f.Atom, packets: Column, destination: Column | None, guarded: bool) -> str:
        """Compare octets with the headers of the packets."""
        per = f'iff({_name(destination)} contains ":", 80, 60)' if destination else "80"
        said = f"{_name(atom.column)} > {_name(packets)} * {per}"
        return f"coalesce({said}, false)" if guarded else said

    def until(self, day: date) -> str:
        """Ask the clock of the run."""
        return f"now() < datetime({day + timedelta(days=1)})"

    # The whole query.

    def frame(self, condition: str, source: Source, rule: Rule, plan: Plan) -> str:
        """Ask the table or ASIM parser for the time that a run looks back."""
        return hoisted([*head(rule, RUNS[rule.stage][1]), *self.records(source, condition)])

    def records(self, source: Source, condition: str) -> list[str]:
        """Return the lines that ask a table for what a condition says."""
        naming = source.naming
        if "parameters" in naming.settings:
            lines = [f"{naming.table}(starttime=ago(imds_lookback), endtime=now())"]
        else:
            time = naming.columns["timestamp"][0].name
            lines = [naming.table, f"| where {time} > ago(imds_lookback)"]
        for name, steps in _COMPUTED.items():
            if re.search(rf"\b{name}\b", condition):
                column = _name(naming.columns["url"][0])
                lines += [f"| extend {name} = {step.replace('{}', column)}" for step in steps]
        return [*lines, f"| where {condition}"]

    def sequence(self, source: Source, rule: Rule, plan: Plan) -> str:
        """Join with the earlier event of the same source."""
        time, victim = source.naming.columns["timestamp"][0].name, source.naming.columns["src_ip"][0].name
        first = self.records(source, self.compose(plan.first))
        then = self.records(source, self.compose(f.all_of([plan.where, f.negated(plan.mute)])))
        hours = f"{plan.within // 3600}h" if plan.within % 3600 == 0 else f"{plan.within}s"
        return hoisted(
            [
                *head(rule, RUNS[rule.stage][1] + plan.within // 60),
                "let imds_served =",
                *(f"    {line}" for line in first),
                f"    | project imds_victim = {victim}, imds_served_at = {time};",
                *then,
                f"| join kind=inner imds_served on $left.{victim} == $right.imds_victim",
                f"| where {time} > imds_served_at and {time} <= imds_served_at + {hours}",
            ]
        )


def head(rule: Rule, minutes: int) -> list[str]:
    """Return the first lines of a query: which rule it is, how far it looks back."""
    title = " ".join(rule.title.split())  # a line break would end the comment
    return [f"// {rule.slug}: {title}", f"let imds_lookback = {minutes}m;"]


def hoisted(lines: Sequence[str]) -> str:
    """Return the query with long lists and expressions named by `let`, so that a person can read the rest."""
    text = "\n".join(lines[2:])
    names: dict[str, str] = {}
    for found in _LONG.findall(text):
        if found not in names:
            what = (
                "addresses" if found.startswith("dynamic") else "hosts" if "://" not in found else "url_hosts"
            )
            if _ENDPOINT_MARK not in found:
                what = "networks" if found.startswith("dynamic") else "regex"
            taken = sum(name.startswith(f"imds_{what}") for name in names.values())
            names[found] = f"imds_{what}{taken + 1 if taken else ''}"
    for found, name in names.items():
        text = text.replace(found, name)
    return "\n".join([*lines[:2], *(f"let {name} = {found};" for found, name in names.items()), text])


_LONG = re.compile(r'dynamic\(\[[^\]]{60,}\]\)|@"(?:[^"]|""){150,}"')
_ENDPOINT_MARK = "a9fe:"


def _name(column: Column) -> str:
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", column.name)
    return column.name if plain else "['" + column.name.replace("'", "\\'") + "']"


def _number(column: Column) -> str:
    return f"toint({_name(column)})" if column.type == "string" else _name(column)


def _text(text: str) -> str:
    return (
        '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r") + '"'
    )


def _list(values: Sequence[str]) -> str:
    return f"({', '.join(_text(value) for value in values)})"


def _dynamic(values: Sequence[str]) -> str:
    return f"dynamic([{', '.join(_text(value) for value in values)}])"


def _wild_regex(parts: Sequence[str | Wild]) -> str:
    return "".join(re.escape(p) if isinstance(p, str) else ".*" if p is Wild.ANY else "." for p in parts)


def _regex(pattern: str, *, cased: bool) -> str:
    flags = "(?s)" if cased else "(?is)"
    return '@"' + f"{flags}^{pattern}$".replace('"', '""') + '"'
