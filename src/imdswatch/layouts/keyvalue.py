r"""Layout `keyvalue`: pairs such as `srcip=10.0.0.1 msg="a b"` (FortiGate) or `SrcIP: 10.0.0.1, URL: x` (FTD).

Guarantees: pure; linear in the length of the text; an unquoted value runs up to the next `pair` that is followed by
a key and `assign`, so values may hold the pair separator; the first occurrence of a key wins; inside quotes a
backslash keeps the next character. A text without any pair is not this layout.
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

_KEY = r"[A-Za-z0-9_.\-]+"
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True)
class KeyValue:
    """Keys and values between separators."""

    pair: str = " "
    assign: str = "="
    quote: str | None = '"'
    key: str = _KEY
    prefix: str | None = None
    suffix: str | None = None
    unset: frozenset[str] = UNSET
    defaults: dict[str, str] = field(default_factory=dict)
    nested = False
    header = None

    @classmethod
    def load(cls, table: Table, unset: frozenset[str]) -> KeyValue:
        """Read the layout keys pair, assign, quote, key, prefix, suffix, defaults."""
        for name in ("key", "prefix", "suffix"):
            try:
                re.compile(table.text(name, ""))
            except re.error as error:
                raise table.error(name, f"`{name}` is no regular expression: {error}") from None
        pair, assign = table.text("pair", " "), table.text("assign", "=")
        if not pair or not assign:
            raise table.error("pair", "`pair` and `assign` must not be empty")
        quote = table.text("quote") if table.optional("quote") else None if "quote" in table else '"'
        return cls(
            pair.replace("\\t", "\t"), assign, quote, table.text("key", _KEY), table.optional("prefix"),
            table.optional("suffix"), unset, table.mapping("defaults"),
        )  # fmt: skip

    def names(self) -> frozenset[str] | None:
        """Return the source fields it can give: any."""
        return None

    @cached_property
    def _pairs(self) -> re.Pattern[str]:
        first, rest = re.escape(self.pair[0]), re.escape(self.pair[1:])
        assign = re.escape(self.assign)
        blanks = r"[ \t]{0,4}+"  # bounded, or a run of blanks would take time with the square of its length
        # A key starts after a pair separator (which may be repeated or carry extra blanks) or at the start.
        plain = rf"([^{first}]*+(?:{first}(?!{rest}{blanks}(?:{self.key}){assign})[^{first}]*+)*+)"
        if self.quote:
            quote = re.escape(self.quote)
            end = rf"(?=[ \t]*(?:{re.escape(self.pair.strip() or self.pair)}|\Z))"
            value = rf"(?:{quote}((?:[^{quote}\\]++|\\.)*+){quote}{end}|{plain})"
        else:
            value = rf"(?:(\Z(?!\Z))|{plain})"
        return re.compile(rf"(?:\A|{first}{rest}){blanks}({self.key}){assign}{blanks}{value}", re.DOTALL)

    @cached_property
    def _prefix(self) -> re.Pattern[str] | None:
        return re.compile(self.prefix) if self.prefix else None

    @cached_property
    def _suffix(self) -> re.Pattern[str] | None:
        return re.compile(rf"(?:{self.suffix})\Z") if self.suffix else None

    def parse(self, text: str) -> Sources | Malformed | None:
        """Return the values by key, and the named groups of the prefix; None if there is no pair."""
        sources: Sources = {}
        if self._prefix:
            found = self._prefix.match(text)
            if found is None:
                return None
            sources = {name: value for name, value in found.groupdict().items() if value is not None}
            text = text[found.end() :]
        if self._suffix:
            ending = self._suffix.search(text)
            if ending:
                text = text[: ending.start()]
        pairs = self._pairs.findall(text)
        if not pairs:
            return None
        # Reversed, so that the first of equal keys wins.
        if self.pair == " " and "\\" not in text and "  " not in text:
            found_pairs = {key: quoted or plain for key, quoted, plain in reversed(pairs)}
        else:
            found_pairs = {key: self._value_of(quoted, plain) for key, quoted, plain in reversed(pairs)}
        return {**found_pairs, **sources} if sources else found_pairs

    def _value_of(self, quoted: str, plain: str) -> str:
        if quoted:
            return _ESCAPE.sub(r"\1", quoted) if "\\" in quoted else quoted
        # The last value of `a: b;` carries the separator that ends it.
        return plain.rstrip().removesuffix(self.pair.rstrip()) if self.pair.rstrip() else plain.rstrip()

    def candidates(self, sources: Sources) -> list[str]:
        """Write the pairs with quotes where a value needs them, and with quotes around every value."""
        return [self._write(sources, False), self._write(sources, True)]

    def write(self, sources: Sources) -> str:
        """Write the pairs. A prefix or suffix cannot be made from its expression: `defaults` gives their texts."""
        return self._write(sources, False)

    def _write(self, sources: Sources, quoted: bool) -> str:
        pairs = [
            f"{key}{self.assign}{self._value(to_plain(value), quoted)}"
            for key, value in sources.items()
            if key not in ("prefix", "suffix") and re.fullmatch(self.key, key)
        ]
        return (
            to_plain(sources.get("prefix", "")) + self.pair.join(pairs) + to_plain(sources.get("suffix", ""))
        )

    def _value(self, value: str, quoted: bool) -> str:
        value = value.replace("\n", " ").replace("\r", " ")
        if self.quote and (
            quoted or self.pair[0] in value or self.quote in value or not value or "\\" in value
        ):
            return self.quote + re.sub(rf"([\\{re.escape(self.quote)}])", r"\\\1", value) + self.quote
        return value
