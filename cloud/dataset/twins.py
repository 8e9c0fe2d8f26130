"""Frames that show what a frame of another video shows already: found by their looks, without a picture.

As the judge of duplicates does within a video (:mod:`cloud.judge.repeats`): both the hash and the most different tile
must be alike, so a small object that moved makes another frame; and compared is with frames that stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloud.judge.looks import LOOK_TILES
from cloud.judge.measure import HASH_BITS
from cloud.judge.policy import likeness

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HASH_BYTES = HASH_BITS // 8
_SAMPLE = 2048  # frames that show what is usual
_STEP = 16  # grey levels: frames two steps apart are not alike
_CHUNK = 256  # candidates compared whole at a time: the first is mostly the one


def repeats(looks: Sequence[bytes], videos: Sequence[str], pinned: Sequence[bool], threshold: float) -> list[int]:
    """For each frame the earlier one, of another video, that it repeats: itself when it stays, as *pinned* ones do.

    *looks* as :func:`cloud.judge.looks.unpacked` gives them; *threshold* as that of the judge. Exact: the result is
    that of comparing all with all, though most are told apart by a tile or two. Pure.
    """
    if not looks:
        return []
    search = _Search.over(looks, videos, max(levels for levels in range(65) if likeness(levels) >= threshold))
    found = []
    for number, stays in enumerate(pinned):
        original = None if stays else search.like(number)
        if original is None:
            search.add(number)
        found.append(number if original is None else original)
    return found


@dataclass(slots=True)
class _Kept:
    """Frames that stay, as columns of one tile each, in arrays that grow."""

    rows: NDArray[np.intp]
    columns: NDArray[np.uint8]
    count: int = 0

    @classmethod
    def empty(cls) -> _Kept:
        import numpy as np

        return cls(np.empty(8, np.intp), np.empty((LOOK_TILES, 8), np.uint8))

    def add(self, row: int, tiles: NDArray[np.uint8]) -> None:
        import numpy as np

        if self.count == len(self.rows):
            self.rows = np.concatenate((self.rows, np.empty_like(self.rows)))
            self.columns = np.concatenate((self.columns, np.empty_like(self.columns)), axis=1)
        self.rows[self.count], self.columns[:, self.count] = row, tiles
        self.count += 1


@dataclass(slots=True)
class _Search:
    """Frames that stay, by the brightness of the tile that varies most (``key``).

    ``odd`` are each frame's tiles that are least as usual, in its video and in all: an object that moved is in the odd
    tiles of one of two frames, so these are compared first.
    """

    hashes: NDArray[np.uint8]
    tiles: NDArray[np.uint8]
    odd: NDArray[np.intp]
    videos: NDArray[np.intp]
    limit: int
    key: int
    kept: dict[int, _Kept] = field(default_factory=dict)

    @classmethod
    def over(cls, looks: Sequence[bytes], videos: Sequence[str], limit: int) -> _Search:
        import numpy as np

        data = np.frombuffer(b"".join(looks), np.uint8).reshape(len(looks), _HASH_BYTES + LOOK_TILES)
        hashes, tiles = data[:, :_HASH_BYTES].copy(), data[:, _HASH_BYTES:].copy()
        names = {video: number for number, video in enumerate(dict.fromkeys(videos))}
        numbers = np.array([names[video] for video in videos], np.intp)
        key = int(tiles[:: max(1, len(tiles) // _SAMPLE)].var(axis=0).argmax())
        return cls(hashes, tiles, _odd(tiles, numbers), numbers, limit, key)

    def add(self, number: int) -> None:
        key = int(self.tiles[number, self.key]) // self._width
        self.kept.setdefault(key, _Kept.empty()).add(number, self.tiles[number])

    def like(self, number: int) -> int | None:
        """The first frame that stays, is of another video, and is like *number*."""
        level = int(self.tiles[number, self.key])
        near = range(max(0, level - self.limit) // self._width, (level + self.limit) // self._width + 1)
        found = [self._like(number, self.kept[key]) for key in near if key in self.kept]
        return min((row for row in found if row is not None), default=None)

    @property
    def _width(self) -> int:
        return max(_STEP, 2 * self.limit + 1)

    def _like(self, number: int, kept: _Kept) -> int | None:
        import numpy as np

        # Bytes wrap around here, which is fastest: what that lets through is compared as a whole afterwards.
        least, odd, rows = self.tiles[number] - np.uint8(self.limit), self.odd[number], kept.rows[: kept.count]
        if kept.count > _CHUNK:
            places = np.flatnonzero(self._near(kept.columns[odd[0], : kept.count], least[odd[0]]))
            for tile in odd[1:]:
                if places.size <= _CHUNK:
                    break
                places = places[self._near(kept.columns[tile, places], least[tile])]
            rows = rows[places]
            for tiles in self.odd.T:
                if rows.size <= _CHUNK:
                    break
                theirs = tiles[rows]
                rows = rows[self._near(self.tiles[rows, theirs], least[theirs])]
        return self._confirmed(number, rows[self.videos[rows] != self.videos[number]])

    def _near(self, levels: NDArray[np.uint8], least: NDArray[np.uint8] | np.uint8) -> NDArray[np.bool_]:
        return (levels - least) <= min(2 * self.limit, 255)

    def _confirmed(self, number: int, rows: NDArray[np.intp]) -> int | None:
        import numpy as np

        for start in range(0, rows.size, _CHUNK):
            some = rows[start : start + _CHUNK]
            levels = np.abs(self.tiles[some].astype(np.int16) - self.tiles[number]).max(axis=1)
            some = some[levels <= self.limit]
            bits = np.unpackbits(self.hashes[some] ^ self.hashes[number], axis=1).sum(axis=1)
            alike = some[bits <= self.limit]
            if alike.size:
                return int(alike[0])
        return None


def _odd(tiles: NDArray[np.uint8], videos: NDArray[np.intp]) -> NDArray[np.intp]:
    """Four tiles of each frame: the two that differ most from its video's mean, then from what is usual in all."""
    import numpy as np

    usual = np.median(tiles[:: max(1, len(tiles) // _SAMPLE)], axis=0).astype(np.int16)
    odd = np.empty((len(tiles), 4), np.intp)
    order = np.argsort(videos, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(videos[order])) + 1):
        own = tiles[rows].astype(np.int16)
        for place, norm in ((0, own.mean(axis=0).astype(np.int16)), (2, usual)):
            odd[rows, place : place + 2] = np.argpartition(np.abs(own - norm), -2, axis=1)[:, :-3:-1]
    return odd
