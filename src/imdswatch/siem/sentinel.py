"""Microsoft Sentinel (stub of the tree)."""

from __future__ import annotations

from collections.abc import Mapping

from imdswatch.siem.content import Content
from imdswatch.siem.kusto import KustoBackend

LANGUAGES = {"kusto": KustoBackend}


def tree(content: Content) -> Mapping[str, str]:
    """Return the files."""
    return {}
