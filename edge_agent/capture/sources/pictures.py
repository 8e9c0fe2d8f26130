"""Raw pictures to be encoded: decoded from packets, grabbed by OpenCV, or drawn by libav as a moving test picture."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import av.error

from edge_agent.camera import Encoding
from edge_agent.capture.sources.base import libav_errors
from edge_agent.capture.sources.encoded import TIME_BASE, EncodedSource
from edge_agent.capture.sources.libav import PacketSource
from edge_agent.clock import Clock
from edge_agent.errors import SourceLost, SourceUnreachable

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

DEFAULT_FPS = 25.0


def decoded(source: PacketSource, url: str, encode: Encoding) -> EncodedSource:
    """*source*, whose packets no segment can hold (raw pictures, old codecs), decoded and encoded anew."""
    context = source.stream.codec_context
    fps = float(source.stream.average_rate or DEFAULT_FPS)

    def frames() -> Iterator[VideoFrame]:
        with libav_errors(url, opening=False):
            for packet in source.packets():
                if packet.stream.type == "video":
                    with contextlib.suppress(av.error.InvalidDataError):  # one torn picture ends no connection
                        yield from source.stream.decode(packet)
            yield from source.stream.decode(None)

    size = (context.width, context.height)
    return EncodedSource(frames(), size=size, fps=fps, encode=encode, on_close=source.close)


def synthetic(size: tuple[int, int], fps: float, seconds: float | None, encode: Encoding) -> EncodedSource:
    """libav's moving test picture (``testsrc2``), *seconds* long or endless, as fast as it is read."""
    graph = f"testsrc2=size={size[0]}x{size[1]}:rate={Fraction(fps).limit_denominator(1001)}"
    if seconds is not None:
        graph += f":duration={seconds}"
    with libav_errors("synthetic:", opening=True):
        container = av.open(graph, format="lavfi")
    return EncodedSource(container.decode(video=0), size=size, fps=fps, encode=encode, on_close=container.close)


def opencv(
    url: str, index: int, size: tuple[int, int] | None, fps: float | None, clock: Clock, encode: Encoding
) -> EncodedSource:
    """A webcam through OpenCV, for systems where libav has no input for it. Frames are timed as they arrive."""
    import cv2
    import numpy as np

    # What it warns of while it looks for the camera, we say in one line.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    camera = cv2.VideoCapture(index)
    if not camera.isOpened():
        camera.release()
        raise SourceUnreachable("OpenCV finds no such camera", where=url, fix="check its number and its plug")
    if size is not None:
        camera.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
        camera.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
    if fps is not None:
        camera.set(cv2.CAP_PROP_FPS, fps)
    width, height = int(camera.get(cv2.CAP_PROP_FRAME_WIDTH)), int(camera.get(cv2.CAP_PROP_FRAME_HEIGHT))
    rate = camera.get(cv2.CAP_PROP_FPS)

    def frames() -> Iterator[VideoFrame]:
        began = clock.monotonic()
        while True:
            arrived, picture = camera.read()
            if not arrived:
                raise SourceLost("camera delivers no more pictures", where=url)
            frame = av.VideoFrame.from_ndarray(np.asarray(picture, np.uint8), format="bgr24")
            frame.pts, frame.time_base = int((clock.monotonic() - began) / TIME_BASE), TIME_BASE
            yield frame

    fps = rate if 1 <= rate <= 240 else DEFAULT_FPS
    return EncodedSource(frames(), size=(width, height), fps=fps, encode=encode, on_close=camera.release)
