"""Reads a source on a thread of its own: a read blocked in C cannot be interrupted, but it can be left alone."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from edge_agent.capture.sources.base import Source, StreamFormat
from edge_agent.clock import Clock
from edge_agent.errors import EdgeCaptureError

if TYPE_CHECKING:
    from av.video.stream import VideoStream

    from edge_agent.capture.sources.base import VideoPacket

AHEAD = 256  # packets; about ten seconds of one camera while the disk is busy


@dataclass(frozen=True, slots=True)
class Arrival:
    """A packet, the format it belongs to, and when it came (monotonic seconds)."""

    packet: VideoPacket
    format: StreamFormat
    template: VideoStream
    monotonic: float


class End:
    """The source has come to its end."""


class PacketReader:
    """A context manager around a source that is opened, read and closed on its own thread."""

    def __init__(self, open_source: Callable[[threading.Event], Source], clock: Clock, name: str) -> None:
        self._open = open_source
        self._clock = clock
        self._stop = threading.Event()
        self._queue: queue.Queue[Arrival | End | EdgeCaptureError] = queue.Queue(AHEAD)
        self._thread = threading.Thread(target=self._read, name=f"read-{name}", daemon=True)
        self._source: Source | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def next(self, timeout: float) -> Arrival | End | None:
        """The next packet, End, or None when nothing came within *timeout* seconds. Raises the source's error."""
        try:
            item = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(item, EdgeCaptureError):
            raise item
        return item

    def request_keyframe(self) -> None:
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
                for packet in source.packets():
                    arrival = Arrival(packet, source.format, source.template, self._clock.monotonic())
                    if not self._put(arrival):
                        return
                self._put(End())
            finally:
                source.close()
        except EdgeCaptureError as error:
            self._put(error)

    def _put(self, item: Arrival | End | EdgeCaptureError) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False
