"""Choosing, balancing, splitting and joining manifest lines: what holds for any lines whatever."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.dataset.compose import Rules, Tally, compose
from cloud.dataset.entries import Entry, Rebase, entry_of, rebased
from cloud.dataset.lines import Line, group_of
from cloud.dataset.merge import join, merge
from cloud.dataset.select import Axis, choose, fill, is_nth, spread
from cloud.dataset.split import SIDES, Group, Shares, split
from edge_agent.errors import ConfigInvalid

supplies = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), st.integers(0, 60), max_size=8)
shares = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)).filter(any).map(lambda s: Shares(*s))
groups = st.lists(
    st.tuples(st.integers(1, 40), st.sampled_from(["blue_box", "red_cup", ""])), min_size=1, max_size=40
).map(lambda rows: [Group(f"video{at}", size, tag) for at, (size, tag) in enumerate(rows)])


def lines(videos: Sequence[tuple[str, str, int]]) -> list[Entry]:
    """Entries of videos, each of a class, a camera and so many frames."""
    return [
        entry_of(
            {"source-ref": f"s3://b/frames/x/{tag}_box_d-{camera}{at}-20261122T143105123Z_{index:06d}.jpg"}, "{}", ()
        )
        for at, (tag, camera, frames) in enumerate(videos)
        for index in range(frames)
    ]


videos = st.lists(
    st.tuples(st.sampled_from(["blue", "red"]), st.sampled_from(["a", "b"]), st.integers(0, 12)), max_size=8
).map(lines)


@given(supplies, st.integers(0, 500))
def test_water_fills_exactly_and_evenly(supply: dict[str, int], total: int) -> None:
    """The total is exact when supply allows, nothing gives more than it has, and only the scarce give less."""
    given_ = fill(supply, total, hash)
    assert sum(given_.values()) == min(total, sum(supply.values()))
    assert all(0 <= given_[key] <= supply[key] for key in supply)
    most = max(given_.values(), default=0)
    assert all(given_[key] == supply[key] or given_[key] >= most - 1 for key in supply)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 65_535))
def test_frames_are_taken_evenly(have: int, number: int, phase: int) -> None:
    """So many different frames as asked for, in order, and the gaps between them differ by one at most."""
    taken = spread(range(have), number, phase)
    assert len(taken) == min(have, number)
    assert taken == sorted(set(taken))
    gaps = {later - former for former, later in pairwise(taken)}
    assert not gaps or max(gaps) - min(gaps) <= 1


@given(videos, st.integers(0, 60), st.sampled_from([(), ("class",), ("camera",), ("class", "camera")]), st.randoms())
def test_a_choice_is_exact_and_knows_no_order(
    entries: list[Entry], total: int, balance: tuple[Axis, ...], order: random.Random
) -> None:
    """Balanced or not: nothing is taken twice, the total is exact, and how the lines came in does not matter."""
    shuffled = list(entries)
    order.shuffle(shuffled)
    rules = Rules(seed=7, total=total, balance=balance)
    chosen = compose(entries, rules, Tally()).entries
    assert chosen == compose(shuffled, rules, Tally()).entries
    assert len(set(chosen)) == len(chosen) == min(total, len(entries))
    if balance[:1] == ("class",):
        supply, got = Counter(e.tag for e in entries), Counter(e.tag for e in chosen)
        assert all(got[tag] == supply[tag] or got[tag] >= max(got.values(), default=0) - 1 for tag in supply)


def test_without_a_total_every_class_gets_what_the_smallest_has() -> None:
    """30 blue and 6 red become 6 and 6; the blue are shared between the cameras."""
    entries = sorted(lines([("blue", "a", 10), ("blue", "b", 20), ("red", "a", 6)]), key=lambda entry: entry.order)
    chosen = choose(entries, None, ("class", "camera"), 0)
    assert Counter(entry.tag for entry in chosen) == {"blue_box": 6, "red_box": 6}
    assert Counter(entry.camera for entry in chosen if entry.tag == "blue_box") == {"d/a0": 3, "d/b1": 3}


def test_a_dropped_frame_changes_no_other_choice() -> None:
    """Every third is counted by what the partition lists, so a reviewer's decision moves nothing."""
    listed = [0, 30, 60, 90, 120, 150, 180]
    assert [at for at in listed if is_nth(at, listed, 3)] == [0, 90, 180]
    assert [at for at in (0, 60, 75, 90) if is_nth(at, listed, 3)] == [0, 75, 90]


@given(groups, shares, st.integers(0, 99), st.randoms())
def test_every_video_is_on_one_side(rows: list[Group], wanted: Shares, seed: int, order: random.Random) -> None:
    """Each group has one side that was asked for, whatever the order; each class is near its shares on every side."""
    sides = split(rows, wanted, seed)
    shuffled = list(rows)
    order.shuffle(shuffled)
    assert split(shuffled, wanted, seed) == sides
    assert sides.keys() == {row.name for row in rows}
    asked = {side for side, share in zip(SIDES, wanted.of_one, strict=True) if share}
    assert set(sides.values()) <= asked
    for members in by_class(rows):
        whole, largest = sum(row.size for row in members), max(row.size for row in members)
        for side, share in zip(SIDES, wanted.of_one, strict=True):
            got = sum(row.size for row in members if sides[row.name] == side)
            assert abs(got - share * whole) <= 3 * largest


@given(groups, shares, st.integers(0, 99))
def test_every_class_is_trained_and_no_side_is_empty_that_need_not_be(
    rows: list[Group], wanted: Shares, seed: int
) -> None:
    """A class with one video has it in training; a side is empty only where classes have no other video to give."""
    sides = split(rows, wanted, seed)
    asked = {side for side, share in zip(SIDES, wanted.of_one, strict=True) if share}
    if wanted.train:
        assert all("train" in {sides[row.name] for row in members} for members in by_class(rows))
    free = len(rows) - len(by_class(rows)) if wanted.train else len(rows)
    assert len(set(sides.values()) - {"train"}) >= min(free, len(asked - {"train"}))


def test_a_side_that_gets_nothing_is_told_once_with_what_to_do() -> None:
    """What each class has first is for training; a side without any video is one finding, not one for each class."""
    tally = Tally()
    entries = lines([("blue", "a", 3), ("red", "a", 3), ("red", "b", 3)])
    composed = compose(entries, Rules(shares=Shares(80, 10, 10)), tally)
    there = {(entry.tag, composed.side_of(entry)) for entry in composed.entries}
    assert there == {("blue_box", "train"), ("red_box", "train"), ("red_box", "validation")}
    assert list(tally.findings.lines()) == [
        "validation: has nothing of class blue_box, which has 1 video; record more videos of it",
        "test: gets no video: there are too few, and the first of each class is for training; "
        "record more videos of a class, or give test a share of 0",
    ]


def by_class(rows: Sequence[Group]) -> list[list[Group]]:
    return [[row for row in rows if row.tag == tag] for tag in {row.tag for row in rows}]


def test_a_class_of_long_videos_starves_no_class_of_short_ones() -> None:
    """What a huge video has too much in training, ten short ones of another class do not have to pay for alone."""
    rows = [Group("huge", 1000, "a_b"), *(Group(f"short{at}", 10, "c_d") for at in range(10))]
    sides = split(rows, Shares(80, 10, 10), 0)
    assert Counter(sides[row.name] for row in rows[1:])["train"] in (7, 8)


def test_a_new_video_moves_few_others() -> None:
    """The sides of a hundred videos hold when another one comes: only those at a cut may move."""
    rows = [Group(f"video{at}", 20, "blue_box") for at in range(100)]
    before = split(rows, Shares(8, 1, 1), 5)
    after = split([*rows, Group("newcomer", 20, "blue_box")], Shares(8, 1, 1), 5)
    assert sum(before[row.name] != after[row.name] for row in rows) <= 2
    assert Counter(before.values()) == {"train": 80, "validation": 10, "test": 10}
    assert split(rows, Shares(8, 1, 1), 6) != before


def test_each_class_is_split_for_itself() -> None:
    """With videos enough, every class has its share on every side."""
    rows = [Group(f"{tag}{at}", 10, tag) for tag in ("a_b", "c_d") for at in range(20)]
    sides = split(rows, Shares(80, 10, 10), 0)
    assert Counter((row.tag, sides[row.name]) for row in rows) == {
        (tag, side): number for tag in ("a_b", "c_d") for side, number in zip(SIDES, (16, 2, 2), strict=True)
    }


@pytest.mark.parametrize("text", ["80", "80/20", "a/b/c", "0/0/0", "-1/1/1", "nan/1/1", ""])
def test_shares_that_are_none_are_refused(text: str) -> None:
    """A split that cannot be meant is one line, not a guess."""
    with pytest.raises(ConfigInvalid, match="80/10/10"):
        Shares.parse(text)


fields = st.dictionaries(
    st.sampled_from(["color", "bb", "bb-metadata", "note", "split"]), st.integers(0, 1), max_size=5
)
manifests = st.lists(
    st.lists(
        st.tuples(st.sampled_from(["s3://b/x_y_1_000000.jpg", "s3://b/x_y_1_000001.jpg", "s3://b/p.png"]), fields)
    ),
    max_size=4,
)


def read(rows: Sequence[tuple[str, dict[str, int]]], where: str) -> list[Line]:
    from cloud.dataset.entries import text_of

    whole = [{"source-ref": source, **extra} for source, extra in rows]
    return [Line(number, where, text_of(one), one) for number, one in enumerate(whole, 1)]


@given(manifests)
def test_a_union_has_each_picture_once(found: list[list[tuple[str, dict[str, int]]]]) -> None:
    """Every picture of every manifest is there once; each line is accounted for; what the first line says stands."""
    tally = Tally()
    rows = [read(one, str(at)) for at, one in enumerate(found)]
    merged = merge(rows, Rules(), (), (), tally)
    every = [line for one in rows for line in one]
    assert sorted(entry.source for entry in merged.entries) == sorted({line.source for line in every})
    assert tally.read == len(every) == len(merged.entries) + tally.removed.total()
    assert all(group_of(entry.source) == entry.group for entry in merged.entries)
    again = merge([read_again(merged.entries)], Rules(), (), (), Tally())
    assert again.entries == merged.entries


def read_again(entries: Sequence[Entry]) -> list[Line]:
    from pydantic_core import from_json

    return [Line(at, "again", entry.text, from_json(entry.text)) for at, entry in enumerate(entries, 1)]


@given(fields, fields)
def test_labels_are_joined_with_their_metadata_or_not_at_all(one: dict[str, int], other: dict[str, int]) -> None:
    """The first line is kept whole; where both say the same, the order of the two does not matter."""
    joined = join(one, other)
    assert {key: joined.fields[key] for key in one} == one
    assert joined.clash == tuple(key for key in other if key in one and one[key] != other[key])
    for key in joined.fields.keys() - one.keys():
        assert not {key.removesuffix("-metadata"), f"{key}-metadata"} & set(joined.clash)
    if not joined.clash:
        assert joined.fields == join(other, one).fields == {**one, **other}


def test_lines_that_disagree_are_reported_with_both_numbers_kept() -> None:
    """A conflict is found by its line; the first line's word stands and the labels of both are there."""
    tally = Tally()
    first = read([("s3://b/a_b_1_000000.jpg", {"color": 1})], "one.manifest")
    second = read([("s3://b/a_b_1_000000.jpg", {"color": 2, "bb": 3, "bb-metadata": 4})], "two.manifest")
    (entry,) = merge([first, second], Rules(), (), (), tally).entries
    assert entry.text == '{"source-ref": "s3://b/a_b_1_000000.jpg", "color": 1, "bb": 3, "bb-metadata": 4}'
    (finding,) = tally.findings
    assert str(finding).startswith("two.manifest:1: says other than the line of the same picture before it: color")


def test_pictures_are_looked_for_elsewhere() -> None:
    """--rebase replaces the beginning of a URI, whether or not both ends have a slash."""
    rule = Rebase.parse("s3://bucket", home="file:///data/")
    assert rebased({"source-ref": "file:///data/frames/x.jpg"}, [rule])["source-ref"] == "s3://bucket/frames/x.jpg"
    assert rebased({"source-ref": "s3://other/x.jpg"}, [rule]) == {"source-ref": "s3://other/x.jpg"}
    with pytest.raises(ConfigInvalid, match="FROM=TO"):
        Rebase.parse("s3://bucket")
