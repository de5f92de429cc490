r"""Splunk's Search Processing Language (SPL), written with constructs that have one reading.

Conditions are written for `search` and for the `where` clause of `tstats`, which share one language. There, as the
Search Reference says, values are compared without case, `field="net/len"` compares addresses of both families as
addresses, `NOT` keeps records that lack the field, and a field with several values matches by any of them. Why each
construct is as it is:

- AND binds tighter than OR in `where` and looser in `search`: parentheses stand everywhere;
- lists of addresses hold the IPv4-mapped twin of every IPv4 network, since a mapped address in an IPv4 subnet is
  documented nowhere; a length of 0 is written as two halves;
- what `search` cannot say (a decoded path, a host in every spelling, a calculation) becomes a flag by `eval` before it,
  and only `flag=1` is asked for, so a flag that is null is as good as 0;
- numbers that an add-on may have filled with a word (`unknown`) go through `tonumber`: `search` would compare as text;
- fields with several values are never given to `=`, `like` or `match` in `eval`, but to `mvfind`;
- regular expressions write `[.]` for `\.`, since backslashes in strings have more than one reading.

Pure. Longer than most: raw searches and accelerated summaries (`tstats`) are two frames around the same tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import ClassVar

from imdswatch.address import Network
from imdswatch.rule import Rule, Text, Wild
from imdswatch.schema import Column, Naming
from imdswatch.siem import formula as f
from imdswatch.siem.content import Plan, Source
from imdswatch.siem.emitter import CannotSay, Emitter, spelled
from imdswatch.siem.spelling import host_regex, mac_forms, path_regex, v4_of, v6_of
from imdswatch.siem.spl_flags import FLAG, SCHEME, Flags, computed, eval_name, mark, with_flags
from imdswatch.siem.triage import FIRST_FIELDS

HALVES = {"0.0.0.0/0": ("0.0.0.0/1", "128.0.0.0/1"), "::/0": ("::/1", "8000::/1")}
UNSET = ("", "-", "unknown")
"""What add-ons and the data models of CIM write where there is nothing."""


class SplBackend(Emitter):
    """Writes searches for Splunk: CIM tags, accelerated data models, Zeek and Suricata by sourcetype."""

    name = "Splunk SPL by imdswatch"
    identifier = "imdswatch_splunk"
    formats: ClassVar[dict[str, str]] = {"default": "SPL search"}
    language = "spl"
    target = "splunk"
    usual_schema = "cim"
    and_token, or_token, not_token = "AND", "OR", "NOT"
    eq_token = "="
    group_expression = "({expr})"
    str_quote = '"'
    escape_char = "\\"

    def path(self, source: Source, rule: Rule) -> str:
        """Return the file that holds the search; the stanza bears the rule's name."""
        return "default/savedsearches.conf"

    # Tests.

    def leaf(self, atom: f.Atom, guarded: bool = False) -> str:
        """Return the text of one test; raises CannotSay."""
        if isinstance(atom.test, f.Until) and atom.column.type == "summary":
            raise CannotSay("tstats cannot ask what day it is: export again when the entry has run out")
        return super().leaf(atom, guarded)

    def inside(self, atom: f.Atom, networks: Sequence[Network], guarded: bool) -> str:
        """Compare addresses as addresses, in lists of both families."""
        if atom.take:
            raise CannotSay("a host inside a URL is compared with addresses, not with networks")
        return among(atom.column, network_texts(networks))

    def an_address(self, atom: f.Atom, guarded: bool) -> str:
        """Ask for any address of either family."""
        return among(atom.column, [*HALVES["0.0.0.0/0"], *HALVES["::/0"]])

    def texts(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Compare without case, or by a regular expression what `search` has no way to write."""
        if atom.column.type == "hexflags":
            return _hex_flags(atom.column, patterns)
        plain = [] if atom.take else [pattern for pattern in patterns if _searchable(pattern)]
        out = [among(atom.column, [_wild(pattern) for pattern in plain])] if plain else []
        subject = computed(atom) if atom.take else eval_name(atom.column)
        for cased in (False, True):
            rest = [pattern for pattern in patterns if pattern not in plain and pattern.cased == cased]
            if rest:
                whole = "|".join(_regex(pattern.parts) for pattern in rest)
                out.append(_matches("text", atom.column, subject, whole, cased=cased))
        return out[0] if len(out) == 1 else f"({' OR '.join(out)})"

    def paths(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Compare the computed path, which is decoded, resolved and lower case."""
        if any(map(spelled, patterns)):
            return self.texts(f.Atom(atom.column, atom.test), patterns, guarded)
        return mark(
            "path", f'match({computed(atom, "path")}, "^{_classes(path_regex(patterns, encoded=False))}$")'
        )

    def urls(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        """Compare the computed URL."""
        if any(map(spelled, patterns)):
            return self.texts(f.Atom(atom.column, atom.test), patterns, guarded)
        whole = "|".join(_regex(_lowered(pattern.parts)) for pattern in patterns)
        return mark("url", f'match({computed(atom, "url")}, "^({whole})$")')

    def hosts(self, atom: f.Atom, addresses: Sequence[str], names: Sequence[Text], guarded: bool) -> str:
        """Ask for all spellings of addresses in a host; a port may follow."""
        regex, subject = (
            _classes(host_regex(addresses, names, encoded=several(atom.column))),
            eval_name(atom.column),
        )
        if atom.take == "host":
            regex = f"{SCHEME}([^/?#]*@)?{regex.replace('.*', '[^/?#]*')}([/?#].*)?"
        if several(atom.column):
            return _matches("host", atom.column, subject, regex, cased=False)
        return mark("host", f'match(lower(urldecode(urldecode({subject}))), "^{regex}$")')

    def macs(self, atom: f.Atom, values: Sequence[str], guarded: bool) -> str:
        """Ask for the usual spellings."""
        return among(atom.column, [form for value in values for form in mac_forms(value)])

    def numbers(self, atom: f.Atom, values: Sequence[float], guarded: bool) -> str:
        """Compare with the values as they are printed."""
        return among(atom.column, [f"{value:g}" for value in values])

    def ordered(self, atom: f.Atom, op: str, value: float, guarded: bool) -> str:
        """Compare as numbers: a word in the field must not be compared as text."""
        if atom.column.type == "number":
            return f"{search_name(atom.column)}{op}{value:g}"
        return mark("number", f"tonumber({eval_name(atom.column)}) {op} {value:g}")

    def flag(self, atom: f.Atom, value: bool, guarded: bool) -> str:
        """Compare with the words that JSON and add-ons use."""
        return among(atom.column, ["true", "1"] if value else ["false", "0"])

    def present(self, atom: f.Atom) -> str:
        """Ask for a value that says something."""
        if atom.take:
            return mark("some", f'{computed(atom)} != ""')
        name = search_name(atom.column)
        return f"({name}=* AND NOT {among(atom.column, UNSET)})"

    def same(self, atom: f.Atom, other: Column, guarded: bool) -> str:
        """Compare two fields in a flag."""
        if several(atom.column) or several(other):
            raise CannotSay("fields with several values are not compared with each other")
        return mark("same", f"lower({eval_name(atom.column)}) = lower({eval_name(other)})")

    def excess(self, atom: f.Atom, packets: Column, destination: Column | None, guarded: bool) -> str:
        """Compare octets with the headers of the packets; a type `number-N` counts N octets more a packet."""
        more = int(atom.column.type.partition("-")[2] or 0)

        def over(headers: int) -> str:
            count = f"tonumber({eval_name(packets)}) * {headers + more}"
            return mark("payload", f"tonumber({eval_name(atom.column)}) > {count}")

        if destination is None:
            return over(80)
        return f'({over(80)} OR ({over(60)} AND NOT {search_name(destination)}="*:*"))'

    def until(self, day: date) -> str:
        """Ask the clock of the run."""
        end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        return mark("before", f"now() < {end.timestamp():.0f}")

    # The whole search.

    def render(self, plan: Plan, source: Source, rule: Rule) -> str:
        """Return the search of a plan; what needs no flag is asked first, where Splunk can leave out most."""
        if plan.within:
            return self.sequence(source, rule, plan)
        accelerated = "datamodel" in source.naming.settings
        mute = f.without_days(plan.mute) if accelerated else plan.mute
        wanted = [*_conjuncts(plan.where), *_conjuncts(f.negated(mute))]
        if accelerated:
            return self._summaries(wanted, source, rule)
        first, flagged = self._sorted(wanted)
        return "\n".join(
            [
                *_begun(source.naming, first),
                *self._flagged(f.all_of(flagged), source.naming),
                *self._shown(source, rule),
            ]
        )

    def frame(self, condition: str, source: Source, rule: Rule, plan: Plan) -> str:
        """Return the search around a condition that is text already (pySigma's way in never asks for it)."""
        lines = [*_begun(source.naming, []), *with_flags([condition], source.naming)]
        return "\n".join([*lines, *self._shown(source, rule)])

    def _sorted(self, wanted: Sequence[f.Formula]) -> tuple[list[str], list[f.Formula]]:
        """Return what can be asked at once, and what needs flags, of which a coarse form is asked at once, too."""
        first: list[str] = []
        flagged: list[f.Formula] = []
        for part in wanted:
            text = self.compose(part, indent=4)
            if not FLAG.search(text):
                first.append(text)
                continue
            flagged.append(part)
            coarse = self._coarse(part)
            if coarse:
                first.append(coarse)
        return first, flagged

    def _flagged(self, wanted: f.Formula, naming: Naming) -> list[str]:
        return with_flags([self.compose(wanted, indent=2)], naming) if wanted != f.TRUE else []

    def _coarse(self, part: f.Formula) -> str:
        """Return a test without flags that holds wherever the part does; empty if there is none worth asking."""
        match part:
            case f.Atom(column, f.Paths(patterns), _):
                needles = [_needle(pattern) for pattern in patterns]
                if any(map(spelled, patterns)) or not all(needles):
                    return ""
                return among(column, dict.fromkeys(["*%*", *needles]))
            case f.All(parts):
                texts = [text for one in parts if (text := self._coarse(one))]
                return f"({' AND '.join(texts)})" if texts else ""
            case f.AnyOf(parts):
                texts = [self._coarse(one) for one in parts]
                return f"({' OR '.join(dict.fromkeys(texts))})" if all(texts) else ""
        text = self.compose(part)
        return "" if FLAG.search(text) else text

    def _shown(self, source: Source, rule: Rule) -> Iterator[str]:
        """Yield the end of a search: what an analyst, and Enterprise Security, look at first."""
        columns = source.naming.columns
        sides = {"src": columns["src_ip"], "dest": columns.get("dst_ip", columns.get("dns_query", ()))}
        named = "".join(f", {name}={_first(found)}" for name, found in sides.items())
        yield f'| eval imds_rule="{rule.slug}", imds_stage="{rule.stage}"{named}'
        shown = [column for field in FIRST_FIELDS for column in columns.get(field, ())]
        names = dict.fromkeys(["_time", "imds_rule", "imds_stage", "src", "dest", *map(_quoted_name, shown)])
        yield f"| table {', '.join(names)}"

    # Accelerated data models.

    def _summaries(self, wanted: Sequence[f.Formula], source: Source, rule: Rule) -> str:
        """Ask the summaries: `where` is decided for each record, what needs flags for each group of equal values."""
        naming = source.naming
        model = naming.settings["datamodel"]
        prefix = model.rpartition(".")[2]
        first, flagged = self._sorted(wanted)
        by = dict.fromkeys([f"{prefix}.src", f"{prefix}.dest"])
        seen: dict[str, None] = {}
        for part in flagged:
            by.update(dict.fromkeys(_groups(part)))
            seen.update(dict.fromkeys(_destinations(part)))
        shown = [column.name for field in FIRST_FIELDS for column in naming.columns.get(field, ())]
        values = dict.fromkeys([*seen, *(name for name in shown if name not in by and name != "_time")])
        lines = [
            f"| tstats {naming.settings.get('summaries', 'summariesonly=false')} count min(_time) as _time",
            "    max(_time) as imds_last_seen",
            *(f"    values({name}) as {name}" for name in values if name not in by),
            f"    from datamodel={model}",
        ]
        if first:
            lines += ["    where", " AND\n".join(_indented(first))]
        lines += [f"    by {' '.join(by)}", *self._flagged(f.all_of(flagged), naming)]
        lines += [f'| rename "{prefix}.*" as *', f'| eval imds_rule="{rule.slug}", imds_stage="{rule.stage}"']
        return "\n".join(lines)

    # A correlation.

    def sequence(self, source: Source, rule: Rule, plan: Plan) -> str:
        """Relate the later event to the earlier one of the same source, by their times."""
        naming = source.naming
        if "datamodel" in naming.settings:
            raise CannotSay("accelerated summaries keep no order of events: schema `cim` relates them")
        first = self.compose(plan.first)
        then = self.compose(f.all_of([plan.where, f.negated(plan.mute)]))
        flags = Flags()
        texts = [
            " ".join(flags.named(text).split()).replace("\\", "\\\\").replace('"', '\\"')
            for text in (first, then)
        ]
        victim = _first(naming.columns["src_ip"])
        names = [
            _quoted_name(column)
            for field in ("dst_ip", "host", "url")
            for column in naming.columns.get(field, ())
        ]
        return "\n".join(
            [
                *_begun(naming, []),
                *flags.lines(naming),
                f'| eval imds_served=if(searchmatch("{texts[0]}"), _time, null())',
                f'| eval imds_used=if(searchmatch("{texts[1]}"), _time, null())',
                "| where isnotnull(imds_served) OR isnotnull(imds_used)",
                f"| eval src={victim}",
                "| stats values(imds_served) as imds_served values(imds_used) as imds_used "
                + " ".join(f"values({name}) as {name}" for name in names)
                + " by src",
                "| mvexpand imds_used",
                "| eval imds_served=mvmap(imds_served, if(tonumber(imds_used) > tonumber(imds_served) AND "
                f"tonumber(imds_used) <= tonumber(imds_served) + {plan.within}, imds_served, null()))",
                "| where isnotnull(imds_served)",
                f'| eval imds_rule="{rule.slug}", imds_stage="{rule.stage}", _time=imds_used',
            ]
        )


def _begun(naming: Naming, first: Sequence[str]) -> list[str]:
    """Return the beginning of a search: what is asked at once, after the fields that the schema has computed."""
    lines = [f"search {naming.table}"]
    if "eval" in naming.settings:
        lines += [f"| eval {naming.settings['eval']}", *(["| search"] if first else [])]
    return [*lines, *_indented(first)]


def _conjuncts(formula: f.Formula) -> list[f.Formula]:
    """Return the parts that all must hold; `not (a or b)` is two of them."""
    match formula:
        case f.All(parts):
            return [one for part in parts for one in _conjuncts(part)]
        case f.No(f.AnyOf(parts)):
            return [f.negated(part) for part in parts]
        case f.Const(True):
            return []
    return [formula]


def _groups(part: f.Formula) -> Iterator[str]:
    """Yield the columns by which summaries are grouped so that a test with flags can be asked of each group.

    `tstats` leaves out records that lack a column it groups by: only columns that the data model fills may stand here,
    and those that the part cannot hold without.
    """
    for atom in f.atoms(part):
        if isinstance(atom.test, f.Excess):
            if not isinstance(part, f.Atom):
                raise CannotSay("tstats would leave out records without counters")
            yield from (atom.column.name, atom.test.packets.name)
        elif atom.column.type.endswith("filled"):
            yield atom.column.name
        else:
            raise CannotSay(f"tstats would leave out records without {atom.column.name}")


def _destinations(part: f.Formula) -> Iterator[str]:
    """Yield the columns that tell the family of an address where octets are counted."""
    for atom in f.atoms(part):
        if isinstance(atom.test, f.Excess) and atom.test.destination is not None:
            yield atom.test.destination.name


# Text -------------------------------------------------------------------------------------------------------------


def several(column: Column) -> bool:
    """Say whether a field may hold several values."""
    return column.type.endswith("[]")


def search_name(column: Column) -> str:
    """Return a field as `search` names it."""
    return column.name if re.fullmatch(r"[A-Za-z_][\w.{}:]*", column.name) else f'"{column.name}"'


def _quoted_name(column: Column) -> str:
    return column.name if re.fullmatch(r"[A-Za-z_][\w.]*", column.name) else f'"{column.name}"'


def network_texts(networks: Iterable[Network]) -> list[str]:
    """Return networks as `search` compares them, with the IPv4-mapped twins."""
    networks = tuple(networks)
    texts = [*v4_of(networks), *v6_of(networks)]
    return [half for text in texts for half in HALVES.get(text, (text,))]


def among(column: Column, values: Iterable[str]) -> str:
    """Return the test of a field against values, any of which may hold wildcards."""
    texts = [f'"{_escaped(value)}"' for value in values]
    name = search_name(column)
    return f"{name}={texts[0]}" if len(texts) == 1 else f"{name} IN ({', '.join(texts)})"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _first(columns: Sequence[Column]) -> str:
    names = ", ".join(map(eval_name, columns))
    return names if len(columns) == 1 else f"coalesce({names})"


def _searchable(pattern: Text) -> bool:
    """Say whether `search` can write a pattern: it has no case, no single-character wildcard, no literal `*`."""
    literal = "".join(part for part in pattern.parts if isinstance(part, str))
    return not pattern.cased and Wild.ONE not in pattern.parts and not set(literal) & set('*\\"\n\r')


def _wild(pattern: Text) -> str:
    return "".join(part if isinstance(part, str) else "*" for part in pattern.parts)


def _lowered(parts: Sequence[str | Wild]) -> list[str | Wild]:
    return [part.lower() if isinstance(part, str) else part for part in parts]


def _regex(parts: Sequence[str | Wild]) -> str:
    return "".join(
        "".join(map(_class, part)) if isinstance(part, str) else ".*" if part is Wild.ANY else "."
        for part in parts
    )


def _class(char: str) -> str:
    """Return one character as a regular expression without backslashes."""
    if char in '\\^"\n\r':
        raise CannotSay(f"the character {char!r} cannot be asked for in a search")
    return char if char.isalnum() or ord(char) > 127 or char in "_-/:%@&=~#,;!'<> " else f"[{char}]"


def _classes(regex: str) -> str:
    r"""Return a regular expression of `spelling` with `[.]` for `\.`; inside brackets nothing needs an escape there."""
    return re.sub(r"\\(.)", lambda found: _class(found[1]), regex)


def _matches(kind: str, column: Column, subject: str, whole: str, *, cased: bool) -> str:
    flags = "(?s)" if cased else "(?is)"
    if several(column):
        return mark(kind, f'isnotnull(mvfind({subject}, "{flags}^({whole})$"))')
    return mark(kind, f'match({subject}, "{flags}^({whole})$")')


def _needle(pattern: Text) -> str:
    """Return a text that every URL holds whose path matches the pattern, unless it is percent-encoded."""
    pieces = [piece for part in pattern.parts if isinstance(part, str) for piece in re.split("[/.]", part)]
    longest = max(pieces, key=len, default="")
    return f"*{longest}*" if len(longest) > 3 and longest.isascii() and "*" not in longest else ""


def _hex_flags(column: Column, patterns: Sequence[Text]) -> str:
    """Ask for PSH in TCP flags that are written as a hexadecimal number: bit 3 (RFC 9293 3.1)."""
    if any(pattern.parts != (Wild.ANY, "P", Wild.ANY) for pattern in patterns):
        raise CannotSay("of TCP flags in hexadecimal only PSH is asked for")
    return among(column, [f"*{digit}" for digit in "89abcdef"])


def _indented(texts: Sequence[str]) -> list[str]:
    return ["    " + text for text in texts]
