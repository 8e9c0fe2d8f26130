"""Videos of every odd kind, made small: what cameras, muxers and cut-off transfers leave behind."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.filter import Graph
from numpy.typing import NDArray

FRAMES = 60
_QUARTER_TURNS = {  # the display matrix of ISO/IEC 14496-12, 8.3.2: turned against the clock when shown
    90: (0, -0x10000, 0x10000, 0),
    180: (-0x10000, 0, 0, -0x10000),
    270: (0, 0x10000, -0x10000, 0),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """How a video is made. ``steps``: ticks of 1/90000 s between its frames, repeated."""

    suffix: str = ".mp4"
    codec: str = "libx264"
    options: str = "keyint=12:min-keyint=12:scenecut=0:bframes=0"
    pixels: str = "yuv420p"
    size: tuple[int, int] = (96, 64)
    steps: Sequence[int] = (3000,)
    frames: int = FRAMES
    first: int = 0  # packets left out at the beginning
    hidden: int = 0  # frames an edit list leaves out at the beginning


KINDS: dict[str, Kind] = {
    "constant": Kind(),
    "gop-of-one": Kind(options="keyint=1"),
    "one-gop": Kind(options="keyint=250:bframes=3"),
    "variable-rate": Kind(steps=(3000, 1000, 9000, 3003, 90)),
    "b-frames": Kind(options="keyint=12:min-keyint=12:scenecut=0:bframes=3:b-pyramid=normal"),
    "b-frames-variable": Kind(
        options="keyint=15:min-keyint=15:scenecut=0:bframes=4:b-adapt=0", steps=(3000, 1500, 6000)
    ),
    "open-gop": Kind(options="keyint=12:min-keyint=12:scenecut=0:bframes=3:open-gop=1"),
    "intra-refresh": Kind(options="keyint=12:bframes=0:intra-refresh=1"),
    "transport": Kind(".ts", options="keyint=12:min-keyint=12:scenecut=0:bframes=2"),
    "transport-cut-in-a-gop": Kind(".ts", options="keyint=12:min-keyint=12:scenecut=0:bframes=2", first=5),
    "matroska": Kind(".mkv", options="keyint=12:min-keyint=12:scenecut=0:bframes=2"),
    "matroska-cut-in-a-gop": Kind(".mkv", first=7),
    "avi": Kind(".avi"),
    "avi-b-frames": Kind(".avi", "mpeg4", "bf=2 g=12"),
    "mpeg4": Kind(".mp4", "mpeg4", "bf=2 g=12"),
    "edit-list": Kind(hidden=5),
    "edit-list-b-frames": Kind(options="keyint=12:min-keyint=12:scenecut=0:bframes=2", hidden=17),
    "cut-in-a-gop": Kind(first=5),
    "open-gop-cut": Kind(".mkv", options="keyint=12:min-keyint=12:scenecut=0:bframes=3:open-gop=1", first=12),
    "hevc": Kind(codec="libx265", options="keyint=12:min-keyint=12:scenecut=0:bframes=3:open-gop=0"),
    "hevc-open-gop": Kind(codec="libx265", options="keyint=12:min-keyint=12:scenecut=0:bframes=3:open-gop=1"),
    "hevc-layers": Kind(codec="libx265", options="keyint=12:scenecut=0:bframes=3:temporal-layers=3:open-gop=0"),
    "hevc-open-gop-cut": Kind(".mkv", "libx265", "keyint=12:min-keyint=12:scenecut=0:bframes=3:open-gop=1", first=12),
    "odd-size": Kind(size=(97, 63), pixels="yuv444p"),
    "tiny": Kind(size=(16, 16)),
    "narrow": Kind(size=(16, 480)),
    "ten-bit": Kind(pixels="yuv420p10le"),
    "grey": Kind(pixels="gray"),
    "interlaced": Kind(".ts", options="keyint=12:bframes=0:interlaced=1"),
    "one-frame": Kind(frames=1),
    "two-frames": Kind(frames=2, options="bframes=2"),
    "motion-jpeg": Kind(".mkv", "mjpeg", "", "yuvj420p"),
    "motion-jpeg-avi": Kind(".avi", "mjpeg", "", "yuvj420p"),
    "motion-jpeg-variable": Kind(".mp4", "mjpeg", "", "yuvj422p", steps=(3000, 4500)),
    "vp9": Kind(".mkv", "libvpx-vp9", "g=12 auto-alt-ref=1 lag-in-frames=8 deadline=realtime cpu-used=8"),
    "vp8": Kind(".mkv", "libvpx", "g=12 auto-alt-ref=1 lag-in-frames=8 deadline=realtime cpu-used=8"),
    "mpeg2": Kind(".ts", "mpeg2video", "g=12 bf=2"),
}


def make(directory: Path, name: str) -> Path:
    """The video of kind *name* in *directory*."""
    return write(directory / f"{name}{KINDS[name].suffix}", KINDS[name])


def write(path: Path, kind: Kind) -> Path:
    packets, stream, source = _encoded(kind)
    try:
        with av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as container:
            copy = container.add_stream_from_template(stream)
            if kind.steps == (3000,):
                copy.time_base = Fraction(1, 30)  # else AVI fills up with empty packets
            shift = round(sum(kind.steps[n % len(kind.steps)] for n in range(kind.hidden)) / 90000 / stream.time_base)
            for packet in packets[kind.first :]:
                packet.pts, packet.dts = packet.pts - shift, (packet.dts or 0) - shift
                packet.stream = copy
                container.mux(packet)
    finally:
        source.close()
    return path


def plain(path: Path) -> list[NDArray[np.uint8]]:
    """The picture of each frame of a plain decode in order, by libav's own scaler: what samples are held against."""
    with av.open(path) as container:
        container.streams.video[0].codec_context.thread_count = 1
        return [upright(frame) for frame in container.decode(video=0)]


def upright(frame: av.VideoFrame) -> NDArray[np.uint8]:
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 90000))
    graph.link_nodes(
        source, graph.add("scale", "flags=bicubic"), graph.add("format", "pix_fmts=bgr24"), graph.add("buffersink")
    ).configure()
    graph.vpush(frame)
    return np.rot90(np.asarray(graph.vpull().to_ndarray(), np.uint8), round(frame.rotation / 90))


def turned(source: Path, target: Path, degrees: int) -> Path:
    """*source*, an MP4 file, with a display matrix that turns it *degrees* against the clock."""
    content = bytearray(source.read_bytes())
    a, b, c, d = _QUARTER_TURNS[degrees]
    matrix = b"".join(value.to_bytes(4, "big", signed=True) for value in (a, b, 0, c, d, 0, 0, 0, 0x40000000))
    place = content.index(b"tkhd") + 44
    content[place : place + 36] = matrix
    target.write_bytes(content)
    return target


def picture(kind: Kind, number: int) -> NDArray[np.uint8]:
    """A picture no other is like: a bar that moves over texture."""
    width, height = kind.size
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    shade = (across * 3 + down * 2 + number * 4) % 256
    shade = np.where((across + number * 2) % width < max(2, width // 8), 255 - number * 2, shade)
    return np.stack([shade, 255 - shade, (shade // 2 + number) % 256], 2).astype(np.uint8)


def _encoded(kind: Kind) -> tuple[list[Any], Any, Any]:
    """The packets of a video of *kind*, the stream they belong to, and the container, to be closed after use."""
    whole = io.BytesIO()
    base = Fraction(1, 30) if kind.steps == (3000,) else Fraction(1, 90000)
    carrier = "matroska" if kind.codec.startswith("libvpx") else "nut" if kind.suffix == ".avi" else "mp4"
    with av.open(whole, "w", format=carrier) as container:
        stream: Any = container.add_stream(kind.codec, rate=30, options=_options(kind))
        stream.width, stream.height, stream.pix_fmt = *kind.size, kind.pixels
        stream.codec_context.time_base = stream.time_base = base
        ticks = 0
        for number in range(kind.frames):
            frame = av.VideoFrame.from_ndarray(picture(kind, number), format="rgb24").reformat(format=kind.pixels)
            frame.pts, frame.time_base = round(ticks / 90000 / base), base
            ticks += kind.steps[number % len(kind.steps)]
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    whole.seek(0)
    source = av.open(whole, "r")
    return [packet for packet in source.demux(video=0) if packet.size], source.streams.video[0], source


def _options(kind: Kind) -> dict[str, str]:
    if kind.codec == "libx264":
        return {"preset": "ultrafast", "x264-params": f"{kind.options}:threads=1"}
    if kind.codec == "libx265":
        return {"preset": "ultrafast", "x265-params": f"{kind.options}:log-level=none:pools=none:frame-threads=1"}
    return dict(part.split("=") for part in kind.options.split())
