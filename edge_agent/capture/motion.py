"""Does something move in the picture? One number a second, from keyframes, at about one percent of a core.

A picture is decoded, made grey and 160 pixels wide by libav, and compared with the one before it. Measured on 1080p30
of 4 Mb/s with a keyframe a second (docs/operations/gate.md has the table): numpy would cost 20 MB and gain nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING

import av
import av.error
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import Interpolation

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from edge_agent.capture.sources.base import StreamFormat, VideoPacket

WIDTH = 160  # pixels; a cell stands for 12x12 pixels of a 1080p picture, over which sensor noise averages out
SCORE_SECONDS = 0.9  # two scores are at least this far apart: with a keyframe a second, every one is scored
LONG_GOP_SECONDS = 2.0  # a keyframe more seldom than this comes too late to decide from alone

_LEVELS = 24  # of 256: a cell that changed by no more has not changed (compression and noise stay below 10)
_BAND = 32  # levels of brightness that are expected to change alike when the light does
_COARSEST, _FINEST = 0.1, 0.0002  # share of the picture that must change at sensitivity 0 and 1

Area = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Picture:
    """Grey levels, row by row, without the cells to be ignored."""

    cells: bytes
    size: tuple[int, int]


def threshold(sensitivity: float) -> float:
    """The share of the picture that must change to be motion; even steps of *sensitivity* are even factors."""
    return float(_COARSEST * (_FINEST / _COARSEST) ** sensitivity)


def score(before: Picture, now: Picture) -> float:
    """The share of cells that changed otherwise than the light did: 0 to 1; 0 where the two cannot be compared.

    Lamps, clouds and automatic exposure change all cells of one brightness alike. So each band of brightness is allowed
    the change its middle cell has made, and only what differs from that counts.
    """
    if before.size != now.size or not now.cells:
        return 0.0
    bands: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for (was, is_), cells in Counter(zip(before.cells, now.cells, strict=True)).items():
        bands[was // _BAND].append((is_ - was, cells))
    changed = 0
    for changes in bands.values():
        light = _median(changes)
        changed += sum(cells for change, cells in changes if abs(change - light) > _LEVELS)
    return changed / len(now.cells)


def _median(changes: list[tuple[int, int]]) -> int:
    """The middle one of *changes*, each of which stands for a number of cells."""
    changes.sort()
    left = sum(cells for _, cells in changes) / 2
    for change, cells in changes:
        left -= cells
        if left <= 0:
            return change
    return 0


def mask(ignore: Sequence[Area], width: int, height: int) -> bytes:
    """One byte a cell: 0 where its middle lies in an area of *ignore*."""
    return bytes(
        not any(x <= (column + 0.5) / width <= x + w and y <= (row + 0.5) / height <= y + h for x, y, w, h in ignore)
        for row in range(height)
        for column in range(width)
    )


class MotionMeter:
    """Scores the packets of one connection. Decodes keyframes only, but every packet while keyframes are far apart."""

    def __init__(self, ignore: Sequence[Area]) -> None:
        self._ignore = ignore
        self._masks: dict[tuple[int, int], bytes] = {}
        self._format: StreamFormat | None = None
        self._decoder: VideoCodecContext | None = None
        self._before: Picture | None = None
        self._scored = self._keyframe = float("-inf")
        self._every_packet = False

    def feed(self, packet: VideoPacket, stream: StreamFormat, time: float) -> float | None:
        """The motion score of *packet* at media *time* (seconds), or None when it was not looked at.

        Packets must come in decoding order and not be changed yet. A torn picture has no score.
        """
        if stream != self._format:
            self._format, self._before, self._decoder = stream, None, None
        if packet.is_keyframe:
            self._every_packet = time - self._keyframe > LONG_GOP_SECONDS  # the first one counts as far apart
            self._keyframe = time
        due = time - self._scored >= SCORE_SECONDS
        if not self._every_packet and not (packet.is_keyframe and due):
            return None
        frames = self._decode(packet, stream)
        if not due or not frames:
            return None
        self._scored = time
        before, self._before = self._before, self._shrunk(frames[-1])
        return score(before, self._before) if before else 0.0

    def _decode(self, packet: VideoPacket, stream: StreamFormat) -> list[VideoFrame]:
        decoder = self._decoder = self._decoder or _decoder(stream)
        if decoder is None:
            return []
        try:
            if self._every_packet:
                return decoder.decode(packet)
            self._decoder = None  # between two keyframes, a decoder only holds 10 MB of 1080p pictures
            return [*decoder.decode(packet), *decoder.decode(None)]  # asked for the rest, it holds nothing back
        except av.error.FFmpegError:
            return []

    def _shrunk(self, frame: VideoFrame) -> Picture:
        width, height = WIDTH, max(8, round(WIDTH * frame.height / frame.width))
        grey = frame.reformat(width, height, "gray", interpolation=Interpolation.AREA)
        plane = grey.planes[0]
        cells = bytes(plane)
        if plane.line_size != width:
            cells = b"".join(cells[row * plane.line_size :][:width] for row in range(height))
        return Picture(self._kept(cells[: width * height], width, height), (width, height))

    def _kept(self, cells: bytes, width: int, height: int) -> bytes:
        if not self._ignore:
            return cells
        if (width, height) not in self._masks:
            self._masks[width, height] = mask(self._ignore, width, height)
        kept: Iterable[int] = compress(cells, self._masks[width, height])
        return bytes(kept)


def _decoder(stream: StreamFormat) -> VideoCodecContext | None:
    """A decoder that does only what a small grey picture needs, on one thread; None where there is none."""
    try:
        decoder = CodecContext.create(stream.codec, "r")
    except (av.error.FFmpegError, ValueError):
        return None
    if not isinstance(decoder, VideoCodecContext):
        return None
    if stream.extradata:
        decoder.extradata = stream.extradata
    decoder.width, decoder.height = stream.width, stream.height
    decoder.thread_count = 1
    decoder.skip_frame = "NONREF"
    decoder.options = {"skip_loop_filter": "all", "flags2": "+fast"}
    return decoder
