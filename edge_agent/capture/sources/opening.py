"""From a URL to an open source."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from edge_agent.capture.sources import libav, v4l2
from edge_agent.capture.sources.base import Source
from edge_agent.capture.sources.paced import PacedSource
from edge_agent.clock import Clock
from edge_agent.source_url import SourceUrl, check_source

if TYPE_CHECKING:
    from edge_agent.camera import Encoding
    from edge_agent.capture.job import CaptureJob


def open_source(job: CaptureJob, clock: Clock, stop: threading.Event) -> Source:
    """Connect to *job*'s camera, blocking; *stop* ends its waiting. Raises ConfigInvalid or SourceError."""
    url, patience, encode = job.source, job.stall_seconds, job.encode
    parsed = check_source(url)
    if parsed.kind in ("rtsp", "rtsps"):
        return _storable(libav.rtsp(url, job.transport, job.audio, patience), url, encode)
    if parsed.kind == "v4l2":
        return _storable(v4l2.v4l2(url, parsed.target, parsed.options, patience), url, encode)
    if parsed.kind == "exec":
        from edge_agent.capture.sources.command import CommandSource

        return _storable(CommandSource(parsed.target, clock, stop, patience, audio=job.audio), "exec:", encode)
    if parsed.kind == "file":
        loops = _loops(parsed.options.get("loop", "false"))
        return PacedSource(lambda: _storable(_file(url, parsed.target), url, encode), clock, stop, loops)
    from edge_agent.capture.sources import pictures

    if parsed.kind == "opencv":
        size = parsed.size((0, 0)) if "size" in parsed.options else None
        fps = parsed.number("fps", 0) or None
        return pictures.opencv(url, int(parsed.target.strip("/")), size, fps, clock, encode)
    return PacedSource(lambda: _synthetic(parsed, encode), clock, stop, loops=1)


def _synthetic(parsed: SourceUrl, encode: Encoding) -> Source:
    from edge_agent.capture.sources import pictures

    seconds = parsed.number("seconds", 0) or None
    return pictures.synthetic(parsed.size((640, 480)), parsed.number("fps", pictures.DEFAULT_FPS), seconds, encode)


def _file(url: str, path: str) -> libav.PacketSource:
    return libav.PacketSource(url, f"file:{path}", options={}, read_timeout=30.0, has_end=True)


def _storable(source: libav.PacketSource, url: str, encode: Encoding) -> Source:
    """*source* itself where a segment can hold its packets, else one that encodes its pictures, without its sound."""
    if source.is_storable:
        return source
    from edge_agent.capture.sources import pictures

    return pictures.decoded(source, url, encode)


def _loops(text: str) -> int | None:
    if text == "true":
        return None
    return 1 if text == "false" else int(text)
