"""A formula as a list of alternatives, each a list of tests that must hold, or must not: for languages without or.

Alternatives that can never hold, and those that another one covers, are left out. Pure; the order is that of the
formula, so the same formula gives the same list.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

from imdswatch.siem import formula as f

_MOST = 512


@dataclass(frozen=True, slots=True)
class Literal:
    """One test that must hold, or must not."""

    atom: f.Atom
    holds: bool

    @property
    def field(self) -> str:
        """The name of the column that is asked."""
        return self.atom.column.name


Term = tuple[Literal, ...]
"""What must hold together."""


class TooMany(Exception):
    """A formula has more alternatives than anybody would want to read."""


def terms(formula: f.Formula) -> list[Term]:
    """Return the alternatives of a formula; raises TooMany beyond 512."""
    return minimal(_terms(formula, True))


def minimal(found: Iterable[Term]) -> list[Term]:
    """Return terms without contradictions, each test once, and none that a shorter one covers."""
    seen: dict[frozenset[Literal], Term] = {}
    for term in found:
        once = tuple(dict.fromkeys(term))
        if not any(Literal(one.atom, not one.holds) in once for one in once):
            seen.setdefault(frozenset(once), once)
    return [term for key, term in seen.items() if not any(other < key for other in seen)]


def _terms(formula: f.Formula, holds: bool) -> list[Term]:
    match formula:
        case f.Atom():
            return [(Literal(formula, holds),)]
        case f.No(part):
            return _terms(part, not holds)
        case f.Const(value):
            return [()] if value is holds else []
    parts = [_terms(part, holds) for part in formula.parts]
    if isinstance(formula, f.All) is not holds:
        return [term for some in parts for term in some]
    count = 1
    for some in parts:
        count *= len(some)
    if count > _MOST:
        raise TooMany(f"the rule has {count} alternatives")
    return [tuple(one for term in chosen for one in term) for chosen in product(*parts)]
