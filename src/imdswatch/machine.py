"""What a host says it is, as far as that tells whether it is an EC2 instance: DMI, hypervisor, addresses, boot time.

Pure. Sources: SSM Agent `ec2detector`, cloud-init `tools/ds-identify` (which fields tell EC2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

DMI = (
    "sys_vendor",
    "product_name",
    "board_asset_tag",
    "chassis_asset_tag",
    "chassis_vendor",
    "bios_vendor",
    "product_uuid",
)
"""The names in /sys/class/dmi/id that tell a cloud."""
_INSTANCE = re.compile(r"i-[0-9a-f]{8,17}\Z")
# The second form is the first one as SMBIOS 2.4 orders its octets.
_EC2_UUID = re.compile(r"(?:ec2[0-9a-f]{5}|[0-9a-f]{4}2[0-9a-f]ec)(?:-|\Z)", re.IGNORECASE)


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
