"""Variables that files set: where each value stands, and how to change it without touching anything else.

Grammars: `pam` (/etc/environment, as pam_env reads it), `pamconf` (pam_env.conf), `shell` (POSIX), `csh`, `fish`,
`envfile` (NAME=value lines that a shell or systemd reads), `systemd` (Environment= and DefaultEnvironment= with
systemd's quoting), `cron`. Pure; works on text in which bytes that are no UTF-8 are surrogates; linear in the length of
the text. Nothing is evaluated: a value that a shell would compute is told as `computed`.
Sources: Linux-PAM modules/pam_env, POSIX.1-2024 Shell Command Language 2.2, csh(1), fish's `set`, systemd.exec(5),
systemd.syntax(7) and crontab(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from imdswatch.host import shell

PROXIES = ("http_proxy", "all_proxy")
"""What sends requests for an http:// URL to a proxy; `https_proxy` does not, and IMDS has no https."""

_PAM = re.compile(r"(?m)^[ \t]*(?:export )?([A-Za-z_][A-Za-z0-9_]*)=([^\n#]*)")
_SHELL_NAME = re.compile(r"(?:(?<=[\s;&|(])|\A)([A-Za-z_][A-Za-z0-9_]*)=")
_SHELL_WORD = re.compile(r"(?:'[^']*'|\"(?:[^\"\\]|\\.)*\"|\\.|[^\s;&|<>()'\"\\])*", re.DOTALL)
_COMMENT = re.compile(r"[ \t]*#")
_DIRECTIVE = re.compile(
    r"(?m)^[ \t]*(DefaultEnvironment|Environment)[ \t]*=((?:[^\n\\]|\\.|\\\n)*)", re.DOTALL
)
_WORD = re.compile(r"(?:\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|\\[^\n]|[^\s\"'\\])+", re.DOTALL)
_CRON = re.compile(r"(?m)^[ \t]*[\"']?([A-Za-z_][A-Za-z0-9_]*)[\"']?[ \t]*=[ \t]*([^\n]*)")
_PAMCONF = re.compile(
    r"(?m)^[ \t]*([A-Za-z_][A-Za-z0-9_]*)((?:[ \t]+(?:DEFAULT|OVERRIDE)=(?:\"[^\"\n]*\"|[^\s\"]*))+)"
)
_PAMCONF_VALUE = re.compile(r"(?:DEFAULT|OVERRIDE)=(\"[^\"\n]*\"|[^\s\"]*)")
_SPACED = {
    "csh": re.compile(r"(?m)^([ \t]*setenv[ \t]+)([A-Za-z_]\w*)[ \t]+([^\n;#]*)"),
    "fish": re.compile(
        r"(?m)^([ \t]*set[ \t]+(?:-\S+[ \t]+)*?(?:-[A-Za-z]*x[A-Za-z]*|--export)[ \t]+(?:-\S+[ \t]+)*)"
        r"([A-Za-z_]\w*)[ \t]+([^\n;#]*)"
    ),
}
"""Shells that have a blank between a name and its value."""
_QUOTES = "\"'"
_TAKES = {
    "shell": re.compile(r"(?<![^\s;&|(])(unset|export[ \t]+-n)((?:[ \t]+[^\s;&|)#]+)+)"),
    "csh": re.compile(r"(?<![^\s;&|(])(unsetenv)((?:[ \t]+[^\s;&|)#]+)+)"),
    "fish": re.compile(r"(?<![^\s;&|(])(set[ \t]+(?:-[A-Za-z]*e[A-Za-z]*|--erase))((?:[ \t]+[^\s;&|)#]+)+)"),
}
"""What takes variables away again: the command, and what follows it."""
_SETS = {"shell": "export {}={}", "csh": "setenv {} {}", "fish": "set -gx {} {}"}


@dataclass(frozen=True, slots=True)
class Assignment:
    """One value in a text: what it is, and the span that a new one would take the place of."""

    name: str
    value: str
    start: int
    end: int
    computed: bool
    raw: str
    """What stands in the span; for systemd the whole word, with the name."""
    directive: str = ""
    line_end: int = 0
    """Where the line, with what continues it, ends."""


def assignments(text: str, form: str) -> Iterator[Assignment]:
    """Yield every assignment of a text, in order."""
    if form in _SPACED:
        yield from _of_lines(text, ((found[2], found.span(3)) for found in _SPACED[form].finditer(text)))
    elif form == "cron":
        for one in _of_lines(text, ((found[1], found.span(2)) for found in _CRON.finditer(text))):
            yield replace(one, computed=False)  # cron expands nothing
    elif form == "pamconf":
        yield from _of_lines(text, _pamconf(text))
        yield from _pam(text)
    else:
        yield from {"pam": _pam, "shell": _shell, "envfile": _shell, "systemd": _systemd}[form](text)


def _pamconf(text: str) -> Iterator[tuple[str, tuple[int, int]]]:
    for line in _PAMCONF.finditer(text):
        for value in _PAMCONF_VALUE.finditer(text, line.start(2), line.end(2)):
            yield line[1], value.span(1)


def _of_lines(text: str, spans: Iterable[tuple[str, tuple[int, int]]]) -> Iterator[Assignment]:
    """Yield assignments whose value is all of a span: blanks around it and outer quotes are no part of it."""
    for name, (start, end) in spans:
        raw = text[start:end].rstrip()
        quoted = len(raw) > 1 and raw[0] in _QUOTES and raw[-1] == raw[0]
        value = raw[1:-1] if quoted else raw
        computed = re.search(r"[$`@(]", raw) is not None
        yield Assignment(name, value, start, start + len(raw), computed, raw, line_end=end)


def _pam(text: str) -> Iterator[Assignment]:
    for found in _PAM.finditer(text):
        raw = found[2]
        value = raw
        if raw[:1] and raw[0] in _QUOTES:  # pam_env drops the first quote, and a quote that is last
            value = raw[1:-1] if len(raw) > 1 and raw[-1] in _QUOTES else raw[1:]
        end = text.find("\n", found.end())
        yield Assignment(
            found[1],
            value,
            found.start(2),
            found.end(2),
            False,
            raw,
            line_end=len(text) if end < 0 else end,
        )


def _shell(text: str) -> Iterator[Assignment]:
    at = 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        if _COMMENT.match(text, at) is None:
            while (found := _SHELL_NAME.search(text, at, end)) is not None:
                word = _SHELL_WORD.match(text, found.end())
                assert word is not None  # it matches the empty text
                raw = word[0]
                if word.end() > end:  # a quote went over the end of its line
                    end = text.find("\n", word.end())
                    end = len(text) if end < 0 else end
                yield Assignment(
                    found[1],
                    _unquoted(raw),
                    found.end(),
                    word.end(),
                    re.search(r"[$`]", re.sub(r"'[^']*'", "", raw)) is not None
                    or text[word.end() : word.end() + 1] in ("(", '"', "'"),  # an array, a quote left open
                    raw,
                    line_end=end,
                )
                at = max(word.end(), found.end())
        at = end + 1


def _systemd(text: str) -> Iterator[Assignment]:
    for line in _DIRECTIVE.finditer(text):
        for word in _WORD.finditer(text, line.start(2), line.end(2)):
            plain = _unquoted(word[0])
            name, equals, value = plain.partition("=")
            if equals and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                yield Assignment(
                    name, value, word.start(), word.end(), "%" in value, word[0], line[1], line.end(2)
                )


def _unquoted(raw: str) -> str:
    """Return a word without its quotes and backslashes, as far as that is plain text."""

    def plain(found: re.Match[str]) -> str:
        part = found[0]
        if part[0] == "'":
            return part[1:-1]
        if part[0] == '"':
            return re.sub(r'\\([$`"\\])', r"\1", part[1:-1])
        return part[1:]

    return re.sub(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"|\\.", plain, raw, flags=re.DOTALL)


# Changes


def correct(text: str, form: str, wanted: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return the text with every value of these variables as it is wanted, and the names that a shell computes."""
    spans, computed = [], []
    for one in assignments(text, form):
        if one.name not in wanted or one.value == wanted[one.name]:
            continue
        if one.computed:
            computed.append(one.name)
            continue
        prefix = f"{one.name}=" if form == "systemd" else ""
        spans.append((one.start, one.end, prefix + wanted[one.name]))
    return _replaced(text, spans), computed


def given_back(text: str, form: str, wanted: Mapping[str, str]) -> str:
    """Return the text without what takes these variables away: there they are set instead."""
    takes = _TAKES.get(form)
    names = [name for name in wanted if name in text]
    if takes is None or not names:
        return text
    lines = text.split("\n")
    # Only the parser of shells tells a command from a word in a text, a comment or a here-document.
    for number in {effect.setting.line for effect in shell.effects(text, "", names) if effect.gone}:
        lines[number - 1] = takes.sub(lambda found: _set_instead(found, form, wanted), lines[number - 1])
    return "\n".join(lines)


def _set_instead(found: re.Match[str], form: str, wanted: Mapping[str, str]) -> str:
    words = found[2].split()
    taken = [name for word in words if (name := word.strip(_QUOTES)) in wanted]
    if not taken:
        return found[0]
    rest = [word for word in words if word.strip(_QUOTES) not in wanted]
    sets = [_SETS[form].format(name, wanted[name]) for name in taken]
    return "; ".join(
        [*([" ".join([found[1], *rest])] if any(word[0] != "-" for word in rest) else []), *sets]
    )


def assign(text: str, form: str, wanted: Mapping[str, str]) -> str:
    """Return the text with a line more for each variable that it does not set."""
    there = {one.name for one in assignments(text, form)}
    lines = [f"{name}={value}" for name, value in wanted.items() if name not in there]
    return _appended(text, lines)


def export(text: str, form: str, wanted: Mapping[str, str]) -> str:
    """Return a start-up file of a shell with a line more for each variable, whatever stands there before."""
    return _appended(text, [_SETS[form].format(name, value) for name, value in wanted.items()])


def lead(text: str, wanted: Mapping[str, str]) -> str:
    """Return a crontab with a line on top for each variable that it does not set, if there is any job in it."""
    lines = [line.strip() for line in text.splitlines()]
    if not any(line and line[0] in "*@0123456789" for line in lines):
        return text
    there: set[str] = set()
    for line in lines:
        if line[:1] and line[0] in "*@0123456789":
            break
        there.update(one.name for one in assignments(line, "cron"))
    return "".join(f"{name}={value}\n" for name, value in wanted.items() if name not in there) + text


def sets_proxy(text: str, form: str) -> bool:
    """Say whether the text sends http:// requests to a proxy."""
    return any(one.name.lower() in PROXIES and one.value for one in assignments(text, form))


def sets_bypass(text: str, form: str) -> bool:
    """Say whether the text says what goes around the proxy."""
    return any(one.name.lower() == "no_proxy" for one in assignments(text, form))


def bypass(text: str, form: str, addresses: str) -> tuple[str, list[str]]:
    """Return the text with the addresses in every list of what goes around a proxy, and the names left as they are."""
    spans, odd = [], []
    for one in assignments(text, form):
        if one.name.lower() != "no_proxy":
            continue
        listed = [part.strip() for part in one.value.split(",")]
        missing = [address for address in addresses.split(",") if address not in listed]
        if not missing or "*" in listed or re.fullmatch(r"\$\{?(?:no_proxy|NO_PROXY)\}?", one.value):
            continue
        longer = _longer(one, form, ("," if one.value.strip() else "") + ",".join(missing))
        if longer is None or (one.computed and not one.raw):
            odd.append(one.name)
        else:
            spans.append((one.start, one.end, longer))
    return _replaced(text, spans), odd


def _longer(one: Assignment, form: str, more: str) -> str | None:
    """Return the raw value with more at its end, None where its quoting is too odd to be sure."""
    raw = one.raw
    if form == "pam":
        bare = raw.rstrip()
        if bare[:1] and bare[0] in _QUOTES:
            return bare[:-1] + more + bare[-1] if len(bare) > 1 and bare[-1] == bare[0] else None
        return bare + more
    body = raw.partition("=")[2] if form == "systemd" and raw[0] not in _QUOTES else raw
    head = raw[: len(raw) - len(body)]
    quote = body[:1]
    if quote and quote in _QUOTES:
        inner = body[1:-1]
        whole = len(body) > 1 and body[-1] == quote and quote not in inner and not inner.endswith("\\")
        return head + quote + inner + more + quote if whole else None
    if re.search(r"[\"'\\~]", body):
        return None
    # A shell takes [ for a pattern of file names, and some split a computed value into words.
    return head + body + more if form == "systemd" else f'"{body}{more}"'


def add_bypass(text: str, form: str, addresses: str) -> str:
    """Return the text with a list of what goes around the proxy behind the lines that set one."""
    if form == "shell":
        line = f'export no_proxy="${{no_proxy:-${{NO_PROXY:-localhost}}}},{addresses}" NO_PROXY="$no_proxy"'
        # POSIX leaves open whether the second sees what the first has set.
        return _appended(text, [line.replace(" NO_PROXY", "\nexport NO_PROXY")])
    if form != "systemd":
        return _appended(text, [f"no_proxy={addresses}", f"NO_PROXY={addresses}"])
    last = None
    for one in assignments(text, form):
        last = one if one.name.lower() in PROXIES and one.value else last
    if last is None:
        return text
    added = f"\n{last.directive}=no_proxy={addresses} NO_PROXY={addresses}"
    return text[: last.line_end] + added + text[last.line_end :]


def _replaced(text: str, spans: list[tuple[int, int, str]]) -> str:
    """Return the text with each span, in order, as its new text."""
    pieces, at = [], 0
    for start, end, new in spans:
        pieces += [text[at:start], new]
        at = end
    return "".join([*pieces, text[at:]])


def _appended(text: str, lines: list[str]) -> str:
    if not lines:
        return text
    joint = "" if not text or text.endswith("\n") else "\n"
    return text + joint + "".join(f"{line}\n" for line in lines)
