"""The languages in which files set variables: PAM, systemd, cron, env files; `shell` has its own module.

Pure: text in, settings in the order of the file out; a setting whose value is None takes the name away again where
the language can do that. Nothing raises: a line that says nothing is left out, as its reader would leave it out.
What each reader makes of blanks and quotes decides whether an SDK sees `true`, so each follows its reader's source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from imdswatch.host.setting import Setting

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def pam_environment(text: str, path: str) -> Iterator[Setting]:
    """/etc/environment as pam_env(8) reads it: blanks and carriage returns at the end stay, `#` cuts anywhere.

    Source: Linux-PAM 1.5.2 `_parse_env_file`; tests/host/test_syntax.py holds what `su` of Debian 12 made of it.
    """
    for number, line in _joined(text):
        words = line.lstrip(" \t").split("#", 1)[0]
        name, equals, value = words.removeprefix("export ").partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z0-9_]+", name):
            continue
        if value[:1] in ("'", '"'):
            # Every quote goes that is the last character; one in the middle stays.
            value = value[1:-1] if value[1:] and value[-1] in "'\"" else value[1:]
        yield Setting(name, value, path, number)


def pam_env_conf(text: str, path: str) -> Iterator[Setting]:
    """pam_env.conf(5): `NAME DEFAULT=value OVERRIDE=value`; a value with `${…}` or `@{…}` is computed."""
    for number, line in _joined(text):
        if line.lstrip().startswith("#"):
            continue
        found = re.match(r"\s*([A-Za-z_]\w*)((?:\s+(?:DEFAULT|OVERRIDE)=(?:\"[^\"]*\"|\S*))+)\s*\Z", line)
        if found is None:
            continue
        given = dict(re.findall(r"(DEFAULT|OVERRIDE)=(\"[^\"]*\"|\S*)", found[2]))
        value = (given.get("OVERRIDE") or given.get("DEFAULT", "")).strip('"')
        yield Setting(found[1], None if re.search(r"[$@]\{", value) else value, path, number)


def systemd_words(text: str) -> list[str]:
    """Cut a value of a unit file into words: quotes group and go, backslashes escape (systemd.syntax(7))."""
    words: list[str] = []
    current: list[str] = []
    quote, inside, at = "", False, 0
    while at < len(text):
        char = text[at]
        if char == "\\" and at + 1 < len(text):
            at += 1
            current.append({"n": "\n", "t": "\t", "s": " "}.get(text[at], text[at]))
            inside = True
        elif quote:
            if char == quote:
                quote = ""
            else:
                current.append(char)
        elif char in "\"'" and not current:
            quote, inside = char, True
        elif char in " \t":
            if inside or current:
                words.append("".join(current))
            current, inside = [], False
        else:
            current.append(char)
        at += 1
    if inside or current:
        words.append("".join(current))
    return words


def unit_lines(text: str) -> Iterator[tuple[int, str, str, str]]:
    """Yield line number, section, key and value of an ini file as systemd reads it; `\\` at the end goes on."""
    section = ""
    for number, line in _joined(text, glue=" ", comments="#;"):
        stripped = line.strip()
        if stripped.startswith("[") and stripped.endswith("]"):
            section = stripped[1:-1]
        elif stripped and stripped[0] not in "#;" and "=" in stripped:
            key, _, value = stripped.partition("=")
            yield number, section, key.strip(), value.strip()


def assignments(value: str, path: str, number: int) -> Iterator[Setting]:
    """Yield the settings in one `Environment=` of a unit; `%` specifiers are computed."""
    for word in systemd_words(value):
        name, equals, given = word.partition("=")
        if equals and _NAME.match(name):
            computed = "%" in given.replace("%%", "")
            yield Setting(name, None if computed else given.replace("%%", "%"), path, number)


def systemd_file(text: str, path: str) -> Iterator[Setting]:
    """An `EnvironmentFile=` of systemd: shell-like quotes, blanks at the end of a bare value go (systemd.exec(5))."""
    for number, line in _joined(text, comments="#;"):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        name, equals, value = stripped.partition("=")
        if equals and _NAME.match(name.strip()):
            yield Setting(name.strip(), _unquoted(value.strip()), path, number)


def environment_d(text: str, path: str) -> Iterator[Setting]:
    """A file of environment.d(5): as an `EnvironmentFile=`, but `$NAME` and `${NAME}` are expanded."""
    for setting in systemd_file(text, path):
        yield replace(setting, value=None) if "$" in (setting.value or "") else setting


def env_file(text: str, path: str) -> Iterator[Setting]:
    """An env file of `docker run --env-file`: everything after `=` is the value, quotes and blanks included."""
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.lstrip().removesuffix("\r")
        name, equals, value = stripped.partition("=")
        if equals and not name.startswith("#") and _NAME.match(name):
            yield Setting(name, value, path, number)


def dotenv(text: str, path: str) -> Iterator[Setting]:
    """An env file of Compose: quotes go, a comment after a blank goes (Compose reference, `env_file`)."""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip().removeprefix("export ")
        name, equals, value = stripped.partition("=")
        if equals and not stripped.startswith("#") and _NAME.match(name.strip()):
            value = value.strip()
            if value[:1] not in ("'", '"'):
                value = re.split(r"\s#", value, maxsplit=1)[0].rstrip()
            yield Setting(name.strip(), _unquoted(value), path, number)


def cron_line(line: str, path: str, number: int) -> Setting | None:
    """A line of a crontab that sets a variable: blanks at both ends and outer quotes go (crontab(5))."""
    found = re.match(r"\s*(\"[^\"]*\"|'[^']*'|[A-Za-z_]\w*)\s*=\s*(.*?)\s*\Z", line)
    if found is None:
        return None
    name, value = found[1].strip("\"'"), found[2]
    if len(value) >= 2 and value[0] in "\"'" and value[-1] == value[0]:
        value = value[1:-1]
    return Setting(name, value, path, number) if _NAME.match(name) else None


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] in "\"'" and value[-1] == value[0]:
        return value[1:-1]
    return value


def _joined(text: str, glue: str = "", comments: str = "") -> Iterator[tuple[int, str]]:
    """Yield each line with its number, lines that end in a backslash joined to the next; comments are not joined."""
    first = 0
    parts: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not parts:
            first = number
        elif comments and line.lstrip()[:1] in tuple(comments):
            continue
        whole = not parts and bool(comments) and line.lstrip()[:1] in tuple(comments)
        if line.endswith("\\") and not whole:
            parts.append(line[:-1])
            continue
        yield first, glue.join([*parts, line])
        parts = []
    if parts:
        yield first, glue.join(parts)
