"""Pictures to JPEG, by libjpeg-turbo in OpenCV and, where there are planes already, in simplejpeg."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.errors import VideoUnreadable

if TYPE_CHECKING:
    from cloud.decode.planes import Planes
    from cloud.decode.sample import Picture


def encode_jpeg(picture: Picture, quality: int) -> bytes:
    """*picture* (height x width x BGR, uint8) as a JPEG file. Raises VideoUnreadable when JPEG cannot hold it."""
    import cv2

    try:
        done, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as error:
        raise VideoUnreadable(f"a picture of shape {picture.shape} cannot be a JPEG") from error
    if not done:
        raise VideoUnreadable(f"a picture of shape {picture.shape} cannot be a JPEG")
    return encoded.tobytes()


def encode_planes(planes: Planes, quality: int) -> bytes:
    """*planes* as a JPEG file, as :func:`encode_jpeg` makes one of a picture: 4:2:0, the same tables and transform.

    Raises VideoUnreadable when JPEG cannot hold them.
    """
    from simplejpeg import encode_jpeg_yuv_planes

    try:
        coded: bytes = encode_jpeg_yuv_planes(*planes, quality=quality)
    except ValueError as error:
        raise VideoUnreadable(f"a picture of shape {planes[0].shape} cannot be a JPEG") from error
    return coded


def is_storable(packet: bytes, width: int, height: int) -> bool:
    """Whether a Motion JPEG packet is a JPEG file as it stands: one whole picture of *width* x *height*, with tables.

    Cameras may leave the Huffman tables out, damage may leave the end out, and an interlaced packet holds two
    pictures; such packets must be decoded. Markers after ITU-T T.81, annex B.
    """
    if not packet.startswith(b"\xff\xd8") or b"\xff\xd9" not in packet[-64:]:
        return False
    place, size, tables = 2, None, False
    while place + 4 <= len(packet) and packet[place] == 0xFF:
        marker, length = packet[place + 1], int.from_bytes(packet[place + 2 : place + 4])
        body = packet[place + 4 : place + 2 + length]
        if marker in (0xC0, 0xC1, 0xC2) and len(body) >= 5:
            size = (int.from_bytes(body[3:5]), int.from_bytes(body[1:3]))
        tables = tables or marker == 0xC4
        if marker == 0xDA:
            return tables and size == (width, height)
        place += 2 + length
    return False
