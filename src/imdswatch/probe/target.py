"""Where a question goes: an endpoint in a URL, and the interface it leaves by. Pure but for reading a list of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from imdswatch import address
from imdswatch.errors import UsageError

_HTTP = 80
MOST = 4096
"""Endpoints in one list."""


@dataclass(frozen=True, slots=True)
class Target:
    """One address to question; `interface` None leaves the way to the routing table, as AWS tools do."""

    host: str
    port: int = _HTTP
    prefix: str = ""
    interface: str | None = None

    @property
    def authority(self) -> str:
        """Host and port as in a URL and in the Host header: without the usual port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _HTTP else f"{host}:{self.port}"

    @property
    def name(self) -> str:
        """How a report calls the endpoint: its address, or its URL where it is no plain address."""
        return (
            self.host if self.port == _HTTP and not self.prefix else f"http://{self.authority}{self.prefix}"
        )

    @property
    def is_custom(self) -> bool:
        """Whether this is not one of the two addresses of the Instance Metadata Service."""
        return self.host not in address.ENDPOINTS


DEFAULTS = (Target(address.ENDPOINT_V4), Target(address.ENDPOINT_V6))


def targets(words: Iterable[str]) -> tuple[Target, ...]:
    """Return the targets that URLs and @FILE words name, each once, in order; raises UsageError."""
    found: dict[Target, None] = {}
    for word in words:
        if not word.startswith("@"):
            found[parse(word)] = None
            continue
        for number, line in enumerate(_lines(word[1:]), 1):
            text = line.partition("#")[0].strip()
            if text:
                found[parse(text, word[1:], number)] = None
            if len(found) > MOST:
                raise UsageError(
                    f"more than {MOST} endpoints", file=word[1:], line=number, help="split the list"
                )
    return tuple(found)


def parse(url: str, file: str = "", line: int = 0) -> Target:
    """Return the target of a URL, or of a bare host; raises UsageError."""
    wrong = UsageError(
        f"`{url}` is no endpoint",
        file=file,
        line=line,
        help="write it as http://10.0.0.5:1338 or http://[fd00::5]",
    )
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme == "https":
        help = "the Instance Metadata Service speaks plain HTTP, and AWS tools ask it so"
        raise UsageError(f"`{url}` is an https endpoint", file=file, line=line, help=help)
    if parts.scheme != "http" or not host or parts.username or parts.query or parts.fragment or port == 0:
        raise wrong
    if any(one <= " " or one > "~" for one in url):
        raise wrong
    prefix = parts.path.rstrip("/")
    return Target(address.parse_host(host) or host.lower(), port or _HTTP, prefix)


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"cannot read the list of endpoints: {reason}", file=file) from error
