"""Decoded frames to the planes that a JPEG file holds, without a picture in between.

A decoder gives brightness and colour apart, colour at half the size, and a JPEG stores them so: to make BGR of them and
take it apart again costs a sixth of the encoder's time, and blurs the colour twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import av
    import numpy as np
    from numpy.typing import NDArray

    from cloud.decode.filters import Chain, Filters

    Plane = NDArray[np.uint8]
    Planes = tuple[Plane, Plane, Plane]
    """Y, Cb and Cr of a JFIF file: BT.601 and full range; colour is half as wide and high, rounded up."""

_BITS = {"yuv420p": 8, "yuvj420p": 8, "yuv420p10le": 10}

# AVColorSpace (ITU-T H.273, matrix coefficients) to the filter's names; what a video does not state (2) is BT.601.
_BT601 = "smpte170m"
_MATRICES = {1: "bt709", 2: _BT601, 5: _BT601, 6: _BT601, 9: "bt2020nc"}

_FULL = 2  # AVCOL_RANGE_JPEG

# One transfer function and one set of primaries on both sides: only the matrix, the range and the depth change.
_UNTOUCHED = "itrc=bt709:trc=bt709:iprimaries=bt709:primaries=bt709"

# Limited to full range (ITU-T H.273, 8.3): brightness from 16 to 235, colour 112 to both sides of 128. The thousandth
# keeps a product from lying between two whole numbers, where a processor's rounding would decide.
_BRIGHTER = (255 / 219, -16 * 255 / 219)
_COLOURED = (255 / 224, 128 - 128 * 255 / 224 + 0.001)


@dataclass(frozen=True, slots=True)
class Way:
    """From a frame to JFIF planes: through ``chain``, then, if ``widened``, from limited to full range."""

    chain: Chain = ()
    widened: bool = False


def way_to_jfif(kind: str, width: int, height: int, matrix: int, span: int) -> Way | None:
    """The cheapest way to JFIF planes; None where there is none but through a picture.

    *kind* is libav's pixel format, *matrix* AVColorSpace, *span* AVColorRange. To widen the range costs 0.4 ms for
    1080p, the filter that changes matrix and depth too 0.7, swscale 2, and 6 where it goes through BGR. The filter
    computes in whole numbers, the same on every machine, and refuses odd sizes. Pure.
    """
    if kind not in _BITS or matrix not in _MATRICES:
        return None
    full = span == _FULL or kind == "yuvj420p"
    if _BITS[kind] == 8 and _MATRICES[matrix] == _BT601:
        return Way(widened=not full)
    if width % 2 or height % 2:
        return None
    given = f"ispace={_MATRICES[matrix]}:irange={'pc' if full else 'tv'}"
    return Way((("colorspace", f"{given}:{_UNTOUCHED}:space={_BT601}:range=pc:format=yuv420p"),))


def jfif_planes(frame: av.VideoFrame, filters: Filters) -> Planes | None:
    """The planes of *frame*, which must not be written to; None where it takes a BGR picture to get there."""
    way = way_to_jfif(frame.format.name, frame.width, frame.height, frame.colorspace, frame.color_range)
    if way is None:
        return None
    made = filters.through(frame, "jfif", way.chain) if way.chain else frame
    light, blue, red = (_plane(made, number) for number in range(3))
    if way.widened:
        return _widened(light, *_BRIGHTER), _widened(blue, *_COLOURED), _widened(red, *_COLOURED)
    return light, blue, red


def _plane(frame: av.VideoFrame, number: int) -> Plane:
    import numpy as np

    plane = frame.planes[number]
    lines = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return lines[:, : plane.width]


def _widened(plane: Plane, factor: float, offset: float) -> Plane:
    """*plane* times *factor* plus *offset*, rounded, kept within 0 and 255."""
    import cv2
    import numpy as np

    # A filter of one pixel: the cheapest of OpenCV's ways that cut at both ends.
    return np.asarray(cv2.filter2D(plane, -1, np.array([[factor]], np.float32), delta=offset), np.uint8)
