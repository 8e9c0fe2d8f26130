"""What a picture of 64x36 shows, and whether footage lands."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.health import (
    HEIGHT,
    WIDTH,
    Judge,
    Picture,
    brightness_is_black,
    is_covered,
    is_other_size,
    is_same,
)
from edge_agent.capture.vitals import is_healthy

CELLS = WIDTH * HEIGHT


def scene(noise: float = 0.0, seed: int = 1) -> bytes:
    """Boxes on a floor, with what is left of a sensor's noise after shrinking."""
    chance = random.Random(seed)
    cells = [60 + 120 * ((x // 9 + y // 7) % 2) + y for y in range(HEIGHT) for x in range(WIDTH)]
    return bytes(max(0, min(255, round(cell + chance.gauss(0, noise)))) for cell in cells)


def even(value: int, noise: float = 0.0, seed: int = 1) -> bytes:
    chance = random.Random(seed)
    return bytes(max(0, min(255, round(value + chance.gauss(0, noise)))) for _ in range(CELLS))


def test_a_dark_picture_is_black_and_a_lamp_in_the_dark_is_not() -> None:
    """Noise in the dark is black; one lit corner is something to see."""
    assert brightness_is_black(even(4, noise=2))
    lit = bytearray(even(4))
    lit[:200] = bytes([180]) * 200
    assert not brightness_is_black(bytes(lit))


@given(st.integers(30, 250))
def test_a_nearly_uniform_picture_is_covered(value: int) -> None:
    """A hand on the lens is even, whatever its brightness."""
    assert is_covered(even(value, noise=0.3))
    assert is_covered(bytes(min(255, value + x // 16) for _ in range(HEIGHT) for x in range(WIDTH)))


def test_a_scene_is_neither_black_nor_covered() -> None:
    """Boxes on a floor are something to see."""
    assert not is_covered(scene())
    assert not brightness_is_black(scene())


@given(st.integers(0, 2**32))
def test_a_quiet_scene_is_not_frozen(seed: int) -> None:
    """Two pictures of an unmoving scene differ by the sensor's noise; two encodings of one picture hardly do."""
    assert not is_same(scene(0.4, seed), scene(0.4, seed + 1))
    again = bytearray(scene(0.4, seed))
    again[7] = min(255, again[7] + 1)
    assert is_same(scene(0.4, seed), bytes(again))


def test_a_keyframe_of_another_kind_of_picture_has_another_size() -> None:
    """What moves in a scene changes its keyframes' sizes by tens of percent; a light that goes out by far more."""
    assert not is_other_size(100_000, 80_000)
    assert not is_other_size(100_000, 140_000)
    assert is_other_size(100_000, 12_000)
    assert is_other_size(12_000, 100_000)
    assert is_other_size(0, 1)


def test_a_picture_is_suspicious_until_it_is_known_to_be_well() -> None:
    """While anything but a good picture was seen last, every due keyframe is looked at."""
    judge, seen = Judge(60.0), [Judge(60.0).is_suspicious]
    for at, grey in ((0.0, scene()), (5.0, even(4)), (10.0, scene())):
        judge.look(grey, at)
        seen.append(judge.is_suspicious)
    assert seen == [True, False, True, False]


def test_a_picture_is_frozen_after_its_time_and_well_at_its_first_change() -> None:
    """The verdict comes when the picture has stood for frozen_seconds, and goes with the next that differs."""
    judge = Judge(frozen_seconds=60)
    verdicts = [judge.look(scene(), now) for now in range(0, 66, 5)]
    assert verdicts == [Picture.OK] * 12 + [Picture.FROZEN] * 2
    assert judge.look(scene(0.4, 9), 70) is Picture.OK


@pytest.mark.parametrize(("grey", "verdict"), [(even(3), Picture.BLACK), (even(90), Picture.COVERED)])
def test_one_bad_picture_is_not_believed(grey: bytes, verdict: Picture) -> None:
    """A torn keyframe does not raise the alarm; the second bad one in a row does."""
    judge = Judge(frozen_seconds=60)
    assert [judge.look(picture, 0) for picture in (scene(), grey, scene(), grey, grey)] == [
        *[Picture.OK] * 4,
        verdict,
    ]


@pytest.mark.parametrize(
    ("age", "silence", "interval", "healthy"),
    [
        (0.0, 0.0, 0.04, True),
        (1.9, 0.0, 0.04, True),
        (2.5, 0.0, 0.04, False),  # packets come, nothing lands
        (11.0, 0.0, 5.0, True),  # one picture in five seconds
        (13.0, 0.0, 5.0, False),
        (None, 0.1, 0.04, True),  # nothing is to be recorded, and the camera is there
        (None, 5.0, 0.04, False),
        (None, float("inf"), 0.0, False),
    ],
)
def test_healthy_is_what_lands(age: float | None, silence: float, interval: float, healthy: bool) -> None:
    """Only durable footage within twice its bound counts; where none is wanted, packets do."""
    assert is_healthy(age, silence, interval) is healthy
