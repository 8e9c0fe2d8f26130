"""The first picture of a segment, small. One at a time: they are decoration."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from edge_agent.errors import VideoUnreadable

WIDTH = 240  # pixels; a tile on a phone, at two pixels a point
_KEPT = 48  # of some 6 KB each


class Thumbnails:
    """Those made lately are kept. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: OrderedDict[str, bytes] = OrderedDict()

    def of(self, stem: str, find: Callable[[], Path | None]) -> bytes | None:
        """A JPEG of the first keyframe of *stem*, which *find* finds; None when it is nowhere. Raises VideoUnreadable.

        A page asks for it just when it is uploaded, and moved on while somebody waits for his turn here.
        """
        with self._lock:
            if (known := self._made.get(stem)) is None:
                known = _found_picture(find)
                if known is not None:
                    self._made[stem] = known
                while len(self._made) > _KEPT:
                    self._made.popitem(last=False)
            return known


def _found_picture(find: Callable[[], Path | None]) -> bytes | None:
    """The picture of what *find* finds, wherever that is moved meanwhile. Raises VideoUnreadable."""
    while (video := find()) is not None:
        try:
            return _first_picture(video)
        except VideoUnreadable:
            if video.exists():
                raise
    return None


def _first_picture(video: Path) -> bytes:
    import av
    import av.error

    from edge_agent.capture.live import fitted, jpeg_encoder

    try:
        with av.open(str(video)) as container:
            frame = next(container.decode(video=0))
            small = frame.reformat(*fitted(frame.width, frame.height, WIDTH), "yuvj420p")
            small.pts = 1
            return b"".join(bytes(packet) for packet in jpeg_encoder(small.width, small.height).encode(small))
    except (av.error.FFmpegError, StopIteration, OSError) as error:
        raise VideoUnreadable("has no picture", where=video.name) from error
