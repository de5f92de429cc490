"""Puts the frames of a capture on an interface as fast as it can, or at a rate: `flood.py IF FILE PACKETS [RATE]`.

One process, no compiler: sendmmsg(2) by ctypes over the mapped file, on an AF_PACKET socket that goes around the queue
(PACKET_QDISC_BYPASS). The file is a pcap; when it ends it begins again. Prints one line of JSON: how many were sent,
how long it took, and its CPU seconds. Frames that the kernel refuses for want of room are sent again.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import socket
import struct
import sys
import time

_SOL_PACKET, _QDISC_BYPASS = 263, 20
_BATCH = 256


class _Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _Header(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class _Message(ctypes.Structure):
    _fields_ = [("header", _Header), ("sent", ctypes.c_uint32)]


def flood(interface: str, path: str, packets: int, rate: float = 0.0) -> dict[str, float]:
    """Send so many packets, at most `rate` a second if it is not 0; return what it took."""
    with open(path, "rb") as file:
        octets = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    base = ctypes.addressof(ctypes.c_char.from_buffer(octets))
    places, at = [], 24
    while at + 16 <= len(octets):
        size = struct.unpack_from("<I", octets, at + 8)[0]
        places.append((base + at + 16, size))
        at += 16 + size
    count = len(places)
    vectors = (_Vector * count)(*(_Vector(place, size) for place, size in places))
    messages = (_Message * count)()
    first, step = ctypes.addressof(vectors), ctypes.sizeof(_Vector)
    for number in range(count):
        messages[number].header.vectors, messages[number].header.count = first + number * step, 1
    send = ctypes.CDLL(None, use_errno=True).sendmmsg
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as out:
        out.setsockopt(_SOL_PACKET, _QDISC_BYPASS, 1)
        out.bind((interface, 0))
        place, size, sent, next_one = ctypes.addressof(messages), ctypes.sizeof(_Message), 0, 0
        began = time.perf_counter()
        while sent < packets:
            if rate:
                ahead = sent / rate - (time.perf_counter() - began)
                if ahead > 0.0005:
                    time.sleep(ahead)
            some = min(_BATCH, packets - sent, count - next_one)
            done = send(out.fileno(), ctypes.c_void_p(place + next_one * size), some, 0)
            if done < 0:
                if ctypes.get_errno() not in (105, 11):  # ENOBUFS, EAGAIN: the queue is full
                    raise OSError(ctypes.get_errno(), "sendmmsg")
                continue
            sent += done
            next_one = (next_one + done) % count
        seconds = time.perf_counter() - began
    times = os.times()
    return {"sent": sent, "seconds": seconds, "cpu": times.user + times.system}


if __name__ == "__main__":
    print(json.dumps(flood(sys.argv[1], sys.argv[2], int(sys.argv[3]), float((sys.argv[4:] or ["0"])[0]))))
