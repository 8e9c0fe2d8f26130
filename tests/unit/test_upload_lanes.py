"""Which segment goes next: fresh footage soon, old footage surely, and the class that matters first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import StoreUnreachable
from edge_agent.upload.lanes import LIVE_SHARE, Lane, interleaved, lane_of
from edge_agent.upload.ledger import Ledger
from edge_agent.upload.rows import Row, Sent, State

NOW = 1_795_000_000.0


def row_of(number: int) -> Row:
    return Row(f"a_b_{number}", f"a_b_{number}.mp4", State.READY, 1, 0, 0.0, Sent.NEVER, "", "", "", "", "", 0.0, 0.0)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def discover(ledger: Ledger, *seconds: int, tag: str = "yellow_box") -> list[str]:
    stems = [f"{tag}_dock7-cam1-20261122T1431{second:02}000Z" for second in seconds]
    ledger.discovered([(stem, f"{stem}.mp4", 100) for stem in stems], NOW)
    return stems


@given(count=st.integers(0, 40), turn=st.integers(0, 1000))
def test_every_segment_gets_exactly_one_turn(count: int, turn: int) -> None:
    """Both lanes end in one order in which nothing is missing and nothing comes twice."""
    rows = [row_of(number) for number in range(count)]
    order = [row.stem for _, row in interleaved(rows[::-1], rows, turn)]
    assert sorted(order) == sorted(row.stem for row in rows)


@given(turn=st.integers(0, 1000), arrivals=st.integers(1, 3))
def test_neither_lane_starves_however_much_arrives(turn: int, arrivals: int) -> None:
    """With new footage at every turn the oldest still goes within four turns, and the newest within two."""
    queue = list(range(20))
    newest, oldest_waits, newest_waits = 20, 0, 0
    for number in range(turn, turn + 60):
        queue += range(newest, newest + arrivals)
        newest += arrivals
        rows = [row_of(which) for which in queue]
        _, row = next(interleaved(rows[::-1], rows, number))
        taken = int(row.stem.rpartition("_")[2])
        oldest_waits = 0 if taken == queue[0] else oldest_waits + 1
        newest_waits = 0 if taken == queue[-1] else newest_waits + 1
        queue.remove(taken)
        assert oldest_waits <= LIVE_SHARE
        assert newest_waits <= 1


def test_of_four_turns_three_are_for_fresh_footage() -> None:
    """The shares are what the documentation says."""
    assert [lane_of(turn) for turn in range(4)] == [Lane.LIVE] * 3 + [Lane.BACKLOG]


def test_what_is_avoided_comes_last() -> None:
    """While the link is in doubt, another file is tried than the one that failed."""
    rows = [row_of(number) for number in range(3)]
    assert [row.stem for _, row in interleaved(rows, rows, 0, {"a_b_0"})] == ["a_b_1", "a_b_2", "a_b_0"]


def test_the_live_lane_is_newest_first_and_the_backlog_oldest_first(ledger: Ledger) -> None:
    """By when a segment was recorded, not by when it was found."""
    stems = discover(ledger, 2, 0, 1)
    by_age = sorted(stems)
    assert [row.stem for row in ledger.due_now(NOW, 9, Lane.BACKLOG)] == by_age
    assert [row.stem for row in ledger.due_now(NOW, 9, Lane.LIVE)] == by_age[::-1]
    assert [row.stem for row in ledger.due_now(NOW, 2, Lane.LIVE)] == by_age[:0:-1]


@given(priorities=st.dictionaries(st.sampled_from(["a_b", "c_d", "e_f"]), st.integers(-9, 9)))
def test_a_higher_class_goes_before_every_lower_one(
    tmp_path_factory: pytest.TempPathFactory, priorities: dict[str, int]
) -> None:
    """In both lanes, also where the priorities are changed while segments wait."""
    with Ledger(tmp_path_factory.mktemp("ledger") / "ledger.sqlite") as ledger:
        for tag in ("a_b", "c_d"):
            discover(ledger, 0, 1, tag=tag)
        ledger.prioritise(priorities)
        discover(ledger, 0, 1, tag="e_f")
        for lane in Lane:
            found = [row.stem.rpartition("_")[0] for row in ledger.due_now(NOW, 9, lane)]
            ranks = [priorities.get(tag, 0) for tag in found]
            assert len(found) == 6
            assert ranks == sorted(ranks, reverse=True)


def test_what_was_set_back_twice_goes_behind_every_class_and_keeps_its_place_when_priorities_change(
    ledger: Ledger,
) -> None:
    """A segment that takes the link down with it again and again waits for all others, whatever its class."""
    first, second = discover(ledger, 0, 1)
    (other,) = discover(ledger, 2, tag="c_d")
    ledger.prioritise({"yellow_box": 5})
    for _ in range(2):
        ledger.released(first, StoreUnreachable("timed out"), NOW)
    assert [row.stem for row in ledger.due_now(NOW, 9)] == [second, other, first]
    ledger.prioritise({"yellow_box": 7})
    assert [row.stem for row in ledger.due_now(NOW, 9)] == [second, other, first]


def test_a_release_that_was_the_links_fault_sets_nothing_back(ledger: Ledger) -> None:
    """Through a long outage every segment keeps its place."""
    first, second = discover(ledger, 0, 1)
    for _ in range(9):
        ledger.released(first, StoreUnreachable("no route"), NOW, setback=False)
    assert [row.stem for row in ledger.due_now(NOW, 9)] == [first, second]


def test_a_back_off_is_cut_short_on_request(ledger: Ledger) -> None:
    """Those named, or all, are due at once; it is told how many were waiting."""
    first, second = discover(ledger, 0, 1)
    for stem in (first, second):
        ledger.postponed(stem, StoreUnreachable("x"), NOW, attempts=3, due=NOW + 100)
    assert ledger.hurried([first], NOW) == 1
    assert [row.stem for row in ledger.due_now(NOW, 9)] == [first]
    assert ledger.hurried(None, NOW) == 1
    assert ledger.hurried(None, NOW) == 0
    assert len(ledger.due_now(NOW, 9)) == 2


def test_changes_made_together_are_all_kept_or_none(ledger: Ledger) -> None:
    """What breaks off in the middle of a batch leaves the ledger as it was."""
    first, second = discover(ledger, 0, 1)

    class Broken(Exception):
        pass

    def break_off() -> None:
        with ledger.together():
            ledger.uploading(first, NOW)
            raise Broken

    with pytest.raises(Broken):
        break_off()
    assert len(ledger.due_now(NOW, 9)) == 2
    with ledger.together():
        ledger.uploading(first, NOW)
        ledger.uploading(second, NOW)
    assert ledger.due_now(NOW, 9) == []
