"""Pictures become H.264 packets: for webcams that send raw pictures, for OpenCV, for the test picture."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import av.error
from av.codec.context import Flags
from av.video.frame import PictureType

from edge_agent.capture.sources.base import StreamFormat
from edge_agent.errors import SourceUnsupported

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from edge_agent.capture.sources.base import VideoPacket

KEYFRAME_SECONDS = 1.0  # a segment can be cut, and a crash loses at most, this much
TIME_BASE = Fraction(1, 90_000)  # the RTP clock of video: holds every frame rate in use


class EncodedSource:
    """*frames* encoded by x264: closed GOPs of one second, no B-frames, so that cutting and sampling stay cheap."""

    def __init__(
        self,
        frames: Iterator[VideoFrame],
        *,
        size: tuple[int, int],
        fps: float,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        width, height = size[0] // 2 * 2, size[1] // 2 * 2  # 4:2:0 has even sides
        self._frames = frames
        self._on_close = on_close
        self._keyframe_wanted = threading.Event()
        # The encoder lives in a container that is never read: libav fills a stream's parameters, which segments
        # take as their template, only when a header is written.
        self._container: OutputContainer = av.open(io.BytesIO(), "w", format="mp4")
        rate = Fraction(fps).limit_denominator(1001)
        options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "23", "forced-idr": "1"}
        self._stream: VideoStream = self._container.add_stream("libx264", rate=rate, options=options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        context = self._stream.codec_context
        context.gop_size = max(1, round(fps * KEYFRAME_SECONDS))
        context.max_b_frames = 0
        context.time_base = TIME_BASE
        context.flags |= Flags.global_header | Flags.closed_gop
        try:
            self._container.start_encoding()
        except av.error.FFmpegError as error:
            raise SourceUnsupported(f"pictures of {width}x{height} cannot be encoded ({error})") from error

    @property
    def format(self) -> StreamFormat:
        context = self._stream.codec_context
        return StreamFormat("h264", context.width, context.height, bytes(context.extradata or b""))

    @property
    def template(self) -> VideoStream:
        return self._stream

    def packets(self) -> Iterator[VideoPacket]:
        last = -1
        for frame in self._frames:
            picture = frame.reformat(self._stream.width, self._stream.height, "yuv420p")
            time = frame.pts * frame.time_base if frame.pts is not None and frame.time_base else Fraction(0)
            picture.pts = last = max(last + 1, int(time / TIME_BASE))
            picture.time_base = TIME_BASE
            picture.pict_type = PictureType.I if self._keyframe_wanted.is_set() else PictureType.NONE
            self._keyframe_wanted.clear()
            yield from self._stream.encode(picture)
        yield from self._stream.encode(None)

    def request_keyframe(self) -> None:
        self._keyframe_wanted.set()

    def close(self) -> None:
        self._on_close()
        self._container.close()
