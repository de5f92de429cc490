"""Evaluates QRadar's AQL over small lists of events and flows by its documented semantics, the second way.

Nothing here is QRadar, and no QRadar has been asked: every rule stands with the page of IBM's Ariel Query Language
guide that states it. Where the guide leaves a place open, `strict=True` raises `Undocumented` if the answer depends on
it. Technique: sqlglot parses, `compiler` writes DuckDB SQL, DuckDB answers; nothing is shared with the emitters.
"""

from .errors import AqlError, Undocumented
from .evaluate import run

__all__ = ["AqlError", "Undocumented", "run"]
