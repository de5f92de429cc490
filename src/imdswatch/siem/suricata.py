"""The Suricata target: the rules as Suricata 7 rules, made from their conditions, with the site as address groups.

Numbers (sid) stand in `data/siem/suricata.yml`, one for each look of each rule, and never move; those of a user's own
rules and of a site's entries are derived from their names, in a range of their own. Each document is complete: it
brings the silent rules that its alerts depend on. Alerts are limited to one for each pair of hosts and span of time.
Reads that data file once; otherwise pure.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from imdswatch.event import FIELDS
from imdswatch.finding import STAGE_RANK
from imdswatch.layouts.recognise import Recognise
from imdswatch.rule import Rule, matches
from imdswatch.schema import Naming, Schema
from imdswatch.siem import formula as f
from imdswatch.siem.content import Content, Document, NotApplicable, Plan, Request, Source
from imdswatch.siem.export import plan_of
from imdswatch.siem.readme import readme
from imdswatch.siem.suricata_drafts import Draft, Drafts, at_once
from imdswatch.siem.suricata_options import COLUMNS, SuricataOptions
from imdswatch.siem.suricata_site import Groups, group
from imdswatch.siem.terms import TooMany, terms
from imdswatch.site import Site

TARGET, LANGUAGE, PATH = "suricata", "suricata", "imdswatch.rules"
SCHEMAS = {"rules": "rules of Suricata 7 and newer"}
LANGUAGES = {LANGUAGE: SuricataOptions}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DERIVED = range(1_500_000, 2_000_000)
_SERVED = "imdswatch.served"


@cache
def settings() -> Mapping[str, Any]:
    """Return `data/siem/suricata.yml`."""
    text = files("imdswatch").joinpath("data/siem/suricata.yml").read_text(encoding="utf-8")
    found: Mapping[str, Any] = yaml.load(text, Loader=_LOADER)
    return found


@cache
def _source() -> Source:
    cannot = {name: settings()["no_keyword"] for name in FIELDS if name not in (*COLUMNS, "action")}
    schema = Schema(
        name="suricata-rules", title=SCHEMAS["rules"], origin="documentation", version="7", references=(), layer="siem",
        vantage="sensor", priority=0, recognise=Recognise(), bases=(), cannot={**cannot, **settings()["cannot"]},
    )  # fmt: skip
    return Source(schema, Naming(TARGET, "rules", "", "", COLUMNS))


def build(request: Request) -> Content:
    """Return one document a rule: the lines of its Suricata rules, the site inside."""
    return _build(request, named=False)


def _build(request: Request, *, named: bool) -> Content:
    groups = Groups(request.site, named=named)
    documents: list[Document] = []
    nothing: list[NotApplicable] = []
    for rule in request.rules:
        plan = plan_of(SuricataOptions(), _source(), rule, request.site, (), request.rules)
        if isinstance(plan, str):
            nothing.append(NotApplicable(TARGET, "rules", rule, plan))
            continue
        drafts, lost = _drafts(rule, plan, request)
        told = tuple(dict.fromkeys([*plan.lost, *lost, *_partly(rule, drafts, request.site)]))
        if not any(not draft.silent for draft in drafts):
            nothing.append(
                NotApplicable(TARGET, "rules", rule, "; ".join(dict.fromkeys(one.why for one in told)))
            )
            continue
        text = "".join(f"{line}\n" for line in _lines(rule, drafts, groups))
        documents.append(Document(TARGET, "rules", LANGUAGE, rule, text, PATH, told))
    return Content(TARGET, request, (), tuple(nothing), tuple(documents))


def _partly(rule: Rule, drafts: Sequence[Draft], site: Site) -> Iterator[f.Loss]:
    """Yield what Suricata does not see of a field, or ask of an entry of the site, that it otherwise does."""
    asked = matches(rule.condition if rule.correlation is None else rule.correlation.base)
    said = settings()["partly"]
    for field in dict.fromkeys(one.field or "" for one in asked):
        if field == "answered" and not any("http.stat_code" in draft.key for draft in drafts):
            continue  # another alternative covers it
        if field in said:
            yield f.Loss(field, said[field])
    for entry in site.suppressions if STAGE_RANK[rule.stage] >= STAGE_RANK["answered"] else ():
        if entry.responder_macs and entry.responder_networks is not None and not entry.vlans:
            yield f.Loss(f"site: MAC addresses of `{entry.name}`", settings()["cannot"]["dst_mac"])
        if entry.responder_endpoints and not entry.vlans:
            yield f.Loss(f"site: responders of `{entry.name}`", settings()["endpoint_by_name"])


def _drafts(rule: Rule, plan: Plan, request: Request) -> tuple[list[Draft], Sequence[f.Loss]]:
    """Return the drafts of a rule; a correlation has those of the rules before it, too, which mark the victim."""
    maker = Drafts(rule.slug, SuricataOptions())
    try:
        drafts = maker.of(terms(plan.where))
    except TooMany as error:
        return [], [f.Loss(rule.slug, str(error))]
    lost = list(maker.lost)
    if rule.correlation is None:
        return drafts, lost
    mark = f"xbits:set,{_SERVED},track ip_dst,expire {rule.correlation.timespan};"
    before: list[Draft] = []
    for one in request.rules:
        if one.slug not in rule.correlation.after:
            continue
        earlier = plan_of(SuricataOptions(), _source(), one, request.site, (), request.rules)
        first = Drafts(f"{rule.slug}.{one.slug}", SuricataOptions())
        for draft in first.of(terms(earlier.where)) if isinstance(earlier, Plan) else ():
            marks = draft if draft.silent else replace(draft, options=(*draft.options, mark), silent=True)
            before.append(replace(marks, key=f"after {one.slug}, {draft.key}"))
            before += at_once(before[-1])
        lost += first.lost
    asks = f"xbits:isset,{_SERVED},track ip_src;"
    own = [draft if draft.silent else replace(draft, options=(*draft.options, asks)) for draft in drafts]
    return [*before, *own], lost


# Lines -------------------------------------------------------------------------------------------------------------


def _lines(rule: Rule, drafts: Sequence[Draft], groups: Groups) -> Iterator[str]:
    for entry in groups.marks(rule):
        yield (
            f'alert {groups.header(entry)} (msg:"imdswatch: {_plain(entry.about)}"; flowbits:set,{entry.bit}; noalert; '
            f"sid:{derived(f'site/{entry.name}')}; rev:1;)"
        )
    for draft in drafts:
        yield _line(rule, draft, groups)


def _line(rule: Rule, draft: Draft, groups: Groups) -> str:
    victim = "any" if draft.silent and not draft.answers else groups.victim(rule)
    asked = [f"{group(draft.asked, mapped=True)}"] if draft.asked else []
    asked += [f"!{group(draft.not_asked, mapped=True)}"] if draft.not_asked else []
    side = "any" if not asked else asked[0] if len(asked) == 1 else f"[{','.join(asked)}]"
    ends = (side, victim) if draft.answers else (victim, side)
    header = f"alert {draft.proto} {ends[0]} {draft.ports[0]} -> {ends[1]} {draft.ports[1]}"
    options = [f'msg:"{_message(rule, draft)}";', *draft.options]
    if draft.flows and draft.answers:
        options += [f"flowbits:isnotset,{entry.bit};" for entry in groups.marks(rule)]
    options += ["noalert;"] if draft.silent else _about(rule, draft)
    return (
        f"{header} ({' '.join(options)} sid:{sid(rule.slug, draft.key)}; rev:{_rev(rule.slug, draft.key)};)"
    )


def _message(rule: Rule, draft: Draft) -> str:
    return f"imdswatch {rule.slug} [{rule.stage}]: {_plain(draft.key if draft.silent else rule.title)}"


def _plain(text: str) -> str:
    return re.sub(r'[";:\\|\x00-\x1f\x7f-\x9f]', " ", text).replace("  ", " ")


def _about(rule: Rule, draft: Draft) -> list[str]:
    stage = settings()["stages"][rule.stage]
    metadata = [f"imdswatch_rule {rule.slug}", f"imdswatch_stage {rule.stage}", f"sigma_id {rule.id}"]
    metadata += [f"mitre_technique_id {one}" for one in rule.attack]
    links = [re.sub(r"^https?://", "", one) for one in rule.references]
    return [
        f"threshold:type limit,track by_both,count 1,seconds {stage['seconds']};",
        *(f"reference:url,{one};" for one in links if not re.search(r"[;\"]", one)),
        f"classtype:{stage['classtype']};",
        f"priority:{settings()['priorities'][rule.level]};",
        f"metadata:{', '.join(metadata)};",
    ]


def sid(slug: str, key: str) -> int:
    """Return the number of one look of one rule: from the table, or derived from its name."""
    known: int | None = settings()["sids"].get(slug, {}).get(key)
    return derived(f"{slug}/{key}") if known is None else known


def derived(name: str) -> int:
    """Return a number of the private range that hangs on a name alone."""
    return _DERIVED[zlib.crc32(name.encode()) % len(_DERIVED)]


def _rev(slug: str, key: str) -> int:
    revised: int = settings()["revised"].get(sid(slug, key), 1)
    return revised


# Tree --------------------------------------------------------------------------------------------------------------


def tree(content: Content) -> Mapping[str, str]:
    """Return the files: rules, address groups of the site, event log, triage, README."""
    named = _build(content.request, named=True)
    groups = Groups(content.request.site, named=True)
    folder = files("imdswatch").joinpath("data/siem")
    out = {
        PATH: _rules_file(named),
        "imdswatch.yaml": folder.joinpath("suricata-eve.yaml").read_text(encoding="utf-8"),
        "triage.md": _triage(named),
        "README.md": readme(content, **_site_texts(groups)),
    }
    if groups.variables:
        out["address-groups.yaml"] = _variables(groups)
    return out


def _rules_file(content: Content) -> str:
    """Return all rules in one file; a line that two rules need stands there once."""
    lines = [
        "# Made by `imdswatch export suricata`. Numbers stay as they are; export again instead of editing.",
        "",
    ]
    seen: set[str] = set()
    for document in content.documents:
        lines += [f"# {document.rule.slug}, stage {document.rule.stage}: {document.rule.title}"]
        for loss in document.lost:
            lines.append(f"#   not carried: {loss.clause}: {loss.why}")
        lines += [line for line in document.query.splitlines() if line not in seen]
        seen.update(document.query.splitlines())
        lines.append("")
    for one in content.not_applicable:
        lines += [f"# {one.rule.slug}: not applicable: {one.why}", ""]
    return "\n".join(lines)


def _variables(groups: Groups) -> str:
    about = {entry.variable: entry.about for entry in groups.entries}
    lines = ["%YAML 1.1", "---", "# Include this below `vars: address-groups:` of suricata.yaml."]
    for name, value in groups.variables.items():
        stem = name.removesuffix("_SOURCES").removesuffix("_RESPONDERS")
        lines += [f"# {about[stem]}"] if stem in about else []
        lines.append(f'{name}: "{value}"')
    return "\n".join(lines) + "\n"


def _site_texts(groups: Groups) -> dict[str, str]:
    text = settings()["texts"]
    return {
        "install_site": text["install_site"] if groups.variables else "",
        "tune_site": text["tune_site"] if groups.variables else text["no_site"],
    }


def _triage(content: Content) -> str:
    lines = ["# Alerts of imdswatch", ""]
    for document in content.documents:
        rule = document.rule
        numbers = re.findall(
            r"sid:(\d+)", "".join(line for line in document.query.splitlines() if "noalert" not in line)
        )
        lines += [f"## {rule.slug} ({rule.stage}, {rule.level})", "", " ".join(rule.description.split()), ""]
        lines += [f"- sid: {', '.join(numbers)}", f"- next steps: {' '.join(rule.remedy.split())}"]
        lines += [f"- false positive: {' '.join(text.split())}" for text in rule.falsepositives]
        lines += [f"- blind spot: {' '.join(text.split())}" for text in rule.blind_spots]
        lines += [f"- not carried here: {loss.clause}: {loss.why}" for loss in document.lost]
        lines += [f"- ATT&CK: {', '.join(rule.attack)}", ""]
    return "\n".join(lines)
