"""Pictures to files, in the formats that are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloud.decode.jpeg import encode_jpeg, encode_planes
from edge_agent.errors import VideoUnreadable

if TYPE_CHECKING:
    from cloud.decode.sample import Picture, Sample
    from cloud.settings import PictureSettings


@dataclass(frozen=True, slots=True)
class Format:
    """How a stored picture is named and announced."""

    suffix: str
    content_type: str


FORMATS = {"jpeg": Format(".jpg", "image/jpeg"), "png": Format(".png", "image/png")}

_PNG_LEVEL = 3  # of zlib; measured on real footage: 26 ms for 372 kB at 640x480, where level 6 takes 66 for 349


def file_of(sample: Sample, picture: PictureSettings, quality: int) -> bytes:
    """The file to store for *sample*: the video's own JPEG where it has one, else its picture, encoded.

    Raises VideoUnreadable when the format cannot hold it.
    """
    if sample.jpeg is not None:
        return sample.jpeg
    planes = sample.planes if picture.format == "jpeg" else None
    if planes is not None:
        return encode_planes(planes, quality)
    return encode(sample.picture, picture, quality)


def encode(picture: Picture, settings: PictureSettings, quality: int) -> bytes:
    """*picture* as a file in the format of *settings*; *quality* is that of a JPEG. Raises VideoUnreadable."""
    return encode_png(picture) if settings.format == "png" else encode_jpeg(picture, quality)


def encode_png(picture: Picture) -> bytes:
    """*picture* (height x width x BGR, uint8) as a PNG file. Raises VideoUnreadable when PNG cannot hold it."""
    import cv2

    try:
        done, encoded = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])
    except cv2.error as error:
        raise VideoUnreadable(f"a picture of shape {picture.shape} cannot be a PNG") from error
    if not done:
        raise VideoUnreadable(f"a picture of shape {picture.shape} cannot be a PNG")
    return encoded.tobytes()
