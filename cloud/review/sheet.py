"""Contact sheets: a whole video at a glance, in one JPEG, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from cloud.decode.jpeg import encode_jpeg
from cloud.settings import Sheet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cloud.decode.sample import Picture, Sample

    Cover = NDArray[np.uint8]
    """Height x width."""

QUALITY = 90
_Color = tuple[int, int, int]
_PAPER, _CARD, _INK, _FAINT, _ACCENT = (24, 20, 18), (40, 34, 31), (240, 236, 232), (160, 150, 142), (90, 190, 250)
_REJECTED = (60, 60, 220)
_DIMMED = 0.35  # of its brightness: what a rejected frame shows is still to be made out
_GAP, _MARGIN, _CAPTION, _TITLE = 12, 20, 26, 76
_OVERSAMPLE = 3  # the stroke font is drawn large and shrunk: thin strokes come out smooth


@dataclass(slots=True)
class ContactSheet:
    """Collects shrunk frames, at most ``max_tiles`` of them however long the video, spread evenly over it."""

    settings: Sheet
    seen: int = 0
    _stride: int = 1
    _tiles: list[tuple[int, float, Picture]] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        """Take the next sampled frame; its picture is made only if it is to be drawn."""
        if self.seen % self._stride == 0:
            if len(self._tiles) == self.settings.max_tiles:
                self._stride *= 2
                self._tiles = self._tiles[::2]
            if self.seen % self._stride == 0:
                self._tiles.append((sample.index, sample.time, sample.tile(self.settings.tile_width)))
        self.seen += 1

    def render(self, title: str, facts: str, rejected: Mapping[int, Sequence[str]]) -> bytes:
        """The sheet as a JPEG: *title* large, *facts* small below it, then the tiles.

        Tiles of *rejected* frames (reasons by ordinal) are dimmed and framed, and name the reasons.
        """
        width = self.settings.tile_width
        height = max((tile.shape[0] for _, _, tile in self._tiles), default=0)
        columns = max(1, min(self.settings.columns, len(self._tiles)))
        rows = -(-len(self._tiles) // columns)
        if len(self._tiles) < self.seen:
            facts = f"{facts}  |  {len(self._tiles)} of {self.seen} shown"
        header = _header(title, facts)
        across = max(columns * (width + _GAP) - _GAP, header.shape[1]) + 2 * _MARGIN
        down = _TITLE + rows * (height + _CAPTION + _GAP) - _GAP + 2 * _MARGIN
        sheet = _filled(down, across, _PAPER)
        sheet[_MARGIN : _MARGIN + header.shape[0], _MARGIN : _MARGIN + header.shape[1]] = header
        for place, (index, time, tile) in enumerate(self._tiles):
            row, column = divmod(place, columns)
            left = _MARGIN + column * (width + _GAP)
            top = _MARGIN + _TITLE + row * (height + _CAPTION + _GAP)
            card = _card(tile, height, index, time, rejected.get(index))
            sheet[top : top + height + _CAPTION, left : left + width] = card
        return encode_jpeg(sheet, QUALITY)


def _card(tile: Picture, height: int, index: int, time: float, reasons: Sequence[str] | None) -> Picture:
    import numpy as np

    width = tile.shape[1]
    card = _filled(height + _CAPTION, width, _CARD)
    top = (height - tile.shape[0]) // 2
    card[top : top + tile.shape[0]] = tile if reasons is None else (tile * _DIMMED).astype(np.uint8)
    _place(card, _text(f"{index:06d}", 0.42, _INK, _CARD), 8, height + _CAPTION // 2)
    moment = _text(clock_face(time), 0.42, _FAINT, _CARD)
    _place(card, moment, width - moment.shape[1] - 8, height + _CAPTION // 2)
    if reasons is not None:
        label = _text(", ".join(reasons).replace("_", " "), 0.42, _INK, _REJECTED)
        banner = _filled(label.shape[0] + 8, width, _REJECTED)
        _place(banner, label, 8, banner.shape[0] // 2)
        _place(card, banner, 0, height - banner.shape[0] // 2)
        card[:2] = card[:height, :2] = card[:height, -2:] = _REJECTED
    return card


def _header(title: str, facts: str) -> Picture:
    upper, lower = _text(title, 0.8, _INK, _PAPER), _text(facts, 0.45, _FAINT, _PAPER)
    header = _filled(_TITLE - _GAP, max(upper.shape[1], lower.shape[1]) + 14, _PAPER)
    header[2 : _TITLE - _GAP - 6, :4] = _ACCENT
    _place(header, upper, 14, 18)
    _place(header, lower, 14, 46)
    return header


def _text(text: str, scale: float, ink: _Color, paper: _Color) -> Picture:
    """*text* as a strip of its own size; what the font lacks shows as ``?``."""
    import numpy as np

    cover = np.hstack([_glyph(letter, scale) for letter in text.encode("ascii", "replace").decode() or " "])
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


def _filled(down: int, across: int, color: _Color) -> Picture:
    import numpy as np

    picture = np.empty((down, across, 3), np.uint8)
    picture[:] = np.full((1, across, 3), color, np.uint8)  # line by line: ten times faster than pixel by pixel
    return picture


def _place(canvas: Picture, strip: Picture, left: int, middle: int) -> None:
    """Lay *strip* on *canvas*, vertically centred at *middle*, cut at the edges."""
    left, top = max(0, left), max(0, middle - strip.shape[0] // 2)
    down, across = min(strip.shape[0], canvas.shape[0] - top), min(strip.shape[1], canvas.shape[1] - left)
    canvas[top : top + down, left : left + across] = strip[:down, :across]


def clock_face(seconds: float) -> str:
    """``1:02.500``, with hours when there are any."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    head = f"{hours}:{minute:02d}" if hours else f"{minute}"
    return f"{head}:{second:02d}.{milliseconds:03d}"
