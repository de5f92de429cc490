"""Hooks of MkDocs: links that leave docs/ become plain text, and the decisions are listed in the navigation."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

_LINK = re.compile(r"\[(?P<text>[^\]\n]*)\]\((?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")
_DOCS = Path(__file__).parent


def on_config(config: Any) -> Any:
    """Add the decisions to the end of the navigation, so that a new one needs no line there."""
    pages = [f"decisions/{path.name}" for path in sorted((_DOCS / "decisions").glob("*.md"))]
    config["nav"].append({"Decisions": pages})
    return config


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Return the page with links to files of the repository as their path: a site has no source tree beside it."""
    folder = posixpath.dirname(page.file.src_uri)

    def plain(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, found["target"]))
        if target == "decisions":
            return found["text"]
        if not target.startswith("..") and not target.endswith((".py", ".toml")):
            return found[0]
        name = target.removeprefix("../") if target.startswith("..") else f"docs/{target}"
        return f"{found['text']} (`{name}`)"

    return _LINK.sub(plain, markdown)
