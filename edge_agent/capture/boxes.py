"""The top-level boxes of an MP4 file that was not closed: how far they can be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# ISO/IEC 14496-12; what libav's muxer writes at the top level.
_KNOWN = frozenset({b"ftyp", b"free", b"moov", b"moof", b"mdat", b"mfra"})
_PROLOGUE = frozenset({b"ftyp", b"free"})


@dataclass(frozen=True, slots=True)
class Extent:
    """``end``: bytes from the file's start that are boxes, the last of which may be a torn ``mdat``.

    ``has_media``: whether there is more among them than what the writer puts down before its first fragment.
    """

    end: int
    has_media: bool


def extent_of(path: Path) -> Extent:
    """How far *path* is made of boxes. libav refuses a whole file for a torn or blank last ``moof``. Raises OSError."""
    end, has_media = 0, False
    size = path.stat().st_size
    for start, kind, length in _boxes(path, size):
        if start + length > size and kind != b"mdat":
            break
        end = min(size, start + length)
        has_media = has_media or kind not in _PROLOGUE
    return Extent(end, has_media)


def _boxes(path: Path, size: int) -> Iterator[tuple[int, bytes, int]]:
    """Start, type and length of each box, up to the first thing that is none."""
    start = 0
    with path.open("rb") as file:
        while start < size:
            file.seek(start)
            header = file.read(16)
            length, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            if kind not in _KNOWN or length < 8:
                return
            yield start, kind, length
            start += length
