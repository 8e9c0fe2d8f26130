"""Contact sheets and JPEG."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from cloud.decode.jpeg import encode_jpeg
from cloud.decode.sample import Sample
from cloud.review.sheet import ContactSheet, clock_face
from cloud.settings import Sheet

if TYPE_CHECKING:
    from cloud.decode.sample import Picture


def picture(width: int = 640, height: int = 480, shade: int = 90) -> Picture:
    return np.full((height, width, 3), shade, np.uint8)


def frame(index: int, time: float = 0.0, width: int = 640, height: int = 480, shade: int = 90) -> Sample:
    image = picture(width, height, shade)
    return Sample(index, time, None, lambda: image, lambda: image[:, :, 0])


def decoded(jpeg: bytes) -> Picture:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image, np.uint8)


def test_a_sheet_has_a_row_for_every_column_full() -> None:
    """Seven tiles in three columns make three rows."""
    sheet = ContactSheet(Sheet(tile_width=100, columns=3))
    for index in range(7):
        sheet.add(frame(index, index / 30))
    height, width, _ = decoded(sheet.render("yellow_box_1", "7 frames", {})).shape
    assert width == 3 * 100 + 2 * 12 + 2 * 20
    assert height == 76 + 3 * (75 + 26 + 12) - 12 + 2 * 20


def test_memory_is_bounded_and_tiles_spread_evenly() -> None:
    """However long the video, no more than max_tiles shrunk tiles are held, evenly spaced from the first."""
    sheet = ContactSheet(Sheet(tile_width=64, max_tiles=10))
    for index in range(1000):
        sheet.add(frame(index, float(index), 64, 48))
        assert len(sheet._spread.kept) <= 10
    kept = [index for index, _, _ in sheet._spread.kept]
    assert kept[0] == 0
    assert len({after - before for before, after in itertools.pairwise(kept)}) == 1
    assert len(kept) > 5


def test_a_capped_sheet_says_so() -> None:
    """The title differs when not all frames are drawn."""
    whole, capped = ContactSheet(Sheet(max_tiles=4)), ContactSheet(Sheet(max_tiles=4))
    for index in range(4):
        whole.add(frame(index))
    for index in range(8):
        capped.add(frame(index))
    assert decoded(whole.render("a", "x", {})).shape != decoded(capped.render("a", "x", {})).shape or (
        whole.render("a", "x", {}) != capped.render("a", "x", {})
    )


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 5000), (5000, 3), (641, 359), (480, 640)])
def test_odd_pictures_fit(width: int, height: int) -> None:
    """Any shape of picture gets a tile, next to tiles of other shapes."""
    sheet = ContactSheet(Sheet(tile_width=64))
    sheet.add(frame(0))
    sheet.add(frame(1, 0.1, width, height))
    assert decoded(sheet.render("yellow_box_1", "", {})).size


def test_a_long_name_and_one_tile_still_show_the_title() -> None:
    """The sheet is as wide as its title needs, and characters the font lacks do no harm."""
    sheet = ContactSheet(Sheet(tile_width=64))
    sheet.add(frame(0))
    assert decoded(sheet.render("x" * 200, "gr\u00fcn", {})).shape[1] > 1000


def test_only_frames_that_are_drawn_are_converted() -> None:
    """However long the video, few pictures are made for its sheet: what is not drawn costs nothing."""
    made: list[int] = []

    def drawn(index: int) -> Picture:
        made.append(index)
        return picture(64, 48)

    sheet = ContactSheet(Sheet(tile_width=64, max_tiles=8))
    for index in range(4096):
        sheet.add(Sample(index, 0.0, None, partial(drawn, index), partial(drawn, index)))
    assert len(made) <= 8 + 4 * 10


def test_a_rejected_frame_is_dimmed_and_framed_and_says_why() -> None:
    """Its tile is darker than the others, red at the rim, and differs with the reason; the others are untouched."""
    sheet = ContactSheet(Sheet(tile_width=128, columns=2))
    sheet.add(frame(0, shade=200))
    sheet.add(frame(1, shade=200))
    plain, marked = (decoded(sheet.render("a", "b", {1: why} if why else {})) for why in ((), ("blur",)))
    top, left, right = 20 + 76, 20, 20 + 128 + 12
    assert np.array_equal(plain[:, : right - 12], marked[:, : right - 12])
    assert marked[top + 40, right + 64].max() < 0.5 * plain[top + 40, left + 64].min()
    blue, _, red = (int(channel) for channel in marked[top + 40, right])
    assert red > blue + 100
    other = decoded(sheet.render("a", "b", {1: ("under_exposed", "duplicate")}))
    assert not np.array_equal(marked, other)


def test_a_video_without_a_sampled_frame_has_a_sheet_too() -> None:
    """The title and the facts stand alone."""
    assert decoded(ContactSheet(Sheet()).render("a", "0 sampled", {})).size


def test_equal_frames_give_equal_sheets() -> None:
    """A sheet is deterministic to the byte."""
    sheets = [ContactSheet(Sheet()) for _ in range(2)]
    for sheet in sheets:
        sheet.add(frame(0))
    assert sheets[0].render("a", "b", {}) == sheets[1].render("a", "b", {})


@pytest.mark.parametrize(
    ("seconds", "face"), [(0, "0:00.000"), (62.5, "1:02.500"), (3600.0004, "1:00:00.000"), (59.9996, "1:00.000")]
)
def test_times_read_like_a_clock(seconds: float, face: str) -> None:
    """Minutes, seconds and milliseconds; hours when there are any."""
    assert clock_face(seconds) == face


def test_quality_is_the_encoders() -> None:
    """A higher quality makes a larger file of the same size in pixels."""
    noise = np.random.default_rng(1).integers(0, 255, (120, 160, 3), np.uint8)
    assert len(encode_jpeg(noise, 95)) > len(encode_jpeg(noise, 50))
    assert decoded(encode_jpeg(noise, 95)).shape == noise.shape
