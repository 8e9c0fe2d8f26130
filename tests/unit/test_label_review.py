"""What a review says of labels: overlap, suspicious boxes, confidences, what a clean manifest leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.dataset.lines import Line
from cloud.labeling.checks import CROWDED, Aspects, Suspicion, Usual, suspects
from cloud.labeling.filtering import Confidences, Rules, Thresholds, clean, settle
from cloud.labeling.labels import Box, Example, ImageLabel
from cloud.labeling.output import Kind, Record, State, Verification
from cloud.labeling.overlap import Agreement, iou, match
from cloud.review.tiles import free_place
from cloud.words import plain, quoted
from edge_agent.errors import ConfigInvalid

pixels = st.integers(0, 500)
boxes = st.builds(Box, st.sampled_from(["cup", "box"]), pixels, pixels, st.integers(0, 400), st.integers(0, 400))
lists = st.lists(boxes, max_size=6)


def picture(*drawn: Box, width: int | None = 640, height: int | None = 480) -> Example:
    return Example("s3://b/a.jpg", width, height, 3, boxes=drawn)


def record(example: Example, state: State = State.LABELLED, *said: str) -> Record:
    verifications = tuple(Verification("checked", word) for word in said)
    return Record(Line(1, "x", "{}", {}), "bb", Kind.BOXES, state, example, verifications=verifications)


def kinds(example: Example, **usual: Usual) -> list[tuple[int, str]]:
    return [(found.box, str(found.why)) for found in suspects(example, usual)]


@given(boxes, boxes)
def test_iou_is_symmetric_and_one_only_for_the_same_rectangle(one: Box, other: Box) -> None:
    """From 0 to 1, the same both ways."""
    overlap = iou(one, other)
    assert 0 <= overlap <= 1
    assert overlap == iou(other, one)
    assert iou(one, one) == 1
    same = (one.left, one.top, one.width, one.height) == (other.left, other.top, other.width, other.height)
    assert (overlap == 1) == same


def test_iou_of_known_boxes() -> None:
    """Half of a box beside itself is a third; boxes that touch have nothing in common."""
    one = Box("a", 0, 0, 10, 10)
    assert iou(one, Box("a", 5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert iou(one, Box("a", 10, 0, 10, 10)) == 0
    assert iou(one, Box("a", 2, 2, 5, 5)) == pytest.approx(0.25)


@given(lists, lists)
def test_matching_pairs_each_box_once_and_takes_the_best_first(ones: list[Box], others: list[Box]) -> None:
    """No box is in two pairs, every pair overlaps, and no two boxes left over do."""
    pairs = match(ones, others)
    assert len({pair.one for pair in pairs}) == len({pair.other for pair in pairs}) == len(pairs)
    assert all(pair.iou == iou(ones[pair.one], others[pair.other]) > 0 for pair in pairs)
    assert [pair.iou for pair in pairs] == sorted((pair.iou for pair in pairs), reverse=True)
    free = [(i, j) for i in range(len(ones)) for j in range(len(others))]
    free = [(i, j) for i, j in free if i not in {p.one for p in pairs} and j not in {p.other for p in pairs}]
    assert all(iou(ones[i], others[j]) == 0 for i, j in free)


@given(lists)
def test_a_picture_agrees_with_itself(drawn: list[Box]) -> None:
    """The same boxes twice: every box with an area has a partner of IoU 1, nothing differs."""
    agreement = Agreement()
    example = picture(*drawn)
    assert list(agreement.add(example, example)) == []
    assert all(found.mean == 1 for found in agreement.by_class.values())
    assert sum(found.pairs for found in agreement.by_class.values()) == len(drawn)


def test_disagreements_are_moved_renamed_missing_and_added_boxes() -> None:
    """Each is told once, and counted under the class it had before."""
    former = picture(Box("box", 0, 0, 100, 100), Box("box", 200, 0, 50, 50), Box("cup", 300, 300, 50, 50))
    later = picture(Box("box", 60, 0, 100, 100), Box("cup", 200, 0, 50, 50), Box("pen", 500, 10, 20, 20))
    agreement = Agreement()
    found = list(agreement.add(former, later))
    assert [one.change for one in found] == ["moved", "class changed", "gone", "added"]
    assert found[1].text == "'box' became 'cup', IoU 1.00"
    assert found[2].text == "'cup' 50x50 at 300,300 is gone"
    assert agreement.by_class["box"].mean == pytest.approx((0.25 + 1) / 2)
    assert agreement.by_class["pen"].mean is None


def test_classes_of_whole_pictures_are_compared_as_sets() -> None:
    """Gone, new, or the same."""
    former = Example("a", labels=(ImageLabel("cup"), ImageLabel("box")))
    later = Example("a", labels=(ImageLabel("box"), ImageLabel("pen")))
    assert [one.text for one in Agreement().add(former, later)] == ["class 'cup' is gone", "class 'pen' is new"]


# -- suspicious boxes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "why"),
    [
        (Box("box", 100, 100, 3, 3), ["tiny"]),
        (Box("box", 100, 100, 7, 200), ["tiny"]),
        (Box("box", 100, 100, 0, 0), ["tiny"]),
        (Box("box", 100, 100, 8, 8), []),
        (Box("box", -1, 100, 50, 50), []),
        (Box("box", -2, 100, 50, 50), ["outside"]),
        (Box("box", 600, 100, 42, 50), ["outside"]),
        (Box("box", 100, 440, 50, 41), []),
        (Box("box", 0, 0, 640, 480), ["whole"]),
        (Box("box", 5, 5, 630, 475), ["whole"]),
        (Box("box", 10, 10, 600, 450), []),
        (Box("box", 700, 500, 678, 543), ["outside"]),
        (Box("box", -100, -100, 800, 700), ["outside", "whole"]),
    ],
)
def test_a_box_is_suspicious_by_its_place_and_size(box: Box, why: list[str]) -> None:
    """Tiny, outside of the picture, over all of it; a pixel of rounding is nothing."""
    assert kinds(picture(box)) == [(0, each) for each in why]


def test_tiny_is_relative_to_what_a_detector_sees() -> None:
    """In full HD, which is shrunk to a third, 20 pixels are less than a cell; of unknown size it is 8."""
    box = Box("box", 100, 100, 20, 20)
    assert kinds(picture(box, width=1920, height=1080)) == [(0, "tiny")]
    assert kinds(picture(box, width=None, height=None)) == []


def test_of_two_boxes_on_one_object_the_later_is_suspicious() -> None:
    """Only of one class: a cup may stand in a box."""
    one, again = Box("box", 10, 10, 100, 100), Box("box", 12, 10, 100, 100)
    assert kinds(picture(one, again)) == [(1, "duplicate")]
    assert kinds(picture(one, replace(again, label="cup"))) == []


def test_a_shape_is_suspicious_when_its_class_is_never_so() -> None:
    """Three times as wide as the others of its class; not at the edge, which cuts off; not where few are known."""
    aspects = Aspects()
    for number in range(40):
        aspects.add(picture(Box("box", 100, 100, 100 + number % 5, 100)))
        aspects.add(picture(Box("cup", 0, 100, 300, 10)))
    usual = aspects.usual()
    assert set(usual) == {"box"}
    assert kinds(picture(Box("box", 100, 100, 300, 100)), **usual) == [(0, "aspect")]
    assert kinds(picture(Box("box", 0, 100, 300, 100)), **usual) == []
    assert kinds(picture(Box("box", 100, 100, 104, 100)), **usual) == []
    assert kinds(picture(Box("cup", 100, 100, 300, 100)), **usual) == []


def test_a_picture_with_thousands_of_boxes_is_told_and_costs_no_minutes() -> None:
    """Not every box is compared with every other."""
    many = [Box("box", number % 600, number % 400, 20, 20) for number in range(CROWDED + 1)]
    assert kinds(picture(*many)) == [(0, "crowded")]
    (found,) = Agreement().add(picture(*many), picture(*many))
    assert found.change == "uncompared"


# -- confidences ------------------------------------------------------------------------------------------------------


def confidences(**known: Sequence[float | None]) -> Confidences:
    found = Confidences()
    for label, numbers in known.items():
        found.add(Box(label, 0, 0, 9, 9, number) for number in numbers)
    return found


def test_equal_confidences_say_nothing_and_drop_nothing() -> None:
    """One worker a picture: every box has 0.09, and a threshold of 0.5 is not used."""
    used, told = settle(Thresholds(0.5), confidences(box=[0.09] * 5))
    assert used.least("box") is None
    assert told == [
        "--min-confidence 0.5 is not used: all 5 confidences are 0.09, as where one worker labels, and say nothing"
    ]


def test_a_threshold_that_nothing_reaches_drops_nothing() -> None:
    """The real data: 0.09 and 0.29. It is said what the highest is."""
    used, told = settle(Thresholds(0.5), confidences(box=[0.09, 0.29]))
    assert used.least("box") is None
    assert told == [
        "--min-confidence 0.5 is not used: the highest of 2 confidences is 0.29, every label would be dropped"
    ]
    assert settle(Thresholds(0.2), confidences(box=[0.09, 0.29])) == (Thresholds(0.2), [])


def test_thresholds_by_class_are_judged_by_class() -> None:
    """One class may be filtered where another cannot be."""
    wanted = Thresholds.parse(["0.5", "cup=0.9", "a=b=0.3", "pen=0.1"])
    used, told = settle(wanted, confidences(box=[0.4, 0.6], cup=[0.2, 0.3], **{"a=b": [0.9]}))
    assert (used.least("box"), used.least("a=b")) == (0.5, 0.3)
    assert not used.least("cup")
    assert len(told) == 2


def test_labels_without_a_confidence_are_kept() -> None:
    """What nobody measured is below no threshold; where nobody measured anything, that is said."""
    assert settle(Thresholds(0.5), confidences(box=[None, None]))[1] == [
        "--min-confidence 0.5 is not used: no label has a confidence"
    ]
    example = picture(Box("box", 1, 1, 50, 50), Box("box", 99, 99, 50, 50, 0.2))
    kept = clean(record(example), Rules(Thresholds(0.5)), ()).record.example
    assert kept.boxes == (Box("box", 1, 1, 50, 50),)


@pytest.mark.parametrize("bad", [["x"], ["cup=x"], ["1.5"], ["-1"], ["nan"], ["0.5", "0.6"], ["a=0.5", "a=0.6"], [""]])
def test_a_wrong_confidence_is_refused(bad: list[str]) -> None:
    """No number, out of range, or given twice."""
    with pytest.raises(ConfigInvalid, match="--min-confidence"):
        Thresholds.parse(bad)


@given(lists.map(lambda drawn: [replace(box, confidence=0.1 * n) for n, box in enumerate(drawn)]), st.floats(0, 1))
def test_what_is_kept_and_what_is_dropped_is_all_there_was(drawn: list[Box], least: float) -> None:
    """No label is lost without being counted, and the kept ones stay in their order."""
    done = clean(record(picture(*drawn)), Rules(Thresholds(least)), ())
    if done.left_out:
        assert sum(done.dropped.values()) == len(drawn) > 0
        return
    kept = done.record.example.boxes or ()
    assert len(kept) + sum(done.dropped.values()) == len(drawn)
    assert list(kept) == [box for box in drawn if (box.confidence or 0) >= least]


def test_a_picture_that_loses_all_its_boxes_is_left_out() -> None:
    """Kept, it would say that nothing is to be seen; a picture that had none stays."""
    example = picture(Box("box", 1, 1, 3, 3, 0.2))
    rules = Rules(suspicions=frozenset({Suspicion.TINY}))
    assert clean(record(example), rules, suspects(example, {})).left_out == "no label left"
    assert clean(record(picture()), rules, ()).left_out == ""


def test_a_label_that_could_not_be_read_is_left_out_whoever_keeps_its_line() -> None:
    """The line stays with the others, and it is counted; without others by then, it goes."""
    some = replace(record(picture(Box("box", 1, 1, 3, 3))), dropped=1)
    for done in (clean(some, Rules(), ()), clean(some, Rules(), (), "keep")):
        assert (done.left_out, done.dropped) == ("", {"not readable": 1})
    rules = Rules(suspicions=frozenset({Suspicion.TINY}))
    assert clean(some, rules, suspects(some.example, {})).left_out == "no label left"


pixel = st.integers(0, 399)
spots = st.tuples(pixel, pixel, pixel, pixel).map(
    lambda s: (min(s[0], s[2]), min(s[1], s[3]), max(s[0], s[2]), max(s[1], s[3]))
)


@given(spots, st.integers(1, 399), st.lists(spots, max_size=6))
def test_a_name_is_on_the_tile_and_over_no_other_where_there_is_room(
    outline: tuple[int, int, int, int], across: int, taken: list[tuple[int, int, int, int]]
) -> None:
    """At its box: on the upper edge, or, where another name stands there, on the lower one."""
    height, name = 400, (12, across)
    left, top, right, bottom = free_place(outline, name, (height, 400), ())
    assert 0 <= left < right <= 400
    assert (right - left, bottom - top) == (across, 12)
    assert abs(top + 6 - outline[1]) <= 6
    lower = free_place(outline, name, (height, 400), [(left, top, right, bottom)])
    if outline[3] - outline[1] > 24:
        assert abs(lower[1] + 6 - outline[3]) <= 6
    found = free_place(outline, name, (height, 400), taken)
    meets = [not (found[0] >= t[2] or t[0] >= found[2] or found[1] >= t[3] or t[1] >= found[3]) for t in taken]
    assert not any(meets) or found == (left, top, right, bottom)


def test_lines_are_left_out_with_their_reason_and_a_person_wins() -> None:
    """Unlabelled, failed, unreadable, verified as bad; kept by hand all of them stay as they stood."""
    bare = Example("s3://b/a.jpg")
    assert clean(record(bare, State.UNLABELLED), Rules(), ()).left_out == "unlabelled"
    assert clean(record(bare, State.FAILED), Rules(), ()).left_out == "labelling failed"
    assert clean(record(bare, State.UNREADABLE), Rules(), ()).left_out == "labels not readable"
    said = record(picture(), State.LABELLED, "good", "bad")
    assert clean(said, Rules(), ()).left_out == ""
    assert clean(said, Rules(verdicts=frozenset({"bad"})), ()).left_out == "verified as 'bad'"
    assert clean(said, Rules(verdicts=frozenset({"bad"})), (), "keep").left_out == ""
    assert clean(said, Rules(), (), "drop").left_out == "dropped by hand"


@given(st.text())
def test_no_name_breaks_a_message(name: str) -> None:
    """Whatever a class is called, it is one printable line."""
    assert quoted(name).isprintable()
    assert plain(name).isprintable()
