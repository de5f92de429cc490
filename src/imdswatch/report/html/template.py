"""The page is put together: one file of HTML, one of CSS, the scripts as one, and the data that they read.

`page.html` is a template of the standard library (`$name`); values are escaped before they come here, so there is
nothing for a template language to do (docs/decisions/0026). The policy of the page allows one style and one script, by
their hashes, and nothing else: no network, no event handler in markup, no other script whatever the data hold.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from string import Template

from imdswatch.report.html.markup import join

SCRIPTS = ("data", "elements", "choice", "table", "details", "timeline", "print", "start")
"""Files of the script in the order in which they stand in it; they share one scope."""
_POLICY = (
    "default-src 'none'; script-src '{script}'; style-src '{style}'; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


def page(values: Mapping[str, str], index: Iterable[str], details: Iterable[str]) -> Iterator[str]:
    """Yield the page in pieces; `values` are markup or texts, `index` (in pieces) and `details` are inert JSON."""
    style, script = _read("page.css"), _script()
    policy = _POLICY.format(script=_hash(script), style=_hash(style))
    head, data, tail = _read("page.html").partition("$data\n")
    assert data, "page.html says where the data stand"
    known = {name: join(value) for name, value in values.items()}
    yield Template(head).substitute(known, policy=policy, style=style)
    yield '<script type="application/json" id="index">'
    yield from index
    yield "</script>\n"
    for number, part in enumerate(details):
        yield f'<script type="application/json" id="details-{number}">{part}</script>\n'
    yield Template(tail).substitute(script=script)


@cache
def _script() -> str:
    parts = "\n".join(_read(f"{name}.js") for name in SCRIPTS)
    return f"\n(() => {{\n'use strict';\n{parts}}})();\n"


@cache
def _read(name: str) -> str:
    return (files("imdswatch.report.html") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
