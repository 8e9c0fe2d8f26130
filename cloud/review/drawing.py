"""What contact sheets are drawn with: text, cards and paper, as pixels (height x width x 3, blue green red)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cloud.decode.sample import Picture

    Cover = NDArray[np.uint8]
    """Height x width."""

QUALITY = 90
Color = tuple[int, int, int]
PAPER, CARD, INK, FAINT, ACCENT = (24, 20, 18), (40, 34, 31), (240, 236, 232), (160, 150, 142), (90, 190, 250)
ALARM = (60, 60, 220)
GAP, MARGIN, CAPTION, TITLE = 12, 20, 26, 76
_OVERSAMPLE = 3  # the stroke font is drawn large and shrunk: thin strokes come out smooth


def title_strip(title: str, facts: str) -> Picture:
    upper, lower = text_strip(title, 0.8, INK, PAPER), text_strip(facts, 0.45, FAINT, PAPER)
    strip = filled(TITLE - GAP, max(upper.shape[1], lower.shape[1]) + 14, PAPER)
    strip[2 : TITLE - GAP - 6, :4] = ACCENT
    lay(strip, upper, 14, 18)
    lay(strip, lower, 14, 46)
    return strip


def text_strip(text: str, scale: float, ink: Color, paper: Color) -> Picture:
    """*text* as a strip of its own size; what the font lacks, and control characters, show as ``?``."""
    import numpy as np

    cover = np.hstack([_glyph(letter if " " <= letter <= "~" else "?", scale) for letter in text or " "])
    colors = np.linspace(paper, ink, 256).round().astype(np.uint8)
    return np.asarray(colors[cover], np.uint8)


@lru_cache(maxsize=512)  # a third of a millisecond each, and sheets consist of digits
def _glyph(letter: str, scale: float) -> Cover:
    """How much of each pixel *letter* covers, 0 to 255; all of one *scale* are of one height. Not to be written to."""
    import cv2
    import numpy as np

    font, thickness = cv2.FONT_HERSHEY_DUPLEX, max(1, round(_OVERSAMPLE * scale * 1.6))
    (across, up), down = cv2.getTextSize(letter, font, scale * _OVERSAMPLE, thickness)
    size = (-(-(across - thickness) // _OVERSAMPLE), -(-(up + down + 2 * thickness) // _OVERSAMPLE))
    drawn = np.zeros((size[1] * _OVERSAMPLE, size[0] * _OVERSAMPLE), np.uint8)
    cv2.putText(drawn, letter, (0, up + thickness), font, scale * _OVERSAMPLE, 255, thickness, cv2.LINE_AA)
    return np.asarray(cv2.resize(drawn, size, interpolation=cv2.INTER_AREA), np.uint8)


def filled(down: int, across: int, color: Color) -> Picture:
    import numpy as np

    picture = np.empty((down, across, 3), np.uint8)
    picture[:] = np.full((1, across, 3), color, np.uint8)  # line by line: ten times faster than pixel by pixel
    return picture


def lay(canvas: Picture, strip: Picture, left: int, middle: int) -> None:
    """Lay *strip* on *canvas*, vertically centred at *middle*, cut at the edges."""
    left, top = max(0, left), max(0, middle - strip.shape[0] // 2)
    down, across = min(strip.shape[0], canvas.shape[0] - top), min(strip.shape[1], canvas.shape[1] - left)
    canvas[top : top + down, left : left + across] = strip[:down, :across]
