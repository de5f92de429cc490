"""Elastic (stub of the tree)."""

from __future__ import annotations

from collections.abc import Mapping

from imdswatch.siem.content import Content
from imdswatch.siem.eql import EqlBackend
from imdswatch.siem.esql import EsqlBackend
from imdswatch.siem.kuery import KueryBackend

LANGUAGES = {"kuery": KueryBackend, "eql": EqlBackend, "esql": EsqlBackend}


def tree(content: Content) -> Mapping[str, str]:
    """Return the files."""
    return {}
