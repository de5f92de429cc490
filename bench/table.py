"""The figures of a run as a table: for the terminal, for docs/benchmark.md, and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: what was measured, ours, what it is held against, the ratio or count, and the bar for it.

    `met` is None where there is no bar: then the figure is only told.
    """

    what: str
    ours: str
    against: str
    figure: str
    bar: str
    met: bool | None

    @property
    def verdict(self) -> str:
        """Return `ok`, `MISSED`, or nothing where there is no bar."""
        return "" if self.met is None else "ok" if self.met else "MISSED"


_HEAD = ("measured", "imdswatch", "against", "figure", "bar", "")


def _cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    return [(row.what, row.ours, row.against, row.figure, row.bar, row.verdict) for row in rows]


def as_text(rows: Sequence[Row]) -> str:
    """Return the table with aligned columns."""
    cells = [_HEAD, *_cells(rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def as_markdown(rows: Sequence[Row], about: Sequence[str], sections: Sequence[str] = ()) -> str:
    """Return the page: how it was measured, and the table. Where only some sections were measured, it says which."""
    lines = [
        f"# Benchmark: {', '.join(sections)}" if sections else "# Benchmark",
        "",
        "Written by `make bench` (`bench/run.py --markdown`); every ratio was measured in one run.",
        "Sizes are decimal. CPU is user and system time of all processes, the cheapest of three rounds.",
        "",
        *(f"- {line}" for line in about),
        "",
    ]
    for number, cells in enumerate([_HEAD, *_cells(rows)]):
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        if number == 0:
            lines.append("|" + " --- |" * len(cells))
    return "\n".join(lines) + "\n"


def as_document(rows: Sequence[Row], about: Sequence[str]) -> dict[str, object]:
    """Return plain JSON values."""
    return {"about": list(about), "rows": [{**asdict(row), "verdict": row.verdict} for row in rows]}
