"""Captures as people have them: cut, packed, piped, rotated, forbidden, endless. As in `test_bad_input`, findings are
kept, what was not read is told with its place, memory stays bounded and nothing is a bug of ours.

Also the options of `scan` that mean something for captures: --merge, --since, --each, --site, --jobs.
"""

from __future__ import annotations

import gzip
import io
import os
import signal
import socket
import struct
import subprocess
import tarfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

import frames as f
from commandline import Done, command, environment, scan
from dialogue_cases import ROLES, credentials, request, response
from patience import LONG, until_waiting_for

pytestmark = pytest.mark.slow  # part of `make test`, not of `make check`

CLEAN, FOUND, WRONG, SKIPPED = 0, 1, 2, 3
WHEN = 1_790_000_000
HEAD = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
ASKED = f.ethernet(f.ip4(f.tcp(b"", flags=f.SYN)))
OTHER = f.ethernet(f.ip4(f.udp(b"x" * 900, 40_000, 4500), 17, "10.0.1.9", "192.0.2.1"))


def records(sent: Iterable[bytes], start: float = WHEN, step: float = 0.01) -> bytes:
    out = bytearray()
    for number, data in enumerate(sent):
        seconds, fraction = divmod(round((start + number * step) * 1_000_000), 1_000_000)
        out += struct.pack("<IIII", seconds, fraction, len(data), len(data)) + data
    return bytes(out)


def dialogue(client: str = f.VICTIM, sport: int = 40112) -> list[bytes]:
    """Return a dialogue in which credentials are served: ten packets, the request is packet 4."""
    talk = f.Talk(client, sport=sport).handshake()
    return talk.ask(request("GET", ROLES + "role"), response(credentials())).close().sent


def hello(name: str, client: str = f.VICTIM, padding: int = 0) -> list[bytes]:
    """Return the first packets of a TLS connection to a name; with padding the hello takes two segments."""
    octets = name.encode()
    sni = struct.pack(">HHHBH", 0, len(octets) + 5, len(octets) + 3, 0, len(octets)) + octets
    extensions = struct.pack(">HH", 21, padding) + bytes(padding) + sni
    body = (
        b"\x03\x03"
        + bytes(32)
        + b"\x00\x00\x02\x13\x01\x01\x00"
        + struct.pack(">H", len(extensions))
        + extensions
    )
    record = b"\x01" + len(body).to_bytes(3) + body
    talk = f.Talk(client, "198.51.100.9", 40_500, 443).handshake()
    return talk.ask(b"\x16\x03\x01" + struct.pack(">H", len(record)) + record).sent


@pytest.fixture
def write(tmp_path: Path) -> object:
    def to(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    return to


def stages(done: Done) -> dict[str, str]:
    return {one["victim"]["ip"]: one["stage"] for one in done.of("finding")}


def test_it_is_read_whatever_it_is_called_and_packed_in(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    octets = HEAD + records(dialogue())
    box = io.BytesIO()
    with tarfile.open(fileobj=box, mode="w") as tar:
        info = tarfile.TarInfo("in/side")
        info.size = len(octets)
        tar.addfile(info, io.BytesIO(octets))
    for name, data, inside in (
        ("a.log", octets, ""),
        ("b", gzip.compress(octets), ""),
        ("c", box.getvalue(), "!in/side"),
    ):
        done = scan(tmp_path, write(name, data))
        assert (done.code, stages(done)) == (FOUND, {f.VICTIM: "credentials-served"})
        (evidence,) = done.of("finding")[0]["evidence"][:1]
        assert evidence["source"].endswith(name + inside)
        assert evidence["position"] == "packet 4"
        assert done.of("summary")[0]["records"] == 10


def test_from_a_pipe_and_from_a_named_pipe(tmp_path: Path) -> None:
    octets = HEAD + records(dialogue())
    assert stages(scan(tmp_path, "-", stdin=octets)) == {f.VICTIM: "credentials-served"}
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=lambda: pipe.write_bytes(octets), daemon=True).start()
    assert stages(scan(tmp_path, pipe)) == {f.VICTIM: "credentials-served"}


def test_a_capture_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    lonely = socket.socket(socket.AF_UNIX)
    lonely.bind(str(tmp_path / "x.pcap"))
    done = scan(tmp_path, tmp_path / "x.pcap", tmp_path / "gone.pcap")
    assert (done.code, sorted(done.skips)) == (SKIPPED, ["gone.pcap:", "x.pcap:"])
    lonely.close()


def test_what_comes_before_a_cut_is_judged(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    octets = HEAD + records([*dialogue(), OTHER])
    done = scan(tmp_path, write("x.pcap", octets[:-3]))
    assert (done.code, stages(done)) == (FOUND, {f.VICTIM: "credentials-served"})
    assert done.skips == {f"x.pcap:byte {len(octets) - len(OTHER) - 16}": "capture is cut short in packet 11"}
    quiet = HEAD + records([OTHER, OTHER])
    assert scan(tmp_path, write("y.pcap", quiet[:-1])).code == SKIPPED
    assert scan(tmp_path, write("z.pcap", quiet)).code == CLEAN


def test_a_packet_that_claims_a_gigabyte(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    lie = struct.pack("<IIII", WHEN, 0, 1 << 30, 1 << 30)
    done = scan(tmp_path, write("x.pcap", HEAD + records([ASKED]) + lie + records(dialogue("10.0.1.6"))))
    assert stages(done) == {f.VICTIM: "attempted", "10.0.1.6": "credentials-served"}
    ((place, reason),) = done.skips.items()
    assert place == f"x.pcap:byte {24 + 16 + len(ASKED)}"
    assert reason.startswith("packet 2 claims to be 1073741824 bytes long; 16 bytes are passed over")


def _repeated(piece: bytes, size: int, first: bytes = b"", last: bytes = b"") -> Iterator[bytes]:
    yield first
    chunk = piece * max(1, (1 << 20) // len(piece))
    for _ in range(size // len(chunk)):
        yield chunk
    yield last


def _fed(tmp_path: Path, pieces: Iterator[bytes], *options: object) -> Done:
    reading, writing = os.pipe()

    def work() -> None:
        with open(writing, "wb") as pipe:
            for piece in pieces:
                pipe.write(piece)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        return scan(tmp_path, "-", *options, stdin=reading)
    finally:
        os.close(reading)


@pytest.mark.parametrize(
    "kind", ["plain", "empty packets", "half requests", "syn flood", "sections", "never whole", "one flow"]
)
def test_a_long_hostile_capture_takes_bounded_memory_and_time(kind: str, tmp_path: Path) -> None:
    """What is repeated is a thousand packets of a kind that somebody has to remember, look up or put together."""
    served = records(dialogue("10.0.1.6"))
    pieces = {
        "plain": [OTHER] * 1000,
        "empty packets": [b""] * 1000,
        "half requests": [
            f.Talk("10.0.1.7", "192.0.2.7", n).packet(0, b"GET /lat", f.ACK) for n in range(1000)
        ],
        "syn flood": [
            f.Talk(f"10.1.{n >> 8}.{n & 255}", sport=n).packet(0, flags=f.SYN) for n in range(1, 1001)
        ],
        "never whole": [f.ethernet(f.ip4(b"x" * 64, 17, ident=n, more=True)) for n in range(1000)],
        "one flow": [f.Talk("10.0.1.7", "192.0.2.7", 9).packet(0, b"GET /" + b"x" * 900, f.ACK)] * 1000,
    }
    if kind == "sections":
        interface = struct.pack("<IIHHII", 1, 20, 1, 0, 0, 20)
        piece = bytes.fromhex("0a0d0d0a1c0000004d3c2b1a01000000ffffffffffffffff1c000000") + interface
        done = _fed(tmp_path, _repeated(piece, 3 << 20))
        assert done.code == CLEAN
        return
    size = 32 << 20 if kind in ("plain", "one flow") else 3 << 20
    done = _fed(tmp_path, _repeated(records(pieces[kind]), size, HEAD, served))
    assert done.code == FOUND
    assert stages(done)["10.0.1.6"] == "credentials-served"
    assert done.seconds < 60


def test_a_bomb_of_a_capture_is_defused_after_its_findings(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    inner = gzip.compress(HEAD + records([ASKED])) + gzip.compress(records([bytes(60_000)] * 300), 9) * 75
    done = scan(tmp_path, write("x.pcap.gz", gzip.compress(inner, 9)))
    assert (done.code, stages(done)) == (FOUND, {f.VICTIM: "attempted"})
    assert any("decompression bomb" in reason for reason in done.skips.values())


def test_packets_of_an_unknown_link_are_told_once_for_each_interface(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    wireless = HEAD[:20] + struct.pack("<I", 127)
    done = scan(tmp_path, write("x.pcap", wireless + records([ASKED] * 5)))
    assert done.code == SKIPPED
    assert done.skips == {
        "x.pcap:packet 1": "packets of link type 127 (IEEE802_11_RADIOTAP) cannot be read; "
        "those of this interface are passed over"
    }


def test_an_interrupt_reports_what_came_so_far(tmp_path: Path) -> None:
    words = command("scan", "-", "--format", "ndjson")
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
    assert process.stdin is not None
    process.stdin.write(HEAD + records(dialogue())[:-5])
    process.stdin.flush()
    until_waiting_for(process.pid, process.stdin.fileno())
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=LONG)
    assert (process.returncode, b"credentials-served" in out, b'skipped","source' in out) == (
        FOUND,
        True,
        False,
    )


# --- options ----------------------------------------------------------------------------------------------------------


def _pieces(sent: Sequence[bytes], write, names: Sequence[str]) -> list[Path]:  # type: ignore[no-untyped-def]
    """Write every packet in turn to one of the files: no file has a whole connection."""
    out = {name: bytearray(HEAD) for name in names}
    for number, data in enumerate(sent):
        out[names[number % len(names)]] += records([data], WHEN + number * 0.01)
    return [write(name, bytes(octets)) for name, octets in out.items()]


def test_merge_reads_sensors_that_saw_half_of_it_each_as_one(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    talk = f.Talk(server="192.0.2.7", dport=8080).handshake()
    asked = request("GET", ROLES + "role", host=None)
    sent = talk.ask(asked, response(credentials()), size=20).close().sent
    paths = _pieces(sent, write, ["a.pcap", "b.pcap", "c.pcap"])
    alone, merged = scan(tmp_path, *paths), scan(tmp_path, *paths, "--merge")
    assert (alone.code, stages(merged)) == (CLEAN, {f.VICTIM: "credentials-served"})
    evidence = merged.of("finding")[0]["evidence"][0]
    assert (Path(evidence["source"]).name, evidence["position"]) == (
        "a.pcap",
        "packet 2",
    )  # the fourth packet of all
    summary = merged.of("summary")[0]
    assert (summary["records"], summary["sources"]) == (len(sent), 3)
    assert summary["bytes"] == alone.of("summary")[0]["bytes"] == sum(path.stat().st_size for path in paths)


def test_merge_reads_a_rotated_set_in_any_order_beside_logs(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    talk = f.Talk(server="192.0.2.7", dport=8080).handshake()
    sent = talk.ask(request("GET", ROLES + "role", host=None), response(credentials()), size=20).close().sent
    half = len(sent) // 2
    write("in/z.pcap", HEAD + records(sent[:half]))
    write("in/a.pcap.gz", gzip.compress(HEAD + records(sent[half:], WHEN + 60)))
    write("in/m.log", b'{"ts":1,"uid":"C","id.orig_h":"10.0.0.3","id.orig_p":1,"id.resp_h":"169.254.169.254",'
          b'"id.resp_p":80,"method":"GET","host":"169.254.169.254","uri":"/latest/"}\n')  # fmt: skip
    write("in/b.pcap", HEAD)
    write("in/c.pcap", (HEAD + records([ASKED]))[:-1])
    apart, done = (scan(tmp_path, tmp_path / "in", *how, "--jobs", 2) for how in ([], ["--merge"]))
    assert done.of("summary")[0]["bytes"] == apart.of("summary")[0]["bytes"]
    assert stages(done) == {f.VICTIM: "credentials-served", "10.0.0.3": "attempted"}
    assert list(done.skips.values()) == ["capture is cut short in packet 1"]
    alone = scan(tmp_path, tmp_path / "in")
    assert done.of("summary")[0]["bytes"] == alone.of("summary")[0]["bytes"]


def test_link_types_that_cannot_be_read_are_told_in_the_order_of_their_packets(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    section = bytes.fromhex("0a0d0d0a1c0000004d3c2b1a01000000ffffffffffffffff1c000000")
    count = 40
    described = b"".join(struct.pack("<IIHHII", 1, 20, 147, 0, 0, 20) for _ in range(count))
    sent = b"".join(struct.pack("<IIIIIII4xI", 6, 36, n, 0, 0, 4, 4, 36) for n in range(count))
    done = scan(tmp_path, write("x.pcapng", section + described + sent))
    assert [one["position"] for one in done.of("skipped")] == [f"packet {n + 1}" for n in range(count)]


def test_since_each_site_and_jobs(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    path = write("x.pcap", HEAD + records([ASKED, ASKED[:-20] + b"\x01" * 20], step=3600))
    twice = f.Talk(sport=40_999).packet(0, flags=f.SYN)
    path = write("x.pcap", HEAD + records([ASKED, twice], step=3600))
    assert scan(tmp_path, path).of("finding")[0]["count"] == 2
    assert len(scan(tmp_path, path, "--each").of("finding")) == 2
    assert scan(tmp_path, path, "--since", "2026-09-21T14:30:00Z").of("finding")[0]["count"] == 1
    site = write("site.toml", b'[site]\nname = "x"\non_premises = ["192.168.0.0/16"]\n')
    assert scan(tmp_path, path, "--site", site).code == CLEAN
    more = [
        write(f"in/{n}.pcap", HEAD + records([OTHER] * 2000 + dialogue(f"10.0.2.{n}"))) for n in range(1, 5)
    ]
    for jobs in (1, 2):
        assert len(scan(tmp_path, *more, "--jobs", jobs).of("finding")) == 4


@pytest.mark.parametrize("padding", [0, 2000])
def test_use_of_served_credentials_is_looked_for_in_captures(padding: int, tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    used, others = (
        hello("sts.amazonaws.com", padding=padding),
        hello("sts.amazonaws.com", "10.0.1.8", padding),
    )
    octets = HEAD + records([*dialogue(), *used, *others])
    done = scan(tmp_path, write("x.pcap", octets))
    assert stages(done) == {f.VICTIM: "credentials-used"}
    # Before they were served it means nothing, and of a pipe that cannot be read again it is said.
    assert stages(scan(tmp_path, write("y.pcap", HEAD + records([*used, *dialogue()])))) == {
        f.VICTIM: "credentials-served"
    }
    piped = scan(tmp_path, "-", stdin=octets)
    assert stages(piped) == {f.VICTIM: "credentials-served"}
    assert list(piped.skips.values()) == [
        "cannot be read twice, so imds-credentials-used was not looked for in it"
    ]
