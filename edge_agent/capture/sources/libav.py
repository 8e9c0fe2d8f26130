"""Cameras and files libav opens itself: packets pass through as they come, nothing is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import av

from edge_agent.capture.sources.base import STORABLE, StreamFormat, detached, libav_errors
from edge_agent.errors import SourceError, SourceLost, SourceUnsupported
from edge_agent.redact import redact

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

    from edge_agent.capture.sources.base import VideoPacket

OPEN_TIMEOUT = 10.0  # seconds; RTSP over a bad link needs four round trips
V4L2_FORMATS = ("h264", "mjpeg")  # tried in this order before raw pictures: what needs no encoder first


class PacketSource:
    """The first video stream of what *target* opens, as encoded packets. Raises SourceError."""

    def __init__(
        self,
        url: str,
        target: str,
        *,
        container_format: str | None = None,
        options: dict[str, str],
        read_timeout: float,
        has_end: bool = False,
    ) -> None:
        self._url = url
        self._has_end = has_end
        with libav_errors(url, opening=True):
            container = av.open(target, format=container_format, options=options, timeout=(OPEN_TIMEOUT, read_timeout))
        self._container: InputContainer = container
        if not container.streams.video:
            container.close()
            raise SourceUnsupported("has no video stream", where=redact(url))
        self.stream: VideoStream = container.streams.video[0]

    @property
    def format(self) -> StreamFormat:
        context = self.stream.codec_context
        return StreamFormat(context.name, context.width, context.height, bytes(context.extradata or b""))

    @cached_property
    def template(self) -> VideoStream:
        return detached(self.stream)

    @property
    def is_storable(self) -> bool:
        """Whether a segment can take the packets as they are."""
        return self.stream.codec_context.name in STORABLE

    def packets(self) -> Iterator[VideoPacket]:
        with libav_errors(self._url, opening=False):
            for packet in self._container.demux(self.stream):
                if packet.size:  # the demuxer ends with an empty packet, meant to flush decoders
                    yield packet
        if not self._has_end:
            raise SourceLost("camera hung up", where=redact(self._url))

    def request_keyframe(self) -> None:
        """Nothing can be asked of a stream that is only passed on."""

    def close(self) -> None:
        self._container.close()


def rtsp(url: str, read_timeout: float) -> PacketSource:
    """An RTSP camera over TCP, so that a lost datagram cannot tear a picture."""
    options = {"rtsp_transport": "tcp", "timeout": str(int(read_timeout * 1_000_000))}
    return PacketSource(url, url, container_format="rtsp", options=options, read_timeout=read_timeout)


def v4l2(url: str, device: str, wishes: dict[str, str], read_timeout: float) -> PacketSource:
    """A V4L2 camera in the first compressed format it has, else raw; or in just the wished one. Raises SourceError."""
    options = {"video_size": wishes.get("size"), "framerate": wishes.get("fps")}
    wanted = {key: value for key, value in options.items() if value}
    formats = [wishes["format"]] if "format" in wishes else [*V4L2_FORMATS, None]
    refused: SourceError | None = None
    for input_format in formats:
        tried = {**wanted, "input_format": input_format} if input_format else wanted
        try:
            return PacketSource(url, device, container_format="v4l2", options=tried, read_timeout=read_timeout)
        except SourceError as error:
            refused = error
    assert refused is not None  # noqa: S101 - formats is never empty
    raise refused
