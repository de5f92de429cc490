"""What a start-up file of a shell does to the environment, as far as reading it can tell.

Only what stands at the top level is sure: what stands inside of `if`, `case`, a loop or a function may or may not
happen, and a value with an expansion is known to the shell only. sh, bash and zsh; csh's `setenv` and fish's `set -x`
are understood too. Pure, one pass over the text, never raises.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from imdswatch.host.setting import Setting


@dataclass(frozen=True, slots=True)
class Effect:
    """One variable of the environment as a line leaves it; `sure` unless the line may be passed over."""

    setting: Setting
    sure: bool
    gone: bool = False
    """The variable is taken away, which is not the same as empty to every client."""


_OPENS = frozenset(
    ["if", "case", "for", "while", "until", "select", "{", "function", "begin", "switch", "foreach"]
)
_CLOSES = frozenset(["fi", "esac", "done", "}", "end", "endif", "endsw"])
_LEADS = frozenset(["then", "do", "else"])
_EXPORTS = frozenset(["export", "declare", "typeset"])
_ASSIGNS = re.compile(r"([A-Za-z_]\w*)=")
_NAME = re.compile(r"[A-Za-z_]\w*\Z")
_HERE = re.compile(r"(?<!<)<<-?\s*(['\"]?)(\w+)\1")
_COMPUTED = "\x01"
"""Stands in a word for what the shell would put there."""
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r]+) | (?P<end>[;&|\n]) | '(?P<single>[^']*)' | "(?P<double>(?:[^"\\]|\\.)*)"
    | (?P<joint>\\\n) | \\(?P<escaped>.) | (?P<computed>[$`]) | (?P<plain>[^\s;&|'"\\$`]+ | .)""",
    re.DOTALL | re.VERBOSE,
)


def effects(text: str, path: str, exported: Collection[str] = ()) -> Iterator[Effect]:
    """Yield what a file sets, in its order; `exported` names what the shell got from before. "" is unset or empty."""
    depth, ours, variables = 0, set(exported), dict[str, str | None]()
    for number, words in _commands(_without_documents(text)):
        head = words[0]
        if head in _CLOSES:
            depth = max(0, depth - 1)
            continue
        if head in _OPENS or head.endswith("()") or words[1:2] == ["()"]:
            depth += 1
            words = words[words.index("{") + 1 :] if "{" in words else []
        elif head in _LEADS:
            words = words[1:]
        gone = _takes_away(words)
        for name, value, export in _changes(words):
            if export:
                ours.add(name)
            if value is _SAME:
                if name not in variables:
                    continue
                value = variables[name]
            variables[name] = value
            if name in ours:
                yield Effect(Setting(name, value, path, number), depth == 0, gone)


_SAME = "\x02"
"""In place of a value: exported as it is."""


def _changes(words: list[str]) -> Iterator[tuple[str, str | None, bool]]:
    """Yield name, value and whether it is exported, for each variable that a command sets."""
    head, rest = words[0] if words else "", words[1:]
    options = _options(rest)
    if _takes_away(words):
        yield from ((word, "", False) for word in rest if _NAME.match(word))
    elif head in _EXPORTS:
        if head == "export" or "x" in options:
            for word in rest:
                found = _ASSIGNS.match(word)
                if found:
                    yield found[1], _static(word[found.end() :]), True
                elif _NAME.match(word):
                    yield word, _SAME, True
    elif head == "setenv" and len(rest) == 2:
        yield rest[0], _static(rest[1]), True
    elif head == "set" and ("x" in options or "--export" in words):
        given = [word for word in rest if not word.startswith("-")]
        if given and _NAME.match(given[0]):
            yield given[0], _static(" ".join(given[1:])), True
    elif words and all(map(_ASSIGNS.match, words)):
        for name, _, value in (word.partition("=") for word in words):
            yield name, _static(value), False


def _takes_away(words: list[str]) -> bool:
    """Say whether a command takes variables out of the environment: of sh, of csh, or of fish."""
    head, options = words[0] if words else "", _options(words[1:])
    return (
        head in ("unset", "unsetenv")
        or (head == "export" and "n" in options)
        or (head == "set" and ("e" in options or "--erase" in words))
    )


def _options(words: list[str]) -> set[str]:
    return {letter for word in words if word.startswith("-") and not word.startswith("--") for letter in word}


def _static(value: str) -> str | None:
    return None if _COMPUTED in value else value


def _commands(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the words of each simple command, quotes taken away and expansions marked."""
    words: list[str] = []
    word: list[str] | None = None
    at, line, start = 0, 1, 1
    while at < len(text):
        token = _TOKEN.match(text, at)
        assert token is not None  # the last alternative takes any character
        if word is None and text[at] == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
            continue
        at = token.end()
        if token["space"] is not None or token["end"] is not None:
            if word is not None:
                words.append("".join(word))
                word = None
            if token["end"] is not None and words:
                yield start, words
                words = []
        elif token["joint"] is None:
            if word is None and not words:
                start = line
            word = [] if word is None else word
            word.append(_piece(token))
        line += token[0].count("\n")
    if word is not None:
        words.append("".join(word))
    if words:
        yield start, words


def _piece(token: re.Match[str]) -> str:
    if token["double"] is not None:
        inside = re.sub(r"\\([\"\\`$])", r"\1", token["double"].replace("\\\n", ""))
        return _COMPUTED if re.search(r"(?<!\\)[$`]", token["double"]) else inside
    if token["computed"] is not None:
        return _COMPUTED
    return str(token["single"] or token["escaped"] or token["plain"] or "")


def _without_documents(text: str) -> str:
    """Return the text with the lines of here-documents empty: they are data."""
    if "<<" not in text:
        return text
    lines, end = text.split("\n"), None
    for at, line in enumerate(lines):
        if end is not None:
            lines[at] = ""
            end = None if line.strip("\t") == end else end
        elif (found := _HERE.search(line)) is not None:
            end = found[2]
    return "\n".join(lines)
