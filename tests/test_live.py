"""What a sensor on an interface goes through: tags, tunnels, links that come and go, loss, clocks, open dialogues."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime

import pytest

import frames as f
import wires
from imdswatch.errors import UsageError
from imdswatch.finding import STAGES
from imdswatch.read.live import Live
from imdswatch.read.ring import Captured
from imdswatch.read.sieve import everything, sieve
from imdswatch.scan.text import Outcome
from imdswatch.watch.live import LiveFeed
from patience import LONG, until
from test_capture_paths import FOLDER
from test_live_corpus import judgement, shown

pytestmark = wires.NEEDS_ROOT
SYN = f.ip4(f.tcp(flags=f.SYN))


@pytest.fixture
def cable() -> Iterator[None]:
    with wires.namespace():
        wires.lay()
        yield


class Clock:
    """Stands in for `time` in the feed: a millisecond passes at each turn, however long that takes on this machine."""

    time = staticmethod(time.time)

    def __init__(self) -> None:
        self.now = time.monotonic()

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("imdswatch.watch.live.time", made)
    return made


class Sensor:
    """A feed and what came of it, turned by hand as the loop turns it."""

    def __init__(
        self, *, everything: bool = False, octets: int = 2 << 20, clock: Clock | None = None
    ) -> None:
        self._clock = clock
        self.feed = LiveFeed(judgement(), "out0", everything=everything, octets=octets)
        self.outcome = Outcome()

    def turn(self, holds: Callable[[], bool]) -> int:
        """Turn until something is so; return how often it took: at most a thousand times in a second."""
        turns, end = 0, time.monotonic() + LONG
        while not holds():
            assert time.monotonic() < end, "it did not come"
            if self._clock is not None:
                self._clock.now += 0.001
            self.feed.tick(time.monotonic() if self._clock is None else self._clock.now)
            self.feed.read(self.outcome)
            time.sleep(0.001)
            turns += 1
        return turns

    @property
    def stage(self) -> str:
        found = shown(self.outcome.incidents).values()
        return max((one[0] for one in found if isinstance(one, tuple)), key=STAGES.index, default="")

    @property
    def skips(self) -> list[tuple[str, str]]:
        return [(one.position, one.reason) for one in self.outcome.skipped]

    def close(self) -> None:
        self.feed.close()


ROLE = "/latest/meta-data/iam/security-credentials/role"
REQUEST = f"GET {ROLE} HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n".encode()
DOCUMENT = b'{"Code":"Success","AccessKeyId":"ASIAIOSFODNN7EXAMPLE","SecretAccessKey":"FAKE","Token":"FAKE"}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DOCUMENT)


@pytest.mark.parametrize("all_http", [False, True])
@pytest.mark.parametrize(
    ("wrap", "vlan"),
    [
        (lambda packet: f.ethernet(packet), ()),
        (lambda packet: f.ethernet(packet, vlans=[(0x8100, 42)]), (42,)),
        (lambda packet: f.ethernet(packet, vlans=[(0x88A8, 100), (0x8100, 42)]), (100, 42)),
        (lambda packet: f.ethernet(packet, vlans=[(0x8100, 7), (0x8100, 8), (0x8100, 9)]), (7, 8, 9)),
        (lambda packet: f.ethernet(_over_udp(f.vxlan(f.ethernet(packet, vlans=[(0x8100, 42)])))), (42,)),
        (lambda packet: f.ethernet(_over_gre(f.erspan2(f.ethernet(packet), vlan=12))), (12,)),
        (lambda packet: f.ethernet(_over_gre(f.erspan2(f.ethernet(packet), vlan=12)), vlans=[(0x8100, 5)]), (12,)),
    ],
    ids=["untagged", "tag", "QinQ", "three tags", "tag in VXLAN", "ERSPAN", "ERSPAN in a tag"],
)  # fmt: skip
def test_vlans(cable: None, wrap: Callable[[bytes], bytes], vlan: tuple[int, ...], all_http: bool) -> None:
    with closing(Sensor(everything=all_http)) as sensor:
        wires.send([wrap(SYN)])
        sensor.turn(lambda: sensor.stage == "attempted")
        (incident,) = dict(sensor.outcome.incidents.items()).values()
        (sighting,) = incident.sightings
        assert sighting.fields.get("vlan", ()) == vlan


def _over_udp(payload: bytes) -> bytes:
    return f.ip4(f.udp(payload, sport=9999, dport=4789), protocol=17, src="192.0.2.1", dst="192.0.2.2")


def _over_gre(payload: bytes) -> bytes:
    return f.ip4(payload, protocol=47, src="192.0.2.1", dst="192.0.2.2")


def test_a_connection_that_stays_open_is_told_as_it_stands(cable: None, clock: Clock) -> None:
    """The stage is right after every packet, well within a second, though nothing ends the connection."""
    talk = f.Talk()
    with closing(Sensor(clock=clock)) as sensor:
        for step, stage in (
            (talk.handshake, "attempted"),
            (lambda: talk.send(0, REQUEST), "requested"),
            (lambda: talk.send(1, HEAD + DOCUMENT[:20]), "answered"),
            (lambda: talk.send(1, DOCUMENT[20:]), "credentials-served"),
        ):
            talk.sent.clear()
            step()
            wires.send(talk.sent)
            assert sensor.turn(lambda wanted=stage: sensor.stage == wanted) < 400  # type: ignore[misc]


def test_an_answer_that_came_in_part_is_told_in_the_end(cable: None, clock: Clock) -> None:
    """A refusal whose rest does not come is no credentials for half a second; then it is what a cut capture says."""
    talk = f.Talk().handshake().send(0, REQUEST).send(1, HEAD + b'{"Code": "Assume')
    with closing(Sensor(clock=clock)) as sensor:
        wires.send(talk.sent)
        assert sensor.turn(lambda: sensor.stage == "answered") < 400
        assert 400 < sensor.turn(lambda: sensor.stage == "credentials-served") < 600


def test_what_was_told_early_is_not_told_again(cable: None) -> None:
    talk = f.Talk().send(0, flags=f.SYN)
    with closing(Sensor()) as sensor:
        wires.send(talk.sent)
        sensor.turn(lambda: sensor.stage == "attempted")
        (incident,) = dict(sensor.outcome.incidents.items()).values()
        wires.send([talk.packet(1, flags=f.RST | f.ACK)])
        sensor.turn(lambda: sensor.feed.counts().records == 2)
        sensor.feed.finish(sensor.outcome)
        assert incident.count == 1


def test_an_interface_that_goes_down_and_comes_back(cable: None) -> None:
    with closing(Sensor()) as sensor:
        wires.send([f.ethernet(f.ip4(f.udp(b"x" * 40, sport=67, dport=68), protocol=17, dst="10.0.0.9"))])
        sensor.turn(lambda: sensor.feed.counts().records == 1)
        wires.switch("out0", up=False)
        sensor.turn(lambda: len(sensor.skips) == 1)
        sensor.turn(lambda: sensor.feed.fileno() is None)
        wires.switch("out0", up=True)
        sensor.turn(lambda: len(sensor.skips) == 2)
        wires.send([f.ethernet(SYN)])
        sensor.turn(lambda: sensor.stage == "attempted")
        sensor.turn(lambda: sensor.feed.counts().records == 2)
        (sighting,) = next(iter(dict(sensor.outcome.incidents.items()).values())).sightings
        assert sighting.position == 2, "packets are counted on"
        (gone, why), (span, what) = sensor.skips
        since = gone.removeprefix("from ")
        assert why == "the interface failed: network is down; nothing is seen"
        assert span.startswith(f"from {since} to 20")
        assert what == "the interface was away; nothing was seen"


def test_an_interface_that_is_taken_away_and_made_anew(cable: None) -> None:
    with closing(Sensor()) as sensor:
        wires.cut("out0")
        sensor.turn(lambda: sensor.feed.fileno() is None)
        wires.lay()
        sensor.turn(lambda: len(sensor.skips) == 2)
        wires.send([f.ethernet(SYN)])
        sensor.turn(lambda: sensor.stage == "attempted")


def test_what_the_kernel_drops_is_told(cable: None) -> None:
    """Nobody reads while more comes than the ring holds; what is missing is counted exactly, from when until when."""
    padding = [f.ethernet(f.ip4(b"x" * 1400, dst="10.0.0.9"))] * 256
    with closing(Sensor(everything=True)) as sensor:
        sent = sum(wires.send(padding) for _ in range(20))
        ended = time.time()
        time.sleep(1.0)
        sensor.turn(lambda: bool(sensor.skips))
        counts = sensor.feed.counts()
        assert counts.records + counts.drops == sent
        ((span, reason),) = sensor.skips
        since, until = (datetime.fromisoformat(one) for one in span.removeprefix("from ").split(" to "))
        assert since.timestamp() < ended < until.timestamp() + 0.001
        assert reason.startswith(f"the kernel dropped {counts.drops} of {sent} packets")


def test_an_interface_that_is_down_from_the_start(cable: None) -> None:
    wires.switch("out0", up=False)
    with closing(Sensor()) as sensor:
        sensor.turn(lambda: bool(sensor.skips))
        assert sensor.skips[0][1] == "the interface is down; nothing is seen"
        wires.switch("out0", up=True)
        sensor.turn(lambda: sensor.feed.fileno() is not None)


def test_no_such_interface(cable: None) -> None:
    with pytest.raises(UsageError, match="there is no interface out9") as error:
        Live("out9", lambda _: everything(), 1 << 20)
    assert "in0, lo, out0" in error.value.help


def test_without_permission(cable: None) -> None:
    os.seteuid(65_534)
    try:
        with pytest.raises(UsageError, match="operation not permitted") as error:
            Live("out0", lambda _: everything(), 1 << 20)
    finally:
        os.seteuid(0)
    assert "CAP_NET_RAW" in error.value.help


def first(live: Live) -> Captured:
    """Return the packets that come first."""
    found: list[Captured] = []

    def came() -> bool:
        found.extend(filter(None, [live.read()]))
        return bool(found)

    until(came)
    return found[0]


def test_loopback_is_seen_once(cable: None) -> None:
    wires.switch("lo", up=True)
    live = Live("lo", lambda _: everything(), 1 << 20)
    with closing(live), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(b"x", ("127.0.0.1", 9))
        found = first(live)
        datagrams = [data for i in range(len(found)) if (data := found.frame(i).data)[23] == 17]
        assert len(datagrams) == 1


def test_a_link_without_ethernet(cable: None) -> None:
    """A tun device, as VPNs have it: packets begin with their IP header."""
    try:
        tun = os.open("/dev/net/tun", os.O_RDWR)
    except OSError as error:
        pytest.skip(f"no tun device here: {error.strerror}")
    try:
        fcntl.ioctl(
            tun, 0x400454CA, struct.pack("16sH22x", b"tun0", 0x1001)
        )  # TUNSETIFF, IFF_TUN | IFF_NO_PI
        wires.switch("tun0", up=True)
        live = Live("tun0", sieve, 1 << 20)
        with closing(live):
            os.write(tun, f.ip4(f.tcp(flags=f.SYN), dst="10.0.0.9"))
            os.write(tun, SYN)
            found = first(live)
            assert [found.frame(i).data for i in range(len(found))] == [SYN]
            assert found.frame(0).linktype == 101
    finally:
        os.close(tun)


def test_an_answer_through_a_proxy_is_known_by_its_words(cable: None) -> None:
    with closing(Sensor()) as sensor:
        wires.send(wires.pcap(FOLDER / "recorded" / "boto3-proxy.pcap"))
        sensor.turn(lambda: sensor.stage == "credentials-served")


def test_a_proxy_is_followed_from_the_second_dialogue_on(cable: None) -> None:
    """Of an answer in many pieces the filter saw the first; it lets through what the two hosts say from then on."""
    frames = wires.pcap(FOLDER / "recorded" / "awscli-proxy.pcap")
    with closing(Sensor()) as sensor:
        wires.send(frames)
        sensor.turn(lambda: sensor.stage == "answered")
        end = time.monotonic() + 0.6
        sensor.turn(lambda: time.monotonic() > end)
        assert sensor.stage == "answered"
        again = [bytearray(frame.data) for frame in frames]
        for data in again:  # other ports: another run of the client
            for place in (34, 36):
                if int.from_bytes(data[place : place + 2]) > 30_000:
                    data[place] ^= 0x40
        wires.send([bytes(data) for data in again])
        sensor.turn(lambda: sensor.stage == "credentials-served")
