"""How large a picture is, from its first bytes: nothing is decoded for it."""

from __future__ import annotations

from pathlib import Path

from cloud.dataset.pictures import header_of

_HEAD = 1 << 20  # bytes; the frame header stands behind thumbnails and colour profiles, which are far smaller
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"


def size_in(path: Path) -> tuple[int, int] | None:
    """Width and height in pixels of the picture file *path*; None when it is none that can be read. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith((_PNG, _JPEG)):
        found = header_of(head, len(head))
        return (found.width, found.height) if found is not None else None
    return _decoded(path)


def _decoded(path: Path) -> tuple[int, int] | None:
    """BMP, WebP, TIFF: rare enough to be decoded."""
    import cv2

    try:
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # more pixels than it decodes
        return None
    return None if picture is None else (picture.shape[1], picture.shape[0])
