"""Where to deliver: a URL with options, read and checked; nothing is opened or looked up here.

    syslog+tcp://host:port, syslog+tls://host:port?ca=FILE&cert=FILE&key=FILE, syslog+udp://host:port
    https://host/path#secret-env=NAME&ca=FILE    options behind `#`, which is never sent: `?` is the receiver's
    file:///path?rotate=100MB&keep=10

A secret must not stand on a command line, where every user of the machine reads it. So options name an environment
variable or a file, user and password in a URL are refused, and the URL itself may come from `env:NAME` or `@FILE` (the
path of a webhook is often its secret). `shown` is what may be printed: never path, query or options of a URL.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

from imdswatch.errors import UsageError

FORMATS = ("ndjson", "ocsf", "ecs")
_TLS = frozenset(("ca", "cert", "key"))
_SYSLOG = frozenset(("max", "facility"))
_WEB = frozenset(
    ("format", "batch", "timeout", "secret-env", "secret-file", "authorization-env", "authorization-file")
)
OPTIONS = {
    "syslog+tcp": _SYSLOG | {"confirm"},
    "syslog+tls": _SYSLOG | _TLS | {"confirm", "name"},
    "syslog+udp": _SYSLOG,
    "https": _WEB | _TLS,
    "http": _WEB,
    "file": frozenset(("rotate", "keep", "format")),
}
"""The options of each scheme."""
PORTS = {"syslog+tcp": 601, "syslog+tls": 6514, "syslog+udp": 514, "https": 443, "http": 80, "file": 0}
"""The assigned ports: RFC 6587 (601), RFC 5425 (6514), RFC 5426 (514)."""

_UNITS = {
    "": 1,
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KIB": 1 << 10,
    "MIB": 1 << 20,
    "GIB": 1 << 30,
}
_LONGEST_SECRET = 1 << 16


@dataclass(frozen=True, slots=True)
class Target:
    """One place to deliver to. `path` holds the query of a webhook, too."""

    scheme: str
    host: str
    port: int
    path: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """What may be printed."""
        if self.scheme == "file":
            return f"file://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def key(self) -> str:
        """A name for its spool, of characters that any file system takes; options may change and the spool stays."""
        whole = "\x00".join((self.scheme, self.host, str(self.port), self.path))
        digest = hashlib.blake2b(whole.encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()
        readable = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{self.scheme}-{self.host or Path(self.path).name}")
        return f"{readable[:80]}-{digest}"

    def size(self, name: str, default: int) -> int:
        """Return an option that is a size in bytes (`100MB`)."""
        return size(self.options[name], f"`{name}` of {self.shown}") if name in self.options else default

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """Return an option that is a whole number within bounds."""
        text = self.options.get(name, str(default))
        if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or not least <= int(text) <= most:
            raise UsageError(f"`{name}` of {self.shown} must be a number from {least} to {most}")
        return int(text)

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """Return an option that is one of several words, the first of them by default."""
        word = self.options.get(name, choices[0])
        if word not in choices:
            raise UsageError(f"`{name}` of {self.shown} must be one of {', '.join(choices)}")
        return word

    def secret(self, name: str) -> str | None:
        """Return the secret that `NAME-env` or `NAME-file` points to; errors name the place, never what is in it."""
        variable, file = self.options.get(f"{name}-env"), self.options.get(f"{name}-file")
        if variable is not None and file is not None:
            raise UsageError(f"{self.shown} has both `{name}-env` and `{name}-file`", help="keep one of them")
        if variable is not None:
            return _from_environment(variable)
        return None if file is None else _from_file(file)


def read_target(text: str) -> Target:
    """Return the target that a text names: a URL, or `env:NAME` or `@FILE` with one inside."""
    if text.startswith("env:"):
        text = _from_environment(text.removeprefix("env:"))
    elif text.startswith("@"):
        text = _from_file(text[1:])
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise UsageError("a target of `--deliver` is no URL") from None
    scheme = parts.scheme
    if scheme not in OPTIONS:
        raise UsageError(
            "a target of `--deliver` has no scheme that is known",
            help=f"begin it with one of: {', '.join(OPTIONS)}",
        )
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "a target of `--deliver` holds a user or password, which everybody on this machine can read",
            help="use `authorization-env=NAME` or `authorization-file=PATH` behind `#`",
        )
    web = scheme in ("http", "https")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "") if web else parts.path
    if web:
        path = quote(path, safe="/?%:@!$&'()*+,;=~-._")
    target = Target(scheme, parts.hostname or "", PORTS[scheme] if port is None else port, path)
    return _checked(target, parts.netloc, parts.fragment if web else parts.query)


def _checked(target: Target, netloc: str, options: str) -> Target:
    if target.scheme == "file":
        if netloc not in ("", "localhost") or not target.path.startswith("/"):
            raise UsageError("a file target is `file:///` and a full path", file=target.path)
    elif not target.host:
        raise UsageError(f"{target.scheme} target without a host", help=f"write {target.scheme}://HOST:PORT")
    elif target.port == 0:
        raise UsageError(f"port 0 of {target.shown} is none")
    given: dict[str, str] = {}
    for name, value in parse_qsl(options, keep_blank_values=True):
        if name not in OPTIONS[target.scheme]:
            known = ", ".join(sorted(OPTIONS[target.scheme])) or "none"
            raise UsageError(
                f"{target.shown} has no option `{name}`", help=f"options of {target.scheme}: {known}"
            )
        if name in given:
            raise UsageError(f"{target.shown} has option `{name}` twice")
        given[name] = value
    return Target(target.scheme, target.host, target.port, target.path, given)


def size(text: str, what: str) -> int:
    """Return bytes for a text like `100MB` or `1GiB`; decimal units as disks are sold, binary ones with an i."""
    found = re.fullmatch(r"([0-9]{1,9})\s*([A-Za-z]{0,3})", text, re.ASCII)
    if found is None or found[2].upper() not in _UNITS or int(found[1]) == 0:
        raise UsageError(f"{what} is no size", help="such as 500kB, 100MB or 1GiB")
    return int(found[1]) * _UNITS[found[2].upper()]


def _from_environment(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise UsageError(f"the environment variable {name} is empty or missing")
    return value


def _from_file(file: str) -> str:
    path = Path(file)
    try:
        if not path.is_file():  # a FIFO would be waited for
            raise UsageError("there is no such file, or it is no plain one", file=file)
        with path.open("rb") as handle:
            value = handle.read(_LONGEST_SECRET).decode("utf-8").strip()
    except (OSError, ValueError) as error:
        why = "it is no text" if isinstance(error, ValueError) else (error.strerror or str(error)).lower()
        raise UsageError(f"cannot read the secret: {why}", file=file) from None
    if not value:
        raise UsageError("the file is empty", file=file)
    return value
