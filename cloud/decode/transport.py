"""Whether an MPEG transport stream was cut off: it does not say how long it is. Pure but for reading the file's end."""

from __future__ import annotations

from pathlib import Path

_PACKET = 188  # bytes, ISO/IEC 13818-1
_SYNC = 0x47
_TAIL = 4096  # packets looked at


def ends_cut(path: Path, stream_id: int) -> bool:
    """Whether the file ends inside a packet, or inside the last frame of the stream with packet id *stream_id*.

    A muxer fills the last packet of a frame with stuffing. One that carries nothing but payload is the last of its
    frame only where the frame's size happens to fit: one time in 184, by which a whole file may count as cut.
    """
    size = path.stat().st_size
    if size % _PACKET:
        return True
    with path.open("rb") as file:
        file.seek(max(0, size - _TAIL * _PACKET))
        tail = file.read()
    for place in range(len(tail) - _PACKET, -1, -_PACKET):
        packet = tail[place : place + _PACKET]
        if packet[0] != _SYNC:
            return False  # another kind of transport stream; nothing can be said
        if int.from_bytes(packet[1:3]) & 0x1FFF == stream_id and packet[3] & 0x10:
            return not _stuffed(packet)
    return False


def _stuffed(packet: bytes) -> bool:
    """Whether the adaptation field is longer than what it holds. Private data and extensions are taken for stuffing."""
    if not packet[3] & 0x20:
        return False
    length, flags = packet[4], packet[5]
    return length == 0 or length > 1 + 6 * bool(flags & 0x10) + 6 * bool(flags & 0x08) + bool(flags & 0x04)
