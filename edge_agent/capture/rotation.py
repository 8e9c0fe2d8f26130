"""When does a segment end? Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

from edge_agent.capture.sources.base import StreamFormat
from edge_agent.segment import ClassTag


class Reason(enum.StrEnum):
    """Why a segment ended."""

    FULL = "full"
    CLASS_CHANGED = "class_changed"
    CLOCK_STEPPED = "clock_stepped"
    FORMAT_CHANGED = "format_changed"
    GATE_CLOSED = "gate_closed"
    STOPPED = "stopped"
    SOURCE_ENDED = "source_ended"
    SOURCE_LOST = "source_lost"
    WRITE_FAILED = "write_failed"
    DISK_FULL = "disk_full"


@dataclass(frozen=True, slots=True)
class Opened:
    """What a segment was opened with; ``start`` is media time in seconds."""

    tag: ClassTag
    format: StreamFormat
    start: float


class Incoming(NamedTuple):
    """What the next packet would bring into it."""

    is_keyframe: bool
    tag: ClassTag | None
    format: StreamFormat
    time: float
    stepped: bool = False  # the wall clock was set since the segment was opened


def due_to_close(segment: Opened, packet: Incoming, length: float) -> Reason | None:
    """Why the segment must end before *packet*, or None. Called for every packet.

    Only a keyframe can begin the next segment, so only before one can a segment end, but for a change of format:
    the next packets could not be decoded in this file anyway.
    """
    if packet.format != segment.format:
        return Reason.FORMAT_CHANGED
    if not packet.is_keyframe:
        return None
    if packet.tag != segment.tag:
        return Reason.CLASS_CHANGED
    if packet.stepped:
        return Reason.CLOCK_STEPPED
    if round(packet.time - segment.start, 6) >= length:  # 1.2 - 0.8 is not 0.4 to a computer
        return Reason.FULL
    return None
