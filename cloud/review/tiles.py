"""One picture as a card of a contact sheet: shrunk while it is decoded, with its labels drawn in, captioned."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloud.dataset.pictures import Header, Pictures, header_of
from cloud.labeling.labels import Box, Example
from cloud.labeling.output import Record, State
from cloud.review.drawing import ALARM, CARD, FAINT, INK, Color, filled, lay, text_strip
from edge_agent.errors import (
    ConfigInvalid,
    ContainerMissing,
    KeyInvalid,
    ObjectConflict,
    ObjectNotFound,
    Scope,
    StoreError,
)

if TYPE_CHECKING:
    from cloud.decode.sample import Picture

CAPTION = 44
_MAX_PIXELS = 200_000_000  # to be decoded; a small file can claim any size
_PALETTE: tuple[Color, ...] = (
    (90, 190, 250), (120, 220, 120), (250, 170, 90), (140, 120, 250), (230, 220, 90), (220, 130, 230), (80, 230, 220),
)  # fmt: skip
_NAMED_BOXES = 6  # more names than these would hide the picture

Rectangle = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels of a tile; the last two are beyond it."""


@dataclass(frozen=True, slots=True)
class Card:
    """A card, and what was wrong with its picture, in words, with what to do where that is known.

    ``missing_picture``, ``broken_picture``, or ``wrong_size``: it is there, and not the one its boxes were drawn on.
    """

    pixels: Picture
    code: str = ""
    what: str = ""
    fix: str = ""


def card_of(record: Record, pictures: Pictures, width: int) -> Card:
    """The card of *record*, *width* pixels wide. A picture that cannot be shown is a card that says so.

    Raises what keeps the whole store from being read, as absent credentials do.
    """
    code = what = fix = ""
    try:
        tile = None
        if record.example.source:
            tile, what = _tile(record.example, pictures, width)
            code = "wrong_size" if what else ""
    except (ObjectNotFound, ContainerMissing) as error:
        tile, code, what = None, "missing_picture", f"its picture ({error.where}): {error.what}"
    except (StoreError, ConfigInvalid, KeyInvalid) as error:
        if error.scope is Scope.LINK:
            raise
        tile, code, what, fix = None, "broken_picture", f"its picture ({error.where}): {error.what}", error.fix
    if tile is None:
        banner = code.partition("_")[0] or "text, no picture"
        tile = _blank(width, banner, ALARM if code else FAINT)
    card = filled(tile.shape[0] + CAPTION, width, CARD)
    card[: tile.shape[0], (width - tile.shape[1]) // 2 : (width - tile.shape[1]) // 2 + tile.shape[1]] = tile
    _caption(card, record, tile.shape[0])
    return Card(card, code, what, fix)


def _tile(example: Example, pictures: Pictures, width: int) -> tuple[Picture, str]:
    """The tile, and how the picture differs in size from the one that was labelled; the boxes are scaled to it."""
    data = pictures.read(example.source)
    header = header_of(data, len(data))
    if header is None:
        raise ObjectConflict("is no JPEG or PNG picture", where=example.source)
    tile = shrunk(data, header, width, width)
    across, down = example.width or header.width, example.height or header.height
    boxes = example.boxes or ()
    outlines = [_draw(tile, box, tile.shape[1] / across, tile.shape[0] / down) for box in boxes]
    if len(boxes) <= _NAMED_BOXES:
        _name(tile, [box.label for box in boxes], outlines)
    if (across, down) == (header.width, header.height):
        return tile, ""
    return tile, f"its picture has {header.width}x{header.height} pixels, the labelled one had {across}x{down}"


def shrunk(data: bytes, header: Header, width: int, height: int) -> Picture:
    """The picture *data*, blue green red, fitted into *width* x *height*; never enlarged.

    A JPEG is decoded at an eighth, a quarter or half of its size where that is enough, which is several times faster.
    Raises ObjectConflict when it is damaged beyond being shown, or absurdly large.
    """
    if header.width * header.height > _MAX_PIXELS:
        raise ObjectConflict(f"is of {header.width}x{header.height} pixels")
    scale = min(width / header.width, height / header.height, 1)
    wanted = max(1, round(header.width * scale)), max(1, round(header.height * scale))
    picture = _decoded(data, header, *wanted)
    if (picture.shape[1], picture.shape[0]) == wanted:
        return picture
    import cv2
    import numpy as np

    return np.asarray(cv2.resize(picture, wanted, interpolation=cv2.INTER_AREA), np.uint8)


def _decoded(data: bytes, header: Header, width: int, height: int) -> Picture:
    import cv2
    import numpy as np
    import simplejpeg

    if header.kind == "jpeg":
        try:
            return np.asarray(
                simplejpeg.decode_jpeg(
                    data, "BGR", fastdct=True, fastupsample=True, min_height=height, min_width=width, strict=False
                ),
                np.uint8,
            )
        except ValueError:  # CMYK, for one
            pass
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ObjectConflict("cannot be decoded") from error
    if picture is None:
        raise ObjectConflict("cannot be decoded")
    return np.asarray(picture, np.uint8)


def color_of(label: str) -> Color:
    """The same label has the same colour on every sheet."""
    return _PALETTE[zlib.crc32(label.encode("utf-8", "replace")) % len(_PALETTE)]


def _draw(tile: Picture, box: Box, across: float, down: float) -> Rectangle:
    """Outline *box*; where it is on the tile."""
    import cv2

    color, (height, width) = color_of(box.label), tile.shape[:2]
    left, right = (min(width - 1, max(0, round(x * across))) for x in (box.left, box.left + box.width))
    top, bottom = (min(height - 1, max(0, round(y * down))) for y in (box.top, box.top + box.height))
    cv2.rectangle(tile, (left, top), (right, bottom), (0, 0, 0), 4)
    cv2.rectangle(tile, (left, top), (right, bottom), color, 2, cv2.LINE_8)
    return left, top, right, bottom


def _name(tile: Picture, labels: Sequence[str], outlines: Sequence[Rectangle]) -> None:
    """Write each label at its box, none over another; later boxes, which are drawn over earlier ones, choose first."""
    taken: list[Rectangle] = []
    for label, outline in zip(reversed(labels), reversed(outlines), strict=True):
        name = text_strip(label[:24], 0.36, (20, 20, 20), color_of(label))
        place = free_place(outline, name.shape[:2], tile.shape[:2], taken)
        taken.append(place)
        lay(tile, name, place[0], place[1] + name.shape[0] // 2)


def free_place(
    outline: Rectangle, name: tuple[int, ...], tile: tuple[int, ...], taken: Sequence[Rectangle]
) -> Rectangle:
    """Where a *name* goes on a *tile* (both: height, width): on the upper edge of *outline*, else on the lower one.

    Where other names have *taken* both, inside, line by line; on the upper edge when there is no room at all. Pure.
    """
    (down, across), (height, width) = name, tile
    left = max(0, min(outline[0], width - across))
    lines = [outline[1], outline[3], *range(outline[1] + down, outline[3], down)]
    tops = [max(0, min(line - down // 2, height - down)) for line in lines]
    places = [(left, top, left + across, top + down) for top in tops]
    return next((place for place in places if not any(_meet(place, other) for other in taken)), places[0])


def _meet(one: Rectangle, other: Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _blank(width: int, banner: str, color: Color) -> Picture:
    tile = filled(width * 9 // 16, width, CARD)
    text = text_strip(banner, 0.5, color, CARD)
    lay(tile, text, (width - text.shape[1]) // 2, tile.shape[0] // 2)
    return tile


def _caption(card: Picture, record: Record, top: int) -> None:
    """Class and labels above, the picture's name and the line's number below."""
    width = card.shape[1]
    example = record.example
    classes = " ".join(example.tag.values())
    if example.labels:
        said = ", ".join(label.label for label in example.labels)
        classes = f"{classes}: {said}" if classes else said
    right = text_strip(_state(record), 0.4, FAINT, CARD)
    lay(card, _fitted(classes or "no class", 0.44, INK, width - right.shape[1] - 24), 8, top + 14)
    lay(card, right, width - right.shape[1] - 8, top + 14)
    number = text_strip(str(record.line.number), 0.36, FAINT, CARD)
    name = example.source.rpartition("/")[2] or str(record.line.fields.get("source", ""))
    lay(card, _fitted(name, 0.36, FAINT, width - number.shape[1] - 24, tail=True), 8, top + 33)
    lay(card, number, width - number.shape[1] - 8, top + 33)


def _state(record: Record) -> str:
    if record.state is State.FAILED:
        return "failed"
    boxes = record.example.boxes
    if boxes is None:
        return ""
    return f"{len(boxes) or 'no'} {'box' if len(boxes) == 1 else 'boxes'}"


def _fitted(text: str, scale: float, ink: Color, width: int, *, tail: bool = False) -> Picture:
    """*text*, cut to *width* pixels at its end, or at its head when its *tail* tells more."""
    each = text_strip("n", scale, ink, CARD).shape[1]
    fits = max(4, width // each)
    if len(text) > fits:
        text = f"..{text[2 - fits :]}" if tail else f"{text[: fits - 2]}.."
    return text_strip(text, scale, ink, CARD)[:, :width]
