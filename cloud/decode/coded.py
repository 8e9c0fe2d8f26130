"""Packets that are JPEG files, to pictures; decoded at a fraction of their size where less will do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloud.decode.jpeg import coded_size
from cloud.decode.sample import GREY_HEIGHT, GREY_WIDTH, shrunk, tile_size

if TYPE_CHECKING:
    from cloud.decode.sample import Grey, Picture


def picture_of_jpeg(packet: bytes) -> Picture:
    """A JPEG file's picture in BGR; black if undecodable, so that a judge may reject it."""
    import cv2
    import numpy as np

    picture: Any = cv2.imdecode(np.frombuffer(packet, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if picture is None:
        return np.zeros((GREY_HEIGHT, GREY_WIDTH, 3), np.uint8)
    return np.asarray(picture, np.uint8)


def small_grey_of_jpeg(packet: bytes) -> Grey:
    """The small grey copy of a JPEG file; black if undecodable."""
    import cv2
    import numpy as np

    flags = (cv2.IMREAD_REDUCED_GRAYSCALE_4, cv2.IMREAD_REDUCED_GRAYSCALE_2, cv2.IMREAD_GRAYSCALE)
    grey: Any = _reduced(packet, flags, GREY_WIDTH, GREY_HEIGHT)
    if grey is None:
        return np.zeros((GREY_HEIGHT, GREY_WIDTH), np.uint8)
    size = shrunk(grey.shape[1], grey.shape[0], GREY_WIDTH, GREY_HEIGHT)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def tile_of_jpeg(packet: bytes, width: int) -> Picture:
    """A JPEG file's picture at *width*, as :meth:`Sample.tile` promises; black if undecodable."""
    import cv2
    import numpy as np

    flags = (
        cv2.IMREAD_REDUCED_COLOR_8,
        cv2.IMREAD_REDUCED_COLOR_4,
        cv2.IMREAD_REDUCED_COLOR_2,
        cv2.IMREAD_COLOR,
    )
    picture: Any = _reduced(packet, flags, width, 2 * width)
    if picture is None:
        picture = np.zeros((GREY_HEIGHT, GREY_WIDTH, 3), np.uint8)
    size = tile_size(picture.shape[1], picture.shape[0], width)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _reduced(packet: bytes, flags: tuple[int, ...], width: int, height: int) -> Any:
    """The first by *flags*, smallest first and the whole size last, as wide as *width* or as high as *height*."""
    import cv2
    import numpy as np

    across, down = coded_size(packet) or (0, 0)
    place = len(flags) - 1  # each is half the size of the next
    while place and (across >> 1 >= width or down >> 1 >= height):
        across, down, place = across >> 1, down >> 1, place - 1
    return cv2.imdecode(np.frombuffer(packet, np.uint8), flags[place] | cv2.IMREAD_IGNORE_ORIENTATION)
