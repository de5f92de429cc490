"""The text of a search before any command is read: comments, macros, pipes, words.

Search Manual, "Add comments to searches": a comment stands between triple backticks. Search Manual, "Use search
macros in searches" and macros.conf: a macro call stands between backticks, its arguments in parentheses; the
stanza of a macro with arguments is `name(count)`, and `$argument$` in its definition is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import SplError

# Splunk_SA_CIM, macros.conf: what the CIM add-on brings along.
BUILT_IN = {
    "drop_dm_object_name(1)": {"args": "dm_object_name", "definition": 'rename "$dm_object_name$.*" as "*"'}
}
DEPTH = 20


def prepare(query: str, macros: Mapping[str, Any]) -> str:
    """Return a query without comments and with every macro expanded; raises `SplError` for an unknown macro."""
    out = without_comments(query)
    for _ in range(DEPTH):
        expanded = expand_once(out, {**BUILT_IN, **macros})
        if expanded == out:
            return out
        out = without_comments(expanded)
    raise SplError(f"macros still call macros after {DEPTH} rounds: is one of them calling itself?")


def without_comments(query: str) -> str:
    """Replace comments by a space; triple backticks within quotation marks are text."""
    out, here = [], 0
    while here < len(query):
        if query[here] == '"':
            end = string_end(query, here)
        elif query.startswith("```", here):
            end = query.find("```", here + 3)
            if end < 0:
                raise SplError("a comment is not closed", query, here)
            out.append(" ")
            here = end + 3
            continue
        else:
            end = here + 1
        out.append(query[here:end])
        here = end
    return "".join(out)


def string_end(query: str, start: int) -> int:
    """Return the place after the closing quotation mark; a backslash escapes (search, "Quotes and escaping")."""
    here = start + 1
    while here < len(query):
        if query[here] == "\\":
            here += 2
        elif query[here] == query[start]:
            return here + 1
        else:
            here += 1
    raise SplError("unbalanced quotation mark", query, start)


def unescaped(body: str) -> str:
    """Resolve `\\"`, `\\|` and `\\\\`; unknown sequences stay (search, "Quotes and escaping characters")."""
    return re.sub(r'\\(["\\|])', r"\1", body)


def expand_once(query: str, macros: Mapping[str, Any]) -> str:
    """Expand every macro call outside quotation marks once."""
    out, here = [], 0
    while here < len(query):
        if query[here] == '"':
            end = string_end(query, here)
            out.append(query[here:end])
        elif query[here] == "`":
            end = macro_end(query, here)
            out.append(definition(query[here + 1 : end - 1].strip(), macros, query, here))
        else:
            end = here + 1
            out.append(query[here])
        here = end
    return "".join(out)


def macro_end(query: str, start: int) -> int:
    here = start + 1
    while here < len(query) and query[here] != "`":
        here = string_end(query, here) if query[here] == '"' else here + 1
    if here >= len(query):
        raise SplError("a macro call is not closed by a backtick", query, start)
    return here + 1


def definition(call: str, macros: Mapping[str, Any], query: str, position: int) -> str:
    shape = re.fullmatch(r"([\w:.-]+)\s*(?:\((.*)\))?", call, re.DOTALL)
    if not shape:
        raise SplError(f"not a macro call: `{call}`", query, position)
    given = arguments(shape[2]) if shape[2] and shape[2].strip() else []
    stanza = f"{shape[1]}({len(given)})" if given else shape[1]
    if stanza not in macros:
        raise SplError(f"unknown macro `{stanza}`", query, position)
    entry = macros[stanza]
    if isinstance(entry, str):
        entry = {"definition": entry}
    if str(entry.get("iseval", "0")).lower() in ("1", "true"):
        raise SplError(
            f"macro `{stanza}` is an eval macro, which this evaluator does not know", query, position
        )
    args = entry.get("args", "")
    names = [name.strip() for name in (args.split(",") if isinstance(args, str) else args) if name.strip()]
    if len(names) != len(given):
        raise SplError(
            f"macro `{stanza}` declares {len(names)} arguments, {len(given)} are given", query, position
        )
    body: str = entry["definition"]
    for name, value in zip(names, given, strict=True):
        body = body.replace(f"${name}$", value)
    return body


def arguments(inner: str) -> list[str]:
    """Split the arguments of a macro call; quotation marks around one are its delimiters."""
    return [
        unescaped(part[1:-1]) if len(part) > 1 and part[0] == part[-1] == '"' else part
        for part in (piece.strip() for piece in cut(inner, ","))
    ]


def cut(source: str, separator: str) -> list[str]:
    """Split at a character that stands outside quotation marks, parentheses and brackets."""
    parts, here, last, depth = [], 0, 0, 0
    while here < len(source):
        sign = source[here]
        if sign == '"':
            here = string_end(source, here)
            continue
        if sign == "\\":
            here += 2
            continue
        depth += (sign in "([") - (sign in ")]")
        if sign == separator and depth == 0:
            parts.append(source[last:here])
            last = here + 1
        here += 1
    parts.append(source[last:])
    return parts


@dataclass(frozen=True, slots=True)
class Segment:
    """One command of a pipeline: its name in lower case, the text after it."""

    name: str
    body: str


def pipeline(source: str) -> list[Segment]:
    """Split a search into commands; a search that does not begin with a pipe begins with `search`."""
    pieces = pipes(source)
    if pieces[0].strip():
        first = pieces[0].strip()
        pieces[0] = first if re.match(r"search(?=\s|$)", first) else f"search {first}"
    else:
        pieces = pieces[1:]
        if not pieces:
            raise SplError("an empty search")
    segments = []
    for piece in pieces:
        head = re.match(r"\s*([A-Za-z]\w*)\s*", piece)
        if not head:
            raise SplError(f"a command is expected after a pipe, not {piece.strip()[:40]!r}")
        segments.append(Segment(head[1].lower(), piece[head.end() :].strip()))
    return segments


def pipes(source: str) -> list[str]:
    """Split at pipes outside quotation marks and subsearches (`\\|` is no pipe)."""
    parts, here, last, depth = [], 0, 0, 0
    while here < len(source):
        sign = source[here]
        if sign == '"':
            here = string_end(source, here)
            continue
        if sign == "\\":
            here += 2
            continue
        depth += (sign == "[") - (sign == "]")
        if sign == "|" and depth == 0:
            parts.append(source[last:here])
            last = here + 1
        here += 1
    if depth:
        raise SplError("unbalanced brackets of a subsearch", source, last)
    parts.append(source[last:])
    return parts


def words(body: str) -> list[str]:
    """Split the arguments of a simple command at spaces and commas; a quoted word keeps its quotation marks."""
    out, here = [], 0
    while here < len(body):
        if body[here].isspace() or body[here] == ",":
            here += 1
            continue
        start = here
        while here < len(body) and not body[here].isspace() and body[here] != ",":
            if body[here] == '"':
                here = string_end(body, here)
            elif body[here] == "(":
                here = closing(body, here)
            else:
                here += 1
        out.append(body[start:here])
    return out


def closing(body: str, start: int) -> int:
    """Return the place after the parenthesis that closes the one at `start`."""
    depth, here = 0, start
    while here < len(body):
        if body[here] == '"':
            here = string_end(body, here)
            continue
        depth += (body[here] == "(") - (body[here] == ")")
        here += 1
        if depth == 0:
            return here
    raise SplError("a parenthesis is not closed", body, start)


def bare(word: str) -> str:
    """Take the quotation marks off a word."""
    if len(word) > 1 and word[0] == word[-1] and word[0] in "\"'":
        return unescaped(word[1:-1])
    return word


def options(arguments_: list[str], known: set[str]) -> tuple[dict[str, str], list[str]]:
    """Split `name=value` options of a command from its other words; raises `SplError` for none it knows."""
    found, rest = {}, []
    for word in arguments_:
        name, equals, value = word.partition("=")
        if equals and name.lower() in known:
            found[name.lower()] = bare(value)
        elif equals and re.fullmatch(r"\w+", name):
            raise SplError(f"unknown option {name}=")
        else:
            rest.append(word)
    return found, rest
