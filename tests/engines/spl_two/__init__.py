"""Evaluates Splunk's SPL over small lists of events by its documented semantics, the second way.

Nothing here is Splunk, and no Splunk has been asked: every rule stands with the manual page that states it,
and where the manuals leave a place open, `strict=True` raises `Undocumented` if the answer depends on it.
Technique: Pratt parsers that compile to Python closures; nothing is shared with the emitters under test.
"""

from .errors import SplError, Undocumented
from .evaluate import run

__all__ = ["SplError", "Undocumented", "run"]
