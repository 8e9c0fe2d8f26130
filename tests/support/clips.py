"""Clips made for a test, and what is in a clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np


def make_clip(
    path: Path,
    *,
    codec: str = "libx264",
    frames: int = 50,
    gop: int = 25,
    b_frames: int = 0,
    pixels: str = "yuv420p",
    size: tuple[int, int] = (160, 120),
) -> Path:
    """A clip of *frames* pictures at 25 a second, no two alike; the container is named by the suffix."""
    options = {"preset": "ultrafast"} if codec == "libx264" else {}
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        shade = np.arange(size[0] * size[1] * 3, dtype=np.uint32).reshape(size[1], size[0], 3)
        for number in range(frames):
            picture = ((shade // 97 + number * 5) % 256).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@dataclass(frozen=True, slots=True)
class Seen:
    """What a reader finds in a file: every packet's bytes, times in seconds, and how many pictures decode."""

    packets: list[bytes]
    dts: list[float]
    pts: list[float]
    keyframes: list[int]
    pictures: int


def look(path: Path, *, decode: bool = True) -> Seen:
    """Demux and decode the video at *path*."""
    packets, dts, pts, keyframes, pictures = [], [], [], [], 0
    with av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            if packet.size:
                packets.append(bytes(packet))
                base = packet.time_base
                dts.append(float((packet.dts or 0) * base))
                pts.append(float((packet.pts or 0) * base))
                if packet.is_keyframe:
                    keyframes.append(len(packets) - 1)
            if decode:
                pictures += len(packet.decode())
    return Seen(packets, dts, pts, keyframes, pictures)
