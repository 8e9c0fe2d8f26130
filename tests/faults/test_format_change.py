"""A camera that changes its picture's size or codec: the segment ends there, the next is what it says; all decode."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edge_agent.capture.parameters import codec_of
from edge_agent.spool import Spool
from tests.integration.test_sources_rtsp import H265
from tests.support.capture import capturing, job_for, record, recorded_in
from tests.support.clips import look, make_clip
from tests.support.rtsp import H264, rtsp_camera

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


CODECS = {"h264": "libx264", "hevc": "libx265"}
ORDERS = pytest.mark.parametrize("order", [("h264", "hevc"), ("hevc", "h264")], ids="-to-".join)


@ORDERS
def test_codec_change_in_a_transport_stream(
    tmp_path: Path, order: tuple[str, str], account: Callable[..., None]
) -> None:
    """The stream's new table is followed: two segments, each of one codec, with all frames but those at the joint."""
    clips = [make_clip(tmp_path / f"{name}.ts", codec=CODECS[name], frames=50) for name in order]
    both = tmp_path / "both.ts"
    both.write_bytes(b"".join(clip.read_bytes() for clip in clips))
    recorded = record(job_for(tmp_path, f"file:{both}", segment_seconds=30.0), decode=False)
    assert tuple(segment.codec for segment in recorded.segments) == order
    reasons = [event.fields["reason"] for event in recorded.named("segment_closed")]
    assert reasons == ["format_changed", "source_ended"]
    before, after = recorded.segments
    pictures = [look(video).pictures for video in Spool(tmp_path / "spool").ready_videos()]
    assert after.frames == pictures[1] == 50  # from its first keyframe on
    # libav sticks the old codec's last pictures to the new one's first, or cuts them short: its parser looks ahead.
    assert 48 <= before.frames < 50
    assert before.frames - 1 <= pictures[0] <= before.frames
    lost = 100 - sum(recorded.frames)
    account(f"{' to '.join(order)} in MPEG-TS", f"{lost} frames at the joint", f"frames: {recorded.frames}")


@ORDERS
def test_codec_change_on_reconnect_of_an_rtsp_camera(
    tmp_path: Path, order: tuple[str, str], account: Callable[..., None]
) -> None:
    """A camera that comes back with another codec, as after somebody changed its settings, is recorded in it."""
    pipelines = {"h264": H264, "hevc": H265}
    with (
        rtsp_camera(pipelines[order[0]]) as camera,
        capturing(job_for(tmp_path, camera.url(), segment_seconds=30.0)) as capture,
    ):
        capture.wait_for_status(state="recording")
        camera.kill()
        capture.wait_for("segment_closed")
        camera.pipelines = (pipelines[order[1]],)
        camera.start()
        capture.wait_for("camera_connected", 2)
        capture.wait_for_status(format=f"{order[1]} 320x240")
        assert capture.stop() == 0
    recorded = recorded_in(Spool(tmp_path / "spool"))  # every picture decodes
    assert tuple(segment.codec for segment in recorded.segments) == order
    account(f"{' to '.join(order)} over RTSP", "nothing delivered", f"frames in each segment: {recorded.frames}")


# Writes the two files in turn, one each time it is started.
_ALTERNATING = """
import pathlib, shutil, sys
first, second, note = sys.argv[1:]
again = pathlib.Path(note).exists()
pathlib.Path(note).touch()
shutil.copyfileobj(open(second if again else first, "rb"), sys.stdout.buffer)
"""


@pytest.mark.parametrize("suffixes", [("h264", "hevc"), ("hevc", "ts")], ids="-to-".join)
def test_codec_change_of_a_command(tmp_path: Path, suffixes: tuple[str, str], account: Callable[..., None]) -> None:
    """A command that writes another codec, or container, when it is started again is recorded as what it writes."""
    codecs = ["libx265" if suffix == "hevc" else "libx264" for suffix in suffixes]
    first, second = (
        make_clip(tmp_path / f"clip.{suffix}", codec=codec, frames=40)
        for suffix, codec in zip(suffixes, codecs, strict=True)
    )
    command = shlex.join([sys.executable, "-c", _ALTERNATING, str(first), str(second), str(tmp_path / "note")])
    with capturing(job_for(tmp_path, f"exec:{command}", segment_seconds=30.0)) as capture:
        capture.wait_for("segment_closed", 2)
        assert capture.stop() == 0
        stems = [str(event.fields["stem"]) for event in capture.events("segment_closed")[:2]]
    by_stem = {segment.name.stem: segment for segment in recorded_in(Spool(tmp_path / "spool")).segments}
    found = [(by_stem[stem].codec, by_stem[stem].frames) for stem in stems]
    assert found == [("hevc" if codec == "libx265" else "h264", 40) for codec in codecs]
    account(f"{' to '.join(suffixes)} of a command", "nothing", f"frames in each segment: {found}")


@pytest.mark.parametrize("name", CODECS)
def test_the_codec_of_a_keyframe_is_told_from_its_parameter_sets(tmp_path: Path, name: str) -> None:
    """Whatever the stream was said to be; a picture without any is what it was said to be."""
    keyframe, *others = look(make_clip(tmp_path / f"clip.{name}", codec=CODECS[name])).packets
    for said in CODECS:
        assert codec_of(said, keyframe) == name
        assert codec_of(said, others[0]) == said
    assert codec_of("mjpeg", keyframe) == "mjpeg"
