"""The spool and its courier: order, bounds, and what stays when a receiver does not take it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deliveries import message
from imdswatch.delivery import channel_to
from imdswatch.delivery.courier import Courier, Pace
from imdswatch.delivery.message import Message, Undelivered, identity
from imdswatch.delivery.spool import Spool
from imdswatch.delivery.target import read_target
from patience import LONG
from receivers import stream

QUICK = Pace(first=0.01, most=0.02, last=0.02, tick=0.02)


@pytest.fixture(autouse=True)
def _no_thread_stays_behind() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if isinstance(thread, Courier):
            thread.join(LONG)
            assert not thread.is_alive()


def test_the_spool_keeps_order_ids_and_bounds(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "a.spool", 3 * len(message(0).body))
    assert [spool.put(message(number)) for number in (3, 1, 3, 2, 4)] == [True, True, True, True, False]
    assert spool.put(message(3)), "what waits already needs no room"
    assert spool.put(message(9), force=True)
    spool.close()
    again = Spool(tmp_path / "a.spool", 3 * len(message(0).body))
    assert [one for _, one in again.head(10)] == [message(3), message(1), message(2), message(9)]
    again.confirmed([number for number, _ in again.head(2)])
    assert again.put(message(5))
    assert [one.id for _, one in again.head(10)] == ["f0002-x", "f0009-x", "f0005-x"]
    assert (tmp_path / "a.spool").stat().st_mode & 0o777 == 0o600


def test_a_full_disk_is_no_room(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "a.spool", 1 << 30)
    assert spool.put(message(1))
    spool._db.execute("PRAGMA max_page_count = 8")
    assert not spool.put(message(2, title="x" * 100_000))
    assert [one.id for _, one in spool.head(9)] == ["f0001-x"]
    spool.close()


def test_two_processes_may_share_a_spool(tmp_path: Path) -> None:
    one, two = (Spool(tmp_path / "a.spool", 1 << 20) for _ in range(2))
    one.put(message(1))
    two.put(message(2))
    two.put(message(1))
    assert [m.id for _, m in one.head(9)] == [m.id for _, m in two.head(9)] == ["f0001-x", "f0002-x"]
    numbers = [number for number, _ in one.head(9)]
    one.confirmed(numbers)
    two.confirmed(numbers)
    assert one.waiting() == two.waiting() == 0
    one.close()
    two.close()


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_damaged_spool_is_set_aside_and_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.spool").write_bytes(content)
    spool = Spool(tmp_path / "a.spool", 1 << 20)
    assert Path(spool.damaged).read_bytes() == content
    assert spool.put(message(1))
    spool.close()


def test_a_refused_message_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "a.spool", 1 << 20)
    spool.put(message(1))
    [(number, _)] = spool.head(1)
    spool.refused(number, "no")
    assert spool.head(1) == []
    assert spool.waiting() == 1
    spool.close()
    assert len(Spool(tmp_path / "a.spool", 1 << 20).head(1)) == 1


class Flaky:
    """A channel that fails most of the time, and confirms a part now and then."""

    most = 7

    def __init__(self, chance: random.Random) -> None:
        self._chance, self.got = chance, list[str]()

    def send(self, batch: list[Message]) -> int:
        if self._chance.random() < 0.6:
            raise Undelivered("not now")
        done = self._chance.randint(1, len(batch))
        self.got += [one.id for one in batch[:done]]
        return done

    def close(self) -> None:
        pass


@pytest.mark.parametrize("seed", range(5))
def test_a_courier_delivers_everything_in_order(seed: int, tmp_path: Path) -> None:
    channel = Flaky(random.Random(seed))
    told: list[str] = []
    spool = Spool(tmp_path / "a.spool", 1 << 20)
    courier = Courier("test", spool, channel, told.append, QUICK)  # type: ignore[arg-type]
    courier.put(message(0))
    courier.start()
    for number in range(1, 60):
        courier.put(message(number))
    assert courier.finish(LONG) == 0
    assert channel.got == [message(number).id for number in range(60)]
    assert all("wait" in one or "again" in one for one in told)


def test_a_courier_waits_as_long_as_the_receiver_says() -> None:
    times: list[float] = []

    class Busy:
        most = 1

        def send(self, batch: list[Message]) -> int:
            times.append(time.monotonic())
            if len(times) == 1:
                raise Undelivered("busy", after=0.3)
            return 1

        def close(self) -> None:
            pass

    courier = Courier("test", Spool(None, 1000), Busy(), lambda _: None, QUICK)  # type: ignore[arg-type]
    courier.put(message(1))
    courier.start()
    assert courier.finish(LONG) == 0
    assert times[1] - times[0] >= 0.3


def test_what_cannot_be_delivered_in_time_is_counted_and_stays(tmp_path: Path) -> None:
    release = threading.Event()
    with stream(lambda _: release.wait(LONG) and None) as port:  # type: ignore[func-returns-value]
        spool = Spool(tmp_path / "a.spool", 1 << 20)
        channel = channel_to(read_target(f"http://127.0.0.1:{port}/"))
        courier = Courier("test", spool, channel, lambda _: None, QUICK)
        courier.put(message(1))
        courier.start()
        began = time.monotonic()
        assert courier.finish(0.3) == 1
        assert time.monotonic() - began < LONG / 2, "it does not wait for the receiver"
        release.set()
        courier.join(LONG)
    assert Spool(tmp_path / "a.spool", 1 << 20).waiting() == 1


def test_the_id_derives_from_what_a_result_says() -> None:
    assert (
        identity("finding", "{}", "abc")
        == identity("finding", "{}", "abc")
        != identity("finding", "{ }", "abc")
    )
    assert identity("finding", "{}", "abc").startswith("abc-")
    assert identity("skipped", "\ud800").startswith("skipped-")
