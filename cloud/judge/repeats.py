"""Near-duplicates: frames that show what a frame before them showed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cloud.judge.measure import HASH_BITS, Measures
from cloud.judge.policy import likeness, rounded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Originals:
    """Compares each frame with the last original; holds only that one, however long the video.

    Compared with a frame that stays, not with the neighbour: a slow change adds up until it counts.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._tiles: NDArray[np.uint8] | None = None
        self._hash = self._number = 0

    def add(self, number: int, measures: Measures, *, stays: bool) -> tuple[float, int]:
        """Frame *number*'s likeness to the last original, and the frame it repeats: itself when it repeats none.

        Both the hash and the most different tile must be alike, so a small object that moved makes another frame.
        *stays*: whether the frame may become an original, for nothing else speaks against it so far.
        """
        score = 0.0
        if self._tiles is not None:
            levels = _most_different(measures.tiles, self._tiles)
            bits = (measures.hash ^ self._hash).bit_count()
            score = min(likeness(levels), rounded(1 - bits / HASH_BITS))
        if score >= self._threshold:
            return score, self._number
        if stays:
            self._tiles, self._hash, self._number = measures.tiles, measures.hash, number
        return score, number


def settled(scores: Sequence[float], repeated: Sequence[int], rejected: Sequence[bool]) -> list[float]:
    """*scores* once it is known which frames are *rejected* for other reasons that only the whole video tells.

    The first frame that repeats a rejected one, and is not rejected itself, takes its place: its score becomes 0. So
    of each group of frames that are alike one stays, if any can. Pure.
    """
    final = list(scores)
    replaced: set[int] = set()
    for number, original in enumerate(repeated):
        if original != number and rejected[original] and not rejected[number] and original not in replaced:
            final[number] = 0.0
            replaced.add(original)
    return final


def _most_different(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    import cv2

    return int(cv2.absdiff(one, other).max())
