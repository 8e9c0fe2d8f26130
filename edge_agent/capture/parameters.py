"""A camera that changes its picture's size goes on sending: only the parameter sets in its packets tell.

libav keeps the parameters a stream was opened with. So the sequence parameter sets that stand before a keyframe (H.264,
H.265; Annex B, as RTSP, MPEG-TS and pipes carry it) are compared with those of the keyframe before, a JPEG's size with
that of the JPEG before, and where they differ the packets get another format, and segments another template. A
transport stream may even go on in another codec: the demuxer follows the stream's new table, but tells nobody.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import av
import av.error

from edge_agent.capture.health import decoder_for
from edge_agent.capture.reader import Arrival
from edge_agent.capture.sources.base import StreamFormat, detached
from edge_agent.errors import SourceLost

if TYPE_CHECKING:
    from av.video.stream import VideoStream

    from edge_agent.capture.sources.base import VideoPacket

HEAD = 4096  # bytes of a packet in which its parameter sets stand, if it has any: they are some tens of bytes each
_START = b"\0\0\1"
_H264_SETS, _H264_SPS = {7, 8, 13}, {7}
# The parameter set a keyframe begins with: H.264's SPS, H.265's VPS. Read as the other codec, the first would be of
# layer 32 or above, the second of an unspecified type: neither stands in such a stream (H.264, 7.3.1; H.265, 7.3.1.2).
_FIRST = {
    "h264": re.compile(rb"\x00{2,3}\x01[\x27\x47\x67]"),
    "hevc": re.compile(rb"\x00{2,3}\x01\x40\x01"),
}
_JPEG_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3})  # SOF0 to SOF3
_H265_SETS, _H265_SPS = {32, 33, 34}, {33}


def units(data: bytes) -> Iterator[bytes]:
    """The NAL units of *data* (Annex B) but for the last, which may be cut; all when *data* ends with a start code."""
    at = data.find(_START)
    while at >= 0:
        begin = at + len(_START)
        at = data.find(_START, begin)
        if at >= 0:
            yield data[begin:at].rstrip(b"\0")


def parameter_sets(codec: str, data: bytes) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """The sequence parameter sets in *data*, and all parameter sets, in their order; empty for other codecs."""
    if codec not in ("h264", "hevc") or not data.startswith((_START, b"\0" + _START)):
        return (), ()
    is_h264 = codec == "h264"
    found = [(unit[0] & 0x1F if is_h264 else unit[0] >> 1 & 0x3F, unit) for unit in units(data) if unit]
    wanted, decisive = (_H264_SETS, _H264_SPS) if is_h264 else (_H265_SETS, _H265_SPS)
    return (
        tuple(unit for kind, unit in found if kind in decisive),
        tuple(unit for kind, unit in found if kind in wanted),
    )


def codec_of(codec: str, data: bytes) -> str:
    """The codec of *data*, Annex B, in a stream that was of *codec* until then. Pure."""
    other = {"h264": "hevc", "hevc": "h264"}.get(codec)
    if other is None or _FIRST[codec].search(data) or not _FIRST[other].search(data):
        return codec
    return other


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in the frame header of a JPEG (T.81, B.2.2), or None when *data* has none."""
    at = 2  # behind SOI
    while data[at : at + 1] == b"\xff" and at + 9 <= len(data):
        if data[at + 1] in _JPEG_FRAMES:
            return int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return None


class ParameterWatch:
    """Gives every packet of one connection the format it really has."""

    def __init__(self) -> None:
        self._known: tuple[bytes, ...] = ()
        self._jpeg: tuple[int, int] | None = None
        self._changed: tuple[StreamFormat, VideoStream] | None = None

    def look(self, arrival: Arrival) -> Arrival:
        """*arrival*, with the format and template its parameter sets ask for. Raises SourceUnsupported, SourceLost."""
        packet = arrival.packet
        if packet.is_keyframe:
            packet = self._compare(arrival)
        if self._changed is None:
            return arrival
        stream, template = self._changed
        return Arrival(
            packet, stream, template, arrival.monotonic, arrival.retimed, arrival.heard, arrival.tick, arrival.offset
        )  # not replace(), which costs five times as much, for every packet

    def _compare(self, arrival: Arrival) -> VideoPacket:
        """Take note of what the keyframe says of itself; the keyframe, or what of the packet is one."""
        packet = arrival.packet
        stream, template = self._changed or (arrival.format, arrival.template)
        codec = stream.codec
        if codec == "mjpeg":
            self._compare_jpeg(arrival)
            return packet
        if stream.extradata[:1] == b"\1":
            return packet  # avcC, hvcC: units have their length before them; one of 256 to 511 looks like a start code
        head = bytes(memoryview(packet)[:HEAD]) + _START
        if (new := codec_of(codec, head)) != codec:
            packet = _beginning_with(_FIRST[new], packet)
            self._known, _ = parameter_sets(new, bytes(memoryview(packet)[:HEAD]) + _START)
            self._changed = _opened(new, packet)
            return packet
        decisive, every = parameter_sets(codec, head)
        if not decisive or decisive == self._known:
            return packet
        first, self._known = not self._known, decisive
        if first:
            announced, _ = parameter_sets(codec, stream.extradata + _START)
            if not announced or announced == decisive:
                return packet
        extradata = b"".join(b"\0" + _START + unit for unit in every)
        changed = detached(template, extradata)
        width, height = _size(arrival._replace(format=stream, template=changed)) or (stream.width, stream.height)
        self._changed = (
            StreamFormat(codec, width, height, extradata),
            detached(template, extradata, (width, height)),
        )
        return packet

    def _compare_jpeg(self, arrival: Arrival) -> None:
        """A JPEG camera has no parameter sets: every picture says its size itself."""
        stream = arrival.format
        size = jpeg_size(bytes(memoryview(arrival.packet)[:HEAD]))
        if size is None or size == (self._jpeg or (stream.width, stream.height)):
            return
        self._jpeg = size
        self._changed = (StreamFormat(stream.codec, *size), detached(arrival.template, size=size))


def _size(arrival: Arrival) -> tuple[int, int] | None:
    """Width and height of the keyframe, as its decoder says; None when it cannot be decoded."""
    decoder = decoder_for(arrival)
    try:
        frames = [*decoder.decode(arrival.packet), *decoder.decode(None)]
    except av.error.FFmpegError:
        return None
    return (frames[0].width, frames[0].height) if frames else None


def _beginning_with(first: re.Pattern[bytes], packet: VideoPacket) -> VideoPacket:
    """*packet* from that unit on: libav has stuck the last picture of the old codec to the first of the new one."""
    found = first.search(memoryview(packet))
    if found is None or not found.start():
        return packet
    rest = cast("VideoPacket", av.Packet(bytes(memoryview(packet)[found.start() :])))
    rest.pts, rest.dts, rest.time_base = packet.pts, packet.dts, packet.time_base
    rest.is_keyframe = True
    return rest


def _opened(codec: str, keyframe: VideoPacket) -> tuple[StreamFormat, VideoStream]:
    """The format of *keyframe*, in Annex B with its parameter sets, and a template for what follows it."""
    try:
        with av.open(io.BytesIO(bytes(keyframe)), format=codec) as container:
            stream = container.streams.video[0]
            context = stream.codec_context
            found = StreamFormat(codec, context.width, context.height, bytes(context.extradata or b""))
            return found, detached(stream)
    except (av.error.FFmpegError, IndexError) as error:
        raise SourceLost(f"changed its codec to {codec}, and its first picture cannot be read") from error
