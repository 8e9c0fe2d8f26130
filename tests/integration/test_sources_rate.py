"""Fewer frames, and keyframes where the cloud samples: without decoding, or while encoding."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from av.codec.context import Flags

from edge_agent.camera import Encoding
from edge_agent.capture.sources import encoded
from edge_agent.capture.sources.pictures import synthetic
from edge_agent.capture.writer import SegmentWriter
from edge_agent.errors import SourceUnsupported
from edge_agent.spool import Spool
from tests.support.capture import capturing, job_for, record, recorded_in
from tests.support.clips import look, make_clip


@pytest.mark.parametrize("keep_every", [2, 5, 7])
def test_one_in_n_pictures_of_a_jpeg_camera_is_kept_bit_exact(tmp_path: Path, keep_every: int) -> None:
    """Every N-th packet of the source, at its own time; the segments last as long as the camera sent."""
    clip = make_clip(tmp_path / "clip.avi", codec="mjpeg", pixels="yuvj420p", frames=70)
    recorded = record(job_for(tmp_path, f"file:{clip}", keep_every=keep_every, segment_seconds=1.4))
    assert recorded.packets == look(clip).packets[::keep_every]
    assert sum(segment.duration for segment in recorded.segments) == pytest.approx(70 / 25, abs=0.01)
    assert recorded.seen[0].pts[1] == pytest.approx(keep_every / 25, abs=1e-3)
    starts = [(segment.start - recorded.segments[0].start).total_seconds() for segment in recorded.segments]
    assert len(starts) >= 2
    assert starts[1] == pytest.approx(recorded.segments[0].duration, abs=2e-3)


def test_a_stream_of_keyframes_only_is_thinned_whatever_its_codec(tmp_path: Path) -> None:
    """H.264 may be all-intra as well."""
    clip = make_clip(tmp_path / "clip.mp4", gop=1)
    recorded = record(job_for(tmp_path, f"file:{clip}", keep_every=5))
    assert recorded.packets == look(clip).packets[::5]


def test_a_stream_whose_frames_build_on_each_other_is_not_thinned(tmp_path: Path) -> None:
    """One line says why, and no stump of a segment is left."""
    clip = make_clip(tmp_path / "clip.mp4")
    with capturing(job_for(tmp_path, f"file:{clip}", keep_every=5)) as capture:
        lost = capture.wait_for("camera_lost", 2)
        assert lost.fields["code"] == "SourceUnsupported"
        assert "keep_every: 5 needs a stream of keyframes only, and this h264 160x120 is none" in str(
            lost.fields["error"]
        )
        assert capture.stop() == 0
    assert recorded_in(Spool(tmp_path / "spool")).segments == []


@pytest.mark.parametrize(
    ("encode", "frames", "gop"),
    [
        (Encoding(), 100, 25),
        (Encoding(gop=7), 100, 7),
        (Encoding(fps=10, gop=4), 40, 4),
        (Encoding(fps=12.5, gop=30), 50, 30),
        (Encoding(fps=100), 100, 25),  # more than the camera has is not made up
    ],
)
def test_encoded_pictures_have_the_rate_and_the_keyframes_asked_for(
    tmp_path: Path, encode: Encoding, frames: int, gop: int
) -> None:
    """Keyframes stand at 0, gop, 2 gop … of every segment and nowhere else, in closed GOPs without B-frames."""
    recorded = record(job_for(tmp_path, "synthetic:?size=160x120&fps=25&seconds=4", encode=encode, segment_seconds=1))
    assert sum(recorded.frames) == frames
    assert sum(segment.duration for segment in recorded.segments) == pytest.approx(4, abs=0.1)
    for seen in recorded.seen:
        assert seen.keyframes == list(range(0, len(seen.packets), gop))
        assert seen.pts == pytest.approx(seen.dts, abs=1e-6)


def test_sampling_every_gop_frames_needs_keyframes_only(tmp_path: Path) -> None:
    """With encode.gop equal to the cloud's sampling.every, decoding the keyframes alone gives every sampled frame."""
    clip = make_clip(tmp_path / "raw.avi", codec="rawvideo", frames=60)  # as a webcam that does not compress
    job = job_for(tmp_path, f"file:{clip}", encode=Encoding(gop=10), segment_seconds=2)
    for stem in [segment.name.stem for segment in record(job).segments]:
        pictures = {}
        for only_keyframes in (False, True):
            with av.open(str(tmp_path / "spool" / "ready" / f"{stem}.mp4")) as container:
                stream = container.streams.video[0]
                stream.codec_context.skip_frame = "NONKEY" if only_keyframes else "DEFAULT"
                found = [frame.to_ndarray().tobytes() for frame in container.decode(stream)]
                pictures[only_keyframes] = found if only_keyframes else found[::10]
        assert pictures[True] == pictures[False]


def test_quality_is_paid_for_in_bytes(tmp_path: Path) -> None:
    """A better quality is a larger file."""
    sizes = []
    for quality in (18, 28, 38):
        job = job_for(tmp_path / str(quality), "synthetic:?size=160x120&seconds=1", encode=Encoding(quality=quality))
        sizes.append(record(job).segments[0].size)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 1.5 * sizes[2]


def test_an_encoder_this_box_does_not_have_is_one_line(tmp_path: Path) -> None:
    """Hardware encoding is asked for by name, and refused by name."""
    if list(Path("/dev").glob("video1[0-9]")):
        pytest.skip("this box may have one")
    job = job_for(tmp_path, "synthetic:?size=160x120", encode=Encoding(codec="v4l2m2m"))
    with capturing(job) as capture:
        lost = capture.wait_for("camera_lost")
        assert lost.fields["error"] == (
            "encode.codec: this box has no v4l2m2m encoder that takes 160x120; set codec: x264"
        )
        assert capture.stop() == 0


def test_hardware_that_tells_its_parameters_in_its_first_keyframe_only_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As v4l2m2m encoders do: the file's header is made from the first packet. Played here by x264 without a header."""

    def without_header(*arguments: object) -> object:
        stream = real(*arguments)  # type: ignore[arg-type]
        stream.codec_context.flags &= ~Flags.global_header
        return stream

    real = encoded._encoder
    monkeypatch.setattr(encoded, "_encoder", without_header)
    path = tmp_path / "segment.mp4"
    path.touch()
    source = synthetic((160, 120), 25, 2, Encoding())
    writer = None
    for packet in source.packets():
        writer = writer or SegmentWriter(path, source.template)
        writer.write(packet)
    assert writer is not None
    assert writer.close().frames == 50
    source.close()
    assert look(path).pictures == 50
    assert source.format.extradata.startswith(b"\0\0\0\1")


def test_a_picture_too_small_to_encode_is_one_line() -> None:
    """What the encoder refuses is told with its size."""
    with pytest.raises(SourceUnsupported, match="pictures of 0x0 cannot be encoded"):
        encoded.EncodedSource(iter(()), size=(1, 1), fps=25, encode=Encoding())
