"""Lists of the site as a sheet that a SIEM imports and an analyst may open in a spreadsheet. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

# OWASP "CSV Injection": what a spreadsheet takes for the start of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def sheet(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows as CSV (RFC 4180 quoting); the last two, reason and owner, are free text.

    Free text that a spreadsheet would run gets an apostrophe; the other values are compared by the SIEM and stay.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for *values, reason, owner in rows:
        remarks = [f"'{text}" if text.startswith(_FORMULA) else text for text in (reason, owner)]
        writer.writerow([*values, *remarks])
    return out.getvalue()
