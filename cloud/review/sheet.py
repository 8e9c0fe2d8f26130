"""Contact sheets: a whole video at a glance, in one JPEG, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloud.decode.jpeg import encode_jpeg
from cloud.review.drawing import (
    ALARM,
    CAPTION,
    CARD,
    FAINT,
    GAP,
    INK,
    MARGIN,
    PAPER,
    QUALITY,
    TITLE,
    filled,
    lay,
    text_strip,
    title_strip,
)
from cloud.review.spread import Spread
from cloud.settings import Sheet

if TYPE_CHECKING:
    from cloud.decode.sample import Picture, Sample

_DIMMED = 0.35  # of its brightness: what a rejected frame shows is still to be made out


@dataclass(slots=True)
class ContactSheet:
    """Collects shrunk frames, at most ``max_tiles`` of them however long the video, spread evenly over it."""

    settings: Sheet
    _spread: Spread[tuple[int, float, Picture]] = field(init=False)

    def __post_init__(self) -> None:
        self._spread = Spread(self.settings.max_tiles)

    def add(self, sample: Sample) -> None:
        """Take the next sampled frame; its picture is made only if it is to be drawn."""
        if self._spread.takes_next():
            self._spread.kept.append((sample.index, sample.time, sample.tile(self.settings.tile_width)))

    def render(self, title: str, facts: str, rejected: Mapping[int, Sequence[str]]) -> bytes:
        """The sheet as a JPEG: *title* large, *facts* small below it, then the tiles.

        Tiles of *rejected* frames (reasons by ordinal) are dimmed and framed, and name the reasons.
        """
        width, tiles, seen = self.settings.tile_width, self._spread.kept, self._spread.seen
        height = max((tile.shape[0] for _, _, tile in tiles), default=0)
        columns = max(1, min(self.settings.columns, len(tiles)))
        rows = -(-len(tiles) // columns)
        if len(tiles) < seen:
            facts = f"{facts}  |  {len(tiles)} of {seen} shown"
        header = title_strip(title, facts)
        across = max(columns * (width + GAP) - GAP, header.shape[1]) + 2 * MARGIN
        down = TITLE + rows * (height + CAPTION + GAP) - GAP + 2 * MARGIN
        sheet = filled(down, across, PAPER)
        sheet[MARGIN : MARGIN + header.shape[0], MARGIN : MARGIN + header.shape[1]] = header
        for place, (index, time, tile) in enumerate(tiles):
            row, column = divmod(place, columns)
            left = MARGIN + column * (width + GAP)
            top = MARGIN + TITLE + row * (height + CAPTION + GAP)
            card = _card(tile, height, index, time, rejected.get(index))
            sheet[top : top + height + CAPTION, left : left + width] = card
        return encode_jpeg(sheet, QUALITY)


def _card(tile: Picture, height: int, index: int, time: float, reasons: Sequence[str] | None) -> Picture:
    import numpy as np

    width = tile.shape[1]
    card = filled(height + CAPTION, width, CARD)
    top = (height - tile.shape[0]) // 2
    card[top : top + tile.shape[0]] = tile if reasons is None else (tile * _DIMMED).astype(np.uint8)
    lay(card, text_strip(f"{index:06d}", 0.42, INK, CARD), 8, height + CAPTION // 2)
    moment = text_strip(clock_face(time), 0.42, FAINT, CARD)
    lay(card, moment, width - moment.shape[1] - 8, height + CAPTION // 2)
    if reasons is not None:
        label = text_strip(", ".join(reasons).replace("_", " "), 0.42, INK, ALARM)
        banner = filled(label.shape[0] + 8, width, ALARM)
        lay(banner, label, 8, banner.shape[0] // 2)
        lay(card, banner, 0, height - banner.shape[0] // 2)
        card[:2] = card[:height, :2] = card[:height, -2:] = ALARM
    return card


def clock_face(seconds: float) -> str:
    """``1:02.500``, with hours when there are any."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    head = f"{hours}:{minute:02d}" if hours else f"{minute}"
    return f"{head}:{second:02d}.{milliseconds:03d}"
