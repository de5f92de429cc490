"""A recorder on the span port: every frame, with its VLAN tag put back, as a capture that `imdswatch scan` reads.

The kernel takes the outer tag off a frame before any socket sees it and tells it beside (PACKET_AUXDATA, packet(7)).
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time

from imdswatch.lab.enclosure import Namespace

HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
"""The header of a capture of Ethernet frames, microseconds (the pcap draft of the IETF)."""
_SOL_PACKET, _AUXDATA = 263, 8
_SO_TIMESTAMPNS = 35
_VLAN_VALID, _TPID_VALID = 0x10, 0x40
_LONGEST = 262144
_PATIENCE = 5.0  # a client that is still sending does not keep us


class Sensor:
    """Records from the moment it is made until `stop` or `close`."""

    def __init__(self, space: Namespace, interface: str) -> None:
        with space:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self._socket.setsockopt(_SOL_PACKET, _AUXDATA, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            self._socket.bind((interface, 3))
        self._records: list[bytes] = []
        self._last = time.monotonic()
        self._stopped, self._latest = threading.Event(), 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._records)

    def quiet(self, seconds: float, longest: float) -> None:
        """Wait until nothing came for some time from now on, but no longer than `longest`."""
        begun = time.monotonic()
        while time.monotonic() < begun + longest and time.monotonic() - max(begun, self._last) < seconds:
            time.sleep(0.02)

    def stop(self) -> bytes:
        """Return the packets recorded, without the capture's header."""
        self.close()
        return b"".join(self._records)

    def close(self) -> None:
        """Stop recording when what has come is recorded; once is as good as twice."""
        self._latest = time.monotonic() + _PATIENCE
        self._stopped.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._socket], [], [], 0.05)
            # It ends when nothing is left, and no sooner: on a busy machine this thread may be late.
            if self._stopped.is_set() and (not ready or time.monotonic() > self._latest):
                return
            if not ready:
                continue
            frame, beside, _, _ = self._socket.recvmsg(_LONGEST, 256)
            seconds, nanoseconds = divmod(time.time_ns(), 10**9)
            for level, kind, octets in beside:
                if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                    seconds, nanoseconds = struct.unpack("=qq", octets[:16])
                elif (level, kind) == (_SOL_PACKET, _AUXDATA):
                    frame = with_tag(frame, octets)
            head = struct.pack("<IIII", seconds, nanoseconds // 1000, len(frame), len(frame))
            self._records.append(head + frame)
            self._last = time.monotonic()


def with_tag(frame: bytes, auxdata: bytes) -> bytes:
    """Return a frame with the tag that the kernel took off (struct tpacket_auxdata)."""
    status, _, _, _, _, tci, tpid = struct.unpack("=IIIHHHH", auxdata[:20])
    if not status & _VLAN_VALID:
        return frame
    kind = tpid if status & _TPID_VALID else 0x8100
    return frame[:12] + struct.pack(">HH", kind, tci) + frame[12:]
