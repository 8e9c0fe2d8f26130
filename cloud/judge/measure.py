"""What is measured on one small grey copy: about a fifth of a millisecond, and whole numbers only.

Whole numbers, because the index must come out the same on every machine: sums and comparisons of integers do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cloud.decode.sample import Grey

TILES_ACROSS, TILES_DOWN = 64, 36
"""Of 5 x 5 pixels in 320 x 180, of 30 x 30 in 1080p: noise averages out, a small object that moved does not."""

COARSE_TILES = TILES_ACROSS * TILES_DOWN // 4
HASH_BITS = 64

DARK = 16
"""Grey levels up to this one are nearly black: below it 8-bit video shows noise (black of studio range is 16)."""

BRIGHT = 250
"""Grey levels from this one on are nearly white: what clipped, give or take the codec's ringing."""

_HASH_MARGIN = 2  # levels: rounding and sensor noise make a difference of one in a flat picture, hardly of two
_SHARP_SHARE = 0.01  # of the pixels: the edges of a small object before a plain background are about that many


@dataclass(frozen=True, slots=True)
class Measures:
    """Of one frame: ``dark`` and ``bright`` are shares of the pixels, ``spread`` is brightest less darkest tile.

    ``sharpness`` is what the absolute Laplacian of the sharpest hundredth of the pixels reaches, 0 to 255.
    ``tiles`` is the mean brightness of 36 x 64 tiles, uint8; ``coarse`` of four of them each, flat. ``hash`` is a
    difference hash of 64 bits.
    """

    dark: float
    bright: float
    spread: int
    sharpness: int
    hash: int
    tiles: NDArray[np.uint8]
    coarse: NDArray[np.uint8]


def measure(grey: Grey) -> Measures:
    """Measure *grey*, height x width, uint8, of any size from 1 x 1."""
    import cv2
    import numpy as np

    levels = _histogram(grey)
    tiles = np.asarray(cv2.resize(grey, (TILES_ACROSS, TILES_DOWN), interpolation=cv2.INTER_AREA), np.uint8)
    coarse = cv2.resize(tiles, (TILES_ACROSS // 2, TILES_DOWN // 2), interpolation=cv2.INTER_AREA)
    return Measures(
        dark=int(levels[: DARK + 1].sum()) / grey.size,
        bright=int(levels[BRIGHT:].sum()) / grey.size,
        spread=int(tiles.max()) - int(tiles.min()),
        sharpness=_sharpness(grey),
        hash=_difference_hash(tiles),
        tiles=tiles,
        coarse=np.asarray(coarse, np.uint8).reshape(-1),
    )


def _sharpness(grey: Grey) -> int:
    """After Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy" (2000): the Laplacian falls with blur.

    Its upper hundredth instead of its variance: a sharp object is sharp however little of the picture it takes.
    """
    import cv2
    import numpy as np

    edges = np.asarray(cv2.convertScaleAbs(cv2.Laplacian(grey, cv2.CV_16S, ksize=1)), np.uint8)
    from_top = np.cumsum(_histogram(edges)[::-1])
    return 255 - int(np.searchsorted(from_top, max(1, round(_SHARP_SHARE * grey.size))))


def _difference_hash(tiles: Grey) -> int:
    """Krawetz, "Kind of like that" (2013): is each of 8 x 8 cells darker than its right neighbour?

    Of the tiles, not the grey copy, which takes ten times as long to make so small.
    """
    import cv2
    import numpy as np

    cells = np.asarray(cv2.resize(tiles, (9, 8), interpolation=cv2.INTER_AREA), np.int16)
    bits = np.packbits(cells[:, 1:] - cells[:, :-1] >= _HASH_MARGIN)
    return int.from_bytes(bits.tobytes(), "big")


def _histogram(grey: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many pixels have each of the 256 levels."""
    import cv2
    import numpy as np

    # A third of what np.bincount takes; counts come as float32, which holds each up to 16 million.
    return np.asarray(cv2.calcHist([grey], [0], None, [256], [0, 256]).reshape(-1), np.int64)
