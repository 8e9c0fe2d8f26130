"""What only the whole video tells: how sharp its frames can be, and what its background is.

Pure functions over the measures of all sampled frames. All scores are 0 to 1, the higher the worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cloud.judge.policy import likeness, rounded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Tiles = NDArray[np.uint8]
    """Frames x tiles, mean brightness."""

_SHARP_SHARE = 90  # per cent: the sharpest tenth sets the measure, its sharpest frames may be freaks of noise
_MOST_FRAMES = 1024  # that the median is taken of: more change nothing, and their copy would cost memory
_FEWEST_FRAMES = 5  # fewer show no background: each place must be seen empty in most of them
_CHUNK = 4096  # frames compared at a time


def blur(sharpness: Sequence[int]) -> list[float]:
    """1 less each frame's sharpness as a share of what this video reaches; 0 for all when nothing in it is sharp."""
    if not sharpness:
        return []
    reference = sorted(sharpness)[(len(sharpness) - 1) * _SHARP_SHARE // 100]
    return [rounded(max(0.0, 1 - own / reference)) if reference else 0.0 for own in sharpness]


def background(tiles: Tiles, threshold: float) -> list[float]:
    """Likeness of each frame to the median of all: its most different tile decides, a change of all the light does not.

    After the temporal median of Lo and Velastin, "Automatic congestion detection system for underground platforms"
    (2001). The judge abstains (0 for all) where the median may hold the object itself: when more than half of the
    frames are like it (*threshold* or more), or when there are too few frames to tell.
    """
    import numpy as np

    if len(tiles) < _FEWEST_FRAMES:
        return [0.0] * len(tiles)
    stride = -(-len(tiles) // _MOST_FRAMES)
    median = np.rint(np.median(tiles[::stride], axis=0)).astype(np.int16)
    scores: list[float] = []
    for begin in range(0, len(tiles), _CHUNK):
        change = tiles[begin : begin + _CHUNK].astype(np.int16) - median
        light = np.rint(np.median(change, axis=1)).astype(np.int16)
        levels = np.abs(change - light[:, None]).max(axis=1)
        scores += [likeness(int(most)) for most in levels]
    alike = sum(score >= threshold for score in scores)
    return [0.0] * len(scores) if 2 * alike > len(scores) else scores
