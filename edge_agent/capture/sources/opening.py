"""From a URL to an open source."""

from __future__ import annotations

import threading

from edge_agent.capture.sources import libav
from edge_agent.capture.sources.base import Source
from edge_agent.capture.sources.paced import PacedSource
from edge_agent.clock import Clock
from edge_agent.source_url import SourceUrl, check_source


def open_source(url: str, clock: Clock, stop: threading.Event, read_timeout: float) -> Source:
    """Connect to the camera at *url*, blocking; *stop* ends its waiting. Raises ConfigInvalid or SourceError."""
    parsed = check_source(url)
    if parsed.kind in ("rtsp", "rtsps"):
        return _storable(libav.rtsp(url, read_timeout), url)
    if parsed.kind == "v4l2":
        return _storable(libav.v4l2(url, parsed.target, parsed.options, read_timeout), url)
    if parsed.kind == "file":
        loops = _loops(parsed.options.get("loop", "false"))
        return PacedSource(lambda: _storable(_file(url, parsed.target), url), clock, stop, loops)
    from edge_agent.capture.sources import pictures

    if parsed.kind == "opencv":
        size = parsed.size((0, 0)) if "size" in parsed.options else None
        fps = parsed.number("fps", 0) or None
        return pictures.opencv(url, int(parsed.target.strip("/")), size, fps, clock)
    return PacedSource(lambda: _synthetic(parsed), clock, stop, loops=1)


def _synthetic(parsed: SourceUrl) -> Source:
    from edge_agent.capture.sources import pictures

    seconds = parsed.number("seconds", 0) or None
    return pictures.synthetic(parsed.size((640, 480)), parsed.number("fps", pictures.DEFAULT_FPS), seconds)


def _file(url: str, path: str) -> libav.PacketSource:
    return libav.PacketSource(url, f"file:{path}", options={}, read_timeout=30.0, has_end=True)


def _storable(source: libav.PacketSource, url: str) -> Source:
    """*source* itself where a segment can hold its packets, else one that encodes its pictures."""
    if source.is_storable:
        return source
    from edge_agent.capture.sources import pictures

    return pictures.decoded(source, url)


def _loops(text: str) -> int | None:
    if text == "true":
        return None
    return 1 if text == "false" else int(text)
