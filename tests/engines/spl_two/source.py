"""The text of a query: comments go, macros come, pipes cut it, and a scanner cuts commands into tokens.

Pure. Offsets count in the text after macro expansion, which is also what errors quote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import SplError

STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*") | (?P<op>!=|<=|>=|==|=|<|>) | (?P<punct>[()\[\],])
      | (?P<word>(?:\\.|!(?!=)|[^\s()\[\],"=<>!\\])+)""",
    re.VERBOSE | re.DOTALL,
)
DEPTH = 20
# SA-CIM ships this macro; a query that uses tstats as the CIM manual shows has it.
MACROS: dict[str, Any] = {
    "drop_dm_object_name(1)": {"args": "dm_object_name", "definition": "rename $dm_object_name$.* as *"}
}


def quoted_end(text: str, at: int) -> int:
    """Return the offset behind the double-quoted string that begins at `at`."""
    found = STRING.match(text, at)
    if not found:
        raise SplError("a double quote that nothing closes", at)
    return found.end()


def without_comments(text: str) -> str:
    """Blank out ```comments``` (Search Manual, "Add comments to searches"), keeping all offsets."""
    out, at = list(text), 0
    while at < len(text):
        if text[at] == '"':
            at = quoted_end(text, at)
        elif text.startswith("```", at):
            end = text.find("```", at + 3)
            if end < 0:
                raise SplError("a comment that nothing closes", at)
            out[at : end + 3] = re.sub(r"[^\n]", " ", text[at : end + 3])
            at = end + 3
        else:
            at += 1
    return "".join(out)


def _arguments(text: str, at: int) -> list[str]:
    """Cut the arguments of a macro at commas outside quotes and parentheses; outer quotes are not part of them."""
    parts, depth, start, here = [], 0, 0, 0
    while here < len(text):
        if text[here] == '"':
            try:
                here = quoted_end(text, here)
            except SplError as error:
                raise SplError(error.message, at) from None
            continue
        depth += (text[here] == "(") - (text[here] == ")")
        if text[here] == "," and not depth:
            parts.append(text[start:here])
            start = here + 1
        here += 1
    parts = [part.strip() for part in [*parts, text[start:]]]
    return [part[1:-1].replace('\\"', '"') if STRING.fullmatch(part) else part for part in parts]


def expanded(text: str, macros: Mapping[str, Any], depth: int = 0) -> str:
    """Replace each `name(args)` in backticks (Search Manual, "Use search macros in searches"; macros.conf)."""
    if depth > DEPTH:
        raise SplError("macros that call each other for ever")
    out, at = [], 0
    while at < len(text):
        if text[at] == '"':
            end = quoted_end(text, at)
            out.append(text[at:end])
            at = end
        elif text[at] == "`":
            end = text.find("`", at + 1)
            if end < 0:
                raise SplError("a macro that no backtick closes", at)
            out.append(_called(text[at + 1 : end], macros, depth, at))
            at = end + 1
        else:
            out.append(text[at])
            at += 1
    return "".join(out)


def _called(call: str, macros: Mapping[str, Any], depth: int, at: int) -> str:
    name, bracket, rest = call.strip().partition("(")
    given = _arguments(rest.rstrip()[:-1], at) if bracket and rest.rstrip().endswith(")") else []
    key = f"{name.strip()}({len(given)})" if given else name.strip()
    known = {**MACROS, **macros}
    if key not in known:
        raise SplError(f"unknown macro {key!r}", at)
    entry = known[key] if isinstance(known[key], Mapping) else {"definition": known[key]}
    if str(entry.get("iseval", "0")).lower() in ("1", "true"):
        raise SplError(f"macro {key!r} has iseval, which this evaluator does not know", at)
    names = entry.get("args", "")
    names = [part.strip() for part in names.split(",")] if isinstance(names, str) else list(names)
    names = [part for part in names if part]
    if len(names) != len(given):
        raise SplError(f"macro {key!r} takes {len(names)} arguments, not {len(given)}", at)
    body = entry["definition"]
    for argument, value in zip(names, given, strict=True):
        body = body.replace(f"${argument}$", value)
    return expanded(body, macros, depth + 1)


def closing(text: str, at: int, end: int) -> int:
    """Return the offset of the `]` that closes the `[` at `at`."""
    depth, here = 0, at
    while here < end:
        if text[here] == '"':
            here = quoted_end(text, here)
            continue
        depth += (text[here] == "[") - (text[here] == "]")
        if not depth:
            return here
        here += 1
    raise SplError("a bracket that nothing closes", at)


def commands(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut at the pipes outside quotes and brackets; yields the span of each command."""
    here = begin = start
    while here < end:
        if text[here] == '"':
            here = quoted_end(text, here)
        elif text[here] == "[" and not _regex_class(text, begin, here):
            here = closing(text, here, end) + 1
        elif text[here] == "|":
            yield begin, here
            here = begin = here + 1
        else:
            here += 1
    yield begin, end


def _regex_class(text: str, begin: int, here: int) -> bool:
    """Say whether a bracket stands in single quotes, as in an eval field name."""
    return text.count("'", begin, here) % 2 == 1


@dataclass(frozen=True, slots=True)
class Token:
    """One token: kind is string, op, punct, word, subsearch or end; `value` is its text without quotes."""

    kind: str
    value: str
    start: int
    end: int


def whole(token: Token) -> int:
    """Read a whole number that is not negative."""
    if not (token.value.isascii() and token.value.isdecimal()):
        raise SplError("expected a whole number", token.start)
    return int(token.value)


class Tokens:
    """The tokens of one command, read from left to right with one token of look-ahead."""

    def __init__(self, text: str, start: int, end: int) -> None:
        self.text, self.end, self.items, self.index = text, end, [], 0
        at = start
        while at < end:
            if text[at].isspace():
                at += 1
                continue
            found = TOKEN.match(text, at, end)
            if not found:
                raise SplError("no token of a search begins here", at)
            kind, raw, stop = str(found.lastgroup), found[0], found.end()
            if raw == "[":
                stop = closing(text, at, end) + 1
                token = Token("subsearch", text[at + 1 : stop - 1], at + 1, stop - 1)
            elif kind == "string":
                # Search Reference, search: \" is a quote, \\ a backslash; nothing else is an escape.
                token = Token(kind, re.sub(r'\\(["\\])', r"\1", raw[1:-1]), at, stop)
            else:
                token = Token(kind, raw.replace("\\\\", "\\") if kind == "word" else raw, at, stop)
            self.items.append(token)
            at = stop
        self.items.append(Token("end", "", end, end))

    @property
    def here(self) -> Token:
        return self.items[self.index]

    @property
    def after(self) -> Token:
        return self.items[min(self.index + 1, len(self.items) - 1)]

    def take(self) -> Token:
        token = self.here
        if token.kind != "end":
            self.index += 1
        return token

    def accept(self, value: str, kind: str | None = None) -> bool:
        """Take the next token if it is this one; words are compared as they are written."""
        if self.here.value == value and self.here.kind in ((kind,) if kind else ("punct", "op", "word")):
            self.take()
            return True
        return False

    def keyword(self, *words: str) -> str | None:
        """Take the next word if it is one of these in any case, as AS, BY and OUTPUT may be written."""
        if self.here.kind == "word" and self.here.value.lower() in words:
            return self.take().value.lower()
        return None

    def expect(self, value: str) -> Token:
        if self.here.value != value or self.here.kind == "string":
            raise SplError(f"expected {value!r}", self.here.start)
        return self.take()

    def name(self, what: str = "a field name") -> Token:
        if self.here.kind not in ("word", "string"):
            raise SplError(f"expected {what}", self.here.start)
        return self.take()

    def option(self, *names: str) -> tuple[str, Token] | None:
        """Take `name=value` if the name is one of these."""
        if self.here.kind == "word" and self.here.value.lower() in names and self.after.value == "=":
            name = self.take().value.lower()
            self.take()
            return name, self.name("a value")
        return None

    def names(self, *stop: str) -> list[str]:
        """Take field names, with or without commas, up to the end or one of these words."""
        found: list[str] = []
        while self.here.kind != "end" and self.here.value.lower() not in stop:
            if not self.accept(","):
                found.append(self.name().value)
        return found

    def some_names(self, *stop: str) -> list[str]:
        """Take at least one field name."""
        if self.here.kind == "end":
            raise SplError("expected field names", self.here.start)
        return self.names(*stop)

    def only_name(self) -> str:
        """Take one field name and the end."""
        name = self.name().value
        self.done()
        return name

    def done(self) -> None:
        if self.here.kind != "end":
            raise SplError("this command does not go on like that", self.here.start)
