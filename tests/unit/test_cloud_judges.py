"""The judges on made pictures and on real footage."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.decode.sample import Sample
from cloud.judge.judges import Judges
from cloud.judge.policy import Verdict, by_name, verdicts
from cloud.judge.repeats import settled
from cloud.judge.rules import JudgeRules
from tests.support.judging import Picture, footage_pictures, judge, noisy, rules, sample

KEPT = Verdict("kept")


@pytest.fixture(params=["yellow_box", "black_cup"])
def clip(request: pytest.FixtureRequest) -> list[Picture]:
    """One frame a second of each real clip in turn."""
    path: Path = request.getfixturevalue(request.param)
    return footage_pictures(path)


def with_box(picture: Picture, left: int, top: int, side: int = 20, level: int = 235) -> Picture:
    """*picture* with a square object in it."""
    made = picture.copy()
    made[top : top + side, left : left + side] = level
    return made


def table(seed: int) -> Picture:
    """An empty table under a camera, each time with other noise."""
    return noisy(np.add.outer(np.linspace(70, 140, 480), np.linspace(0, 40, 640))[:, :, None], seed)


def test_good_frames_are_kept(clip: list[Picture]) -> None:
    """Of the real clips, at a frame a second, not one frame is rejected or flagged by the default rules."""
    _, found = judge(clip, rules())
    assert found == [KEPT] * len(clip)


@pytest.mark.parametrize("sigma", [2, 3, 6])
def test_a_blurred_frame_is_found_and_no_sharp_one(clip: list[Picture], sigma: float) -> None:
    """A frame out of focus by two pixels and more is flagged for it; its neighbours are not."""
    clip[3] = np.asarray(cv2.GaussianBlur(clip[3], (0, 0), sigma), np.uint8)
    _, found = judge(clip, rules())
    assert [number for number, verdict in enumerate(found) if verdict != KEPT] == [3]
    assert found[3] == Verdict("flagged", ("blur",))


def test_a_frame_blurred_by_movement_is_found(clip: list[Picture]) -> None:
    """Movement along one direction is blur too."""
    clip[4] = np.asarray(cv2.blur(clip[4], (25, 1)), np.uint8)
    clip[4] = np.asarray(cv2.blur(clip[4], (1, 5)), np.uint8)
    _, found = judge(clip, rules())
    assert [number for number, verdict in enumerate(found) if "blur" in verdict.reasons] == [4]


def test_blur_is_measured_against_the_video_itself(clip: list[Picture]) -> None:
    """A camera that is always a little soft gives no blurred frames."""
    soft = [np.asarray(cv2.GaussianBlur(picture, (0, 0), 3), np.uint8) for picture in clip]
    _, found = judge(soft, rules())
    assert found == [KEPT] * len(clip)


def test_a_frame_again_is_a_duplicate(clip: list[Picture]) -> None:
    """Of identical frames the first stays and the others are rejected, with the score of the very same."""
    scores, found = judge([clip[0], clip[0], clip[0], clip[5]], rules())
    assert found == [KEPT, Verdict("rejected", ("duplicate",)), Verdict("rejected", ("duplicate",)), KEPT]
    assert [of_frame["duplicate"] for of_frame in scores[:3]] == [0.0, 1.0, 1.0]


def test_noise_makes_no_new_frame() -> None:
    """A still view through a noisy sensor is rejected as repeating itself."""
    _, found = judge([table(seed) for seed in range(6)], rules())
    assert [verdict.verdict for verdict in found] == ["kept"] + ["rejected"] * 5


@pytest.mark.parametrize("side", [10, 20])
def test_a_small_object_that_moved_is_no_duplicate(clip: list[Picture], side: int) -> None:
    """An object of 10 pixels in 640 x 480 that moved by its own size makes another frame."""
    view = clip[0]
    moved = [with_box(view, 300 + side * step, 300, side, 20) for step in range(4)]
    _, found = judge(moved, rules())
    assert found == [KEPT] * 4


def test_a_slow_change_adds_up() -> None:
    """An object that creeps by a pixel a frame is not lost between neighbours that look alike."""
    creeping = [with_box(table(seed), 100 + seed, 200) for seed in range(40)]
    _, found = judge(creeping, rules())
    kept = [number for number, verdict in enumerate(found) if verdict == KEPT]
    assert len(kept) > 5
    assert max(np.diff(kept)) < 10


def test_a_rejected_frame_is_no_original(clip: list[Picture]) -> None:
    """What repeats a rejected frame is not rejected for that: the reference is the last frame that stays."""
    covered = noisy(3, 1, sigma=1)
    _, found = judge([covered, clip[0], covered, clip[0]], rules())
    assert [verdict.reasons[:1] for verdict in found] == [("blank",), (), ("blank",), ("duplicate",)]


def test_a_sharper_repeat_takes_the_place_of_a_rejected_original() -> None:
    """When the original is rejected for what only the whole video tells, the first good repeat stays in its place."""
    scores = settled([0.0, 0.95, 0.96, 0.97, 0.1], [0, 0, 0, 0, 4], [True, True, False, False, False])
    assert scores == [0.0, 0.95, 0.0, 0.97, 0.1]


@given(st.data())
def test_of_frames_that_are_alike_one_stays_if_any_can(data: st.DataObject) -> None:
    """In each group just one frame that nothing else speaks against stays, and none if there is no such frame."""
    repeated: list[int] = []
    for number in range(data.draw(st.integers(0, 30))):
        again = bool(repeated) and data.draw(st.booleans())
        repeated.append(repeated[-1] if again else number)
    count = len(repeated)
    rejected = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    first = [0.99 if original != number else 0.0 for number, original in enumerate(repeated)]
    final = settled(first, repeated, rejected)
    for original in set(repeated):
        group = [number for number in range(count) if repeated[number] == original]
        staying = [number for number in group if not rejected[number] and final[number] < 0.93]
        assert len(staying) == any(not rejected[number] for number in group)


def test_flagged_duplicates_refer_to_the_first() -> None:
    """With duplicates only flagged, each is still compared with the first of its kind."""
    creeping = [with_box(table(seed), 100 + seed, 200) for seed in range(20)]
    flagging, _ = judge(creeping, rules(duplicate={"action": "flag"}))
    rejecting, _ = judge(creeping, rules())
    assert flagging == rejecting


def test_an_empty_table_is_background() -> None:
    """Frames without an object are told from those with one, however small, also under changing light."""
    places = [None, (80, 90), (500, 100), None, (300, 300), (200, 150), None, (420, 380), (90, 400)]
    pictures = [table(seed) if at is None else with_box(table(seed), *at) for seed, at in enumerate(places)]
    pictures[3] = np.clip(pictures[3].astype(np.int16) + 12, 0, 255).astype(np.uint8)
    scores, found = judge(pictures, rules(duplicate={"action": "off"}))
    empty = [number for number, at in enumerate(places) if at is None]
    assert [number for number, verdict in enumerate(found) if "background" in verdict.reasons] == empty
    assert all(verdict == KEPT for number, verdict in enumerate(found) if number not in empty)
    assert min(scores[number]["background"] for number in empty) > 0.9


@pytest.mark.parametrize("resting", [9, 6])
def test_an_object_that_rests_is_never_background(resting: int) -> None:
    """Where most frames are alike the median may hold the object itself: then nobody calls it background."""
    pictures = [with_box(table(seed), 300, 200, 60) for seed in range(resting)] + [table(99), table(98), table(97)]
    scores, found = judge(pictures, rules(duplicate={"action": "off"}, background={"action": "reject"}))
    assert {of_frame["background"] for of_frame in scores} == {0.0}
    assert found == [KEPT] * len(pictures)


@pytest.mark.parametrize("frames", range(5))
def test_too_few_frames_show_no_background(frames: int) -> None:
    """Up to four frames tell nothing, and no frame at all is no error."""
    scores, _ = judge([table(seed) for seed in range(frames)], rules())
    assert [of_frame["background"] for of_frame in scores] == [0.0] * frames


def test_a_covered_lens_is_blank(clip: list[Picture]) -> None:
    """Black, white or grey with nothing in it is rejected, noise or not; a real frame and a small object are not."""
    blank = [noisy(level, 1, sigma) for level, sigma in ((0, 0), (4, 6), (128, 0), (128, 10), (255, 0))]
    _, found = judge([*blank, clip[0], with_box(noisy(128, 2), 300, 200)], rules(duplicate={"action": "off"}))
    assert ["blank" in verdict.reasons for verdict in found] == [True] * 5 + [False] * 2
    assert {verdict.verdict for verdict in found[:5]} == {"rejected"}


def test_a_dark_room_and_a_blown_out_picture_are_flagged(clip: list[Picture]) -> None:
    """Both are named; the same scene half a stop darker or brighter is neither."""
    dark = np.rint(clip[0] * 0.06).astype(np.uint8)
    blown = np.clip(clip[1].astype(np.int16) * 3 + 225, 0, 255).astype(np.uint8)
    darker = np.rint(clip[2] * 0.7).astype(np.uint8)
    brighter = np.clip(clip[3] * 1.2, 0, 255).astype(np.uint8)
    _, found = judge([*clip, dark, blown, darker, brighter], rules(blur={"action": "off"}))
    assert [verdict.reasons for verdict in found[-4:]] == [("under_exposed",), ("over_exposed",), (), ()]


def test_the_same_video_gives_the_same_scores(clip: list[Picture]) -> None:
    """Twice the same, four digits each, in the order of the rules."""
    first, _ = judge(clip, rules(faces={"action": "flag"}))
    second, _ = judge(clip, rules(faces={"action": "flag"}))
    assert first == second
    for of_frame in first:
        assert list(of_frame) == list(type(rules()).model_fields)
        assert all(score == round(score, 4) for score in of_frame.values())


def test_a_judge_that_is_off_gives_no_score(clip: list[Picture]) -> None:
    """Off is off: neither score nor reason."""
    off = {name: {"action": "off"} for name in type(rules()).model_fields if name != "blank"}
    scores, _ = judge([clip[0], clip[0]], rules(**off))
    assert [list(of_frame) for of_frame in scores] == [["blank"]] * 2


@pytest.mark.parametrize("size", [(1, 1), (2, 500), (500, 2), (17, 31), (480, 270)])
def test_pictures_of_any_size_are_judged(size: tuple[int, int]) -> None:
    """Thin, tiny and upright pictures are no error."""
    scores, _ = judge([noisy(90, seed, 30, size) for seed in range(6)], rules())
    assert len(scores) == 6


def test_an_hour_takes_little_memory(clip: list[Picture]) -> None:
    """Every sampled frame costs less than a kilobyte, so an hour at a frame a second costs 3.5 MB at most."""
    judges, samples = Judges(rules()), [sample(picture) for picture in clip]
    judges.look(samples[0])
    tracemalloc.start()
    try:
        for number in range(600):
            judges.look(samples[number % len(samples)])
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 600 * 1000


def test_with_every_judge_off_no_picture_is_looked_at() -> None:
    """With nobody to judge, neither picture nor small copy is made, and every frame is kept without a score."""

    def _refused() -> Picture:
        raise AssertionError

    off = rules(**{name: {"action": "off"} for name in by_name(JudgeRules())})
    judges, taken = Judges(off), Sample(7, 0.0, b"packet", make_picture=_refused, make_grey=_refused)
    assert judges.look(taken) == {}
    assert judges.redacted(taken) is taken
    scores = judges.finish()
    assert scores == [{}]
    assert verdicts(scores, off) == [KEPT]
