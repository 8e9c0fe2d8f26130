"""Pictures to judge: made ones, real ones, and a face that is nobody's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from cloud.decode.sample import Sample
from cloud.judge.judges import Judges
from cloud.judge.policy import Scores, Verdict, verdicts
from cloud.judge.rules import JudgeRules

Picture = NDArray[np.uint8]


def grey_of(picture: Picture) -> Picture:
    """The small grey copy the decoder would give."""
    share = min(320 / picture.shape[1], 180 / picture.shape[0], 1)
    size = (max(1, round(picture.shape[1] * share)), max(1, round(picture.shape[0] * share)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)


def sample(picture: Picture, index: int = 0, jpeg: bytes | None = None) -> Sample:
    return Sample(index, float(index), jpeg, lambda: picture, lambda: grey_of(picture))


def rules(**given: dict[str, Any]) -> JudgeRules:
    """The default rules but for what is *given*; nobody looks for faces unless asked to."""
    return JudgeRules.model_validate({"faces": {"action": "off"}, **given})


def judge(pictures: Sequence[Picture], by: JudgeRules) -> tuple[list[Scores], list[Verdict]]:
    """The scores and verdicts of *pictures*, a video's sampled frames."""
    judges = Judges(by)
    for index, picture in enumerate(pictures):
        judges.look(sample(picture, index))
    scores = judges.finish()
    return scores, verdicts(scores, by)


def footage_pictures(path: Path, every: int = 30) -> list[Picture]:
    """Every Nth frame of a real clip, BGR."""
    with av.open(path) as container:
        frames = enumerate(container.decode(video=0))
        return [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for at, frame in frames if at % every == 0]


def noisy(level: NDArray[Any] | float, seed: int, sigma: float = 4, size: tuple[int, int] = (480, 640)) -> Picture:
    """A picture of *level* (a number, or one for each pixel) as a camera sees it: with noise."""
    values = np.random.default_rng(seed).normal(0, sigma, (*size, 3)) + np.asarray(level, np.float64)
    return np.clip(values, 0, 255).astype(np.uint8)


def drawn_face(side: int) -> Picture:
    """A face drawn by its light and shade only, *side* x *side*, BGR: what a cascade looks for, and nobody's."""
    canvas = np.full((400, 400), 150, np.float32)

    def _blob(x: int, y: int, across: int, down: int, level: int, soft: int) -> None:
        mask = np.zeros((400, 400), np.float32)
        cv2.ellipse(mask, (x, y), (across, down), 0, 0, 360, 1, -1)
        mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), soft), np.float32)
        canvas[:] = canvas * (1 - mask) + level * mask

    _blob(200, 190, 150, 190, 60, 6)  # hair
    _blob(200, 215, 120, 160, 195, 6)  # skin
    _blob(200, 120, 95, 45, 205, 12)  # forehead
    for x in (148, 252):
        _blob(x, 182, 42, 26, 120, 8)  # eye socket
        _blob(x, 160, 40, 8, 70, 4)  # brow
        _blob(x, 186, 24, 11, 60, 3)  # eye
        _blob(x, 250, 34, 26, 215, 10)  # cheek
    _blob(200, 215, 14, 45, 225, 6)  # nose
    _blob(200, 262, 28, 10, 130, 6)  # its shadow
    _blob(200, 308, 48, 12, 95, 5)  # mouth
    _blob(200, 345, 45, 14, 200, 8)  # chin
    grey = np.asarray(cv2.resize(canvas.astype(np.uint8), (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)
