"""Finding faces, and making them unrecognisable. A detector flags; it guarantees nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cloud.judge.rules import Faces
from edge_agent.errors import ConfigInvalid

if TYPE_CHECKING:
    from cloud.decode.sample import Grey, Picture, Sample

_CASCADE = "haarcascade_frontalface_default.xml"
_SETTING = "judges.faces"

_SIDE = 640  # pixels, the longer side of what is searched where a face must not be missed
_MARGIN = 0.25  # of the box, on each side: detectors frame eyes and mouth; hair and chin tell people apart too
_MOSAIC = 6  # blocks across a face: too few for features, and averaged, so nothing can be computed back
_YUNET_SCORE, _YUNET_OVERLAP = 0.6, 0.3  # confidence, and overlap of two boxes of one face, as in OpenCV's own demo


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """A face: left, top, width and height as shares of the picture."""

    left: float
    top: float
    width: float
    height: float


class Finder(Protocol):
    """Whatever finds faces in a sample."""

    def find(self, sample: Sample) -> list[Box]:
        """The faces in *sample*, sorted."""
        ...


def open_finder(rule: Faces) -> Finder | None:
    """Who looks for faces; None when nobody is to.

    Raises ConfigInvalid when the model or the cascade is not there: no frame may pass unseen that was to be looked at.
    """
    if rule.action == "off":
        return None
    if rule.model is not None:
        return YuNet(Path(rule.model))
    return Cascade(careful=rule.redact)


class Cascade:
    """Viola and Jones, "Rapid object detection using a boosted cascade of simple features" (2001), as OpenCV ships it.

    It sees upright faces from the front. Not *careful*: on the small grey copy, faces of a fifth of its height and
    more, for some 3 ms a frame. *careful*: on up to 640 pixels, down to 24 pixels, for twenty times that.
    """

    def __init__(self, *, careful: bool) -> None:
        """Raises ConfigInvalid where OpenCV ships no cascade (5.0 and later do not)."""
        import cv2

        self._careful = careful
        path = Path(getattr(getattr(cv2, "data", None), "haarcascades", "")) / _CASCADE
        if not hasattr(cv2, "CascadeClassifier") or not path.is_file():
            raise ConfigInvalid(
                f"this OpenCV ({cv2.__version__}) has no face cascade",
                where=_SETTING,
                fix="name a YuNet file in 'model', set 'action: off', or install opencv-python-headless<5",
            )
        self._classifier = cv2.CascadeClassifier(str(path))
        if self._classifier.empty():
            raise ConfigInvalid(f"the cascade {path} cannot be read", where=_SETTING, fix="install OpenCV anew")

    def find(self, sample: Sample) -> list[Box]:
        if self._careful:
            grey, scale, neighbours, smallest = _grey_of(sample.picture), 1.1, 3, 24
        else:
            grey, scale, neighbours = sample.grey, 1.25, 4
            smallest = max(24, grey.shape[0] // 5)
        height, width = grey.shape
        found = self._classifier.detectMultiScale(grey, scale, neighbours, minSize=(smallest, smallest))
        return sorted(Box(int(x) / width, int(y) / height, int(w) / width, int(h) / height) for x, y, w, h in found)


class YuNet:
    """Wu, Peng and Yu, "YuNet: a tiny millisecond-level face detector" (2023), through OpenCV, on up to 640 pixels."""

    def __init__(self, model: Path) -> None:
        """Raises ConfigInvalid when *model* is not there or is no such model."""
        import cv2

        where, fix = f"{_SETTING}.model", "give the path of a face_detection_yunet ONNX file"
        if not model.is_file():
            raise ConfigInvalid(f"{model}: no such file", where=where, fix=fix)
        try:
            self._network: Any = cv2.FaceDetectorYN.create(str(model), "", (320, 320), _YUNET_SCORE, _YUNET_OVERLAP)
            self._network.detect(_black(320))
        except cv2.error as error:
            raise ConfigInvalid(f"{model}: is no YuNet model", where=where, fix=fix) from error

    def find(self, sample: Sample) -> list[Box]:
        picture = _shrunk(sample.picture)
        height, width = picture.shape[:2]
        self._network.setInputSize((width, height))
        _, found = self._network.detect(picture)
        if found is None:
            return []
        boxes = [[float(part) for part in face[:4]] for face in found]
        return sorted(Box(x / width, y / height, w / width, h / height) for x, y, w, h in boxes)


def redact(picture: Picture, boxes: Sequence[Box]) -> Picture:
    """A copy of *picture* (BGR) in which nobody in *boxes* can be recognised: a coarse mosaic, with a margin."""
    import cv2

    made = picture.copy()
    down, across = picture.shape[:2]
    for box in boxes:
        left = max(0, int((box.left - _MARGIN * box.width) * across))
        top = max(0, int((box.top - _MARGIN * box.height) * down))
        right = min(across, -int(-(box.left + (1 + _MARGIN) * box.width) * across // 1))
        bottom = min(down, -int(-(box.top + (1 + _MARGIN) * box.height) * down // 1))
        if right > left and bottom > top:
            blocks = cv2.resize(picture[top:bottom, left:right], (_MOSAIC, _MOSAIC), interpolation=cv2.INTER_AREA)
            made[top:bottom, left:right] = cv2.resize(
                blocks, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST
            )
    return made


def _shrunk(picture: Picture) -> Picture:
    import cv2
    import numpy as np

    share = _SIDE / max(picture.shape[:2])
    if share >= 1:
        return picture
    size = (max(1, round(picture.shape[1] * share)), max(1, round(picture.shape[0] * share)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _grey_of(picture: Picture) -> Grey:
    import cv2
    import numpy as np

    return np.asarray(cv2.cvtColor(_shrunk(picture), cv2.COLOR_BGR2GRAY), np.uint8)


def _black(side: int) -> Picture:
    import numpy as np

    return np.zeros((side, side, 3), np.uint8)
