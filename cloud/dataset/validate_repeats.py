"""Which lines name a picture that an earlier line named: a duplicated line is labelled, and paid for, twice."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BUCKETS = 16  # sorted one after the other, so that sorting takes little memory beside what is kept


@dataclass(slots=True)
class Sources:
    """Remembers what it is shown in 12 bytes a line: 8 of a hash, 4 of the line's number.

    Two different sources with one hash would be taken for one: of ten million, three times in a million manifests.
    """

    _hashes: tuple[array[int], ...] = field(default_factory=lambda: tuple(array("q") for _ in range(_BUCKETS)))
    _numbers: tuple[array[int], ...] = field(default_factory=lambda: tuple(array("I") for _ in range(_BUCKETS)))

    def add(self, source: str, number: int) -> None:
        """Line *number* (up to 2^32) names *source*."""
        found = hash(source)
        bucket = found % _BUCKETS
        self._hashes[bucket].append(found)
        self._numbers[bucket].append(number)

    def repeats(self) -> Iterator[tuple[int, int]]:
        """Each line that names what an earlier one named, with the first line that did, in the order of lines."""
        import numpy as np

        found = [_repeats(np.frombuffer(hashes, np.int64), np.frombuffer(numbers, np.uint32))
                 for hashes, numbers in zip(self._hashes, self._numbers, strict=True)]  # fmt: skip
        later, first = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.argsort(later)
        for place in order:
            yield int(later[place]), int(first[place])


def _repeats(hashes: NDArray[np.int64], numbers: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    import numpy as np

    order = np.argsort(hashes, kind="stable")
    ranked = hashes[order]
    same = np.concatenate((np.zeros(min(1, len(ranked)), bool), ranked[1:] == ranked[:-1]))
    if not same.any():
        return numbers[:0], numbers[:0]
    starts = np.flatnonzero(~same)
    runs = np.cumsum(~same) - 1
    return numbers[order[same]], numbers[order[starts[runs[same]]]]
