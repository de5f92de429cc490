"""One variable or key as a file sets it, and the environment that several of them make.

A value is never shown as it stands: `shown` gives what may be printed. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from imdswatch.redact import MARK, redact

SWITCH = "AWS_EC2_METADATA_DISABLED"

_TELLING = re.compile(
    r"AWS_EC2_METADATA_\w+|AWS_IMDS_\w+|AWS_METADATA_\w+|AWS_(?:DEFAULT_)?(?:REGION|PROFILE)|AWS_DEFAULTS_MODE"
    r"|AWS_EXECUTION_ENV|AWS_SDK_LOAD_CONFIG|AWS_(?:CONFIG|SHARED_CREDENTIALS)_FILE|ECS_EXTERNAL|(?i:no_proxy)"
    r"|listener|Identity\.ConsumptionOrder|ManagedInstanceID|IdentityType|datasource_list|strict_id|NOZEROCONF|neighbour"
    r"|(?:unreachable |local )?(?:route|address)[\d./ ]*|nftables [\w-]+ [\w-]+|iptables OUTPUT|mount|AWS_DEFAULTS_MODE"
    r"|(?:com\.amazonaws\.sdk|aws)\.disableEc2Metadata"
    r"|ec2_metadata_\w+|disable_ec2_metadata|imds_use_ipv6|defaults_mode|region|credential_source|source_profile"
)
"""Names whose values say something about IMDS and are no secrets; of all others only that they are set."""
_ADDRESS = re.compile(r"(?i)\w+_proxy|\w+_ENDPOINT\w*|ec2_metadata_service_endpoint")
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Setting:
    """A name and its value, with the place; a value of None is one that only a running shell knows."""

    name: str
    value: str | None = field(repr=False)
    path: str
    line: int = 0

    @property
    def shown(self) -> str:
        """What may be printed of it: the value where its name says that it is no secret, else that it is set."""
        if self.value is None:
            return f"{self.name}=(computed)"
        if _ADDRESS.fullmatch(self.name) and "METADATA_SERVICE_ENDPOINT_MODE" not in self.name:
            return f"{self.name}={address_shown(self.value)}"
        if not _TELLING.fullmatch(self.name):
            return f"{self.name} is set" if self.value else f"{self.name} is empty"
        value = self.value if len(self.value) <= _LONGEST else self.value[:_LONGEST] + "…"
        quoted = value if re.fullmatch(r"[\w./:@,+*-]+", value) else f"«{value}»"
        return f"{self.name}={redact(quoted)}"


Environment = Mapping[str, Setting]
"""What a process gets: the last setting of each name."""


def address_shown(url: str) -> str:
    """Return scheme, host and port of a URL: its user, password, path and query may be secrets."""
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return MARK
    scheme = f"{parts.scheme}://" if parts.scheme else ""
    name = f"[{host}]" if ":" in host else host
    return redact(f"{scheme}{name}{f':{port}' if port else ''}")[: 2 * _LONGEST]


def value_of(environment: Environment, *names: str) -> str:
    """Return the value of the first of the names that is set and not empty; "" where none is."""
    setting = first(environment, *names)
    return setting.value or "" if setting else ""


def first(environment: Environment, *names: str) -> Setting | None:
    """Return the first of the names that is set to something."""
    for name in names:
        setting = environment.get(name)
        if setting is not None and setting.value != "":
            return setting
    return None
