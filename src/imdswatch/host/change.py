"""One change that closes a cell of the audit's matrix: the seam between `checks`, which names it, and what makes it.

`data/host/changes.yml` holds a sentence for each slug, for people; `text` of a `Change` is that sentence with the
place filled in.
"""

from __future__ import annotations

from imdswatch.matrix import Change

__all__ = ["Change"]
