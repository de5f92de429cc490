"""The kernel's filter lets through what a sensor must see, judged beside filters that tcpdump made of the same words.

tests/data/bpf holds what `tcpdump -ddd` printed (Debian 12, libpcap 1.10.3), each with its expression; both run in
`bpf_machine`, over the corpus, over random traffic, and over frames made here.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import pytest

import frames as f
import wires
from bpf_machine import run
from capture_mixes import mix
from imdswatch.read.bpf import Instruction
from imdswatch.read.sieve import ETHERNET, RAW, everything, sieve
from test_capture_paths import CORPUS

PROGRAMS = sorted((Path(__file__).parent / "data" / "bpf").glob("*.txt"))


def accepts(data: bytes, program: tuple[Instruction, ...] = sieve(ETHERNET)) -> bool:
    return run(program, data) > 0


def _tcpdump(path: Path) -> list[Instruction]:
    _, count, *lines = path.read_text().splitlines()
    program = [tuple(map(int, line.split())) for line in lines]
    assert len(program) == int(count)
    return program  # type: ignore[return-value]


@cache
def _traffic() -> tuple[bytes, ...]:
    found: list[bytes] = []
    for path in CORPUS:
        try:
            found += [frame.data for frame in wires.pcap(path)]
        except ValueError:
            continue
    chance = random.Random(20251008)
    for _ in range(60):
        found += mix(chance)
    return tuple(found)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_it_lets_through_what_tcpdump_does(path: Path) -> None:
    wanted, seen = _tcpdump(path), 0
    for data in _traffic():
        if run(wanted, data):
            seen += 1
            assert accepts(data), data.hex()
    assert seen, "the traffic holds none of it"


def test_most_of_other_traffic_stays_out() -> None:
    """What is accepted is IMDS, what configures hosts, or what carries packets; an office has little of it."""
    chance = random.Random(7)
    office = [
        f.ethernet(
            f.ip4(f.tcp(chance.randbytes(chance.randrange(1400)), sport=443, dport=50_000), dst="10.0.0.9")
        )
        for _ in range(2000)
    ]
    assert sum(map(accepts, office)) == 0


WEB = "10.0.0.9"
PASSED = {
    "syn": f.ip4(f.tcp(flags=f.SYN)),
    "answer": f.ip4(f.tcp(b"HTTP/1.1 200 OK\r\n\r\n", sport=80, dport=40112), src=f.ENDPOINT, dst=f.VICTIM),
    "later fragment": f.ip4(b"x" * 64, offset=1480),
    "options": f.ip4(f.tcp(b"CONNECT 169.254.169.254:80 HTTP/1.1\r\n"), dst=WEB, options=b"\x01\x01\x01\x00"),
    "put": f.ip4(f.tcp(b"PUT http://169.254.169.254/latest/api/token HTTP/1.1\r\n"), dst=WEB),
    "upper case": f.ip4(f.tcp(b"GET HTTP://2852039166/ HTTP/1.1\r\n"), dst=WEB),
    "ipv6 host": f.ip4(f.tcp(b"GET http://[fd00:ec2::254]/latest/ HTTP/1.1\r\n"), dst=WEB),
    "by name": f.ip4(f.tcp(b"GET http://instance-data/latest/ HTTP/1.1\r\n"), dst=WEB),
    "custom endpoint": f.ip4(f.tcp(b"PUT /latest/api/token HTTP/1.1\r\n", dport=8080), dst=WEB),
    "double slash": f.ip4(f.tcp(b"GET //latest/meta-data HTTP/1.1\r\n", dport=8080), dst=WEB),
    "answer of a proxy": f.ip4(f.tcp(b"HTTP/1.1 200 OK\r\n", sport=3128), dst=WEB),
    "old answer": f.ip4(f.tcp(b"HTTP/1.0 403 Forbidden\r\n", sport=8080), dst=WEB),
    "document": f.ip4(f.tcp(b'{\n  "Code" : "Success",', sport=3128), dst=WEB),
    "document in a line": f.ip4(f.tcp(b'{"AccessKeyId":"ASIAFAKE', sport=3128), dst=WEB),
    "dated": f.ip4(f.tcp(b"GET /2021-07-15/meta-data HTTP/1.1\r\n", dport=8080), dst=WEB),
    "dhcp": f.ip4(f.udp(b"x" * 40, sport=67, dport=68), protocol=17, src="10.0.0.1", dst=WEB),
    "vxlan": f.ip4(f.udp(b"x" * 40, sport=9999, dport=4789), protocol=17, src="10.0.0.1", dst=WEB),
    "erspan": f.ip4(f.gre(b"x" * 40, 0x88BE), protocol=47, src="10.0.0.1", dst=WEB),
    "lookup": f.ip4(
        f.udp(bytes.fromhex("0001010000010000000000000d") + b"Instance-Data\x03ec2\0\0\x01\0\x01", dport=53),
        protocol=17, dst=WEB,
    ),
    "redirect": f.ip4(f.icmp(5, 1), protocol=1, src="10.0.0.1", dst=WEB),
    "refused": f.ip4(f.icmp(3, 13, body=f.ip4(f.tcp(flags=f.SYN))), protocol=1, src="10.0.0.1", dst=WEB),
}  # fmt: skip
STOPPED = {
    "web": f.ip4(f.tcp(b"GET /index.html HTTP/1.1\r\n"), dst=WEB),
    "other answer": f.ip4(f.tcp(b"HTTP/2.0 200 OK\r\n", sport=3128), dst=WEB),
    "other document": f.ip4(f.tcp(b'{"name":"x"}', sport=3128), dst=WEB),
    "proxied web": f.ip4(f.tcp(b"GET http://www.example.com/ HTTP/1.1\r\n"), dst=WEB),
    "handshake": f.ip4(f.tcp(flags=f.SYN), dst=WEB),
    "tls": f.ip4(f.tcp(b"\x16\x03\x01\x02\x00\x01", dport=443), dst=WEB),
    "other lookup": f.ip4(
        f.udp(bytes.fromhex("0001010000010000000000000d") + b"other-machine\x03ec2\0\0\x01\0\x01", dport=53),
        protocol=17, dst=WEB,
    ),
    "quic": f.ip4(f.udp(b"x" * 1200, dport=443), protocol=17, dst=WEB),
    "ping": f.ip4(f.icmp(8, 0), protocol=1, dst=WEB),
    "refused elsewhere": f.ip4(
        f.icmp(3, 1, body=f.ip4(f.tcp(flags=f.SYN), dst=WEB)), protocol=1, src=WEB, dst="10.0.0.1"
    ),
    "fragment": f.ip4(b"GET /latest/ HTTP", offset=1480, dst=WEB),
    "other link-local": f.ip4(f.tcp(flags=f.SYN), dst="169.254.169.253"),
    "nothing": b"",
}  # fmt: skip
TAGS = ((), ((0x8100, 42),), ((0x88A8, 100), (0x8100, 42)))


@pytest.mark.parametrize("tags", TAGS, ids=lambda tags: f"{len(tags)} tags")
@pytest.mark.parametrize("name", PASSED)
def test_passed(name: str, tags: tuple[tuple[int, int], ...]) -> None:
    assert accepts(f.ethernet(PASSED[name], vlans=tags))
    assert tags or accepts(PASSED[name], sieve(RAW))


@pytest.mark.parametrize("tags", TAGS, ids=lambda tags: f"{len(tags)} tags")
@pytest.mark.parametrize("name", STOPPED)
def test_stopped(name: str, tags: tuple[tuple[int, int], ...]) -> None:
    assert not accepts(f.ethernet(STOPPED[name], vlans=tags, pad=False))
    assert not accepts(STOPPED[name], sieve(RAW))


def test_ipv6() -> None:
    solicited = bytes(4) + bytes.fromhex("fd000ec2000000000000000000000254")
    advertised = b"\x86\0\0\0" + bytes(12)
    passed = [
        f.ip6(f.tcp(flags=f.SYN)),
        f.ip6(b"\x87\0\0\0" + solicited, protocol=58, dst="ff02::1:ff00:254"),
        f.ip6(b"\x88\0\0\0" + solicited, protocol=58, src="fd00:ec2::254", dst="fe80::1"),
        f.ip6(advertised, protocol=58, src="fe80::1", dst="ff02::1"),
        f.ip6(
            b"\x01\x01\0\0\0\0\0\0" + f.ip6(f.tcp(flags=f.SYN)), protocol=58, src="fe80::1", dst="2001:db8::5"
        ),
        f.ip6(f.extension(b"x" * 40, 6), protocol=60, dst="2001:db8::9"),
        f.ip6(f.tcp(b"GET /latest/meta-data HTTP/1.1\r\n"), dst="2001:db8::9"),
    ]
    stopped = [
        f.ip6(f.tcp(flags=f.SYN), dst="fd00:ec2::253"),
        f.ip6(b"\x87\0\0\0" + solicited[:-1] + b"\x53", protocol=58, dst="ff02::1:ff00:253"),
        f.ip6(
            b"\x01\x01\0\0\0\0\0\0" + f.ip6(b"", dst="2001:db8::9"),
            protocol=58,
            src="fe80::1",
            dst="2001:db8::5",
        ),
        f.ip6(f.udp(b"x" * 40, dport=443), protocol=17, dst="2001:db8::9"),
    ]
    assert [accepts(f.ethernet(one, f.IPV6)) for one in passed + stopped] == [True] * 7 + [False] * 4
    assert [accepts(one, sieve(RAW)) for one in passed + stopped] == [True] * 7 + [False] * 4


def test_arp() -> None:
    known, other = ("02:00:00:00:00:01", f.ENDPOINT), ("02:00:00:00:00:02", "10.0.0.1")
    assert accepts(f.ethernet(f.arp(1, other, known), f.ARP))
    assert accepts(f.ethernet(f.arp(2, known, other), f.ARP))
    assert not accepts(f.ethernet(f.arp(2, other, other), f.ARP))


def test_hosts_that_were_served_credentials() -> None:
    of_hosts = sieve(ETHERNET, ["10.0.1.5", "2001:db8::5", "no address", "02:00:00:00:00:05"])
    hello, web = b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n"
    for payload in (hello, web, b"CONNECT sts.amazonaws.com:443 HTTP/1.1\r\n"):
        assert accepts(f.ethernet(f.ip4(f.tcp(payload), dst=WEB)), of_hosts)
        assert accepts(f.ethernet(f.ip6(f.tcp(payload), dst="2001:db8::9"), f.IPV6), of_hosts)
    for packet in (f.ip4(f.tcp(hello), src="10.0.1.6", dst=WEB), f.ip4(f.tcp(b"\x17\x03\x03"), dst=WEB)):
        assert not accepts(f.ethernet(packet), of_hosts)
    assert all(accepts(f.ethernet(packet), of_hosts) for packet in PASSED.values())
    assert not any(
        accepts(f.ethernet(STOPPED[name], pad=False), of_hosts)
        for name in STOPPED
        if name not in ("web", "proxied web", "tls")
    )


def test_hosts_of_which_one_asked_the_other() -> None:
    pairs = sieve(ETHERNET, [], [("10.0.1.5", WEB), ("10.0.1.6", "10.0.0.8"), ("2001:db8::5", "2001:db8::9")])
    answer, more = f.tcp(b"the rest of an answer", sport=3128, dport=40112), f.tcp(b"x")
    known = [
        f.ethernet(f.ip4(answer, src=WEB, dst="10.0.1.5")),
        f.ethernet(f.ip4(more, src="10.0.1.5", dst=WEB)),
        f.ethernet(f.ip4(more, src="10.0.0.8", dst="10.0.1.6"), vlans=[(0x8100, 1)]),
        f.ethernet(f.ip6(answer, src="2001:db8::9", dst="2001:db8::5"), f.IPV6),
    ]
    others = [
        f.ethernet(f.ip4(answer, src=WEB, dst="10.0.1.6")),
        f.ethernet(f.ip4(answer, src="10.0.0.7", dst="10.0.1.5")),
        f.ethernet(f.ip6(answer, src="2001:db8::8", dst="2001:db8::5"), f.IPV6),
    ]
    assert [accepts(frame, pairs) for frame in known + others] == [True] * 4 + [False] * 3
    assert not any(accepts(frame) for frame in known + others)
    assert all(accepts(f.ethernet(packet), pairs) for packet in PASSED.values())
    assert not any(
        accepts(f.ethernet(packet, pad=False), pairs)
        for packet in STOPPED.values()
        if packet[12:20] not in (f.ip4(b"", dst=WEB)[12:20],)
    )


def test_everything() -> None:
    assert all(accepts(data, everything()) for data in (b"", *STOPPED.values()))
