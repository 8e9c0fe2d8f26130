"""Cameras and files libav opens itself: packets pass through as they come, nothing is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, cast

import av

from edge_agent.capture.sources.base import STORABLE, StreamFormat, detached, libav_errors
from edge_agent.capture.sources.sound import sound_of
from edge_agent.errors import SourceLost, SourceUnsupported
from edge_agent.redact import redact

if TYPE_CHECKING:
    from typing import Protocol

    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

    from edge_agent.camera import Transport
    from edge_agent.capture.sources.base import AudioPacket, VideoPacket

    class Readable(Protocol):
        """What libav may read from instead of opening a URL itself."""

        def read(self, size: int, /) -> bytes: ...


OPEN_TIMEOUT = 10.0  # seconds; RTSP over a bad link needs four round trips
# A connection looked at three times a second does not wake us for every packet; the camera's kernel and ours keep what
# comes meanwhile. The writer's fragments are so much shorter than what a crash may cost. Over UDP nobody may rest:
# Linux grants a socket 208 KiB unless told otherwise (net.core.rmem_max), overhead included, and what comes when that
# is full is gone.
REST_SECONDS = 0.3
UDP_BUFFER = 1 << 20  # bytes the kernel is asked to hold: a 4K keyframe comes as one burst


class PacketSource:
    """The first video stream of what *target* opens, as encoded packets, and with *audio* its first sound.

    Raises SourceError.
    """

    def __init__(
        self,
        url: str,
        target: str | Readable,
        *,
        container_format: str | None = None,
        options: dict[str, str],
        read_timeout: float,
        has_end: bool = False,
        audio: bool = False,
        rest: float = 0.0,
    ) -> None:
        self._url = url
        self.rest = rest
        self._has_end = has_end
        with libav_errors(url, opening=True):
            container = av.open(
                target, "r", format=container_format, options=options, timeout=(OPEN_TIMEOUT, read_timeout)
            )
        self._container: InputContainer = container
        if not container.streams.video:
            container.close()
            raise SourceUnsupported("has no video stream", where=redact(url))
        self.stream: VideoStream = container.streams.video[0]
        self._sound = sound_of(container.streams.audio[0]) if audio and container.streams.audio else None

    @cached_property
    def format(self) -> StreamFormat:  # asked for every packet
        context = self.stream.codec_context
        return StreamFormat(context.name, context.width, context.height, bytes(context.extradata or b""))

    @cached_property
    def template(self) -> VideoStream:
        return detached(self.stream)

    @property
    def is_storable(self) -> bool:
        """Whether a segment can take the packets as they are."""
        return self.stream.codec_context.name in STORABLE

    @property
    def audio(self) -> AudioStream | None:
        return self._sound.template if self._sound else None

    def packets(self) -> Iterator[VideoPacket | AudioPacket]:
        with libav_errors(self._url, opening=False):
            for packet in self.pictures() if self._sound is None else self._with_sound():
                if packet.size:  # the demuxer ends with an empty packet, meant to flush decoders
                    yield packet
        if not self._has_end:
            raise SourceLost("camera hung up", where=redact(self._url))

    def pictures(self) -> Iterator[VideoPacket]:
        """The video's packets as the demuxer gives them. Raises libav's errors."""
        return self._container.demux(self.stream)

    def _with_sound(self) -> Iterator[VideoPacket | AudioPacket]:
        assert self._sound is not None  # noqa: S101 - asked for by packets() only where there is sound
        sound = self._container.streams.audio[0]
        for packet in self._container.demux(self.stream, sound):
            if packet.stream_index == self.stream.index:
                yield cast("VideoPacket", packet)
            elif packet.size:
                yield from self._sound.packets(cast("AudioPacket", packet))

    def request_keyframe(self) -> None:
        """Nothing can be asked of a stream that is only passed on."""

    def close(self) -> None:
        self._container.close()


def rtsp(url: str, transport: Transport, audio: bool, read_timeout: float) -> PacketSource:
    """An RTSP camera. Over TCP no lost datagram can tear a picture; some cameras only do UDP.

    Only the media that are recorded are asked for: what a camera does not send costs nothing. Raises SourceError.
    """
    options = {
        "rtsp_transport": transport,
        "allowed_media_types": "video+audio" if audio else "video",
        "timeout": str(int(read_timeout * 1_000_000)),
    }
    rest = REST_SECONDS
    if transport == "udp":
        options["buffer_size"], rest = str(UDP_BUFFER), 0.0
    return PacketSource(
        url, url, container_format="rtsp", options=options, read_timeout=read_timeout, audio=audio, rest=rest
    )
