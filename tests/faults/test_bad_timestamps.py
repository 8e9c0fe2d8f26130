"""Cameras whose timestamps are broken in every known way: every frame is recorded, and lasts as long as it did."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_agent.capture.job import CaptureJob
from edge_agent.capture.recorder import Recorder
from edge_agent.capture.report import STATUS, Event
from edge_agent.capture.sources.opening import open_source
from edge_agent.errors import SourceLost
from edge_agent.spool import Spool
from tests.support.capture import Recorded, Tags, job_for, recorded_in
from tests.support.clips import look, make_clip
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.video.stream import VideoStream

    from edge_agent.capture.sources.base import AudioPacket, Source, StreamFormat, VideoPacket

FRAMES, SECONDS = 250, 10.0
Damage = Callable[["VideoPacket", int, random.Random], None]


class Broken:
    """A source whose packets come in time, with times that *damage* has changed."""

    rest = 0.0

    def __init__(self, source: Source, damage: Damage, chance: random.Random) -> None:
        self._source = source
        self._damage = damage
        self._chance = chance

    @property
    def format(self) -> StreamFormat:
        return self._source.format

    @property
    def template(self) -> VideoStream:
        return self._source.template

    @property
    def audio(self) -> AudioStream | None:
        return self._source.audio

    def packets(self) -> Iterator[VideoPacket | AudioPacket]:
        for number, packet in enumerate(self._source.packets()):
            self._damage(packet, number, self._chance)  # type: ignore[arg-type]
            yield packet

    def request_keyframe(self) -> None:
        self._source.request_keyframe()

    def close(self) -> None:
        self._source.close()


def move(packet: VideoPacket, seconds: float) -> None:
    ticks = int(seconds / packet.time_base)
    packet.dts = None if packet.dts is None else packet.dts + ticks
    packet.pts = None if packet.pts is None else packet.pts + ticks


def none_at_all(packet: VideoPacket, number: int, chance: random.Random) -> None:
    packet.dts = packet.pts = None


def none_at_first(packet: VideoPacket, number: int, chance: random.Random) -> None:
    if number < 20:
        packet.dts = packet.pts = None


def some_missing(packet: VideoPacket, number: int, chance: random.Random) -> None:
    if chance.random() < 0.3:
        packet.pts = None
    if chance.random() < 0.3:
        packet.dts = None


def repeated(packet: VideoPacket, number: int, chance: random.Random) -> None:
    if number % 2:
        move(packet, -0.04)


def running_back(packet: VideoPacket, number: int, chance: random.Random) -> None:
    if number % 25 > 20:
        move(packet, -0.3)


def jumping(packet: VideoPacket, number: int, chance: random.Random) -> None:
    if 50 <= number < 120:
        move(packet, 7200.0)
    elif 120 <= number < 180:
        move(packet, -86400.0)


def one_outlier(packet: VideoPacket, number: int, chance: random.Random) -> None:
    if number % 60 == 30:
        move(packet, 3600.0)


def wrapping(packet: VideoPacket, number: int, chance: random.Random) -> None:
    ahead = (1 << 33) - int(4 / packet.time_base)
    if packet.dts is not None and packet.pts is not None:
        behind = packet.pts - packet.dts
        packet.dts = (packet.dts + ahead) % (1 << 33)
        packet.pts = packet.dts + behind


def shown_before_decoded(packet: VideoPacket, number: int, chance: random.Random) -> None:
    if packet.pts is not None and number % 10 == 5:
        packet.pts -= int(chance.choice([0.5, -1000.0]) / packet.time_base)


def anything(packet: VideoPacket, number: int, chance: random.Random) -> None:
    kinds = (some_missing, repeated, running_back, one_outlier, shown_before_decoded, none_at_first)
    for kind in chance.sample(kinds, 2):
        kind(packet, number, chance)


# What it may cost in length: where the lie is small, the length is right to the tick.
KINDS: dict[str, tuple[Damage, float]] = {
    "no times at all": (none_at_all, 0.1),
    "no times at first": (none_at_first, 0.1),
    "some missing": (some_missing, 0.3),
    "every second one repeated": (repeated, 0.1),
    "running back": (running_back, 0.5),
    "jumping by hours": (jumping, 0.2),
    "single outliers": (one_outlier, 0.5),
    "33 bits wrapping": (wrapping, 0.05),
    "shown before decoded": (shown_before_decoded, 0.1),
    "anything": (anything, 1.5),
}


class BreaksOff(Broken):
    """A source whose connection breaks before any packet of it had a time."""

    DELIVERED = 20

    def packets(self) -> Iterator[VideoPacket | AudioPacket]:
        yield from itertools.islice(super().packets(), self.DELIVERED)
        raise SourceLost("camera hung up")


@pytest.mark.parametrize("damage", [none_at_all, none_at_first])
def test_what_waits_for_its_time_is_recorded_when_the_connection_breaks(tmp_path: Path, damage: Damage) -> None:
    """Packets are held until one has a time; if none ever comes, they are recorded as they came."""
    clip = make_clip(tmp_path / "clip.mp4", frames=FRAMES)
    job, clock = job_for(tmp_path, f"file:{clip}"), FakeClock()
    spool, chance = Spool(Path(job.spool)), random.Random(1)
    spool.prepare()
    recorder = Recorder(
        job,
        spool,
        clock,
        Tags(),
        lambda stop: BreaksOff(open_source(job, clock, stop), damage, chance),
        lambda _: None,
    )
    with pytest.raises(SourceLost):
        recorder.run_once(threading.Event())
    assert recorded_in(spool).packets == look(clip).packets[: BreaksOff.DELIVERED]


def record_broken(job: CaptureJob, damage: Damage, seed: int) -> Recorded:
    spool, clock, events = Spool(Path(job.spool)), FakeClock(), list[Event]()
    spool.prepare()
    chance = random.Random(seed)
    Recorder(
        job,
        spool,
        clock,
        Tags(),
        lambda stop: Broken(open_source(job, clock, stop), damage, chance),
        events.append,
    ).run(threading.Event())
    recorded = recorded_in(spool)
    recorded.events = events
    return recorded


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_bad_timestamps(kind: str, b_frames: int, tmp_path: Path, account: Callable[..., None], storm: bool) -> None:
    """Every frame, once, in order; durations as long as the recording was; every mended packet counted."""
    clip = make_clip(tmp_path / "clip.mp4", frames=FRAMES, gop=25, b_frames=b_frames)
    damage, allowed = KINDS[kind]
    rounds = 10 if storm else 1
    for seed in range(rounds):
        recorded = record_broken(job_for(tmp_path / str(seed), f"file:{clip}", segment_seconds=2), damage, seed)
        assert recorded.packets == look(clip).packets
        assert sum(segment.duration for segment in recorded.segments) == pytest.approx(SECONDS, abs=allowed)
        told = recorded.named(STATUS)[-1].fields
        retimed = sum(segment.retimed for segment in recorded.segments)
        closed = [int(str(event.fields["retimed"])) for event in recorded.named("segment_closed")]
        assert told["retimed"] == retimed == sum(closed)
        assert told["retimed"] or told["retimed_wraps"]
    account(f"{kind}, {b_frames} B-frames, {rounds}x", "nothing", f"{rounds * FRAMES} frames, {retimed} re-timed")
