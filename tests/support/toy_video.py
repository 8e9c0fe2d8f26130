"""Videos that cost nothing to decode: a line of JSON each, read by a decoder that stands in for the real one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from cloud.decode.decoder import Report
from cloud.decode.plan import Mode, is_sampled
from cloud.decode.reading import Probe
from cloud.decode.sample import Sample
from cloud.settings import PictureSettings, Sampling
from edge_agent.errors import VideoUnreadable


def toy(frames: int, shade: int) -> bytes:
    """A video of *frames* frames of one *shade*; its pictures as stored are ``shade`` bytes longer than their name."""
    return json.dumps({"frames": frames, "shade": shade}).encode()


class ToyDecoder:
    """Has the interface of the real decoder. A toy without frames, and what is no toy, is unreadable."""

    def __init__(self, path: Path, where: str) -> None:
        self._where = where
        self.passed = 0
        try:
            self._video: dict[str, int] = json.loads(path.read_bytes())
        except ValueError:
            self._video = {"frames": 0, "shade": 0}
        self.probe = Probe("toy", 8, 8, 10.0, self._video["frames"] / 10, self._video["frames"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def samples(self, rule: Sampling, picture: PictureSettings) -> Iterator[Sample]:
        if not self._video["frames"]:
            raise VideoUnreadable("is no video that can be read", where=self._where, fix="record anew")
        shade, last = self._video["shade"], None
        for index in range(self._video["frames"]):
            self.passed = index + 1
            time = index / 10
            if is_sampled(rule, index, time, last):
                last = time
                body = f"frame {index} ".encode() + b"x" * shade
                image: Any = np.full((8, 8, 3), shade, np.uint8)
                grey: Any = np.full((8, 8), (shade * 7 + index * 40) % 256, np.uint8)
                yield Sample(index, time, body, lambda image=image: image, lambda grey=grey: grey)  # type: ignore[misc]

    def report(self) -> Report:
        frames = self._video["frames"]
        return Report(Mode.SEQUENCE, frames, frames, frames, 0, False, 0, 0)


class ToySheet:
    """Has the interface of the contact sheet, and says in words what would be drawn."""

    def __init__(self, _: object) -> None:
        self._drawn: list[int] = []

    def add(self, sample: Sample) -> None:
        self._drawn.append(sample.index)

    def render(self, title: str, facts: str, rejected: Mapping[int, Sequence[str]]) -> bytes:
        return f"{title} {facts} {self._drawn} {sorted(rejected)}".encode()
