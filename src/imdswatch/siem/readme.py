"""The one page of a deployable tree: a text of `data/siem` with what this export has of its own put in.

Reads packaged data; otherwise pure.
"""

from __future__ import annotations

from importlib.resources import files
from string import Template

from imdswatch.siem.content import Content

EXPORT_AGAIN = "Export again with `--site` to leave out what is not on premises, or is there on purpose."


def readme(content: Content, **texts: str) -> str:
    """Return the page of a target; `texts` are the values that the target's page asks for besides the usual ones."""
    page = files("imdswatch").joinpath(f"data/siem/{content.target}.md").read_text(encoding="utf-8")
    site = content.request.site
    missing = [f"- {one.rule.slug} on {one.schema}: {one.why}" for one in content.not_applicable]
    schemas = dict.fromkeys(query.schema for query in content.queries)
    usual = {
        "for_site": f" for the site `{site.name}`" if site.name else "",
        "schemas": ", ".join(f"`{name}`" for name in schemas),
        "language": next((query.language for query in content.queries), ""),
        "path": next((query.path for query in content.queries), ""),
        "missing": "\n".join(missing) or "- nothing: every rule has a query",
    }
    return Template(page).substitute(usual, **texts)
