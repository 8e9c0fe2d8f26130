"""A frame's look: what an index keeps of it, so that frames of different videos can be compared without a picture.

A look is text of 208 characters: the difference hash as 16 hex digits, then the mean brightness of 9 x 16 tiles, a byte
each, in base64. Sixteen across are enough: a bright object of 35 x 35 pixels in 1080p changes its tile by more than
noise does, and the index of an hour's frames grows by a third, not to its double.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cloud.judge.measure import TILES_ACROSS, TILES_DOWN

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOOK_ACROSS, LOOK_DOWN = TILES_ACROSS // 4, TILES_DOWN // 4
LOOK_TILES = LOOK_ACROSS * LOOK_DOWN
_DIGITS, _HASH_BYTES = 16, 8


def looks(hashes: Sequence[int], coarse: NDArray[np.uint8]) -> list[str]:
    """The looks of frames with these hashes and *coarse* tiles (frames x tiles, see ``Measures``). Pure."""
    import numpy as np

    if not hashes:
        return []
    four = coarse.reshape(len(hashes), LOOK_DOWN, 2, LOOK_ACROSS, 2).astype(np.uint16)
    tiles = ((four.sum(axis=(2, 4), dtype=np.uint16) + 2) // 4).astype(np.uint8).reshape(len(hashes), LOOK_TILES)
    return [f"{own:016x}{base64.b64encode(row.tobytes()).decode()}" for own, row in zip(hashes, tiles, strict=True)]


def unpacked(look: str) -> bytes | None:
    """The 8 bytes of the hash (big-endian) and the tiles behind them; None when *look* is none."""
    try:
        raw = bytes.fromhex(look[:_DIGITS]) + base64.b64decode(look[_DIGITS:], validate=True)
    except (ValueError, binascii.Error):
        return None
    return raw if len(raw) == _HASH_BYTES + LOOK_TILES else None
