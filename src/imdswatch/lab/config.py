"""What a simulated IMDS is like: `Config`, and the TOML file that describes one.

    v1 = false                      # IMDSv1 answers 401
    v2 = true                       # false: /latest/api/token answers 404, as older imitations do
    hop_limit = 1                   # IP TTL of a token's answer
    keep_alive = true               # the real service closes after each answer
    account = "123456789012"        # or "000000000000": nobody shall take the credentials for real ones
    role = "fake-role"              # "": no role is attached
    lifetime = 21600                # seconds; a negative one: expired already
    identity = "signed"             # the published document of somebody's instance, with its genuine signatures
    [paths]
    "meta-data/tags/instance/Name" = "web-1"    # below every version; "" takes a path away

Unknown keys and values of the wrong kind are `UsageError`s with file and line. Frozen.
"""

from __future__ import annotations

import base64
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from imdswatch.errors import UsageError

ACCOUNTS = ("123456789012", "000000000000")
"""The accounts that fake credentials may claim: AWS's own example, and one that cannot be."""
_RANGES: Mapping[str, tuple[int, int]] = {"hop_limit": (1, 64), "lifetime": (-(10**9), 10**9)}
_CHOICES: Mapping[str, tuple[str, ...]] = {"account": ACCOUNTS, "identity": ("generated", "signed", "none")}
_SHAPES = {"role": r"[\w+=,.@-]{0,64}", "code": r"\w{1,64}", "mac": r"[0-9a-f]{2}(:[0-9a-f]{2}){5}"}
_SHAPE_OF_OTHERS = r"[ -~]{0,255}"  # a line of a header or a list


@dataclass(frozen=True, slots=True)
class Config:
    """One simulated instance and its metadata service; the defaults are what a careful owner's looks like."""

    enabled: bool = True
    v1: bool = True
    v2: bool = True
    extended: bool = True
    keep_alive: bool = False
    hop_limit: int = 1
    account: str = ACCOUNTS[0]
    role: str = "fake-role"
    code: str = "Success"
    lifetime: int = 21600
    identity: str = "generated"
    region: str = "us-east-1"
    availability_zone: str = "us-east-1a"
    availability_zone_id: str = "use1-az1"
    instance_id: str = "i-0fa4e0fa4e0fa4e00"
    instance_type: str = "t3.micro"
    private_ip: str = "10.0.0.66"
    hostname: str = "ip-10-0-0-66.ec2.internal"
    mac: str = "02:00:00:00:00:66"
    user_data: str = ""
    paths: Mapping[str, str] = field(default_factory=dict)

    @property
    def access_key_id(self) -> str:
        """A key id that decodes to the account (`imdswatch.account`) and says what it is."""
        number = (1 << 47) | (int(self.account) << 7)
        return f"ASIA{base64.b32encode(number.to_bytes(6) + b'....').decode()[:8]}FAKEFAKE"


def load(path: Path) -> Config:
    """Return the configuration that a TOML file describes; raises UsageError with the place of what is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise UsageError(
            f"cannot read the configuration: {(why or 'it failed').lower()}", file=str(path)
        ) from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        raise UsageError(f"no TOML: {error}", file=str(path), line=int(found[1]) if found else 0) from error
    check(table, text, str(path))
    return replace(Config(), **table)


def check(values: Mapping[str, Any], text: str = "", file: str = "") -> None:
    """Raise UsageError unless all values may stand in a `Config`; `text` and `file` are where they come from."""
    for key, value in values.items():
        wrong = _paths_fault(value) if key == "paths" else _fault(key, value)
        if wrong:
            there = (
                n
                for n, one in enumerate(text.split("\n"), 1)
                if re.match(rf"\s*\[?\s*{re.escape(key)}\b", one)
            )
            help = f"keys are {', '.join([*_known(), 'paths'])}" if file else ""
            raise UsageError(wrong, file=file, line=next(there, 0), help=help)


def _known() -> dict[str, type]:
    return {one.name: type(one.default) for one in fields(Config) if one.name != "paths"}


def _fault(key: str, value: Any) -> str:
    """Return what is wrong with a key and its value, or nothing."""
    known = _known()
    if key not in known:
        return f"there is no key `{key}`"
    if not _is(value, known[key]):
        return f"`{key}` must be {'text' if known[key] is str else known[key].__name__}"
    if key in _RANGES:
        least, most = _RANGES[key]
        if not least <= value <= most:
            return f"`{key}` must be from {least} to {most}"
    if key in _CHOICES and value not in _CHOICES[key]:
        return f"`{key}` must be one of {', '.join(_CHOICES[key])}"
    if (
        isinstance(value, str)
        and key != "user_data"
        and not re.fullmatch(_SHAPES.get(key, _SHAPE_OF_OTHERS), value, re.ASCII)
    ):
        return f"`{key}` has characters that its place in an answer cannot hold"
    return ""


def _is(value: Any, kind: type) -> bool:
    return type(value) is kind  # a bool is an int, but no number of seconds


def _paths_fault(value: Any) -> str:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        return "`paths` must be a table of paths and texts"
    wrong = next(
        (path for path in value if not re.fullmatch(r"(meta-data|dynamic)(/[\w.:=+@,-]+)+", path, re.ASCII)),
        None,
    )
    return "" if wrong is None else f"`{wrong}` is no path below meta-data/ or dynamic/"
