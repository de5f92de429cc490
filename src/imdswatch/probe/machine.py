"""What this host is, as far as it says whether it is an EC2 instance: reads the fields of `imdswatch.machine`.

Reads Linux sysfs and procfs below a root that tests may choose. Never raises: what cannot be read is unknown.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

from imdswatch.machine import DMI, Machine

__all__ = ["Machine", "machine"]

_LONGEST = 256


def machine(addresses: frozenset[str], root: Path = Path("/")) -> Machine:
    """Return what the files below a root say of this host; its addresses come from the network's side."""
    dmi = {name: _text(root / "sys/class/dmi/id" / name) for name in DMI}
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
