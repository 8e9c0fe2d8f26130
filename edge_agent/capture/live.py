"""What a camera shows right now: a small JPEG of its newest keyframe, made only while somebody looks.

The parent says ``look <seconds>`` on standard input, again and again while somebody does; each picture is an event on
standard output. So no file is written, and no second connection to the camera is made.
"""

from __future__ import annotations

import base64
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import av.error

from edge_agent.capture.health import decoder_for
from edge_agent.capture.report import PICTURE, Event, Report

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame

    from edge_agent.capture.lookers import Lookers
    from edge_agent.capture.reader import Arrival

WIDTH = 640  # pixels at most; a phone shows no more, and a picture is some 30 KB
APART_SECONDS = 0.9  # a camera of keyframes only is not drawn at its full rate
QUALITY = "6"  # the encoder's quantiser, 2 best, 31 worst; at 6 a camera's view shows no blocks


class LiveView:
    """Draws for *lookers*; lives as long as the recorder."""

    def __init__(self, lookers: Lookers, camera: str, report: Report) -> None:
        self._lookers = lookers
        self._camera = camera
        self._report = report
        self._newest: Arrival | None = None
        self._drawn_at = float("-inf")
        self._decoder: tuple[object, VideoCodecContext] | None = None
        self._encoder: VideoCodecContext | None = None
        self._drawn = 0

    def packet(self, arrival: Arrival) -> None:
        """Look at a packet as it came; a keyframe that cannot be decoded shows nothing."""
        if arrival.packet.is_keyframe:
            self._newest = arrival
        if not self._lookers.are_there(arrival.monotonic):
            self._decoder = self._encoder = None  # some megabytes for a large picture
            return
        if self._newest is None or arrival.monotonic - self._drawn_at < APART_SECONDS:
            return
        newest, self._newest = self._newest, None
        self._drawn_at = arrival.monotonic
        try:
            frame = self._decode(newest)
            jpeg = self._encode(frame) if frame else b""
        except av.error.FFmpegError:
            return
        if frame and jpeg:
            encoded = base64.b64encode(jpeg).decode("ascii")
            self._report(Event(PICTURE, self._camera, {"jpeg": encoded, "width": frame.width, "height": frame.height}))

    def _decode(self, arrival: Arrival) -> VideoFrame | None:
        """The keyframe, at most WIDTH wide."""
        if self._decoder is None or self._decoder[0] != arrival.format:
            decoder = decoder_for(arrival)
            decoder.options = {}  # this one is looked at closely
            self._decoder = (arrival.format, decoder)
        decoder = self._decoder[1]
        try:
            frames = [*decoder.decode(arrival.packet), *decoder.decode(None)]
        finally:
            decoder.flush_buffers()
        return frames[-1].reformat(*fitted(frames[-1].width, frames[-1].height), "yuvj420p") if frames else None

    def _encode(self, frame: VideoFrame) -> bytes:
        encoder = self._encoder
        if encoder is None or (encoder.width, encoder.height) != (frame.width, frame.height):
            encoder = self._encoder = jpeg_encoder(frame.width, frame.height)
        self._drawn += 1
        frame.pts, frame.time_base = self._drawn, encoder.time_base  # the encoder takes no two at one time
        return b"".join(bytes(packet) for packet in encoder.encode(frame))


def fitted(width: int, height: int, most: int = WIDTH) -> tuple[int, int]:
    """The size, in even pixels, of a *width* x *height* picture at most *most* wide. Pure."""
    scale = min(1.0, most / width)
    return max(2, int(width * scale) & ~1), max(2, int(height * scale) & ~1)


def jpeg_encoder(width: int, height: int) -> VideoCodecContext:
    """libav's own, which encodes one frame as one JPEG at once."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1
    encoder.options = {"qmin": QUALITY, "qmax": QUALITY}
    return encoder
