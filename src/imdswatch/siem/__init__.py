"""SIEM content: the rules, and what the site leaves out, as queries and deployable files for one target.

`content_of` answers a request; `tree` turns the answer into files. A new target is one module and one line in
`TARGETS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imdswatch.siem.content import Content, Request

TARGETS = {
    "elastic": "imdswatch.siem.elastic",
    "qradar": "imdswatch.siem.qradar",
    "sentinel": "imdswatch.siem.sentinel",
    "sigma": "imdswatch.siem.sigma",
    "splunk": "imdswatch.siem.splunk",
    "suricata": "imdswatch.siem.suricata",
}
"""Name of a target → the module with its `LANGUAGES` (word → Emitter class, the usual one first) and its `tree`. One
whose content is no query over columns has a `build` of its own, and `SCHEMAS` that say what it builds."""


def content_of(target: str, request: Request) -> Content:
    """Return all queries of a target, and why there are none where there are none; raises UsageError, SchemaError."""
    from imdswatch.siem.export import export_of

    return export_of(target, import_module(TARGETS[target]), request)


def tree(content: Content) -> Mapping[str, str]:
    """Return the files of a deployable tree: path → text. The site lies in the SIEM's own place there."""
    files: Mapping[str, str] = import_module(TARGETS[content.target]).tree(content)
    return dict(sorted(files.items()))
