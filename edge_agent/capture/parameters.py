"""A camera that changes its picture's size goes on sending: only the parameter sets in its packets tell.

libav keeps the parameters a stream was opened with. So the sequence parameter sets that stand before a keyframe (H.264,
H.265; Annex B, as RTSP, MPEG-TS and pipes carry it) are compared with those of the keyframe before, a JPEG's size with
that of the JPEG before, and where they differ the packets get another format, and segments another template.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import av.error

from edge_agent.capture.health import decoder_for
from edge_agent.capture.reader import Arrival
from edge_agent.capture.sources.base import StreamFormat, detached

if TYPE_CHECKING:
    from av.video.stream import VideoStream


HEAD = 4096  # bytes of a packet in which its parameter sets stand, if it has any: they are some tens of bytes each
_START = b"\0\0\1"
_H264_SETS, _H264_SPS = {7, 8, 13}, {7}
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
        """*arrival*, with the format and template its parameter sets ask for. Raises SourceUnsupported."""
        packet = arrival.packet
        if packet.is_keyframe:
            self._compare(arrival)
        if self._changed is None:
            return arrival
        stream, template = self._changed
        return Arrival(
            packet, stream, template, arrival.monotonic, arrival.retimed, arrival.heard, arrival.tick, arrival.offset
        )  # not replace(), which costs five times as much, for every packet

    def _compare(self, arrival: Arrival) -> None:
        packet, codec = arrival.packet, arrival.format.codec
        if codec == "mjpeg":
            self._compare_jpeg(arrival)
            return
        if arrival.format.extradata[:1] == b"\1":
            return  # avcC or hvcC: units have their length before them, and one of 256 to 511 looks like a start code
        decisive, every = parameter_sets(codec, bytes(memoryview(packet)[:HEAD]) + _START)
        if not decisive or decisive == self._known:
            return
        first, self._known = not self._known, decisive
        if first:
            announced, _ = parameter_sets(codec, arrival.format.extradata + _START)
            if not announced or announced == decisive:
                return
        extradata = b"".join(b"\0" + _START + unit for unit in every)
        width, height = _size(replace(arrival, template=detached(arrival.template, extradata))) or (
            arrival.format.width,
            arrival.format.height,
        )
        template = detached(arrival.template, extradata, (width, height))
        self._changed = (StreamFormat(codec, width, height, extradata), template)

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
