"""Layout `unknown`: a record that no schema knows, kept whole as its one source field `payload`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imdswatch.layouts.fieldmap import UNSET
from imdswatch.layouts.result import Sources

if TYPE_CHECKING:
    from imdswatch.yamlfile import Table


@dataclass(frozen=True)
class Unknown:
    """The raw text of a record."""

    unset: frozenset[str] = UNSET
    defaults: dict[str, str] = field(default_factory=dict)
    nested = False
    header = None

    @classmethod
    def load(cls, table: Table, unset: frozenset[str]) -> Unknown:
        """Return the layout; it has no keys of its own."""
        return cls(unset)

    def names(self) -> frozenset[str]:
        """Return the one source field."""
        return frozenset({"payload"})

    def parse(self, text: str) -> Sources:
        """Return the text."""
        return {"payload": text}

    def write(self, sources: Sources) -> str:
        """Return the text."""
        return str(sources.get("payload", ""))
