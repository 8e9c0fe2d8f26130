"""Clips in which something happens at a known moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np

FPS = 25
WIDTH, HEIGHT = 320, 240


def make_scene(
    path: Path,
    *,
    seconds: float,
    moving: tuple[tuple[float, float], ...] = (),
    gop: int = FPS,
    top: int = 100,
    flicker: float = 0.0,
    noise: int = 3,
) -> Path:
    """A still, slightly noisy view; a bright box of 32x32 at row *top* moves in it while a span of *moving* lasts.

    *flicker*: the light changes by this share from second to second. No two pictures are the same.
    """
    random = np.random.default_rng(7)
    view = np.add.outer(np.arange(HEIGHT) // 3, np.arange(WIDTH) // 4).astype(np.float64) + 40
    position = 20.0
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = 0
        for number in range(round(seconds * FPS)):
            time = number / FPS
            if any(begin <= time < end for begin, end in moving):
                position = 20 + (position - 20 + 3) % (WIDTH - 72)
            picture = view.copy()
            picture[top : top + 32, int(position) : int(position) + 32] = 215
            picture *= 1 + flicker * (int(time) % 2)
            picture += random.normal(0, noise, picture.shape)
            grey = np.clip(picture, 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="gray").reformat(format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
