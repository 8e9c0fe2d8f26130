"""Decoded frames to upright, cropped, resized pictures, with the colours libav's own tools give."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloud.decode.filters import Filters
from cloud.decode.planes import jfif_planes
from cloud.decode.sample import GREY_HEIGHT, GREY_WIDTH, shrunk, tile_size

if TYPE_CHECKING:
    import av

    from cloud.decode.planes import Planes
    from cloud.decode.sample import Grey, Picture
    from cloud.settings import PictureSettings

    Pixels = Picture | Grey


def crop_box(crop: tuple[float, float, float, float] | None, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, width and height in pixels, inside *width* x *height* and never empty. Pure."""
    if crop is None:
        return 0, 0, width, height
    left, top = min(round(crop[0] * width), width - 1), min(round(crop[1] * height), height - 1)
    return (
        left,
        top,
        max(1, min(round(crop[2] * width), width - left)),
        max(1, min(round(crop[3] * height), height - top)),
    )


@dataclass(frozen=True, slots=True)
class Converter:
    """Frames of one video to pictures, in any thread; ``turns`` quarter turns against the clock set them upright."""

    settings: PictureSettings
    turns: int
    _filters: Filters = field(default_factory=Filters)

    @classmethod
    def of(cls, settings: PictureSettings, rotation: float) -> Converter:
        """*rotation* is the display matrix's, in degrees against the clock; only quarter turns are honoured."""
        return cls(settings, round(rotation / 90) % 4)

    @property
    def changes_nothing(self) -> bool:
        """Whether a JPEG packet can be stored as it is."""
        settings = self.settings
        return not self.turns and settings.crop is None and settings.max_side is None and settings.format == "jpeg"

    def planes(self, frame: av.VideoFrame) -> Planes | None:
        """What a JPEG of the picture holds; None where it takes the picture to make that."""
        longest = max(frame.width, frame.height)
        if self.turns or self.settings.crop is not None or longest > (self.settings.max_side or longest):
            return None
        return jfif_planes(frame, self._filters)

    def picture(self, frame: av.VideoFrame) -> Picture:
        """*frame* in BGR, full range, by the matrix and range the video states, else BT.601 and limited."""
        return self.finish(self._scaled(frame, "bgr24", frame.width, frame.height, "bicubic"))

    def grey(self, frame: av.VideoFrame) -> Grey:
        """The small grey copy of *frame*, full range."""
        box = self._box(frame)
        return self._small(frame, "gray", box, shrunk(*box, GREY_WIDTH, GREY_HEIGHT))

    def tile(self, frame: av.VideoFrame, across: int) -> Picture:
        """What *frame*'s picture looks like *across* pixels wide, as :meth:`Sample.tile` promises."""
        import cv2
        import numpy as np

        box = self._box(frame)
        size = tile_size(*box, across)
        tile = self._small(frame, "bgr24", box, size)
        if tile.shape[1::-1] != size:  # crops of a small copy are off by a pixel
            tile = np.asarray(cv2.resize(tile, size, interpolation=cv2.INTER_AREA), np.uint8)
        return tile

    def finish(self, pixels: Picture) -> Picture:
        """The whole picture as it lies in the video, turned upright, cropped and resized."""
        import cv2
        import numpy as np

        picture = self._cropped(pixels)
        if self.settings.max_side is not None:
            size = shrunk(picture.shape[1], picture.shape[0], self.settings.max_side, self.settings.max_side)
            if size != (picture.shape[1], picture.shape[0]):
                picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        return picture

    def _cropped(self, pixels: Pixels) -> Pixels:
        import numpy as np

        if self.turns:
            pixels = np.rot90(pixels, self.turns)
        left, top, width, height = crop_box(self.settings.crop, pixels.shape[1], pixels.shape[0])
        return np.ascontiguousarray(pixels[top : top + height, left : left + width])

    def _box(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Width and height of *frame* upright and cropped."""
        upright = (frame.width, frame.height) if self.turns % 2 == 0 else (frame.height, frame.width)
        return crop_box(self.settings.crop, *upright)[2:]

    def _small(self, frame: av.VideoFrame, pixels: str, box: tuple[int, int], size: tuple[int, int]) -> Pixels:
        """*frame* upright and cropped, which makes it as large as *box*, scaled to about *size*."""
        across, down = size if self.turns % 2 == 0 else (size[1], size[0])
        cut = box if self.turns % 2 == 0 else (box[1], box[0])
        width, height = round(frame.width * across / cut[0]), round(frame.height * down / cut[1])
        return self._cropped(self._scaled(frame, pixels, max(1, width), max(1, height), "area"))

    def _scaled(self, frame: av.VideoFrame, pixels: str, width: int, height: int, way: str) -> Pixels:
        """*frame* at *width* x *height*, full range."""
        chain = (("scale", f"{width}:{height}:flags={way}:out_range=pc"), ("format", f"pix_fmts={pixels}"))
        array: Any = self._filters.through(frame, f"{pixels} {way}", chain).to_ndarray()
        scaled: Pixels = array
        return scaled
