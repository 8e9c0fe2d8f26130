"""A video in another container as an MP4, packet by packet: nothing is decoded, nothing encoded anew."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from edge_agent.errors import VideoUnreadable

# Suffix to libav's demuxer. It is named because guessing would also follow what a name or a play list says.
FORMATS = {
    ".mp4": "mp4",
    ".m4v": "mov",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "matroska",
    ".ts": "mpegts",
    ".avi": "avi",
}

_FIX = "convert it to MP4 by hand and put that there"


def remux(source: Path, target: Path) -> None:
    """Every packet of every stream of *source*, in an MP4 at *target*, durable on return.

    Raises VideoUnreadable when an MP4 cannot hold all of it, or when not all of it arrived; OSError when *source*
    cannot be read or *target* not written.
    """
    import av

    try:
        copied = _copy(source, target)
        with av.open(f"file:{target.absolute()}", format="mp4") as made:
            arrived = Counter(packet.stream.index for packet in made.demux() if packet.size)
    except av.FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise VideoUnreadable(f"cannot be made an MP4 ({error.strerror})", where=str(source), fix=_FIX) from error
    except ValueError as error:  # of PyAV itself: no muxer's tag for this codec
        raise VideoUnreadable(f"cannot be made an MP4 ({error})", where=str(source), fix=_FIX) from error
    if sorted(copied.values()) != sorted(arrived.values()):
        raise VideoUnreadable("does not fit into an MP4 whole", where=str(source), fix=_FIX)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _copy(source: Path, target: Path) -> Counter[int]:
    """Packets copied, by the stream's index in *source*."""
    import av

    copied: Counter[int] = Counter()
    with (
        av.open(f"file:{source.absolute()}", format=FORMATS[source.suffix.lower()]) as read,
        av.open(f"file:{target.absolute()}", "w", format="mp4") as made,
    ):
        if not read.streams.video:
            raise VideoUnreadable("has no video stream", where=str(source), fix=_FIX)
        streams = {stream.index: made.add_stream_from_template(stream) for stream in read.streams}
        for packet in read.demux():
            if not packet.size:
                continue  # the end of a stream
            if packet.dts is None or packet.is_corrupt:
                raise VideoUnreadable("has packets without a time or damaged ones", where=str(source), fix=_FIX)
            index = packet.stream.index
            packet.stream = streams[index]
            made.mux(packet)
            copied[index] += 1
    return copied
