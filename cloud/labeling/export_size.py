"""How large a picture is, from its first bytes: nothing is decoded for it."""

from __future__ import annotations

import struct
from pathlib import Path

_HEAD = 1 << 20  # bytes; the frame header stands behind thumbnails and colour profiles, which are far smaller
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"


def size_in(path: Path) -> tuple[int, int] | None:
    """Width and height in pixels of the picture file *path*; None when it is none that can be read. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(_JPEG):
        import simplejpeg

        try:
            height, width, _, _ = simplejpeg.decode_jpeg_header(head)
        except ValueError:
            return None
        return width, height
    if head.startswith(_PNG) and head[12:16] == b"IHDR" and len(head) >= 24:
        # PNG specification, 11.2.2: width and height are the chunk's first two big-endian 32-bit numbers.
        width, height = struct.unpack(">II", head[16:24])
        return (width, height) if width and height else None
    return _decoded(path)


def _decoded(path: Path) -> tuple[int, int] | None:
    """BMP, WebP, TIFF: rare enough to be decoded."""
    import cv2

    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return None if picture is None else (picture.shape[1], picture.shape[0])
