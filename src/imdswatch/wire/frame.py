"""One captured frame, as the container gave it, before anybody decoded an octet of it.

A frame is what capture files have in common, whatever their format: a number, a time, the octets kept and the octets
there were. The link type says how the octets begin (https://www.tcpdump.org/linktypes.html).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a capture: `number` counts from 1 in its capture, `time` is seconds since 1970 where known."""

    number: int
    time: float | None
    data: bytes
    length: int  # octets on the wire: more than len(data) where the snapshot length cut the frame
    linktype: int
