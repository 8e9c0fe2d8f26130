"""The decoder on real footage, whole and damaged."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import numpy as np
import pytest

from cloud.decode.decoder import Decoder, Report, Sample
from cloud.settings import Sampling
from edge_agent.errors import VideoUnreadable

EVERY = Sampling(every=1)


def remux(source: Path, target: Path, packets: int, kind: str, **options: str) -> Path:
    """The first *packets* of *source* in a container of another *kind*."""
    with av.open(source) as given, av.open(target, "w", format=kind, options=options) as made:
        stream = given.streams.video[0]
        copy = made.add_stream_from_template(stream)
        for packet in itertools.islice((p for p in given.demux(stream) if p.size), packets):
            packet.stream = copy
            made.mux(packet)
    return target


def run(path: Path, rule: Sampling = EVERY) -> tuple[list[Sample], Report]:
    with Decoder(path, str(path)) as decoder:
        samples = list(decoder.samples(rule))
        return samples, decoder.report()


def test_a_real_clip_gives_its_frames_and_facts(black_cup: Path) -> None:
    """All 217 frames, in order, with the container's facts; only sampled ones become pictures."""
    with Decoder(black_cup, "cup") as decoder:
        samples = list(decoder.samples(Sampling(every=50)))
        assert [sample.index for sample in samples] == [0, 50, 100, 150, 200]
        assert samples[1].time == pytest.approx(50 / 26.777, abs=1e-5)
        assert samples[0].picture.shape == (480, 640, 3)
        assert decoder.report() == Report(decoded=217, packets=217, packet_errors=0, truncated=False, lost=0)
        probe = decoder.probe
    assert (probe.codec, probe.width, probe.height, probe.fps) == ("h264", 640, 480, 26.777)
    assert probe.duration == pytest.approx(217 / 26.777, abs=1e-3)


def test_pictures_are_what_a_plain_decode_gives(black_cup: Path) -> None:
    """Channel order and colours are OpenCV's: the same as libav's own conversion to BGR."""
    samples, _ = run(black_cup, Sampling(every=100))
    with av.open(black_cup) as plain:
        frames = {i: f.to_ndarray(format="bgr24") for i, f in enumerate(plain.decode(video=0)) if i % 100 == 0}
    for sample in samples:
        assert np.array_equal(sample.picture, frames[sample.index])


def test_times_never_go_back_on_footage_with_wrong_stamps(yellow_box: Path) -> None:
    """The yellow box's muxer stamped B-frames in coding order; its frames are about 33 ms apart all the same."""
    samples, report = run(yellow_box)
    times = [sample.time for sample in samples]
    steps = [after - before for before, after in itertools.pairwise(times)][4:]
    assert [sample.index for sample in samples] == list(range(report.decoded))
    assert report.lost == 0
    assert min(steps) > 0.03
    assert max(steps) < 0.036


@pytest.mark.parametrize(
    ("kind", "options"), [("mp4", {"movflags": "+faststart"}), ("matroska", {}), ("mpegts", {})], ids=str
)
def test_a_truncated_video_yields_what_can_be_had(
    black_cup: Path, tmp_path: Path, kind: str, options: dict[str, str]
) -> None:
    """Half a file gives the frames before the cut with their true ordinals and pictures, and no error."""
    whole = remux(black_cup, tmp_path / "whole", 60, kind, **options)
    half = tmp_path / "half"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    everything, _ = run(whole)
    samples, report = run(half)
    assert 15 < len(samples) < 45
    for sample, original in zip(samples[:-1], everything, strict=False):
        assert sample.index == original.index
        assert np.array_equal(sample.picture, original.picture)
    if kind != "mpegts":  # a transport stream does not say how long it is
        assert report.truncated
        assert report.lost >= 60 - len(samples) - 10
    if kind == "mp4":
        assert report.lost == 60 - len(samples)


def test_damage_in_the_middle_is_stepped_over(black_cup: Path, tmp_path: Path) -> None:
    """Six kilobytes of rubbish in the middle cost some frames, not the rest of the video."""
    damaged = tmp_path / "damaged.mp4"
    content = bytearray(black_cup.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 6000] = b"\xa5" * 6000
    damaged.write_bytes(content)
    first, report = run(damaged)
    second, _ = run(damaged)
    assert report.decoded > 200
    assert all(np.array_equal(a.picture, b.picture) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a video at all\n" * 100,
        b"\x00" * 4096,
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile /etc/hostname\n",
    ],
    ids=["empty", "text", "zeros", "playlist", "concat"],
)
def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    """Rubbish, and lists of other files under a video's name, are unreadable and never followed."""
    path = tmp_path / "yellow_box_1.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoUnreadable) as caught:
        run(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_a_video_without_a_frame_is_refused(black_cup: Path, tmp_path: Path) -> None:
    """A file whose index survived and whose frames did not gives an error, not an empty result."""
    whole = remux(black_cup, tmp_path / "whole.mp4", 10, "mp4", movflags="+faststart")
    content = whole.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: content.index(b"mdat") + 8])
    with pytest.raises(VideoUnreadable, match="gives no frame"):
        run(cut)


def test_a_file_without_pictures_is_refused(tmp_path: Path) -> None:
    """Sound alone is no video."""
    path = tmp_path / "sound.mp4"
    with av.open(path, "w", format="mp4") as made:
        stream = made.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        frame.pts = 0
        made.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(VideoUnreadable, match="holds no video stream"):
        run(path)
