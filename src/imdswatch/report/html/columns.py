"""Rows become columns of integers over a sorted table of texts: small, quick to read, and sorted by comparing numbers.

Pure. Texts are numbered in the order in which people expect to find them (addresses by value, then words), so the page
sorts every column as numbers.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import orjson

from imdswatch import address
from imdswatch.report.html.row import NUMBERS, TEXTS, Row

CHUNK = 500
"""Findings whose details are parsed together when one of them is opened."""
_UNKNOWN = -(1 << 63)
BUSY = 10_000
"""Only so many findings, the worst, show all their evidence: a page of 100 000 stays of a size that browsers like."""


class Columns:
    """Collects the columns of rows, in the order in which they are listed."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._texts = {name: array("i") for name in TEXTS}
        self._values = {name: array("q") for name in NUMBERS}
        self._rows = 0

    def add(self, row: Row) -> None:
        """Take one row."""
        row = fitted(row, self._rows)
        for name, text in zip(TEXTS, row.texts, strict=True):
            self._texts[name].append(self._numbers.setdefault(text, len(self._numbers)))
        for name, value in zip(NUMBERS, row.numbers, strict=True):
            self._values[name].append(_UNKNOWN if value is None else value)
        self._rows += 1

    def index(self) -> Iterator[str]:
        """Yield what the page reads at its start, in pieces; a column of one value is that value."""
        ordered = sorted(self._numbers, key=_natural)
        moved = array("i", bytes(4 * len(ordered)))
        for new, text in enumerate(ordered):
            moved[self._numbers[text]] = new
        self._numbers = {}
        yield f'{{"rows":{self._rows},"chunk":{CHUNK},"texts":{inert(ordered)},"columns":{{'
        del ordered
        for name, ids in self._texts.items():
            yield f'"{name}":{_column([moved[one] for one in ids])},'
        columns = [f'"{name}":{_column(values.tolist())}' for name, values in self._values.items()]
        yield f"{','.join(columns)}}}}}"


def chunks(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the details of the same rows in the same order, `CHUNK` findings each."""
    details = (fitted(row, number).details for number, row in enumerate(rows))
    while chunk := [*islice(details, CHUNK)]:
        yield inert(chunk)


def fitted(row: Row, number: int) -> Row:
    """Return the row, with one place of evidence only where it stands behind the first `BUSY`."""
    evidence = row.details.get("evidence", ())
    if number < BUSY or len(evidence) < 2:
        return row
    more = NUMBERS.index("more")
    left_out = [
        (value or 0) + len(evidence) - 1 if at == more else value for at, value in enumerate(row.numbers)
    ]
    return Row(row.texts, left_out, row.details | {"evidence": evidence[:1]})


def _column(values: list[Any]) -> str:
    if values and values.count(values[0]) == len(values):
        return inert(values[0] if values[0] != _UNKNOWN else None)
    return inert([None if value == _UNKNOWN else value for value in values])


def _natural(text: str) -> tuple[int, int, int, str, str]:
    """Order: nothing, IPv4 and IPv6 by value, then words whatever their case."""
    if not text:
        return (0, 0, 0, "", "")
    number = address.number(text) if text[0] in "0123456789abcdefABCDEF:" and len(text) <= 45 else None
    if number is not None:
        return (1, *number, "", text)
    return (2, 0, 0, text.casefold(), text)


def inert(value: object) -> str:
    """Return JSON that no HTML parser can take for the end of a script or for anything else; texts are visible ones."""
    packed = orjson.dumps(value).replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")
    return packed.decode()
