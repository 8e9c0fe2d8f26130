"""Small pictures for the grid, made from the large ones at a reduced scale. The last ones are kept."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from cloud.dataset.pictures import shown_header_of
from cloud.decode.jpeg import encode_jpeg
from cloud.review import tiles
from edge_agent.errors import ObjectConflict

WIDTH, HEIGHT = 320, 240  # pixels; a tile on a dense screen, whatever the picture's shape
_QUALITY = 80
_KEPT_BYTES = 96 * 1024 * 1024  # of some 8 KB each: a screen's worth a hundred times over


@dataclass(frozen=True, slots=True)
class Thumb:
    """A small JPEG and its validator."""

    jpeg: bytes
    etag: str


class Thumbnails:
    """Those made lately are kept, in bounded memory. Safe to use from several threads."""

    def __init__(self, picture: Callable[[str], tuple[bytes, str]]) -> None:
        self._picture = picture
        self._lock = threading.Lock()
        self._made: OrderedDict[str, Thumb] = OrderedDict()
        self._bytes = 0

    def of(self, item: str) -> Thumb:
        """The thumbnail of that item's picture. Raises ObjectConflict and what reading the picture raises."""
        with self._lock:
            if known := self._made.get(item):
                self._made.move_to_end(item)
                return known
        jpeg = shrunk(self._picture(item)[0])
        made = Thumb(jpeg, f'"{hashlib.blake2b(jpeg, digest_size=12).hexdigest()}"')
        with self._lock:
            if item not in self._made:
                self._made[item] = made
                self._bytes += len(jpeg)
            while self._bytes > _KEPT_BYTES:
                self._bytes -= len(self._made.popitem(last=False)[1].jpeg)
        return made


def prepare() -> None:
    """Load what making thumbnails needs now, which takes as long as the thumbnails of a screen."""
    import cv2  # noqa: F401
    import simplejpeg  # noqa: F401


def shrunk(picture: bytes, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """*picture* as a JPEG that fits into *width* x *height*; never larger than it was.

    Raises ObjectConflict when it is damaged, absurdly large, or nothing that a browser shows.
    """
    header = shown_header_of(picture)
    if header is None:
        raise ObjectConflict("is no picture that a browser shows")
    return encode_jpeg(tiles.shrunk(picture, header, width, height), _QUALITY)
