"""The Sigma target: the rule pack, one portable rule with the vendors' field names, and the site as Sigma filters.

The pack is the rules' own text; where the site lists expected accounts they stand in it. The portable rule is the
bulletin's with a block for each vendor's name of a field, every block named `ip_…` or `http_…`, since the condition
reads no other (AWS-2025-021). A site becomes Sigma filter documents (Sigma specification 2.1.0, "Sigma Filters"):
what they leave out is said by the same formula as in every other target, here over canonical fields. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from imdswatch import rule as r
from imdswatch.address import Network
from imdswatch.event import FIELDS
from imdswatch.layouts.recognise import Recognise
from imdswatch.rule import Rule, Text
from imdswatch.schema import Column, Naming, Schema
from imdswatch.siem import formula as f
from imdswatch.siem.content import Content, Document, NotApplicable, Plan, Request, Source, stable_id
from imdswatch.siem.emitter import CannotSay, Emitter
from imdswatch.siem.export import ALL_MUTED
from imdswatch.siem.mute import muted
from imdswatch.siem.plan import Planner
from imdswatch.site import Site

TARGET, LANGUAGE = "sigma", "sigma"
PORTABLE = "aws-2025-021-portable"
SCHEMAS = {
    "pack": "the rules, one file each, over canonical fields",
    "portable": "the bulletin's rule with the field names of many vendors",
    "filter": "the site as Sigma filter documents for the rules of the pack and the portable one",
}
_BULLETIN = "aws-2025-021"
_BLOCKS = {"dst_ip": "ip", "url": "http", "req_header": "http"}
_LEFT, _RIGHT = "\u27e8", "\u27e9"  # around the block of one test, until blocks get their names


class _Blocks(Emitter):
    """Writes each test as a Sigma selection, and a formula as a condition over them."""

    name = "Sigma filters"
    identifier = "imdswatch_sigma_filter"
    language = LANGUAGE
    target = TARGET
    usual_schema = "filter"
    and_token, or_token, not_token = "and", "or", "not"

    @staticmethod
    def _block(key: str, values: Sequence[Any]) -> str:
        return _LEFT + yaml.safe_dump({key: list(values) if len(values) > 1 else values[0]}) + _RIGHT

    def inside(self, atom: f.Atom, networks: Sequence[Network], guarded: bool) -> str:
        return self._block(f"{atom.column.name}|cidr", [str(network) for network in networks])

    def an_address(self, atom: f.Atom, guarded: bool) -> str:
        return self._block(f"{atom.column.name}|cidr", ["0.0.0.0/0", "::/0"])

    def texts(self, atom: f.Atom, patterns: Sequence[Text], guarded: bool) -> str:
        return self._block(
            atom.column.name, ["".join(_plain(part) for part in one.parts) for one in patterns]
        )

    paths = urls = texts

    def hosts(self, atom: f.Atom, addresses: Sequence[str], names: Sequence[Text], guarded: bool) -> str:
        if names:
            raise CannotSay("a site names responders by address")
        return self._block(atom.column.name, list(addresses))

    def macs(self, atom: f.Atom, values: Sequence[str], guarded: bool) -> str:
        return self._block(atom.column.name, list(values))

    def numbers(self, atom: f.Atom, values: Sequence[float], guarded: bool) -> str:
        return self._block(atom.column.name, [int(value) for value in values])

    def ordered(self, atom: f.Atom, op: str, value: float, guarded: bool) -> str:
        word = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}[op]
        return self._block(f"{atom.column.name}|{word}", [value])

    def flag(self, atom: f.Atom, value: bool, guarded: bool) -> str:
        return self._block(atom.column.name, [value])

    def present(self, atom: f.Atom) -> str:
        return self._block(f"{atom.column.name}|exists", [True])

    def path(self, source: Source, rule: Rule) -> str:
        return "filters/"

    def frame(self, condition: str, source: Source, rule: Rule, plan: Plan) -> str:
        return condition


LANGUAGES = {LANGUAGE: _Blocks}


def _plain(part: str | r.Wild) -> str:
    return part.value if isinstance(part, r.Wild) else re.sub(r"([*?\\])", r"\\\1", part)


_COLUMNS = {name: (Column(name, kind.kind.name.lower()),) for name, kind in FIELDS.items()}
_CANONICAL = Source(
    Schema(
        name="canonical",
        title="canonical fields",
        origin="documentation",
        version="",
        references=(),
        layer="siem",
        vantage="siem",
        priority=0,
        recognise=Recognise(),
        bases=(),
    ),
    Naming(TARGET, "filter", "", "", _COLUMNS),
)


def build(request: Request) -> Content:
    """Return the pack, the portable rule and the filters, as far as the request asks for them."""
    documents: list[Document] = []
    wanted = [request.schema] if request.schema is not None else list(SCHEMAS)
    nothing: list[NotApplicable] = []
    for schema in wanted:
        for rule in request.rules:
            document = _document(schema, rule, request)
            if isinstance(document, str):
                nothing.append(NotApplicable(TARGET, schema, rule, document))
            elif document is not None:
                documents.append(document)
    return Content(TARGET, request, (), tuple(nothing), tuple(documents))


def _document(schema: str, rule: Rule, request: Request) -> Document | str | None:
    if schema == "pack":
        text = pack_rule(rule, request.site)
        return Document(TARGET, schema, LANGUAGE, rule, text, f"rules/{rule.slug}.yml")
    if schema == "portable":
        if rule.slug != _BULLETIN:
            return None
        return Document(TARGET, schema, LANGUAGE, rule, portable_rule(rule), f"portable/{PORTABLE}.yml")
    if (
        not request.site.suppressions
        and request.site.on_premises is None
        and not request.site.on_premises_vlans
    ):
        return None
    if rule.correlation is not None:
        return "Sigma filters apply to the rules that a correlation refers to, not to the correlation"
    mute = _timeless(muted(Planner(_Blocks(), _CANONICAL, rule, (), request.site.values), request.site))
    if isinstance(mute, f.Const):
        return ALL_MUTED if mute.value else "the site leaves nothing of this rule out"
    for name, (slugs, text, lost) in filters(request).items():
        if rule.slug in slugs:
            return Document(TARGET, schema, LANGUAGE, rule, text, f"filters/{name}.yml", lost)
    raise AssertionError(rule.slug)


def pack_rule(rule: Rule, site: Site) -> str:
    """Return the text of a rule; a placeholder that the site fills is filled in."""

    def filled(found: re.Match[str]) -> str:
        values = site.values.get(found[2])
        if not values:
            return found[0]
        return f"{found[1]}: [{', '.join(repr(value) for value in values)}]"

    return re.sub(r"(\S+)\|expand: '%(\w+)%'", filled, rule.text)


def portable_rule(rule: Rule) -> str:
    """Return the bulletin's rule with one block for each name that vendors give its fields.

    `c-ip` means the client in W3C logs; the bulletin's outline asks it for the endpoint all the same, as here. The
    stage is no key of Sigma's, but who does not know it passes over it, and a scan with this rule says the same stage.
    """
    document = yaml.safe_load(rule.text)
    blocks: dict[str, tuple[str, list[Any]]] = {}
    for selection in document["detection"].values():
        if not isinstance(selection, dict):
            continue
        ((key, value),) = selection.items()
        name, _, modifier = key.partition("|")
        field = r.canonical(name)
        assert field is not None
        names = [name, *(one for one, meant in _bulletin_names() if meant == field)]
        values = value if isinstance(value, list) else [value]
        for one in dict.fromkeys([*names, *(["c-ip"] if field == "dst_ip" else [])]):
            key = f"{one}|{modifier}" if modifier else one
            block = blocks.setdefault(key, (f"{_BLOCKS[field]}_{re.sub(r'[^A-Za-z0-9]', '_', one)}", []))
            block[1].extend(item for item in values if item not in block[1])
    detection: dict[str, Any] = {}
    for key, (name, values) in blocks.items():  # `http.url` and `http_url` would share a name
        detection[name if name not in detection else f"{name}_2"] = {key: values}
    detection["condition"] = document["detection"]["condition"]
    head = {
        "title": f"{document['title']}, field names of many vendors",
        "id": str(stable_id(TARGET, PORTABLE)),
        "related": [{"id": document["id"], "type": "similar"}],
    }
    rest = {key: value for key, value in document.items() if key not in (*head, "detection")}
    where = list(rest).index("logsource") + 1
    order = [*list(rest.items())[:where], ("detection", detection), *list(rest.items())[where:]]
    return _dump({**head, **dict(order)})


def _bulletin_names() -> list[tuple[str, str]]:
    return sorted(r.alias_groups()["bulletin"].items())


def filters(request: Request) -> dict[str, tuple[tuple[str, ...], str, tuple[f.Loss, ...]]]:
    """Return file stem → slugs, text and losses of the filter documents: one for all rules that share a condition."""
    emitter = _Blocks()
    groups: dict[tuple[str, str], list[tuple[Rule, tuple[f.Loss, ...]]]] = {}
    for rule in request.rules:
        if rule.correlation is not None:
            continue
        planner = Planner(emitter, _CANONICAL, rule, (), request.site.values)
        mute = _timeless(muted(planner, request.site))
        if isinstance(mute, f.Const):  # nothing, or all of it
            continue
        key = (emitter.compose(mute), _logsource(rule))
        groups.setdefault(key, []).append((rule, tuple(planner.lost)))
    out = {}
    for number, ((condition, logsource), members) in enumerate(groups.items(), 1):
        name = "site" if len(groups) == 1 else f"site-{number}"
        rules = [rule for rule, _ in members]
        lost = tuple(dict.fromkeys(loss for _, some in members for loss in some))
        text = _filter(request, rules, condition, logsource, lost)
        out[name] = (tuple(rule.slug for rule in rules), text, lost)
    return out


def _timeless(formula: f.Formula) -> f.Formula:
    """Return the formula without end dates, which a Sigma filter cannot ask: they stand in its description."""
    match formula:
        case f.Atom(_, f.Until()):
            return f.TRUE
        case f.All(parts):
            return f.all_of([_timeless(part) for part in parts])
        case f.AnyOf(parts):
            return f.any_of([_timeless(part) for part in parts])
        case f.No(part):
            return f.negated(_timeless(part))
        case _:
            return formula


def _logsource(rule: Rule) -> str:
    source = yaml.safe_load(rule.text)["logsource"]
    return yaml.safe_dump({key: source[key] for key in ("category", "product", "service") if key in source})


def _filter(
    request: Request, rules: Sequence[Rule], condition: str, logsource: str, lost: Sequence[f.Loss]
) -> str:
    blocks: dict[str, Any] = {}
    names: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        if found[1] not in names:
            block = yaml.safe_load(found[1])
            field = re.split(r"\|", next(iter(block)))[0]
            same = sum(name.rpartition("_")[0] == f"site_{field}" for name in blocks)
            names[found[1]] = f"site_{field}_{same + 1}"
            blocks[names[found[1]]] = block
        return names[found[1]]

    flat = re.sub(f"{_LEFT}(.*?){_RIGHT}", named, condition, flags=re.DOTALL)
    flat = re.sub(r"\s+", " ", flat).replace("( ", "(").replace(" )", ")")
    entries = [
        f"{entry.name}: {entry.reason}" + (f" (until {entry.expires})" if entry.expires else "")
        for entry in request.site.suppressions
        if not entry.rules or any(rule.slug in entry.rules for rule in rules)
    ]
    about = [
        "What this network's site file leaves out.",
        *entries,
        *(f"{one.clause}: {one.why}" for one in lost),
    ]
    return _dump(
        {
            "title": "What the site file leaves out of IMDS alerts",
            "id": str(stable_id(TARGET, "filter", *(rule.slug for rule in rules))),
            "description": "\n".join(about) + "\n",
            "logsource": yaml.safe_load(logsource),
            "filter": {"rules": _ids(rules), **blocks, "condition": f"not ({flat})"},
        }
    )


def _ids(rules: Sequence[Rule]) -> list[str]:
    """Return the ids of the rules; the portable rule is the bulletin's, so what mutes that one mutes both."""
    portable = [str(stable_id(TARGET, PORTABLE)) for rule in rules if rule.slug == _BULLETIN]
    return [rule.id for rule in rules] + portable


class _Dumper(yaml.SafeDumper):
    """Writes as the rule files are written: lists indented, long texts as blocks."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def _dump(document: Mapping[str, Any]) -> str:
    return yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, indent=4)


_README = """\
# IMDS impersonation: Sigma rules

Made by `imdswatch export sigma`. Bulletin: https://aws.amazon.com/security/security-bulletins/AWS-2025-021/

- `rules/`: the rule pack over canonical field names (`imdswatch schemas show NAME` says which column of a source each
  one is). `stage` is a key of our own, which pySigma keeps as a custom attribute.
- `portable/`: the bulletin's rule with the field names of many vendors, a block for each.
{filters}
## Install

Put the folders where your Sigma rules live. With imdswatch installed, `sigma convert -t imdswatch_splunk` (or another
of its backends, `sigma list targets`) gives the queries that `imdswatch export` gives; with other backends map the
fields by a pipeline of yours.

## Verify

`imdswatch scan --rules rules LOGS` finds what the built-in rules find.

## Tune

Edit the site file and export again: ids stay as they are, so the rules are replaced.

## Remove

Delete the folders.
"""


def tree(content: Content) -> Mapping[str, str]:
    """Return the files: rules, portable rule, filters, README."""
    files = {document.path: document.query for document in content.documents}
    shown = (
        "- `filters/`: the site as Sigma filter documents; `sigma convert --filter filters/` applies them.\n"
    )
    has = any(path.startswith("filters/") for path in files)
    return {**files, "README.md": _README.format(filters=shown if has else "")}
