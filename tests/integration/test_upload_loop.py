"""The upload loop at work: several at a time, never held up, over in a moment when told to stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.errors import StoreUnreachable
from edge_agent.segment import video_key
from edge_agent.spool import Spool
from edge_agent.store.base import ObjectStore
from edge_agent.store.directory import DirectoryStore
from edge_agent.upload.limits import Limits, Rules, UploadOrder
from edge_agent.upload.report import Happened, UploadEvent
from edge_agent.upload.rows import State, read_status
from edge_agent.upload.sending import STALL_SECONDS
from tests.support.clock import FakeClock
from tests.support.upload import Rig, StoreBetween, body_of, fresh_spool, names_in, publish, videos_in
from tests.support.wait import promised, until


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return fresh_spool(tmp_path / "spool")


@contextmanager
def running(rig: Rig) -> Iterator[threading.Event]:
    """The uploader on a thread of its own while the block lasts."""
    stop = threading.Event()
    thread = threading.Thread(target=rig.uploader.run, args=(stop,))
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


class Hanging(StoreBetween):
    """Answers nothing for the keys in *stuck* until *released*."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.stuck: set[str] = set()
        self.hangs = threading.Event()
        self.released = threading.Event()

    def before_put(self, key: str) -> None:
        if key in self.stuck:
            self.hangs.set()
            self.released.wait(60)
            raise StoreUnreachable("timed out", where=key)


def test_a_store_that_hangs_keeps_nobody_from_looking_and_ends_in_time(
    spool: Spool, directory_store: DirectoryStore
) -> None:
    """With a put that never returns, arrivals are noticed, the status tells, and a stop takes under three seconds."""
    store = Hanging(directory_store)
    store.stuck.add(video_key(publish(spool, 0)))
    clock = SystemClock()
    with Rig(spool, store, clock, rescan_seconds=3600) as rig:
        try:
            with running(rig) as stop:
                assert store.hangs.wait(60)
                publish(spool, 1)
                until(lambda: rig.uploader.status().waiting == 2, "the arrival to be noticed")
                began = clock.monotonic()
                stop.set()
            assert clock.monotonic() - began < promised(3)
            assert videos_in(spool.ready) != []
        finally:
            store.released.set()


def test_one_that_hangs_lets_another_begin(spool: Spool, directory_store: DirectoryStore) -> None:
    """Whoever has sent nothing for a while holds the others up no longer than that, though one stream was enough."""
    store, clock = Hanging(directory_store), FakeClock()
    others = [publish(spool, number) for number in range(3)]
    store.stuck.add(video_key(publish(spool, 9)))  # the newest is the first to go
    with Rig(spool, store, clock) as rig:
        try:
            with running(rig):
                assert store.hangs.wait(60)
                assert list(directory_store.list()) == []
                clock.advance(STALL_SECONDS)
                until(lambda: rig.ledger.counts()[State.VERIFIED] == len(others), "the others to arrive")
        finally:
            store.released.set()
    assert [info.key for info in directory_store.list()] == [video_key(segment) for segment in others]


def test_several_segments_are_sent_at_once_where_that_brings_something(
    spool: Spool, directory_store: DirectoryStore
) -> None:
    """Over a long way the streams grow from one to four, and every segment arrives once."""
    segments = [publish(spool, number) for number in range(80)]
    lock, never = threading.Lock(), threading.Event()
    at_once = {"now": 0, "most": 0}

    class FarAway(StoreBetween):
        def before_put(self, key: str) -> None:
            with lock:
                at_once["now"] += 1
                at_once["most"] = max(at_once.values())
            never.wait(0.1)  # a round trip
            with lock:
                at_once["now"] -= 1

    with Rig(spool, FarAway(directory_store), SystemClock()) as rig:
        rig.run_until_empty()
        assert rig.ledger.counts()[State.VERIFIED] == len(segments)
    assert at_once["most"] > 1
    assert sorted(info.key for info in directory_store.list()) == [video_key(segment) for segment in segments]


def test_fresh_footage_goes_before_the_backlog_and_the_backlog_still_goes(
    spool: Spool, directory_store: DirectoryStore
) -> None:
    """Three newest, then one oldest, and so on."""
    segments = [publish(spool, number) for number in range(8)]
    with Rig(spool, directory_store) as rig:
        rig.run_until_empty()
    order = [event.stem for event in rig.happened(Happened.UPLOADED)]
    assert order == [segments[number].name.stem for number in (7, 6, 5, 0, 4, 3, 2, 1)]


def test_a_paused_uploader_sends_nothing_until_it_may(spool: Spool, directory_store: DirectoryStore) -> None:
    """Nothing is begun while it is paused; what waits goes as soon as that is over."""
    publish(spool, 0)
    order: list[UploadOrder | None] = [UploadOrder(False, "shell:me", "2026-11-22T14:00:00Z")]
    clock = SystemClock()
    limits = Limits(Rules(), lambda: order[0], clock)
    sent = threading.Event()

    def told(event: UploadEvent) -> None:
        if event.what is Happened.UPLOADED:
            sent.set()

    with Rig(spool, directory_store, clock, on_event=told, limits=limits) as rig, running(rig):
        until(lambda: rig.uploader.status().waiting == 1, "the segment to be noticed")
        assert not sent.wait(1)
        order[0] = None
        assert sent.wait(60)


def test_the_first_byte_leaves_soon_after_the_rename(spool: Spool, directory_store: DirectoryStore) -> None:
    """An idle uploader begins to send within 150 ms of a segment's arrival, mostly within 20 ms."""
    clock = SystemClock()
    begun: dict[str, float] = {}

    class Noting(StoreBetween):
        def before_put(self, key: str) -> None:
            begun[key] = clock.monotonic()

    waits = []
    with Rig(spool, Noting(directory_store), clock, rescan_seconds=3600) as rig, running(rig):
        publish(spool, 0)
        until(lambda: len(begun) == 1, "the first upload")
        for number in range(1, 31):
            segment = publish(spool, number)
            there = clock.monotonic()
            until(lambda: len(begun) == number + 1, "the upload")  # noqa: B023
            waits.append(begun[video_key(segment)] - there)
    waits.sort()
    print(f"rename to put: median {waits[15] * 1000:.1f} ms, longest {waits[-1] * 1000:.1f} ms")
    assert waits[15] < promised(0.15)


def test_a_copy_into_ready_is_not_taken_before_its_end(
    spool: Spool, directory_store: DirectoryStore, yellow_box: Path
) -> None:
    """A file that somebody still writes to is left alone; the end of the copy starts the upload."""
    content = yellow_box.read_bytes()
    with Rig(spool, directory_store, SystemClock(), rescan_seconds=0.2) as rig, running(rig):
        with (spool.ready / "yellow_box_1.mp4").open("wb") as file:
            file.write(content[:1000])
            file.flush()
            publish(spool, 0)
            until(lambda: videos_in(spool.uploaded), "the other segment")
            assert rig.uploader.status().counts[State.QUARANTINED] == 0
            file.write(content[1000:])
        until(lambda: "yellow_box_1.mp4" in names_in(spool.uploaded), "the copy")
    assert sum(1 for _ in directory_store.list()) == 2


def test_the_status_of_another_process_tells_what_goes_on(spool: Spool, directory_store: DirectoryStore) -> None:
    """While a segment is being sent, the ledger's file says how many are, and on how many streams."""
    store = Hanging(directory_store)
    store.stuck.add(video_key(publish(spool, 0)))
    with Rig(spool, store, SystemClock()) as rig:
        try:
            with running(rig):
                assert store.hangs.wait(60)
                until(lambda: _in_flight(rig) == (1, 1), "one that is being sent, on one stream")
                store.stuck.clear()
                store.released.set()
        finally:
            store.released.set()
        status = rig.uploader.status()
        assert status.progress is not None
        assert status.progress.in_flight == 0
        assert status.eta(rig.clock.now().timestamp()) is None


def _in_flight(rig: Rig) -> tuple[int, int] | None:
    """How many are being sent, and on how many streams, as the ledger's file says."""
    progress = read_status(rig.ledger.path)[0].progress
    return (progress.in_flight, progress.streams) if progress else None


def test_one_probe_at_a_time_goes_out_while_the_link_is_down(spool: Spool, directory_store: DirectoryStore) -> None:
    """However many wait, an unreachable store is asked by one transfer at a time, and never twice by the same file."""
    segments = [publish(spool, number) for number in range(20)]
    asked: list[str] = []

    class Down(StoreBetween):
        def before_put(self, key: str) -> None:
            asked.append(key)
            if len(asked) <= 12:
                raise StoreUnreachable("no route", where=key)

    with Rig(spool, Down(directory_store)) as rig:
        rig.run_until_empty()
        assert rig.ledger.counts()[State.VERIFIED] == len(segments)
        assert all(row.attempts == 0 for row in rig.ledger.recent(99))
    assert len(rig.happened(Happened.POSTPONED)) == 12
    assert all(one != other for one, other in pairwise(asked[:13]))
    assert body_of(0) == directory_store.get(video_key(segments[0])).body
