"""What an audit says of its host, as it stands in a findings file: the noun between reading files and showing them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Statement:
    """One line of an audit; `kind` is cell, check or summary, `values` are those of the line."""

    kind: str
    host: str
    values: Mapping[str, Any]
