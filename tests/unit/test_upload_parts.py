"""How a segment is cut into parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.store.base import Part
from edge_agent.upload.parts import (
    FIRST_PART,
    LARGEST_PART,
    LARGEST_PUT,
    LONGEST_PUT_SECONDS,
    MIB,
    MOST_PARTS,
    PART_SECONDS,
    SMALLEST_PART,
    goes_in_parts,
    part_size,
    part_size_of,
    spans,
)

SIZES = st.integers(1, 5 << 40)  # up to the largest object of S3
RATES = st.none() | st.floats(0, 1e10)


@given(size=SIZES, rate=RATES)
def test_every_part_is_one_that_s3_takes(size: int, rate: float | None) -> None:
    """Whatever the rate, parts are 5 to 64 MiB (more only for objects of over 625 GiB), and at most 10,000."""
    part = part_size(size, rate)
    assert part >= SMALLEST_PART
    assert part <= LARGEST_PART or part - MIB < size / MOST_PARTS
    assert -(-size // part) <= MOST_PARTS


@given(rate=st.floats(SMALLEST_PART / PART_SECONDS, LARGEST_PART / PART_SECONDS))
def test_a_part_takes_some_seconds(rate: float) -> None:
    """Between the limits, a part is what the link carries in four seconds, less what is over the last whole MiB."""
    assert PART_SECONDS - MIB / rate <= part_size(1 << 30, rate) / rate <= PART_SECONDS


@pytest.mark.parametrize(
    ("rate", "part"), [(None, FIRST_PART), (64e3, SMALLEST_PART), (2.5e6, 9 * MIB), (1e9, LARGEST_PART)]
)
def test_the_part_follows_the_rate(rate: float | None, part: int) -> None:
    """A modem sends the smallest parts, 20 Mbit/s nine MiB, a local network the largest."""
    assert part_size(1 << 30, rate) == part


@given(size=SIZES, rate=RATES)
def test_no_single_put_is_long(size: int, rate: float | None) -> None:
    """What goes in one request is at most 16 MiB, and at most 30 s unless no part could be smaller."""
    if not goes_in_parts(size, rate):
        assert size <= LARGEST_PUT
        assert rate is None or size <= SMALLEST_PART or size / rate <= LONGEST_PUT_SECONDS
    else:
        assert size > SMALLEST_PART


@given(size=st.integers(1, 1 << 32), part=st.integers(SMALLEST_PART, LARGEST_PART))
def test_spans_are_the_whole_file_once(size: int, part: int) -> None:
    """The parts follow each other without a gap, numbered from 1, and end where the file ends."""
    end, number = 0, 0
    for span in spans(size, part):
        assert (span.number, span.offset) == (number + 1, end)
        assert 0 < span.size <= part
        end, number = end + span.size, span.number
    assert end == size


@given(size=st.integers(SMALLEST_PART + 1, 1 << 30), part=st.integers(SMALLEST_PART, LARGEST_PART), data=st.data())
def test_a_lost_part_size_is_found_from_the_parts(size: int, part: int, data: st.DataObject) -> None:
    """The parts that arrived tell how the upload was cut, unless the last one alone did, which fits no cut."""
    cut = [Part(span.number, span.size, "etag") for span in spans(size, part)]
    there = cut[: data.draw(st.integers(1, len(cut)))]
    assert part_size_of(there, size) == there[0].size
    stranger = Part(len(there), there[-1].size + 1, "etag")
    assert part_size_of([*there[:-1], stranger], size) is None or len(there) == 1
    assert part_size_of([], size) is None
