"""What this host is, as far as it says whether it is an EC2 instance: DMI, hypervisor, addresses, boot time.

Reads Linux sysfs and procfs below a root that tests may choose. Never raises: what cannot be read is unknown.
Sources: SSM Agent `ec2detector`, cloud-init `tools/ds-identify` (which fields tell EC2).
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_DMI = (
    "sys_vendor",
    "product_name",
    "board_asset_tag",
    "chassis_asset_tag",
    "chassis_vendor",
    "bios_vendor",
    "product_uuid",
)
_INSTANCE = re.compile(r"i-[0-9a-f]{8,17}\Z")
# The second form is the first one as SMBIOS 2.4 orders its octets.
_EC2_UUID = re.compile(r"(?:ec2[0-9a-f]{5}|[0-9a-f]{4}2[0-9a-f]ec)(?:-|\Z)", re.IGNORECASE)
_LONGEST = 256


@dataclass(frozen=True, slots=True)
class Machine:
    """The facts; empty where unknown. `addresses` are this host's own, `booted` is seconds since 1970."""

    dmi: Mapping[str, str] = field(default_factory=dict)
    hypervisor_uuid: str = ""
    hypervisor_version: str = ""
    addresses: frozenset[str] = frozenset()
    host: str = ""
    booted: float | None = None

    @property
    def is_amazon(self) -> bool | None:
        """Whether the firmware says that this is an EC2 instance; None where it says nothing."""
        vendor = self.dmi.get("sys_vendor", "")
        if vendor == "Amazon EC2" or self.hypervisor_version.endswith(".amazon"):
            return True
        if vendor == "Xen" and (
            _EC2_UUID.match(self.hypervisor_uuid) or _EC2_UUID.match(self.dmi.get("product_uuid", ""))
        ):
            return True
        return False if vendor or self.dmi.get("product_name") else None

    @property
    def instance_id(self) -> str | None:
        """The instance id that Nitro writes into the board's asset tag."""
        tag = self.dmi.get("board_asset_tag", "")
        return tag if self.is_amazon and _INSTANCE.match(tag) else None

    @property
    def shown(self) -> str:
        """What the firmware calls this host, for a sentence."""
        return " ".join(filter(None, (self.dmi.get("sys_vendor"), self.dmi.get("product_name")))) or "unknown"


def machine(addresses: frozenset[str], root: Path = Path("/")) -> Machine:
    """Return what the files below a root say of this host; its addresses come from the network's side."""
    dmi = {name: _text(root / "sys/class/dmi/id" / name) for name in _DMI}
    uptime = _text(root / "proc/uptime").split(" ")[0]
    return Machine(
        dmi={name: text for name, text in dmi.items() if text},
        hypervisor_uuid=_text(root / "sys/hypervisor/uuid"),
        hypervisor_version=_text(root / "sys/hypervisor/version/extra"),
        addresses=addresses,
        host=_text(root / "proc/sys/kernel/hostname"),
        booted=time.time() - float(uptime) if re.fullmatch(r"[0-9]{1,10}(?:\.[0-9]+)?", uptime) else None,
    )


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST).decode("utf-8", "replace").strip("\0 \t\r\n")
    except OSError:
        return ""
