"""What the tests of `export` share: a site with every key, content of a target, golden trees.

`IMDSWATCH_GOLDEN=1` writes the golden trees anew; review the diff by eye.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from imdswatch.rule import load_rules
from imdswatch.schema import load_schemas
from imdswatch.siem import content_of, tree
from imdswatch.siem.content import Content, Query, Request
from imdswatch.site import Site, parse_site

GOLDEN = Path(__file__).parent / "golden" / "export"
TODAY = date(2026, 11, 22)
RULES = load_rules()
SLUGS = [rule.slug for rule in RULES]
SITE = """
[site]
name = "hq"
on_premises = ["10.0.0.0/8", "fd12:3456::/32", "2001:db8::/32"]
on_premises_vlans = [99]
[accounts]
expected = ["123456789012"]
[[suppress]]
name = "openstack-lab"
reason = "OpenStack metadata service"
vlans = [210, 211]
responders = ["10.20.0.1", "fa:16:3e:00:00:01"]
owner = "cloud team"
[[suppress]]
name = "v6 lab"
sources = ["2001:db8:ec2::/48", "10.20.0.0/24"]
rules = ["imds-contact", "aws-2025-021"]
expires = 2027-03-31
[[suppress]]
name = "whoever"
sources = ["10.66.0.0/16"]
responders = ["169.254.169.254"]
"""


def site(text: str = SITE) -> Site:
    return parse_site(text, "site.toml", SLUGS, TODAY)


def content(target: str, where: Site | None = None, language: str | None = None, *slugs: str) -> Content:
    rules = tuple(rule for rule in RULES if not slugs or rule.slug in slugs)
    return content_of(target, Request(rules, where or Site(), load_schemas(), TODAY, None, language))


def query(found: Content, rule: str, schema: str, part: str = "") -> Query:
    [one] = [q for q in found.queries if (q.rule.slug, q.schema, q.part) == (rule, schema, part)]
    return one


def same_as_golden(name: str, found: Content) -> None:
    """Compare a tree, file by file, with the golden one; no file may be missing or left over."""
    files: Mapping[str, str] = tree(found)
    folder = GOLDEN / name
    if os.environ.get("IMDSWATCH_GOLDEN"):
        shutil.rmtree(folder, ignore_errors=True)
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert there == set(files)
    for path, text in files.items():
        assert text == (folder / path).read_text(encoding="utf-8"), path
