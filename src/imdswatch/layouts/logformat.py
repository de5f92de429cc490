"""Layout `logformat`: lines that a server's own format string describes (Squid, Apache, nginx, HAProxy).

The format string of the configuration is the layout: it is turned into one regular expression for reading and
written out for writing. Source fields are the format codes as they stand in it. Guarantees: pure; the whole line
must fit one of the formats; of two equal codes the first counts; values stay as logged, apart from the
backslash escapes of quoted values (Apache mod_log_config, Squid logformat, nginx log_format, HAProxy section 8.2.6).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from imdswatch.layouts.fieldmap import UNSET
from imdswatch.layouts.plain import to_plain
from imdswatch.layouts.result import Malformed, Sources

if TYPE_CHECKING:
    from imdswatch.yamlfile import Table

_NO_ESCAPE = re.compile(r"(?!)")
_ESCAPE = re.compile(r"(?:\\x[0-9A-Fa-f]{2})+|\\(.)", re.DOTALL)
_CONTROL = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "v": "\v", "f": "\f"}
_MOST_QUOTES = 200  # Squid escapes no quotes; a line full of them would let the expression try every pairing


def _plain(value: str, escape: re.Pattern[str]) -> str:
    """Undo the escapes of a quoted value; \\xHH are octets of UTF-8."""

    def undo(found: re.Match[str]) -> str:
        if found[1] is not None:
            return _CONTROL.get(found[1], found[1])
        return bytes.fromhex(found[0].replace("\\x", "")).decode("utf-8", "replace")

    return escape.sub(undo, value)


class Dialect(NamedTuple):
    """What differs between the servers: how codes are spelled, what their values look like."""

    code: re.Pattern[str]
    times: frozenset[str]
    """Codes whose value has blanks: a time, always inside brackets or quotes or given by Apache with brackets."""
    ports: frozenset[str]
    """Codes of a number that follows a colon: without this, an IPv6 address before it would be cut."""
    free: frozenset[str]
    """Codes whose value may have blanks (user names come from the client)."""
    numbers: frozenset[str]
    """Codes of signed numbers that follow one another without blanks."""
    escape: re.Pattern[str]
    """What a backslash does inside quotes: Apache and nginx write `\\xHH`; Squid's own formats escape a quote, its
    combined format nothing, and no reader can tell them apart, so it stays as logged; HAProxy encodes otherwise."""
    nothing: dict[str, str]
    """What the server writes where it knows nothing, if that is not `-`."""


DIALECTS: dict[str, Dialect] = {
    "squid": Dialect(
        re.compile(r"%[\"\[#'/]?-?0?\d*(?:\.\d+)?(?:\{[^}]*\})?(?:[a-z_]+::)?[<>]?[A-Za-z_]+"),
        frozenset({"tl", "tg"}),
        frozenset({">p", "<p", ">lp", "<lp", "lp"}),
        frozenset({"un", "ui", "ul", "us", "ue"}),
        frozenset(),
        _NO_ESCAPE,
        {"tu": "000", "tr": "0", "Hs": "000", "<st": "0", "st": "0", "ts": "000000000", "rv": "1.1", "Ss": "TCP_MISS",
         "Sh": "HIER_DIRECT", "rm": "NONE", ">eui": "00:00:00:00:00:00", "tl": "01/Jan/1970:00:00:00 +0000"},
    ),
    "apache": Dialect(
        re.compile(r"%[<>!0-9,]*(?:\{[^}]*\})?(?:\^[A-Za-z]{2}|[A-Za-z])|%%"),
        frozenset({"t"}),
        frozenset({"p"}),
        frozenset({"u"}),
        frozenset(),
        _ESCAPE,
        {"t": "01/Jan/1970:00:00:00 +0000", "s": "000", "b": "0", "O": "0", "p": "0", "A": "::", "v": "localhost"},
    ),
    "nginx": Dialect(
        re.compile(r"\$\{?\w+\}?"),
        frozenset({"time_local", "time_iso8601"}),
        frozenset({"remote_port", "server_port"}),
        frozenset({"remote_user"}),
        frozenset(),
        _ESCAPE,
        {"time_local": "01/Jan/1970:00:00:00 +0000", "status": "000", "body_bytes_sent": "0", "server_addr": "::",
         "server_port": "0"},
    ),
    "haproxy": Dialect(
        re.compile(r"%(?:\{[^}]*\})?(?:\[[^\]]+\]|[A-Za-z]+)"),
        frozenset({"t", "tr", "T", "trg", "trl", "Tl"}),
        frozenset({"cp", "fp", "bp", "sp"}),
        frozenset(),
        frozenset(["TR", "Tw", "Tc", "Tr", "Ta", "Tt", "Tq", "ST", "B", "ac", "fc", "bc", "sc", "rc", "sq", "bq"]),
        _NO_ESCAPE,
        {"t": "01/Jan/1970:00:00:00.000", "tr": "01/Jan/1970:00:00:00.000", "ST": "-1", "tsc": "----", "ts": "--",
         "hr": "", "hs": "", "cp": "0", "sp": "0", "fp": "0", "fi": "::", "si": "::", "r": "<BADREQ>", "b": "be",
         "s": "srv", "ft": "fe", "B": "0",
         **dict.fromkeys(("TR", "Tw", "Tc", "Tr", "Ta", "Tt", "ac", "fc", "bc", "sc", "rc", "sq", "bq"), "0")},
    ),
}  # fmt: skip


class Token(NamedTuple):
    """A literal text (`code` empty) or one format code with its bare name."""

    text: str
    code: str = ""
    bare: str = ""


def _tokens(format: str, dialect: Dialect) -> list[Token]:
    tokens: list[Token] = []
    at = 0
    for found in dialect.code.finditer(format):
        if found.start() > at:
            tokens.append(Token(format[at : found.start()]))
        code = found[0]
        if code == "%%":
            tokens.append(Token("%"))
        else:
            bare = re.sub(r"^[%$][\"\[#'/]?-?\d*(?:\.\d+)?(?:\{[^}]*\})?|[{}]", "", code)
            tokens.append(
                Token(
                    "", code, bare if bare in ("<st", ">eui", ">p", "<p", ">lp", "<lp") else bare.lstrip("<>")
                )
            )
        at = found.end()
    if at < len(format):
        tokens.append(Token(format[at:]))
    return tokens


@dataclass(frozen=True)
class LogFormat:
    """One or more format strings of one server."""

    dialect: str
    formats: tuple[str, ...]
    unset: frozenset[str] = UNSET
    defaults: dict[str, str] = field(default_factory=dict)
    nested = False
    header = None

    @classmethod
    def load(cls, table: Table, unset: frozenset[str]) -> LogFormat:
        """Read the layout keys dialect, format or formats, defaults."""
        dialect = table.choice("dialect", tuple(DIALECTS))
        formats = (*table.texts("format"), *table.texts("formats"))
        if not formats:
            raise table.error("format", "`format` (or `formats`) is missing")
        layout = cls(dialect, formats, unset, table.mapping("defaults"))
        if not layout.names():
            raise table.error("format", f"the format has no {dialect} codes")
        return layout

    @cached_property
    def _split(self) -> list[list[Token]]:
        return [_tokens(text, DIALECTS[self.dialect]) for text in self.formats]

    def names(self) -> frozenset[str]:
        """Return the codes of all formats, as written."""
        return frozenset(token.code for tokens in self._split for token in tokens if token.code)

    @cached_property
    def _compiled(self) -> list[tuple[re.Pattern[str], tuple[str, ...]]]:
        return [self._compile(tokens) for tokens in self._split]

    def _compile(self, tokens: list[Token]) -> tuple[re.Pattern[str], tuple[str, ...]]:
        dialect = DIALECTS[self.dialect]
        out: list[str] = []
        codes: list[str] = []
        quotes = 0
        for position, token in enumerate(tokens):
            if not token.code:
                quotes += token.text.count('"')
                out.append(re.escape(token.text))
                continue
            before = tokens[position - 1].text[-1:] if position else ""
            after = tokens[position + 1].text[:1] if position + 1 < len(tokens) else ""
            codes.append(token.code)
            if self.dialect == "haproxy" and token.bare in ("hr", "hs"):
                # Without a captured header HAProxy writes nothing and merges the blanks around.
                blank = out and out[-1].endswith("\\ ")
                if blank:
                    out[-1] = out[-1].removesuffix("\\ ")
                out.append(r"(?:\ (\{[^}]*\}))?" if blank else r"(\{[^}]*\})?")
            elif "+Q" in token.code:
                out.append(r'"([^"]*+)"?')
            elif token.bare in dialect.times:
                bracketed = self.dialect == "apache" and before != "["
                out.append(r"\[([^\]]*)\]" if bracketed else r'([^\]"]+?)')
            elif token.bare in dialect.ports:
                out.append(r"(\d+|-)")
            elif quotes % 2:
                whole = before == '"' and after == '"' and self.dialect != "squid"
                out.append(r'((?:[^"\\]|\\.)*+)' if whole else "(.*?)")
            elif token.bare in dialect.free:
                out.append(r"([^\[]{0,256}?)")
            else:
                width = " *" if re.match(r"%-?[1-9]", token.code) else ""
                # Up to a blank there is nothing to try; up to `/` or `:` the value may hold that character itself.
                value = (
                    r"[-+\d]*+"
                    if token.bare in dialect.numbers
                    else r"\S*+"
                    if after in (" ", "")
                    else r"\S*?"
                )
                out.append(f"{width}({value})")
        return re.compile("".join(out), re.DOTALL), tuple(codes)

    def parse(self, text: str) -> Sources | Malformed | None:
        """Return the values by code, read with the first format that the whole line fits."""
        if text.count('"') > _MOST_QUOTES:
            return Malformed("the line has too many quotes for its log format")
        escape = DIALECTS[self.dialect].escape
        text = text.rstrip()
        for pattern, codes in self._compiled:
            found = pattern.fullmatch(text)
            if found is not None:
                values: tuple[str | None, ...] = found.groups()
                if "\\" in text:
                    values = tuple(_plain(value, escape) if value else value for value in values)
                if len(set(codes)) == len(codes):
                    return dict(zip(codes, values, strict=True))
                return dict(reversed(list(zip(codes, values, strict=True))))
        return Malformed("the line does not fit the log format")

    def candidates(self, sources: Sources) -> list[str]:
        """Write the sources in every format, the ones with most of them first."""
        known = [len({token.code for token in tokens} & set(sources)) for tokens in self._split]
        order = sorted(range(len(known)), key=lambda number: (-known[number], len(self._split[number])))
        return [self._write(self._split[number], sources) for number in order]

    def write(self, sources: Sources) -> str:
        """Write the sources in the format that has most of them."""
        return self.candidates(sources)[0]

    def _write(self, tokens: list[Token], sources: Sources) -> str:
        nothing = DIALECTS[self.dialect].nothing
        out: list[str] = []
        quotes = 0
        for token in tokens:
            if not token.code:
                quotes += token.text.count('"')
                out.append(token.text)
                continue
            value = to_plain(sources[token.code]) if token.code in sources else nothing.get(token.bare, "-")
            if quotes % 2 and self.dialect in ("apache", "nginx"):
                value = re.sub(r'[\x00-\x1f"\\]', lambda found: f"\\x{ord(found[0]):02X}", value)
            value = value.replace("\n", " ").replace("\r", " ")
            if self.dialect == "apache" and token.bare == "t" and not "".join(out).endswith("["):
                value = f"[{value}]"
            elif "+Q" in token.code:
                value = '"' + value.replace('"', "#22") + '"'
            elif token.bare in ("hr", "hs") and not value and out and out[-1].endswith(" "):
                out[-1] = out[-1][:-1]
            elif (
                not quotes % 2
                and token.bare not in DIALECTS[self.dialect].times | DIALECTS[self.dialect].free
            ):
                value = value.replace(" ", "%20")
            out.append(value)
        return "".join(out)
