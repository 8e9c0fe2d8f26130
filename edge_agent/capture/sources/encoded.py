"""Pictures become H.264 packets: for webcams that send raw pictures, for OpenCV, for the test picture."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av
import av.error
from av.codec.context import Flags
from av.video.frame import PictureType

from edge_agent.camera import Encoding
from edge_agent.capture.sources.base import StreamFormat, detached
from edge_agent.errors import SourceUnsupported

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from edge_agent.capture.sources.base import VideoPacket

KEYFRAME_SECONDS = 1.0  # a segment can be cut, and a crash loses at most, this much; unless encode.gop says otherwise
TIME_BASE = Fraction(1, 90_000)  # the RTP clock of video: holds every frame rate in use
ENCODERS = {"x264": "libx264", "v4l2m2m": "h264_v4l2m2m"}
# forced-idr: a keyframe asked for can begin a segment. No scene-cut detection: keyframes come every GOP, and only then.
_X264 = {"preset": "ultrafast", "tune": "zerolatency", "forced-idr": "1", "sc_threshold": "0"}


class EncodedSource:
    """*frames*, of *fps* a second, encoded as *encode* says: closed GOPs of fixed length, no B-frames.

    So segments can be cut and sampled at keyframes. Raises SourceUnsupported.
    """

    rest = 0.0  # a driver has room for few pictures

    def __init__(
        self,
        frames: Iterator[VideoFrame],
        *,
        size: tuple[int, int],
        fps: float,
        encode: Encoding,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._frames = frames
        self._on_close = on_close
        self._keyframe_wanted = threading.Event()
        self._pace = FramePace(encode.fps) if encode.fps is not None and encode.fps < fps else None
        width, height = size[0] // 2 * 2, size[1] // 2 * 2  # 4:2:0 has even sides
        # The encoder lives in a container that is never read: libav fills a stream's parameters, which segments
        # take as their template, only when a header is written.
        self._container: OutputContainer = av.open(io.BytesIO(), "w", format="mp4")
        rate = min(fps, encode.fps or fps)
        # How long a frame lasts where the gaps are uneven; else the gap before it tells it better than a camera's word.
        self._lasts = int(1 / (rate * TIME_BASE)) if self._pace else 0
        try:
            self._stream = _encoder(self._container, (width, height), rate, encode)
            self._container.start_encoding()
        except (av.error.FFmpegError, ValueError) as error:
            on_close()
            if encode.codec != "x264":
                raise SourceUnsupported(
                    f"this box has no {encode.codec} encoder that takes {width}x{height}",
                    where="encode.codec",
                    fix="set codec: x264",
                ) from error
            raise SourceUnsupported(f"pictures of {width}x{height} cannot be encoded ({error})") from error
        self._template: VideoStream | None = self._stream if self._extradata(self._stream) else None

    @property
    def format(self) -> StreamFormat:
        context = self._stream.codec_context
        return StreamFormat("h264", context.width, context.height, self._extradata(self.template))

    @property
    def template(self) -> VideoStream:
        """Complete once there was a packet: hardware tells its parameters in its first keyframe only."""
        return self._template or self._stream

    @property
    def audio(self) -> None:
        """Pictures have no sound."""

    def packets(self) -> Iterator[VideoPacket]:
        for packet in self._encoded():
            if self._template is None:
                self._template = detached(self._stream, _header_in(packet))
            packet.duration = self._lasts
            yield packet

    def _encoded(self) -> Iterator[VideoPacket]:
        last = -1
        for frame in self._frames:
            time = frame.pts * frame.time_base if frame.pts is not None and frame.time_base else Fraction(0)
            if self._pace is not None and not self._pace.keeps(float(time)):
                continue
            picture = frame.reformat(self._stream.width, self._stream.height, "yuv420p")
            picture.pts = last = max(last + 1, int(time / TIME_BASE))
            picture.time_base = TIME_BASE
            picture.pict_type = PictureType.NONE
            if self._keyframe_wanted.is_set():  # cleared only when seen: a wish is made once
                self._keyframe_wanted.clear()
                picture.pict_type = PictureType.I
            yield from self._stream.encode(picture)
        yield from self._stream.encode(None)

    def request_keyframe(self) -> None:
        self._keyframe_wanted.set()

    def close(self) -> None:
        self._on_close()
        self._container.close()

    @staticmethod
    def _extradata(stream: VideoStream) -> bytes:
        return bytes(stream.codec_context.extradata or b"")


class FramePace:
    """Says which frames to keep so that *fps* a second remain, evenly spread, whatever rate they come at."""

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._slot = -math.inf

    def keeps(self, time: float) -> bool:
        """Whether to keep the frame of *time* (seconds). One frame is kept in each slot of 1/fps."""
        # A quarter of a slot late: frames that come at a multiple of the rate lie inside slots, not on their borders.
        slot = math.floor(time * self._fps + 0.25)
        if slot == self._slot:
            return False
        self._slot = slot
        return True


def bit_rate(width: int, height: int, fps: float, quality: int) -> int:
    """Bits a second for an encoder that knows no quality: about x264's at that CRF.

    A tenth of a bit a pixel at 23, as 4 to 5 Mb/s for 1080p25; six steps halve it, as they do in x264.
    """
    return int(width * height * fps * 0.1 * 2 ** ((23 - quality) / 6))


def _header_in(packet: VideoPacket) -> bytes:
    """The parameter sets in a keyframe, as extradata."""
    from edge_agent.capture.parameters import parameter_sets

    _, every = parameter_sets("h264", bytes(packet))
    return b"".join(b"\0\0\0\1" + unit for unit in every)


def _encoder(container: OutputContainer, size: tuple[int, int], fps: float, encode: Encoding) -> VideoStream:
    """A stream of *container* that encodes as *encode* says."""
    rate = Fraction(fps).limit_denominator(1001)
    options = {**_X264, "crf": str(encode.quality)} if encode.codec == "x264" else {}
    stream = cast("VideoStream", container.add_stream(ENCODERS[encode.codec], rate=rate, options=options))
    stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
    context = stream.codec_context
    if encode.codec != "x264":
        context.bit_rate = bit_rate(*size, fps, encode.quality)
    context.gop_size = encode.gop or max(1, round(fps * KEYFRAME_SECONDS))
    context.max_b_frames = 0
    context.time_base = TIME_BASE
    context.flags |= Flags.global_header | Flags.closed_gop
    return stream
