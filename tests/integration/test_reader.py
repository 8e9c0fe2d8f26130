"""The thread that reads a source: nothing is lost, whether it is read as it comes or left to itself meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av
import pytest

from edge_agent.capture import reader as reader_module
from edge_agent.capture.reader import Arrival, End, PacketReader
from edge_agent.capture.sources.base import Source, StreamFormat, detached
from edge_agent.capture.sources.libav import PacketSource
from edge_agent.clock import SystemClock
from tests.support.clips import make_clip

if TYPE_CHECKING:
    from edge_agent.capture.sources.base import VideoPacket

FRAME = 0.02  # seconds from packet to packet
REST = 0.1
TRIES = 5  # of a second each: in one of them the machine stands still for no part of it


class Socket:
    """A source whose packets come every FRAME seconds, and wait for whoever reads later."""

    audio = None

    def __init__(self, clip: Path, rest: float) -> None:
        self.rest = rest
        self._source = PacketSource("", str(clip), options={}, read_timeout=5.0, has_end=True)
        self.format: StreamFormat = self._source.format
        self.template = detached(self._source.stream)
        self.waits = 0  # reads that found nothing yet

    def packets(self) -> Iterator[VideoPacket]:
        began = time.monotonic()
        for number, packet in enumerate(self._source.pictures()):
            if not packet.size:
                continue
            early = began + number * FRAME - time.monotonic()
            if early > 0:
                self.waits += 1
                threading.Event().wait(early)
            yield packet

    def request_keyframe(self) -> None:
        """It cannot be asked."""

    def close(self) -> None:
        self._source.close()


def reading(source: Source) -> PacketReader:
    return PacketReader(lambda _stop: source, SystemClock(), "test")


def read(source: Source) -> list[Arrival]:
    """Every packet of *source*, as the reader hands them out."""
    got: list[Arrival] = []
    with reading(source) as reader:
        while not isinstance(item := reader.next(60.0), End):
            assert item is not None, "nothing came for a minute"
            got.append(item)
    return got


def most_waits(clip: Path, rest: float) -> int:
    """How often a read of *clip* had to wait, at its best; every packet comes out each time."""
    most = 0
    for _ in range(TRIES):
        source = Socket(clip, rest)
        assert len(read(source)) == len(frames_in(clip))
        most = max(most, source.waits)
        if most > len(frames_in(clip)) / 2:
            break
    return most


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4")


def frames_in(clip: Path) -> list[bytes]:
    with av.open(str(clip)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def test_a_source_that_may_rest_is_woken_for_only_now_and_then(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once caught up it is left alone for its rest; every packet comes out, in order, late by no more than that."""
    monkeypatch.setattr(reader_module, "BURST_SECONDS", 0.0)
    for _ in range(TRIES):
        source = Socket(clip, REST)
        got = read(source)
        assert [bytes(arrival.packet) for arrival in got] == frames_in(clip)
        assert source.waits <= len(got) / 3  # a rest of five frames, then the five that came and one that is waited for
        late = [arrival.monotonic - got[0].monotonic - number * FRAME for number, arrival in enumerate(got)]
        usual = sorted(late)[len(late) // 2]
        if usual < 2 * REST:
            break
    assert usual < 2 * REST


def test_a_connection_is_read_as_it_comes_at_first(clip: Path) -> None:
    """How fast the first packets come tells how old they are: there is no rest until that is known."""
    assert most_waits(clip, REST) > len(frames_in(clip)) / 2


def test_a_source_without_rest_is_never_left_unread(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver has room for a few pictures only."""
    monkeypatch.setattr(reader_module, "BURST_SECONDS", 0.0)
    assert most_waits(clip, 0.0) > len(frames_in(clip)) / 2


def test_nothing_is_left_unread_while_a_keyframe_is_waited_for(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new class begins with the next keyframe: until that has come there is no rest, and afterwards there is."""
    monkeypatch.setattr(reader_module, "BURST_SECONDS", 0.0)
    for _ in range(TRIES):
        source = Socket(clip, REST)
        with reading(source) as reader:
            assert isinstance(reader.next(60.0), Arrival)
            reader.request_keyframe()  # the clip has one in the middle
            got = 1
            while isinstance(item := reader.next(60.0), Arrival) and not item.packet.is_keyframe:
                got += 1
            assert isinstance(item, Arrival)
            waits, rest = source.waits, 1
            while isinstance(reader.next(60.0), Arrival):
                rest += 1
            assert source.waits - waits <= rest / 3 + 1
        if waits > got / 2:
            break
    assert waits > got / 2  # as they came, but for those of a rest that had begun
