"""V4L2 cameras: the format is negotiated, and what the kernel lends is given back at once."""

from __future__ import annotations

import errno
import fcntl
import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import av
import av.error
from av.bitstream import BitStreamFilterContext

from edge_agent.capture.sources.libav import PacketSource
from edge_agent.errors import SourceError, SourceLost, SourceUnreachable, SourceUnsupported

if TYPE_CHECKING:
    from edge_agent.capture.sources.base import VideoPacket

FORMATS = ("h264", "mjpeg")  # tried in this order before raw pictures: what needs no encoder first
_RATE_TOLERANCE = 0.01  # of the rate: whoever wishes for 30 may be given 30000/1001
# VIDIOC_G_FMT of linux/videodev2.h, as x86 and ARM number it: _IOWR('V', 4, struct v4l2_format). The structure is a
# type, 4 bytes, and a union aligned as a pointer, 200 bytes, which begins with the width and height in pixels.
_POINTER = struct.calcsize("P")
_FORMAT_BYTES = _POINTER + 200
_GET_FORMAT = 3 << 30 | _FORMAT_BYTES << 16 | ord("V") << 8 | 4
_VIDEO_CAPTURE = 1
_LOOK = "what it offers shows: v4l2-ctl --list-formats-ext -d"


class V4l2Source(PacketSource):
    """A camera's packets, each a copy of its own.

    libav lends out the kernel's buffers: a packet still held when the camera is closed, or a picture decoded from one,
    ends the process when it is read or freed.
    """

    def pictures(self) -> Iterator[VideoPacket]:
        # Passing through a filter empties the packet that libav lent, whoever holds it still.
        take = BitStreamFilterContext("null", self.stream).filter
        with _unplugged(self._url):
            for lent in super().pictures():
                if lent.size:
                    yield self._owned(take(lent)[0])

    def _owned(self, packet: VideoPacket) -> VideoPacket:
        copy = cast("VideoPacket", av.Packet(bytes(packet)))
        copy.pts, copy.dts, copy.duration, copy.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
        copy.is_keyframe, copy.stream = packet.is_keyframe, self.stream
        return copy


def v4l2(url: str, device: str, wishes: dict[str, str], read_timeout: float) -> PacketSource:
    """The camera *device* in the first format of FORMATS that it has, else raw; or in just the wished one.

    *wishes* may hold ``size``, ``fps`` and ``format`` of the URL. Raises SourceError, also where the camera would
    deliver something other than wished: drivers take any wish and do what they can.
    """
    asked = {"video_size": wishes.get("size"), "framerate": wishes.get("fps"), "input_format": wishes.get("format")}
    wanted = {key: value for key, value in asked.items() if value}
    tries = [wanted] if "format" in wishes else [*({**wanted, "input_format": one} for one in FORMATS), wanted]
    refused: SourceError | None = None
    for options in tries:
        try:
            source = V4l2Source(url, device, container_format="v4l2", options=options, read_timeout=read_timeout)
            return _fulfilled(source, url, device, wishes)
        except SourceError as error:
            refused = _explained(error, url, device, wishes)
    assert refused is not None  # noqa: S101 - tries is never empty
    raise refused


def unfulfilled(wishes: dict[str, str], width: int, height: int, fps: float | None) -> str:
    """What a camera that delivers *width* x *height* at *fps* frames a second (None: unknown) withholds, or nothing."""
    size = f"{width}x{height}"
    if wishes.get("size", size) != size:
        return f"camera delivers {size}, not size={wishes['size']}"
    if fps and "fps" in wishes and not math.isclose(fps, float(wishes["fps"]), rel_tol=_RATE_TOLERANCE):
        return f"camera delivers {fps:.4g} frames a second at {size}, not fps={wishes['fps']}"
    return ""


def _fulfilled(source: V4l2Source, url: str, device: str, wishes: dict[str, str]) -> V4l2Source:
    """*source*, which does as wished. Raises SourceError, having closed it."""
    rate = source.stream.average_rate
    try:
        width, height = _size(device)
        if problem := unfulfilled(wishes, width, height, float(rate) if rate else None):
            raise SourceUnsupported(problem, where=url, fix=f"{_LOOK} {device}")
    except OSError as error:
        source.close()
        raise SourceUnreachable(error.strerror or "failed", where=url, fix="check the camera's plug") from error
    except SourceUnsupported:
        source.close()
        raise
    return source


def _size(device: str) -> tuple[int, int]:
    """Width and height the driver has settled on; libav repeats the wish. Raises OSError."""
    settled = bytearray(_FORMAT_BYTES)
    struct.pack_into("I", settled, 0, _VIDEO_CAPTURE)
    descriptor = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(descriptor, _GET_FORMAT, settled)
    finally:
        os.close(descriptor)
    width, height = struct.unpack_from("II", settled, _POINTER)
    return width, height


def _explained(error: SourceError, url: str, device: str, wishes: dict[str, str]) -> SourceError:
    """*error* of opening a camera in words that say what to do, where the kernel's own do not."""
    number = _number(error.__cause__)
    told: SourceError = error
    if number == errno.EBUSY:
        told = SourceUnreachable("in use by another program", where=url, fix=f"end it; fuser {device} names it")
    elif number in (errno.ENOENT, errno.ENXIO):
        told = SourceUnreachable("no such device", where=url, fix="check the camera's plug and the path")
    elif number in (errno.ENODEV, errno.ENOTTY):
        told = SourceUnreachable(
            "unplugged, or no camera", where=url, fix="check its plug; v4l2-ctl --list-devices shows the cameras"
        )
    elif number == errno.EINVAL and "format" in wishes:
        told = SourceUnsupported(f"camera has no format={wishes['format']}", where=url, fix=f"{_LOOK} {device}")
    told.__cause__ = error.__cause__
    return told


@contextmanager
def _unplugged(url: str) -> Iterator[None]:
    """Raise SourceLost for what drivers answer once their camera is gone: each something else."""
    try:
        yield
    except av.error.FFmpegError as error:
        if _number(error) not in (errno.ENODEV, errno.EINVAL, errno.EIO, errno.EPROTO, errno.ESHUTDOWN):
            raise
        reason = f"unplugged, or its driver failed ({error.strerror})"
        raise SourceLost(reason, where=url, fix="recording goes on when it is back") from error


def _number(error: BaseException | None) -> int | None:
    return error.errno if isinstance(error, av.error.FFmpegError) else None
