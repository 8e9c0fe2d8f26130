"""Near-duplicates across videos."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.dataset.twins import repeats
from cloud.judge.judges import Judges
from cloud.judge.looks import LOOK_ACROSS, LOOK_DOWN, LOOK_TILES, unpacked
from cloud.judge.measure import measure
from cloud.judge.policy import likeness, rounded
from cloud.judge.repeats import Originals
from tests.support.judging import Picture, footage_pictures, grey_of, noisy, rules, sample

FOOTAGE = Path(__file__).parents[1] / "footage/yellow_box_1.mp4"
THRESHOLD = 0.93


@pytest.fixture(scope="module")
def clip() -> list[Picture]:
    return footage_pictures(FOOTAGE, 60)


def looks_of(pictures: list[Picture]) -> list[bytes]:
    judges = Judges(rules())
    for index, picture in enumerate(pictures):
        judges.look(sample(picture, index))
    found = [unpacked(look) for look in judges.looks() if look is not None]
    return [one for one in found if one is not None]


def test_a_look_is_the_hash_and_the_mean_of_tiles() -> None:
    """The index keeps of a picture what it says: its own hash, and the brightness of 9 x 16 tiles."""
    picture = cv2.resize(np.arange(144, dtype=np.uint8).reshape(9, 16), (320, 180), interpolation=cv2.INTER_NEAREST)
    colour = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    (look,) = looks_of([np.asarray(colour, np.uint8)])
    assert look[:8] == measure(grey_of(np.asarray(colour, np.uint8))).hash.to_bytes(8, "big")
    assert list(look[8:]) == list(range(LOOK_ACROSS * LOOK_DOWN))


@pytest.mark.parametrize("text", ["", "xyz", "0" * 16, "0" * 16 + "!!!!", "0" * 16 + base64.b64encode(b"1").decode()])
def test_what_is_no_look_is_none(text: str) -> None:
    """A damaged record is no error: the frame has no look."""
    assert unpacked(text) is None


def naive(looks: list[bytes], videos: list[str], pinned: list[bool]) -> list[int]:
    """All with all, as the judge compares."""
    found: list[int] = []
    tiles = np.array([list(look[8:]) for look in looks], np.int16)
    for at, look in enumerate(looks):
        original = at
        for other in (number for number in range(at) if found[number] == number and not pinned[at]):
            levels = int(np.abs(tiles[at] - tiles[other]).max())
            bits = (int.from_bytes(look[:8], "big") ^ int.from_bytes(looks[other][:8], "big")).bit_count()
            alike = min(likeness(levels), rounded(1 - bits / 64)) >= THRESHOLD
            if alike and videos[other] != videos[at]:
                original = other
                break
        found.append(original)
    return found


@given(st.integers(0, 10_000), st.integers(0, 60), st.integers(1, 4), st.sampled_from([2, 7, 40, 255]))
def test_the_fast_way_finds_what_the_slow_one_finds(seed: int, count: int, takes: int, swing: int) -> None:
    """On whatever looks, comparing few tiles first gives exactly what comparing all with all gives."""
    numbers = np.random.default_rng(seed)
    base = numbers.integers(0, 256, LOOK_TILES)
    looks = []
    for _ in range(count):
        tiles = base + numbers.integers(-3, 4, LOOK_TILES)
        tiles[numbers.integers(0, LOOK_TILES, 2)] += numbers.integers(-swing, swing + 1)
        looks.append(
            int(numbers.integers(0, 32)).to_bytes(8, "big") + np.clip(tiles, 0, 255).astype(np.uint8).tobytes()
        )
    videos = [f"v{numbers.integers(0, takes)}" for _ in looks]
    pinned = [bool(numbers.random() < 0.1) for _ in looks]
    assert repeats(looks, videos, pinned, THRESHOLD) == naive(looks, videos, pinned)


def test_the_fast_way_holds_among_many() -> None:
    """Past the number from which frames are told apart by single tiles, nothing changes."""
    numbers = np.random.default_rng(3)
    base, looks = numbers.integers(40, 200, LOOK_TILES), []
    for _ in range(700):
        tiles = base + numbers.integers(-1, 2, LOOK_TILES)
        tiles[numbers.integers(0, LOOK_TILES)] = numbers.integers(0, 256)
        looks.append(bytes(8) + tiles.astype(np.uint8).tobytes())
    videos = [f"v{at // 7}" for at in range(len(looks))]
    found = repeats(looks, videos, [False] * len(looks), THRESHOLD)
    assert found == naive(looks, videos, [False] * len(looks))
    assert 0 < sum(at == number for number, at in enumerate(found)) < len(looks)


def test_a_frame_of_another_video_again_is_a_twin(clip: list[Picture]) -> None:
    """The same view with other noise is found in another video, and left alone in its own."""
    numbers = np.random.default_rng(0)
    again = [np.clip(picture + numbers.normal(0, 3, picture.shape), 0, 255).astype(np.uint8) for picture in clip]
    looks, half = looks_of([*clip, *again]), len(clip)
    own, other = ["a"] * half, ["b"] * half
    assert repeats(looks, own + other, [False] * 2 * half, THRESHOLD)[half:] == list(range(half))
    assert repeats(looks, own + own, [False] * 2 * half, THRESHOLD) == list(range(2 * half))


@pytest.mark.parametrize("side", [16, 24, 48])
def test_a_small_object_that_moved_is_no_twin(clip: list[Picture], side: int) -> None:
    """A bright object of a thirtieth of the height, elsewhere: the judge keeps both frames, and so does this."""
    one, other = clip[0].copy(), clip[0].copy()
    one[300 : 300 + side, 100 : 100 + side] = 255
    other[60 : 60 + side, 430 : 430 + side] = 255
    assert repeats(looks_of([one, other]), ["a", "b"], [False, False], THRESHOLD) == [0, 1]


def test_twins_are_judged_in_the_spirit_of_the_judge(clip: list[Picture]) -> None:
    """What is a twin here is a duplicate there, on real pictures: looks are coarser, the question is the same."""
    pictures = [*clip, *(noisy(picture, 1, 2, picture.shape[:2]) for picture in clip)]
    looks = looks_of(pictures)
    for at in range(1, len(pictures)):
        originals = Originals(THRESHOLD)
        originals.add(0, measure(grey_of(pictures[0])), stays=True)
        score, _ = originals.add(at, measure(grey_of(pictures[at])), stays=True)
        if score >= THRESHOLD:
            assert repeats([looks[0], looks[at]], ["a", "b"], [False, False], THRESHOLD) == [0, 0]


def test_what_a_person_chose_is_no_twin() -> None:
    """A frame somebody asked for stays, whatever it looks like."""
    looks = [bytes(8 + LOOK_TILES)] * 3
    assert repeats(looks, ["a", "b", "c"], [True, True, False], THRESHOLD) == [0, 1, 0]
    assert repeats([], [], [], THRESHOLD) == []
