"""What a source of packets promises, whatever the camera."""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

import av
import av.error

from edge_agent.errors import SourceError, SourceLost, SourceStalled, SourceUnreachable, SourceUnsupported
from edge_agent.redact import redact

if TYPE_CHECKING:
    from typing import TypeAlias

    from av.audio.stream import AudioStream
    from av.packet import Packet
    from av.video.stream import VideoStream

    VideoPacket: TypeAlias = Packet[VideoStream]
    AudioPacket: TypeAlias = Packet[AudioStream]

DEFAULT_RATE = Fraction(25)  # frames a second, of cameras that do not tell

# What the MP4 muxer of libav 61+ stores without re-encoding and common players and OpenCV read back.
STORABLE = frozenset({"h264", "hevc", "mpeg4", "mjpeg", "av1", "vp9", "mpeg2video", "mpeg1video"})


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """What must be equal for two packets to stand in one segment. Width and height in pixels."""

    codec: str
    width: int
    height: int
    extradata: bytes = b""

    def __str__(self) -> str:
        return f"{self.codec} {self.width}x{self.height}"


class Source(Protocol):
    """An open connection to a camera. Used by one thread; ``request_keyframe`` may be called from another."""

    @property
    def format(self) -> StreamFormat: ...

    @property
    def template(self) -> VideoStream:
        """The stream whose parameters the segment's file takes over; valid also after ``close``."""

    @property
    def audio(self) -> AudioStream | None:
        """The parameters of the sound among the packets, or None: then there is none. Valid also after ``close``."""

    @property
    def rest(self) -> float:
        """Seconds it may be left unread once all that came was read; what comes meanwhile waits elsewhere, unharmed."""

    def packets(self) -> Iterator[VideoPacket | AudioPacket]:
        """Encoded packets in decoding order, at the camera's own pace.

        Ends when the source has an end; raises SourceLost when it breaks. Timestamps are in ``packet.time_base``.
        """

    def request_keyframe(self) -> None:
        """Ask for a keyframe soon; sources that pass packets through cannot and ignore it."""

    def close(self) -> None: ...


def detached(stream: VideoStream, extradata: bytes = b"", size: tuple[int, int] | None = None) -> VideoStream:
    """A copy of *stream*'s parameters that outlives its container: packets wait in a queue when a camera is gone.

    libav frees a stream with its container, and taking a freed one as a template ends the process. *extradata* and
    *size* take the place of the stream's own. Raises SourceUnsupported.
    """
    container = av.open(io.BytesIO(), "w", format="mp4")
    try:
        copy = container.add_stream_from_template(stream, opaque=True)
        copy.codec_context.framerate = stream.average_rate or DEFAULT_RATE
        if extradata:
            copy.codec_context.extradata = extradata
        if size:
            copy.codec_context.width, copy.codec_context.height = size
        container.start_encoding()  # a stream's rate is set when the header is written
    except (av.error.FFmpegError, ValueError) as error:
        raise SourceUnsupported(f"its packets cannot be stored in MP4 ({error})") from error
    return copy


@contextmanager
def libav_errors(url: str, *, opening: bool) -> Iterator[None]:
    """Raise what libav says of *url* as one of our SourceErrors, without its password."""
    where = redact(url)
    is_rtsp = url.startswith(("rtsp:", "rtsps:"))
    try:
        yield
    except (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError) as error:
        raise SourceUnreachable("user or password refused", where=where, fix="check the login in the URL") from error
    except (av.error.HTTPNotFoundError, av.error.FileNotFoundError) as error:
        raise SourceUnreachable("no such stream or file", where=where, fix="check the URL's path") from error
    except av.error.PermissionError as error:
        if is_rtsp and opening and error.errno == errno.EPERM:
            raise _no_answer(where) from error  # libav's -1 when PLAY gets none
        raise SourceUnreachable(
            "permission denied", where=where, fix="let the agent's user read it (group 'video' for cameras)"
        ) from error
    except (av.error.ExitError, av.error.TimeoutError) as error:  # the first: our time-out ended libav's waiting
        late: type[SourceError] = SourceUnreachable if opening else SourceStalled
        raise late("no answer in time", where=where, fix="check the camera and its network") from error
    except (av.error.InvalidDataError, av.error.DecoderNotFoundError) as error:
        if opening and is_rtsp:  # libav takes a request that was never answered for an answer it cannot read
            raise _no_answer(where) from error
        if opening:
            raise SourceUnsupported("delivers no video that can be read", where=where) from error
        raise SourceLost("stream broke off with unreadable data", where=where) from error
    except av.error.FFmpegError as error:
        reason = redact(error.strerror or str(error)) or "failed"
        kind: type[SourceError] = SourceUnreachable if opening else SourceLost
        raise kind(reason, where=where, fix="check that the camera is on and reachable" if opening else "") from error


def _no_answer(where: str) -> SourceUnreachable:
    return SourceUnreachable(
        "gives no answer that RTSP knows",
        where=where,
        fix="check that the camera is on, and the URL's address and port",
    )
