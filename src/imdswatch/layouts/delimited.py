"""Layout `delimited`: columns between separators, named by position or by a header line of the file.

Guarantees: pure; a quoted field keeps its separators, doubled quotes in it become one; an opening quote that never
closes, and a row that does not fit its header, is Malformed. Positional rows may be shorter (the rest is absent:
products add columns at the end) or longer (the surplus is ignored).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from imdswatch.layouts.fieldmap import UNSET
from imdswatch.layouts.plain import to_plain
from imdswatch.layouts.result import Malformed, Sources

if TYPE_CHECKING:
    from imdswatch.yamlfile import Table

HEADERS = ("#fields", "#Fields:", "first-line")
_BRACED = re.compile(r"\{[^{}]*\}")
_ESCAPED = re.compile(r"(?:\\x[0-9a-fA-F]{2})+")


def _unescape(value: str) -> str:
    """Undo Zeek's \\xHH (LogAscii: separator, unset mark and non-printing octets inside values)."""
    return _ESCAPED.sub(
        lambda found: bytes.fromhex(found[0].replace("\\x", "")).decode("utf-8", "replace"), value
    )


@dataclass(frozen=True)
class Delimited:
    """Rows of separated columns."""

    separator: str = ","
    quote: str | None = None
    columns: tuple[str, ...] = ()
    header: str | None = None
    braces: bool = False
    trim: bool = False
    unset: frozenset[str] = UNSET
    needed: tuple[str, ...] = ()
    defaults: dict[str, str] = field(default_factory=dict)
    nested = False

    @classmethod
    def load(cls, table: Table, unset: frozenset[str]) -> Delimited:
        """Read the layout keys separator, quote, columns, columns_at, header, braces, trim, defaults."""
        separator = table.text("separator", ",").replace("\\t", "\t")
        if len(separator) != 1:
            raise table.error("separator", "`separator` must be one character")
        quote = table.optional("quote")
        if quote is not None and len(quote) != 1:
            raise table.error("quote", "`quote` must be one character or null")
        header = table.choice("header", HEADERS) if "header" in table else None
        columns = table.texts("columns")
        sparse = table.mapping("columns_at")
        if sparse:
            if not all(key.isdigit() and 0 < int(key) <= 1000 for key in sparse):
                raise table.error("columns_at", "`columns_at` maps column numbers, from 1, to names")
            places = {int(key): name for key, name in sparse.items()}
            columns = tuple(places.get(number, "") for number in range(1, max(places) + 1))
        if (header is None) == (not columns):
            raise table.error("header", "give either `columns` (or `columns_at`) or `header`")
        seen = [name for name in columns if name not in ("", "-")]
        if len(set(seen)) != len(seen):
            raise table.error("columns", "a column name stands twice in `columns`")
        return cls(
            separator, quote, columns, header, table.flag("braces"), table.flag("trim"), unset,
            defaults=table.mapping("defaults"),
        )  # fmt: skip

    def names(self) -> frozenset[str] | None:
        """Return the column names, or None where the file names them."""
        return None if self.header else frozenset(self.columns) - {"", "-"}

    @cached_property
    def _field(self) -> re.Pattern[str]:
        separator, quote = re.escape(self.separator), re.escape(self.quote or '"')
        blank = "[ \\t]*" if self.trim else ""
        return re.compile(
            rf"{blank}{quote}((?:[^{quote}]|{quote}{quote})*+){quote}([^{separator}]*)(?:{separator}|\Z)"
            rf"|([^{separator}]*)(?:{separator}|\Z)"
        )

    def split(self, text: str) -> list[str] | Malformed:
        """Return the columns of one line."""
        quick = self._split_quickly(text)
        if quick is not None:
            return quick
        if self.braces and "{" in text:
            text, hidden = self._hide_braces(text)
        else:
            hidden = False
        cells = self._cells(text)
        if isinstance(cells, Malformed):
            return cells
        if hidden:
            cells = [cell.replace("\x00", self.separator) for cell in cells]
        return [cell.strip(" \t") for cell in cells] if self.trim else cells

    def _split_quickly(self, text: str) -> list[str] | None:
        """Split what is quoted and braced as it should be, without a look at each column; None for anything else.

        Between quotes, every second piece is inside a field; its separators are hidden as NUL while splitting.
        """
        separator, quote = self.separator, self.quote
        if quote is None or quote not in text:
            if not (self.braces and "{" in text):
                return text.split(separator)
            pieces = [text]
        else:
            pieces = text.split(quote)
        if "\x00" in text or not len(pieces) % 2:
            return None
        last = len(pieces) - 1
        for number, piece in enumerate(pieces):
            if number % 2:
                if separator in piece:
                    pieces[number] = piece.replace(separator, "\x00")
                continue
            if not piece and 0 < number < last:
                pieces[number] = quote or ""  # a doubled quote
                continue
            bare = piece.strip(" \t") if self.trim else piece
            if (number and bare and bare[0] != separator) or (
                number < last and bare and bare[-1] != separator
            ):
                return None
            if self.braces and "{" in piece:
                piece = pieces[number] = _BRACED.sub(lambda found: found[0].replace(separator, "\x00"), piece)
                if piece.count("{") != len(_BRACED.findall(piece)) or piece.count("}") != piece.count("{"):
                    return None
        cells = "".join(pieces).split(separator)
        if "\x00" in "".join(pieces):
            cells = [cell.replace("\x00", separator) if "\x00" in cell else cell for cell in cells]
        return [cell.strip(" \t") for cell in cells] if self.trim else cells

    def _cells(self, text: str) -> list[str] | Malformed:
        if self.quote is None or self.quote not in text:
            return text.split(self.separator)
        quote, end = self.quote, len(text)
        cells: list[str] = []
        at = 0
        match = self._field.match
        while True:
            found = match(text, at)
            if found is None:
                return Malformed("a quoted field is broken")
            quoted, rest, plain = found.groups()
            if quoted is not None:
                cells.append((quoted.replace(quote * 2, quote) if quote in quoted else quoted) + rest)
            elif plain.lstrip(" \t" if self.trim else "").startswith(quote) and plain.count(quote) % 2:
                return Malformed("a quoted field does not end")
            else:
                cells.append(plain)
            at = found.end()
            if at == end:
                if text[-1] == self.separator and found.end() > found.start():
                    cells.append("")
                return cells

    def _hide_braces(self, text: str) -> tuple[str, bool]:
        """Put NUL for the separators inside unquoted {…}; unbalanced braces count as if there were none."""
        out: list[str] = []
        depth, quoted = 0, False
        for character in text:
            if character == self.quote:
                quoted = not quoted
            elif not quoted and character in "{}":
                depth += 1 if character == "{" else -1
                if depth < 0:
                    return text, False
            out.append("\x00" if depth and not quoted and character == self.separator else character)
        return ("".join(out), True) if depth == 0 and "\x00" not in text else (text, False)

    def parse(self, text: str) -> Sources | Malformed | None:
        """Return the columns of a positional row by name."""
        return self.row(text, self.columns)

    def row(self, text: str, columns: tuple[str, ...]) -> Sources | Malformed | None:
        """Return one row by the given column names; with a header the row must have all of them."""
        cells = self.split(text)
        if isinstance(cells, Malformed):
            return cells
        if self.header:
            if len(cells) != len(columns):
                return Malformed(f"{len(cells)} columns where the header names {len(columns)}")
            if self.header == "#fields" and "\\x" in text:
                cells = [_unescape(cell) for cell in cells]
        elif len(cells) < 2:
            return None
        return dict(zip(columns, cells, strict=False))

    def header_columns(self, text: str) -> tuple[str, ...] | None:
        """Return the column names if the line is a header of this layout, else None."""
        if self.header == "first-line":
            cells = self.split(text.removeprefix("#"))
            return None if isinstance(cells, Malformed) else tuple(cell.strip() for cell in cells)
        start = self.header or ""
        if not start or not text.startswith(start):
            return None
        return tuple(text[len(start) :].strip().split(self.separator))

    def header_lines(self, columns: tuple[str, ...]) -> list[str]:
        """Write the header for the given columns."""
        named = self.separator.join(columns)
        if self.header == "#fields":
            return [f"#separator \\x{ord(self.separator):02x}", f"#fields{self.separator}{named}"]
        return [f"#Fields: {named}"] if self.header == "#Fields:" else [named]

    def candidates(self, sources: Sources) -> list[str]:
        """Write one row with quotes where a column needs them, and with quotes around every column."""
        rows = [self.write(sources)]
        if self.quote:
            rows.append(self.write_row(sources, self.columns, quoted=True))
        return rows

    def write(self, sources: Sources) -> str:
        """Write one row; what the sources do not say is the unset mark."""
        return self.write_row(sources, self.columns)

    def write_row(self, sources: Sources, columns: tuple[str, ...], quoted: bool = False) -> str:
        """Write one row for the given columns."""
        nothing = "" if "" in self.unset and self.separator == "," else "-"
        cells = [to_plain(sources[name]) if name in sources else nothing for name in columns]
        return self.separator.join(self._cell(cell, quoted) for cell in cells)

    def _cell(self, cell: str, quoted: bool) -> str:
        if self.header == "#fields":
            for character in ("\\x", self.separator, "\n", "\r"):
                cell = cell.replace(character, "".join(f"\\x{ord(c):02x}" for c in character))
            return cell
        cell = cell.replace("\n", " ").replace("\r", " ")
        if self.quote and (quoted or self.separator in cell or self.quote in cell):
            return self.quote + cell.replace(self.quote, self.quote * 2) + self.quote
        return cell.replace(self.separator, "+" if self.separator == " " else " ") if not self.quote else cell
