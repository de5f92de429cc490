"""Writes the derived captures of this folder anew, the same octets every time: `derive.py [FOLDER]`.

`derive_carriers.py`, `derive_streams.py`, `derive_claims.py` and `derive_containers.py` say what is in them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import derive_carriers
import derive_claims
import derive_containers
import derive_streams
from packets import pcap, timed, unpcap

HERE = Path(__file__).parent


def files() -> Iterator[tuple[str, bytes]]:
    """Yield every derived file, by name."""
    four = unpcap((HERE / "recorded" / "boto3-v2.pcap").read_bytes())
    six = unpcap((HERE / "recorded" / "boto3-v6.pcap").read_bytes())
    for name, data in derive_carriers.captures(four, six):
        yield f"{name}.pcap", data
    for part in (derive_streams, derive_claims):
        for name, frames in part.captures():
            yield f"{name}.pcap", pcap(timed(frames))
    yield from derive_containers.captures(four)


def main() -> None:
    """Write all files."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "derived"
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
