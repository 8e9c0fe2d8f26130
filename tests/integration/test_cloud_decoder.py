"""The decoder on real footage, whole and damaged."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest

from cloud.decode.decoder import Decoder, Report
from cloud.decode.encode import encode, file_of
from cloud.decode.plan import Mode
from cloud.decode.sample import Sample
from cloud.pipelining import pipelined
from cloud.settings import PictureSettings, Sampling
from edge_agent.errors import VideoUnreadable

EVERY = Sampling(every=1)
AS_IT_IS = PictureSettings()


def remux(source: Path, target: Path, packets: int, kind: str, **options: str) -> Path:
    """The first *packets* of *source* in a container of another *kind*."""
    with av.open(source) as given, av.open(target, "w", format=kind, options=options) as made:
        stream = given.streams.video[0]
        copy = made.add_stream_from_template(stream)
        for packet in itertools.islice((p for p in given.demux(stream) if p.size), packets):
            packet.stream = copy
            made.mux(packet)
    return target


def run(path: Path, rule: Sampling = EVERY, picture: PictureSettings = AS_IT_IS) -> tuple[list[Sample], Report]:
    with Decoder(path, str(path)) as decoder:
        samples = list(decoder.samples(rule, picture))
        return samples, decoder.report()


def test_a_real_clip_gives_its_frames_and_facts(black_cup: Path) -> None:
    """All 217 frames, in order, with the container's facts; only sampled ones become pictures."""
    with Decoder(black_cup, "cup") as decoder:
        samples = list(decoder.samples(Sampling(every=50), AS_IT_IS))
        assert [sample.index for sample in samples] == [0, 50, 100, 150, 200]
        assert samples[1].time == pytest.approx(50 / 26.777, abs=1e-5)
        assert samples[0].picture.shape == (480, 640, 3)
        assert decoder.report() == Report(
            Mode.REFERENCES, frames=217, decoded=55, packets=217, packet_errors=0, truncated=False, lost=0, mended=0
        )
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
    assert report.truncated
    if kind != "mpegts":  # a transport stream does not say how long it is
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


@pytest.mark.parametrize("kind", ["bt709", "bt601-full", "ten-bit", "odd", "stated-nothing"])
def test_colours_are_those_of_ffmpeg(kind: str, tmp_path: Path) -> None:
    """Matrix, range and depth are converted as the ffmpeg command converts them, to the last bit."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("needs ffmpeg")
    matrix, span, pixels = {
        "bt709": (1, 1, "yuv420p"),
        "bt601-full": (6, 2, "yuv420p"),
        "ten-bit": (1, 1, "yuv420p10le"),
        "odd": (2, 0, "yuv444p"),
        "stated-nothing": (2, 0, "yuv420p"),
    }[kind]
    path = tmp_path / "clip.mp4"
    with av.open(path, "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 101 if kind == "odd" else 128, 64, pixels
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, span
        shade = np.random.default_rng(7).integers(0, 256, (8, stream.width // 8 + 1, 3), np.uint8)
        picture = shade.repeat(8, 0).repeat(8, 1)[:, : stream.width]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(format=pixels)
        frame.colorspace, frame.color_range = matrix, span
        container.mux([*stream.encode(frame), *stream.encode(None)])
    command = [ffmpeg, "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "bgr24", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    sample = run(path)[0][0]
    assert np.array_equal(sample.picture.reshape(-1), np.frombuffer(raw, np.uint8))


def test_black_and_white_fill_the_range(tmp_path: Path) -> None:
    """Limited range is widened in the picture and in the small grey copy: judges of exposure see 0 and 255."""
    path = tmp_path / "clip.mp4"
    with av.open(path, "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for level in (0, 255):
            picture = np.full((64, 64, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture).reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    dark, light = run(path)[0]
    assert (dark.picture.max(), dark.grey.max()) == (0, 0)
    assert (light.picture.min(), light.grey.min()) == (255, 255)


def test_crop_and_size_are_applied_in_this_order(black_cup: Path) -> None:
    """Left, top, width, height of the frame, then the longer side; the grey copy shows the same."""
    whole = run(black_cup, Sampling(every=100))[0][1].picture
    cropped = run(black_cup, Sampling(every=100), PictureSettings(crop=(0.25, 0.5, 0.5, 0.5)))[0][1]
    assert np.array_equal(cropped.picture, whole[240:, 160:480])
    assert cropped.grey.shape == (180, 240)
    small = run(black_cup, Sampling(every=100), PictureSettings(crop=(0.25, 0.5, 0.5, 0.5), max_side=160))[0][1]
    assert small.picture.shape == (120, 160, 3)
    assert run(black_cup, Sampling(every=100), PictureSettings(max_side=4000))[0][1].picture.shape == whole.shape


def test_png_keeps_every_value(black_cup: Path) -> None:
    """A PNG file decodes to the very picture; a JPEG of quality 95 comes near."""
    sample = run(black_cup, Sampling(count=1))[0][0]
    png = file_of(sample, PictureSettings(format="png"), 95)
    assert png.startswith(b"\x89PNG")
    decoded: Any = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decoded, sample.picture)
    jpeg = cv2.imdecode(np.frombuffer(file_of(sample, AS_IT_IS, 95), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(np.asarray(jpeg, np.int32) - sample.picture).mean() < 2


def test_encoding_beside_decoding_changes_neither_order_nor_bytes(black_cup: Path) -> None:
    """Two threads that encode while a third decodes give what one after the other gives."""
    rule = Sampling(every=3)
    alone = [(sample.index, file_of(sample, AS_IT_IS, 90)) for sample in run(black_cup, rule)[0]]
    with Decoder(black_cup, "cup") as decoder:
        beside = pipelined(decoder.samples(rule, AS_IT_IS), lambda sample: file_of(sample, AS_IT_IS, 90))
        assert [(sample.index, coded) for sample, coded in beside] == alone


def test_an_error_beside_decoding_comes_at_its_turn() -> None:
    """Items before the one that fails are given, later ones are not, and no thread stays behind."""
    seen: list[int] = []

    def work(item: int) -> int:
        if item == 5:
            raise VideoUnreadable("five")
        return item

    done = pipelined(range(100), work, workers=2, ahead=3)
    with pytest.raises(VideoUnreadable, match="five"):
        seen.extend(item for item, _ in done)
    assert seen == [0, 1, 2, 3, 4]


def test_a_picture_no_file_can_hold_is_an_error(black_cup: Path) -> None:
    """An empty picture is refused in each format."""
    empty = np.zeros((0, 0, 3), np.uint8)
    for settings in (AS_IT_IS, PictureSettings(format="png")):
        with pytest.raises(VideoUnreadable, match="cannot be a"):
            encode(empty, settings, 95)


def test_a_closed_decoder_holds_no_file(black_cup: Path) -> None:
    """Whoever stops in the middle leaves no file open."""
    with Decoder(black_cup, "cup") as decoder:
        samples = decoder.samples(EVERY, AS_IT_IS)
        next(samples)
        assert str(black_cup) in {file.path for file in psutil.Process().open_files()}
    assert str(black_cup) not in {file.path for file in psutil.Process().open_files()}


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
