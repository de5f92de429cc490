"""IBM QRadar: AQL queries, rules told step by step, reference sets for the site, and a page that says how.

QRadar's API lists and deletes rules and makes none (`/api/analytics/rules`), so a rule is told in the words of its Rule
Wizard. Sources: IBM QRadar Ariel Query Language Guide; IBM QRadar User Guide, "Custom rules" and "Event property tests"
(the AQL filter query test); IBM QRadar RESTful API, reference_data/sets. Pure: the same content gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

from imdswatch.siem import triage
from imdswatch.siem.aql import AqlBackend
from imdswatch.siem.content import Content, Query
from imdswatch.siem.qradar_site import commands, filter_of, reading_sets, sets_of
from imdswatch.siem.readme import EXPORT_AGAIN, readme

LANGUAGES = {"aql": AqlBackend}

SETS = "reference-data/create.sh"
_SEVERITY = {"informational": 1, "low": 3, "medium": 5, "high": 8, "critical": 10}
_CREDIBILITY = {"attempted": 4, "requested": 5, "answered": 8, "credentials-served": 9, "credentials-used": 9}
_QUIET = {"attempted": "24 hours", "requested": "4 hours"}
_KIND = {"events": "event", "flows": "flow"}


def tree(content: Content) -> Mapping[str, str]:
    """Return the files of the tree."""
    site = content.request.site
    files: dict[str, str] = {}
    for query in content.queries:
        files[query.path] = reading_sets(query) + "\n"
        files[f"rules/{query.schema}/{query.rule.slug}.md"] = _steps(query)
    sets = sets_of(site)
    if sets:
        files[SETS] = commands(site)
    files["README.md"] = readme(
        content,
        install=f"{_INSTALL}\n" if sets else "",
        **dict(zip(("first", "second", "third"), "234" if sets else "123", strict=True)),
        tune=EXPORT_AGAIN if site.mutes_nothing else _TUNE,
        remove=f" and the reference sets {', '.join(f'`{name}`' for name in sets)}" if sets else "",
    )
    return files


def _steps(query: Query) -> str:
    """Return how a rule is made in the Rule Wizard, and the guide that belongs into its notes."""
    rule, kind = query.rule, _KIND[query.schema]
    properties = sorted(
        {
            column.name
            for several in query.source.naming.columns.values()
            for column in several
            if f'"{column.name}"' in filter_of(query)
        }
    )
    parse = ", ".join(f"`{name}`" for name in properties)
    lines = [
        f"# IMDS: {rule.title} ({query.schema})",
        "",
        *(
            [
                f"Before: these custom properties exist and are parsed in advance (optimized for rules): {parse}.",
                "",
            ]
            if properties
            else []
        ),
        f"1. Offenses, Rules, Actions, New {kind.title()} Rule.",
        f"2. Name: `IMDS: {rule.slug}`. Apply it on {kind}s which are detected by the Local system.",
        f"3. Add the test *when the {kind} matches this AQL filter query* and paste:",
        "",
        "```sql",
        filter_of(query),
        "```",
        "",
        f"4. Group: Intrusion Detection. Notes: the text below, from *{rule.title}* on.",
        f"5. Rule action: Severity set to {_SEVERITY[rule.level]}, Credibility set to {_CREDIBILITY[rule.stage]}, "
        f"Relevance set to {_CREDIBILITY[rule.stage]}. Ensure the detected {kind} is part of an offense, index offense"
        " based on Source IP.",
        f"6. Rule response: dispatch new event, name `{rule.title}`, low-level category Misc Access, and let it"
        " set the name of the offense.",
        f"7. Response limiter: respond no more than 1 time per {_QUIET.get(rule.stage, '1 hour')} per Source IP.",
        "8. Enable rule, Finish.",
        "",
        triage.guide(query),
    ]
    return "\n".join(lines) + "\n"


_INSTALL = f"""\
1. The site first, as rules and queries read it: `QRADAR=console.example SEC=TOKEN sh {SETS}` makes and fills the
   reference sets (an authorized service with the role Admin)."""
_TUNE = """\
VLANs and MAC addresses of suppressions are elements of the reference sets `imdswatch …`: add or delete them in
Reference Set Management, they hold at once. Networks, what is on premises and end dates stand in the queries, since
reference sets compare subnets in no documented way: change the site file and export again. Rules from stage `answered`
on are muted only by entries with `responders`."""
