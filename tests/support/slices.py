"""Which picture of a clip a recorded H.264 picture is, however its container wraps it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.support.clips import look

_SLICES = (1, 5)  # NAL unit types: a picture that refers to others, and one that does not


def slices(packet: bytes) -> bytes:
    """The coded slices of *packet* (as MP4 stores it, lengths before each NAL unit), without what RTSP puts between."""
    found, position = b"", 0
    while position + 4 < len(packet):
        length = int.from_bytes(packet[position : position + 4], "big")
        if packet[position + 4] & 31 in _SLICES:
            found += packet[position + 4 : position + 4 + length]
        position += 4 + length
    return found


def numbered(clip: Path) -> dict[bytes, int]:
    """The place in *clip* of each of its pictures, no two of which are alike."""
    packets = look(clip, decode=False).packets
    numbers = {slices(packet): number for number, packet in enumerate(packets)}
    assert len(numbers) == len(packets)
    return numbers


def runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """*numbers* as stretches without a gap: first and last of each."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
