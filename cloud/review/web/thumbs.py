"""Small pictures for the grid, made from the large ones at a reduced scale. The last ones are kept."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloud.decode.jpeg import encode_jpeg
from edge_agent.errors import VideoUnreadable

if TYPE_CHECKING:
    from cloud.decode.sample import Picture

WIDTH, HEIGHT = 320, 240  # pixels; a tile on a dense screen, whatever the picture's shape
_QUALITY = 80
_KEPT_BYTES = 96 * 1024 * 1024  # of some 8 KB each: a screen's worth a hundred times over
_MOST_PIXELS = 200_000_000  # a picture that says it has more is no camera's

TYPES = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
}


def media_type(picture: bytes) -> str | None:
    """What *picture* is by its first bytes, if a browser may be shown it; None for anything else (SVG has scripts)."""
    if picture[:4] == b"RIFF" and picture[8:12] == b"WEBP":
        return "image/webp"
    return next((name for head, name in TYPES.items() if picture.startswith(head)), None)


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
        """The thumbnail of that item's picture. Raises VideoUnreadable and what reading the picture raises."""
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
    """*picture* as a JPEG that fits into *width* x *height*; never larger than it was. Raises VideoUnreadable."""
    import cv2

    pixels = _decoded(picture, width, height)
    scale = min(width / pixels.shape[1], height / pixels.shape[0])
    if scale < 1:
        size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return encode_jpeg(pixels, _QUALITY)


def _decoded(picture: bytes, width: int, height: int) -> Picture:
    """The pixels of *picture*; of a JPEG only as many as are needed, which is five times faster at 1080p."""
    import cv2
    import numpy as np
    from simplejpeg import decode_jpeg, decode_jpeg_header

    try:
        if media_type(picture) == "image/jpeg":
            down, across, *_ = decode_jpeg_header(picture, strict=False)
            if down * across > _MOST_PIXELS:
                raise VideoUnreadable(f"a picture of {across} x {down} pixels is too large")
            scale = min(1.0, width / across, height / down)
            least = {"min_width": int(across * scale), "min_height": int(down * scale)}
            found: Picture = decode_jpeg(picture, "BGR", fastdct=True, min_factor=1.0, strict=False, **least)
            return found
        decoded = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    except (ValueError, KeyError, cv2.error) as error:  # a KeyError: a colour space it does not know
        raise VideoUnreadable("the picture is damaged") from error
    if decoded is None:
        raise VideoUnreadable("is no picture")
    return np.asarray(decoded, np.uint8)
