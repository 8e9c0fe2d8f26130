"""Reads a source on a thread of its own: a read blocked in C cannot be interrupted, but it can be left alone."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self, cast

from edge_agent.capture.sources.base import Source, StreamFormat
from edge_agent.clock import Clock
from edge_agent.errors import EdgeCaptureError

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.video.stream import VideoStream

    from edge_agent.capture.sources.base import AudioPacket, VideoPacket

AHEAD = 256  # packets; about ten seconds of one camera while the disk is busy
FULL_SECONDS = 0.02  # how often a reader that is so far ahead looks whether there is room again

# Waking the recorder for every packet costs (measured once, 20 s at 30 packets a second: 2.1 % of a core in all, in
# handfuls 1.8 %). The writer's fragments are so much shorter than what a crash may cost.
HANDFUL_SECONDS = 0.1

# A packet that had to be waited for this long was the last there was: the reader has caught up with the camera.
CAUGHT_UP_SECONDS = 0.003
# A connection begins with a burst, and how fast it comes tells how old its first packet is: it is read as it comes.
BURST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Heard:
    """The sound that came since the picture before, and the media time the camera gave this picture (seconds)."""

    template: AudioStream
    packets: tuple[AudioPacket, ...]
    picture_time: float | None


class Arrival(NamedTuple):
    """A packet, the format it belongs to, and when it came (monotonic seconds); with the sound before it, if any.

    ``tick`` is the packets' time base in seconds, the same for all of a stream; 0 where nobody has worked it out.
    ``offset`` is wall minus monotonic time when it came: however late it is looked at, it is timed by that.
    A NamedTuple, as all that is made for every packet: a frozen dataclass takes four times as long to make.
    """

    packet: VideoPacket
    format: StreamFormat
    template: VideoStream
    monotonic: float
    retimed: bool = False
    heard: Heard | None = None
    tick: float = 0.0
    offset: float = 0.0

    @property
    def seconds_per_tick(self) -> float:
        """What one step of the packet's timestamps lasts. Fractions of every packet would cost more than writing it."""
        return self.tick or float(self.packet.time_base)


class End:
    """The source has come to its end."""


class PacketReader:
    """A context manager around a source that is opened, read and closed on its own thread."""

    def __init__(self, open_source: Callable[[threading.Event], Source], clock: Clock, name: str) -> None:
        self._open = open_source
        self._clock = clock
        self._stop = threading.Event()
        self._waiting: deque[Arrival | End | EdgeCaptureError] = deque()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._read, name=f"read-{name}", daemon=True)
        self._source: Source | None = None
        self._hurried = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def next(self, timeout: float) -> Arrival | End | None:
        """The next packet, End, or None when nothing came within *timeout* seconds. Raises the source's error."""
        if not self._waiting:
            self._wake.clear()
            if not self._waiting:  # what was appended after clear() wakes us
                self._wake.wait(timeout)
        if not self._waiting:
            return None
        item = self._waiting.popleft()
        if isinstance(item, EdgeCaptureError):
            raise item
        return item

    def request_keyframe(self) -> None:
        """The next keyframe is waited for: ask for one, and leave nothing unread until it has come."""
        self._hurried = True
        if self._source is not None:
            self._source.request_keyframe()

    def close(self, timeout: float = 0.5) -> bool:
        """Stop reading; False when the thread is blocked in C and was left behind (it is a daemon)."""
        self._stop.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _read(self) -> None:
        try:
            source = self._source = self._open(self._stop)
            try:
                woken = tick = 0.0
                asked = began = self._clock.monotonic()
                for packet, heard in with_sound(source):
                    now = self._clock.monotonic()
                    caught_up = now - asked > CAUGHT_UP_SECONDS and now - began > BURST_SECONDS
                    if packet.is_keyframe:
                        self._hurried = False
                    rest = source.rest if caught_up and not self._hurried else 0.0
                    wake = rest > 0.0 or now - woken >= HANDFUL_SECONDS
                    woken = now if wake else woken
                    tick = tick or float(packet.time_base)
                    offset = self._clock.wall_offset()
                    arrival = Arrival(packet, source.format, source.template, now, False, heard, tick, offset)
                    if not self._put(arrival, wake=wake) or (rest and self._clock.wait(self._stop, rest)):
                        return
                    asked = self._clock.monotonic() if rest else now
                self._put(End())
            finally:
                source.close()
        except EdgeCaptureError as error:
            self._put(error)

    def _put(self, item: Arrival | End | EdgeCaptureError, *, wake: bool = True) -> bool:
        """Append *item*, once there is room; False when the reader is to stop."""
        while len(self._waiting) >= AHEAD:
            if self._stop.wait(FULL_SECONDS):
                return False
        self._waiting.append(item)
        if wake:
            self._wake.set()
        return not self._stop.is_set()


def with_sound(source: Source) -> Iterator[tuple[VideoPacket, Heard | None]]:
    """*source*'s pictures, each with the sound that came before it. Sound alone is no sign of a living camera."""
    audio = source.audio
    if audio is None:
        for packet in source.packets():
            yield cast("VideoPacket", packet), None
        return
    sounds: list[AudioPacket] = []
    for packet in source.packets():
        if packet.stream.type == "audio":
            sounds.append(packet)
            continue
        time = None if packet.dts is None else float(packet.dts * packet.time_base)
        yield packet, Heard(audio, tuple(sounds), time)
        sounds.clear()
