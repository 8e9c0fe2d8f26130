"""Pictures to files, beside the decoding: on two cores the two overlap, and order and bytes stay the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from cloud.decode.jpeg import encode_jpeg, encode_planes
from edge_agent.errors import VideoUnreadable

if TYPE_CHECKING:
    from cloud.decode.sample import Picture, Sample
    from cloud.settings import PictureSettings

Item = TypeVar("Item")
Done = TypeVar("Done")


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


def pipelined(
    items: Iterable[Item], work: Callable[[Item], Done], *, workers: int = 2, ahead: int = 4
) -> Generator[tuple[Item, Done], None, None]:
    """Each of *items* with what *work* makes of it, in the order of *items*.

    *items* is drawn in the caller's thread while up to *workers* others work; at most *ahead* items are under way, so
    memory stays bounded. The first error of *work* is raised at its item's turn; no work goes on after the end,
    an error, or the closing of the generator.
    """
    under_way: deque[tuple[Item, Future[Done]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="encode") as pool:
        try:
            for item in items:
                under_way.append((item, pool.submit(work, item)))
                if len(under_way) >= ahead:
                    first, future = under_way.popleft()
                    yield first, future.result()
            while under_way:
                first, future = under_way.popleft()
                yield first, future.result()
        finally:
            for _, future in under_way:
                future.cancel()
