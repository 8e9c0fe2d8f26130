"""A camera that sends, but shows nothing new, or nothing at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np

from edge_agent.camera import HealthSettings
from edge_agent.capture.report import STATUS
from tests.support.capture import job_for, record

FPS, GOP = 25, 10


def film(path: Path, *scenes: tuple[str, int]) -> Path:
    """A clip of *scenes*, of so many s: ``moving``, ``quiet`` (noise only), ``frozen``, ``black``, ``covered``."""
    chance = np.random.default_rng(1)
    y, x = np.mgrid[0:240, 0:320]
    room = (60 + 100 * ((x // 40 + y // 30) % 2)).astype(np.float64)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = GOP, 0
        shot, number = room, 0
        for scene, seconds in scenes:
            for _ in range(seconds * FPS):
                if scene == "moving":
                    shot = np.roll(room, number * 3, axis=1)
                elif scene == "quiet":
                    shot = room + chance.normal(0, 4, room.shape)
                elif scene == "black":
                    shot = np.clip(chance.normal(2, 2, room.shape), 0, 255)
                elif scene == "covered":
                    shot = 90 + x / 32 + chance.normal(0, 2, room.shape)
                grey = np.clip(shot, 0, 255).astype(np.uint8)
                frame = av.VideoFrame.from_ndarray(np.dstack([grey] * 3), format="rgb24").reformat(format="yuv420p")
                frame.pts = number
                number += 1
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_camera_frozen(tmp_path: Path, account: Callable[..., None]) -> None:
    """Frozen, black and covered pictures are each told once when they come and once when they go; recording goes on."""
    # Frozen for longer than the reader can be ahead, so that a status is told meanwhile even on virtual time.
    scenes = [("moving", 3), ("frozen", 16), ("moving", 3), ("black", 4), ("moving", 3), ("covered", 4), ("quiet", 8)]
    clip = film(tmp_path / "clip.mp4", *scenes)
    health = HealthSettings(check_seconds=0.5, frozen_seconds=4.0)
    recorded = record(job_for(tmp_path, f"file:{clip}", health=health))
    told = [event.name for event in recorded.events if event.name.startswith("picture_")]
    assert told == [
        "picture_frozen",
        "picture_ok",
        "picture_black",
        "picture_ok",
        "picture_covered",
        "picture_ok",
    ]
    assert sum(recorded.frames) == FPS * sum(seconds for _, seconds in scenes)
    shown = [(event.fields["picture"], event.fields["problem"]) for event in recorded.named(STATUS)]
    assert ("ok", "") in shown
    assert ("frozen", "the picture is frozen: the camera sends the same one again and again; restart it") in shown
    frames = sum(recorded.frames)
    account("frozen, black, covered, quiet", "nothing", f"{len(told)} changes told, each once; {frames} frames")


def test_with_the_checks_off_no_picture_is_decoded(tmp_path: Path) -> None:
    """check_seconds of 0 means what it says."""
    clip = film(tmp_path / "clip.mp4", ("black", 3))
    recorded = record(job_for(tmp_path, f"file:{clip}", health=HealthSettings(check_seconds=0)))
    assert {event.fields["picture"] for event in recorded.named(STATUS)} == {"unknown"}
