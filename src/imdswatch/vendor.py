"""Who made the network card with this MAC address, from the IEEE's list as the library netaddr carries it.

Pure. The list is read at the first question (netaddr is imported only then); answers are remembered (bounded). A
locally administered or group address names no maker (IEEE 802-2014 8.2), and nothing is guessed for it.
"""

from __future__ import annotations

from functools import lru_cache

_GROUP_OR_LOCAL = 0x03


@lru_cache(maxsize=1 << 12)
def of(mac: str) -> str | None:
    """Return the organisation that a MAC address is registered to; None if there is none, or it is no MAC address."""
    try:
        octets = bytes.fromhex(mac.replace(":", ""))
    except ValueError:
        return None
    if len(octets) != 6 or octets[0] & _GROUP_OR_LOCAL or not any(octets):
        return None
    # Late: its index takes longer to read than a small capture.
    from netaddr import EUI, NotRegisteredError

    try:
        return str(EUI(mac).oui.registration().org) or None
    except NotRegisteredError:
        return None
