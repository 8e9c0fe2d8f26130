"""A segment's checksum is ready when its last byte is written."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.digest import HEAD, Digest
from edge_agent.store.checksum import crc64nvme

sizes = st.integers(1, 3 * HEAD // 2)
rewrites = st.lists(st.tuples(st.integers(0, HEAD - 8), st.binary(min_size=8, max_size=8)), max_size=3)
anywhere = st.lists(st.tuples(st.integers(0, 4 * HEAD), st.binary(min_size=1, max_size=20)), max_size=5)


def digest_of(writes: list[tuple[int, bytes]]) -> tuple[str, str]:
    """What the digest says of a file so written, and what the file says."""
    with tempfile.TemporaryDirectory() as directory:
        path, digest = Path(directory) / "file", Digest()
        with path.open("wb") as file:
            for position, data in writes:
                file.seek(position)
                file.write(data)
                digest.wrote(position, data)
        return digest.of(path), crc64nvme(path).value


def appended(lengths: list[int]) -> list[tuple[int, bytes]]:
    starts = [sum(lengths[:number]) for number in range(len(lengths))]
    return [(start, bytes([start % 251]) * length) for start, length in zip(starts, lengths, strict=True)]


@given(st.lists(sizes, min_size=1, max_size=6), rewrites)
def test_a_file_appended_to_is_not_read_again(lengths: list[int], rewrites: list[tuple[int, bytes]]) -> None:
    """Whatever the pieces, and whatever is rewritten in the first bytes, the checksum is the file's."""
    short = [(position, data) for position, data in rewrites if position + len(data) <= sum(lengths)]
    said, true = digest_of([*appended(lengths), *short])
    assert said == true


@given(st.lists(sizes, max_size=3), anywhere)
def test_any_other_file_is_read_whole(lengths: list[int], writes: list[tuple[int, bytes]]) -> None:
    """Holes and rewrites anywhere cost time, never the truth."""
    said, true = digest_of([*appended(lengths), *writes])
    assert said == true
