"""How a segment is cut into parts. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from edge_agent.store.base import Part

MIB = 1 << 20
SMALLEST_PART = 5 * MIB  # S3: no part but the last may be smaller
LARGEST_PART = 64 * MIB  # what one failure may cost at most, on the fastest link
MOST_PARTS = 10_000  # S3

# Long enough that the two round trips between parts are nothing beside it, short enough that a kill costs little.
PART_SECONDS = 4.0
FIRST_PART = 8 * MIB  # while nobody knows the rate: boto3's own choice

# One request is cheaper than four; up to here a repetition costs less than a minute even on a slow link.
LARGEST_PUT = 16 * MIB
LONGEST_PUT_SECONDS = 30.0


class Span(NamedTuple):
    """Part *number* (from 1) is *size* bytes of the file from *offset* on."""

    number: int
    offset: int
    size: int


def part_size(size: int, rate: float | None) -> int:
    """Bytes of each part but the last of an object of *size* bytes, at *rate* bytes/s of one stream (None: unknown).

    What takes some seconds, in whole MiB, within S3's limits; more than LARGEST_PART only where the number of parts
    leaves no choice.
    """
    wanted = FIRST_PART if rate is None else min(rate * PART_SECONDS, LARGEST_PART) // MIB * MIB
    return max(int(wanted), SMALLEST_PART, math.ceil(size / MOST_PARTS / MIB) * MIB)


def goes_in_parts(size: int, rate: float | None) -> bool:
    """Whether an object of *size* bytes is worth several requests, so that a failure repeats only one of them."""
    if size <= LARGEST_PUT and (rate is None or size <= rate * LONGEST_PUT_SECONDS):
        return False
    return size > SMALLEST_PART


def spans(size: int, part: int) -> Iterator[Span]:
    """The parts of an object of *size* bytes, *part* bytes each but the last."""
    for index, offset in enumerate(range(0, size, part)):
        yield Span(index + 1, offset, min(part, size - offset))


def part_size_of(parts: Sequence[Part], size: int) -> int | None:
    """The part size with which *parts*, in order, can have been cut from an object of *size* bytes; None when none can.

    The last part alone says nothing of the others' size.
    """
    if not parts or parts[0].size < SMALLEST_PART:
        return None
    first = parts[0]
    cut = {span.number: span.size for span in spans(size, first.size)}
    return first.size if all(cut.get(part.number) == part.size for part in parts) else None
