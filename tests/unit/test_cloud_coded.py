"""Packets that are JPEG files: what they state, and pictures of them at a fraction of their size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.decode.coded import small_grey_of_jpeg, tile_of_jpeg
from cloud.decode.jpeg import coded_size, encode_jpeg, is_storable
from cloud.decode.sample import GREY_HEIGHT, GREY_WIDTH


def jpeg_of(width: int, height: int) -> bytes:
    """A file whose left half is dark and whose right half is bright."""
    picture = np.full((height, width, 3), 40, np.uint8)
    picture[:, width // 2 :] = 200
    return encode_jpeg(picture, 90)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (17, 9), (640, 480), (1920, 1080), (90, 2000)])
def test_a_file_states_its_size(width: int, height: int) -> None:
    """The size is read without decoding, and decides whether a packet can be stored as it is."""
    coded = jpeg_of(width, height)
    assert coded_size(coded) == (width, height)
    assert is_storable(coded, width, height)
    assert not is_storable(coded, width + 1, height)


@given(st.binary(max_size=64))
def test_bytes_that_are_no_file_state_no_size_and_show_black(tail: bytes) -> None:
    """Whatever follows the start of a file, nothing is raised, and the judges see something to reject."""
    coded = b"\xff\xd8" + tail
    coded_size(coded)
    assert small_grey_of_jpeg(coded).max() == 0


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (640, 480), (100, 60), (90, 2000)])
def test_small_copies_look_like_the_picture(width: int, height: int) -> None:
    """A tile and a grey copy have their promised sizes and show what the whole picture shows, shrunk."""
    coded = jpeg_of(width, height)
    whole = cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR)
    assert whole is not None
    tile, grey = tile_of_jpeg(coded, 256), small_grey_of_jpeg(coded)
    assert tile.shape[1] == 256
    assert grey.shape[1] <= GREY_WIDTH
    assert grey.shape[0] <= GREY_HEIGHT
    shrunk = cv2.resize(whole, tile.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - tile).mean() < 4
