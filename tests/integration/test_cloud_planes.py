"""Frames to JPEG without a picture in between: the same colours, whatever the video's matrix, range and depth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cloud.decode.convert import Converter
from cloud.decode.decoder import Decoder
from cloud.decode.encode import file_of
from cloud.decode.filters import Filters
from cloud.decode.jpeg import encode_jpeg
from cloud.decode.planes import Way, jfif_planes, way_to_jfif
from cloud.decode.sample import Sample
from cloud.settings import PictureSettings, Sampling

AS_IT_IS = PictureSettings()
UNSTATED, BT709, BT601, BT2020 = 2, 1, 6, 9
LIMITED, FULL = 1, 2
QUALITY = 95


def video(path: Path, kind: str, width: int, height: int, matrix: int, span: int) -> Path:
    """Three frames of coloured patches and a gradient, without loss, stamped with *matrix* and *span*."""
    odd = width % 2 or height % 2  # which libx264 refuses
    codec, options = ("ffv1", {}) if odd else ("libx264", {"qp": "0"})
    with av.open(path, "w", format="matroska") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, kind
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, span
        random = np.random.default_rng(7)
        for _ in range(3):
            patches = random.integers(0, 256, (5, 7, 3), np.uint8)
            picture = np.asarray(cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
            shown = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame = shown.reformat(format=kind, dst_colorspace=matrix, dst_color_range=span)
            frame.colorspace, frame.color_range = matrix, span
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def samples(path: Path, settings: PictureSettings = AS_IT_IS, rule: Sampling | None = None) -> list[Sample]:
    with Decoder(path, path.name) as decoder:
        return list(decoder.samples(rule or Sampling(every=1), settings))


def decoded(coded: bytes) -> NDArray[np.float64]:
    return np.asarray(cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR), np.float64)


def psnr(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, ((one.astype(np.float64) - other) ** 2).mean())))


@pytest.mark.parametrize("span", [LIMITED, FULL], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", [UNSTATED, BT709, BT601, BT2020], ids=["unstated", "709", "601", "2020"])
@pytest.mark.parametrize("kind", ["yuv420p", "yuv420p10le"])
def test_a_jpeg_of_planes_shows_what_one_of_the_picture_shows(
    tmp_path: Path, kind: str, matrix: int, span: int
) -> None:
    """As near to the picture as a JPEG of the picture itself, and no colour is off by more than libav rounds."""
    for sample in samples(video(tmp_path / "clip.mp4", kind, 162, 94, matrix, span)):
        assert sample.planes is not None
        picture = sample.picture
        direct, around = decoded(file_of(sample, AS_IT_IS, QUALITY)), decoded(encode_jpeg(picture, QUALITY))
        assert psnr(direct, picture) > psnr(around, picture) - 1
        assert psnr(direct, around) > 36
        assert np.abs((direct - picture).mean((0, 1))).max() < 1.6  # swscale cuts where JPEG rounds


def test_a_wrong_matrix_or_range_would_be_noticed(tmp_path: Path) -> None:
    """The measure of the test above tells a picture of the wrong matrix or range from a right one."""
    sample = samples(video(tmp_path / "clip.mp4", "yuv420p", 162, 94, BT709, LIMITED))[0]
    right = decoded(file_of(sample, AS_IT_IS, QUALITY))
    for matrix, span in ((BT601, LIMITED), (BT709, FULL)):
        wrong = samples(video(tmp_path / f"{matrix}-{span}.mp4", "yuv420p", 162, 94, BT709, LIMITED))[0]
        frame = wrong.make_planes.args[0]  # type: ignore[union-attr]
        frame.colorspace, frame.color_range = matrix, span
        assert psnr(decoded(file_of(wrong, AS_IT_IS, QUALITY)), right) < 34


@pytest.mark.parametrize(
    ("kind", "size", "matrix", "span"),
    [
        ("yuv420p", (161, 93), BT709, LIMITED),
        ("yuv420p10le", (161, 93), UNSTATED, FULL),
        ("yuv422p", (160, 96), UNSTATED, LIMITED),
        ("yuv444p", (161, 93), BT709, LIMITED),
    ],
    ids=str,
)
def test_what_has_no_short_way_goes_through_the_picture(
    tmp_path: Path, kind: str, size: tuple[int, int], matrix: int, span: int
) -> None:
    """Odd sizes whose range or matrix must change, and other colour grids, are stored as before."""
    for sample in samples(video(tmp_path / "clip.mp4", kind, *size, matrix, span)):
        assert sample.planes is None
        assert file_of(sample, AS_IT_IS, QUALITY) == encode_jpeg(sample.picture, QUALITY)


@pytest.mark.parametrize("span", [LIMITED, FULL], ids=["limited", "full"])
def test_odd_sizes_are_kept(tmp_path: Path, span: int) -> None:
    """An odd width and height are the file's, down to the last column and line."""
    sample = samples(video(tmp_path / "clip.mp4", "yuv420p", 161, 93, BT601, span))[0]
    assert sample.planes is not None
    stored = decoded(file_of(sample, AS_IT_IS, QUALITY))
    assert stored.shape == (93, 161, 3)
    assert psnr(stored[-3:], sample.picture[-3:]) > 30
    assert psnr(stored[:, -3:], sample.picture[:, -3:]) > 30


def test_levels_outside_the_limited_range_are_cut() -> None:
    """Each of the 256 levels of a plane becomes what the standard says; what is blacker than black is black."""
    level = np.arange(256, dtype=np.uint8)
    frame = av.VideoFrame(256, 2, "yuv420p")
    for plane in frame.planes:
        plane.update(np.resize(level, plane.buffer_size).tobytes())
    planes = jfif_planes(frame, Filters())
    assert planes is not None
    light, blue, red = planes
    exact = (level - 16.0) * 255 / 219
    assert np.array_equal(light[0], np.clip(np.rint(exact), 0, 255))
    colour = (np.arange(128) - 128.0) * 255 / 224 + 128
    for tint in (blue, red):
        assert np.abs(tint[0] - np.clip(colour, 0, 255)).max() <= 0.51


@pytest.mark.parametrize(
    "settings",
    [PictureSettings(crop=(0.25, 0.25, 0.5, 0.5)), PictureSettings(max_side=320), PictureSettings(format="png")],
    ids=["crop", "resize", "png"],
)
def test_a_changed_picture_is_what_is_stored(black_cup: Path, settings: PictureSettings) -> None:
    """Crop, size and format are those of the settings: planes of the whole frame never take their place."""
    sample = samples(black_cup, settings, Sampling(count=1))[0]
    stored = decoded(file_of(sample, settings, QUALITY))
    assert stored.shape == sample.picture.shape
    assert psnr(stored, sample.picture) > 32


def test_turned_frames_have_no_planes(black_cup: Path) -> None:
    """A frame that must be set upright is."""
    with av.open(black_cup) as container:
        frame = next(container.decode(video=0))
    for turns in (90, 180, 270):
        assert Converter.of(AS_IT_IS, turns).planes(frame) is None
    assert Converter.of(AS_IT_IS, 0).planes(frame) is not None
    assert Converter.of(PictureSettings(max_side=640), 0).planes(frame) is not None


def test_a_redrawn_sample_holds_nothing_of_what_was_drawn_before(black_cup: Path) -> None:
    """What is stored and shown of it is the new picture alone: faces that were blurred stay so."""
    sample = replace(samples(black_cup, AS_IT_IS, Sampling(count=1))[0], jpeg=b"the old one")
    black = np.zeros((480, 640, 3), np.uint8)
    redrawn = sample.redrawn(lambda: black)
    assert redrawn.planes is None
    assert decoded(file_of(redrawn, AS_IT_IS, QUALITY)).max() == 0
    assert redrawn.tile(200).shape == (150, 200, 3)
    assert redrawn.tile(200).max() == 0


@pytest.mark.parametrize("settings", [AS_IT_IS, PictureSettings(crop=(0.1, 0.3, 0.71, 0.37), max_side=400)], ids=str)
def test_a_tile_is_the_picture_made_small(black_cup: Path, settings: PictureSettings) -> None:
    """Its width is what was asked for, larger or smaller, and it shows what the picture shows."""
    sample = samples(black_cup, settings, Sampling(count=2))[1]
    picture = sample.picture
    for width in (64, 256, 1000):
        expected = sample.redrawn(lambda: picture).tile(width)
        tile = sample.tile(width)
        assert tile.shape == expected.shape
        assert psnr(tile, expected) > 25
        assert np.abs(tile.mean((0, 1)) - expected.mean((0, 1))).max() < 2


@pytest.mark.parametrize("width", [64, 200, 641])
def test_a_tile_of_a_copied_packet_is_the_picture_made_small(black_cup: Path, tmp_path: Path, width: int) -> None:
    """Decoded at a fraction of its size where that will do."""
    path = tmp_path / "clip.avi"
    with av.open(black_cup) as given, av.open(path, "w") as made:
        stream: Any = made.add_stream("mjpeg", rate=25, options={"huffman": "default", "qmin": "2", "qmax": "3"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuvj420p"
        made.mux(stream.encode(next(given.decode(video=0)).reformat(format="yuvj420p")))
        made.mux(stream.encode(None))
    sample = samples(path)[0]
    assert sample.jpeg is not None
    picture = sample.picture
    expected = sample.redrawn(lambda: picture).tile(width)
    assert sample.tile(width).shape == expected.shape
    assert psnr(sample.tile(width), expected) > 27


def test_the_bytes_are_the_same_on_every_run(black_cup: Path) -> None:
    """Twice the same video, twice the same files."""
    rule = Sampling(every=20)
    first, second = ([file_of(s, AS_IT_IS, QUALITY) for s in samples(black_cup, AS_IT_IS, rule)] for _ in range(2))
    assert first == second


@given(
    st.sampled_from(["yuv420p", "yuvj420p", "yuv420p10le", "yuv422p", "nv12", "gray", "rgb24"]),
    st.integers(1, 4096),
    st.integers(1, 4096),
    st.integers(0, 15),
    st.integers(0, 2),
)
def test_planes_are_taken_as_they_are_only_where_they_are_jfif(
    kind: str, width: int, height: int, matrix: int, span: int
) -> None:
    """Eight bits, full range and BT.601; odd sizes, unknown matrices and other grids have no filter."""
    way = way_to_jfif(kind, width, height, matrix, span)
    if way is None:
        return
    assert kind in ("yuv420p", "yuvj420p", "yuv420p10le")
    full = kind == "yuvj420p" or span == FULL
    if way == Way():
        assert full
    if not way.chain:
        assert kind != "yuv420p10le"
        assert matrix in (2, 5, 6)
        assert way.widened != full
    else:
        assert width % 2 == height % 2 == 0
        assert not way.widened
