"""A camera that changes its picture's size in the middle of a stream: the segment ends there, and all files decode."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.support.capture import job_for, record

SIZES = ((160, 120), (320, 240), (160, 120))
FRAMES = 25


def _part(path: Path, size: tuple[int, int], start: int, codec: str) -> bytes:
    with av.open(str(path), "w", format="mpegts" if codec == "libx264" else "mjpeg") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p" if codec == "libx264" else "yuvj420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = FRAMES, 0
        for number in range(FRAMES):
            picture = np.full((size[1], size[0], 3), (start + number) % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = start + number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


@pytest.mark.parametrize(("codec", "suffix"), [("libx264", "ts"), ("mjpeg", "mjpeg")])
def test_format_change(tmp_path: Path, codec: str, suffix: str, account: Callable[..., None]) -> None:
    """Each size has its own segments, named and sized as they are, with every frame."""
    clip = tmp_path / f"clip.{suffix}"
    clip.write_bytes(b"".join(_part(tmp_path / "part", size, n * FRAMES, codec) for n, size in enumerate(SIZES)))
    recorded = record(job_for(tmp_path, f"file:{clip}", segment_seconds=30.0))  # decodes all there is
    assert [(segment.width, segment.height) for segment in recorded.segments] == list(SIZES)
    assert recorded.frames == [FRAMES] * len(SIZES)
    reasons = [event.fields["reason"] for event in recorded.named("segment_closed")]
    assert reasons == ["format_changed", "format_changed", "source_ended"]
    account(f"{codec}: {len(SIZES) - 1} changes of size", "nothing", f"frames in each segment: {recorded.frames}")
