"""A sampled frame: its picture is made when asked for, and only then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cloud.decode.planes import Planes

    Picture = NDArray[np.uint8]
    """Height x width x 3, BGR, full range."""

    Grey = NDArray[np.uint8]
    """Height x width, full range."""

GREY_WIDTH, GREY_HEIGHT = 320, 180


@dataclass(frozen=True, slots=True)
class Sample:
    """The frame with ordinal ``index``, ``time`` seconds after the video's first.

    ``jpeg`` is the video's own packet, bit by bit, when that is a JPEG file and nothing is to be changed; else None.
    All else is made anew at each call, in whichever thread calls: keep what is needed twice. ``make_planes`` and
    ``make_tile`` are shorter ways to a JPEG and to a tile than through the picture, where there are any.
    """

    index: int
    time: float
    jpeg: bytes | None
    make_picture: Callable[[], Picture]
    make_grey: Callable[[], Grey]
    make_planes: Callable[[], Planes | None] | None = None
    make_tile: Callable[[int], Picture] | None = None

    @property
    def picture(self) -> Picture:
        """Upright, cropped and resized as the settings say: what is to be stored."""
        return self.make_picture()

    @property
    def grey(self) -> Grey:
        """A small copy of :attr:`picture` for judges: at most 320 x 180, aspect kept, never enlarged."""
        return self.make_grey()

    @property
    def planes(self) -> Planes | None:
        """What a JPEG of :attr:`picture` holds; None where that must be made of the picture itself."""
        return self.make_planes() if self.make_planes else None

    def tile(self, width: int) -> Picture:
        """:attr:`picture` at *width* pixels, aspect kept, at most twice as high as wide."""
        if self.make_tile:
            return self.make_tile(width)
        import cv2
        import numpy as np

        picture = self.picture
        size = tile_size(picture.shape[1], picture.shape[0], width)
        return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)

    def redrawn(self, make_picture: Callable[[], Picture]) -> Sample:
        """The same frame with another picture; nothing of the old one is left but the grey copy, for judges."""
        return replace(self, jpeg=None, make_picture=make_picture, make_planes=None, make_tile=None)


def shrunk(width: int, height: int, max_width: int, max_height: int) -> tuple[int, int]:
    """*width* x *height* made to fit, aspect kept, never enlarged, never empty. Pure."""
    factor = min(1.0, max_width / width, max_height / height)
    return max(1, round(width * factor)), max(1, round(height * factor))


def tile_size(width: int, height: int, across: int) -> tuple[int, int]:
    """*width* x *height* made *across* wide, at most twice as high as that, never empty. Pure."""
    return across, max(1, min(2 * across, round(height * across / width)))
