"""What leaves the spool: never more than needed, and un-uploaded footage only where the operator says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent import tombstones
from edge_agent.durable import claimed, in_use
from edge_agent.errors import DiskFull
from edge_agent.inventory import Inventory
from edge_agent.quota import Disk, Held, Keep, Policy, expired, plan, shortage, slack
from edge_agent.retention import Retention, Rules
from edge_agent.spool import Spool
from edge_agent.tombstones import Losses, Tombstone, Tombstones
from tests.support.clock import FakeClock
from tests.support.disk import Disk as Steps
from tests.support.disk import PowerCut
from tests.support.upload import START, fresh_spool, names_in, publish, segment_of, videos_in

BLOCK = 4096
TOTAL = 10**9

sizes = st.integers(1, 10**6)
held_lists = st.lists(st.tuples(sizes, st.integers(0, 5), st.booleans(), st.integers(-2, 2)), max_size=30).map(
    lambda rows: [Held(f"s{n}", f"s{n}.mp4", size, start, ok, rank) for n, (size, start, ok, rank) in enumerate(rows)]
)
disks = st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)).map(lambda t: Disk(t[0], t[1], 2 * 10**7))
policies = st.builds(Policy, quota=st.none() | st.integers(0, 10**7), free=st.integers(0, 10**7), drop=st.booleans())


@given(held_lists, disks, policies, st.booleans())
def test_pause_never_loses_footage(held: list[Held], disk: Disk, policy: Policy, paused: bool) -> None:
    """Unless the operator allowed it, nothing that was not uploaded is ever deleted."""
    planned = plan(held, disk, policy, paused=paused)
    assert policy.drop or all(item.verified for item in planned.evict)


@given(held_lists, disks, policies, st.integers(0, 10**6), st.booleans())
def test_no_more_goes_than_is_needed(held: list[Held], disk: Disk, policy: Policy, wanted: int, paused: bool) -> None:
    """Un-uploaded footage: without the last one dropped, room would be missing. Verified: the slack would."""
    planned = plan(held, disk, policy, wanted=wanted, paused=paused)
    must = shortage(disk, policy) + wanted
    lost = [item for item in planned.evict if not item.verified]
    if lost:
        assert sum(item.size for item in planned.evict) - lost[-1].size < must
    gone = [item for item in planned.evict if item.verified]
    if gone:
        assert sum(item.size for item in gone) - gone[-1].size < must + slack(disk, policy)
    if must <= 0 and not paused:
        assert not planned.evict
        assert not planned.pause


@given(held_lists, disks, policies, st.booleans())
def test_what_goes_first(held: list[Held], disk: Disk, policy: Policy, paused: bool) -> None:
    """Verified uploads before all others, oldest first; then the lowest priority first, the oldest of it first."""
    evict = plan(held, disk, policy, paused=paused).evict
    ranks = [(not h.verified, h.priority if not h.verified else 0, h.start) for h in evict]
    assert ranks == sorted(ranks)
    if any(not item.verified for item in evict):
        assert {item.stem for item in held if item.verified} <= {item.stem for item in evict}
    for kept in held:
        if kept not in evict and any(item.verified == kept.verified for item in evict):
            last = [item for item in evict if item.verified == kept.verified][-1]
            assert kept.verified or (last.priority, last.start) <= (kept.priority, kept.start)


@given(held_lists, disks, policies)
def test_recording_pauses_exactly_when_no_room_can_be_made(held: list[Held], disk: Disk, policy: Policy) -> None:
    """It pauses when what may be deleted is not enough, and goes on, at the latest, with the slack free again."""
    planned = plan(held, disk, policy)
    after = disk.without(sum(item.size for item in planned.evict))
    assert planned.pause == (shortage(after, policy) > 0)
    roomy = disk.without(max(0, shortage(disk, policy)) + slack(disk, policy))
    assert not plan(held, roomy, policy, paused=True).pause


def test_a_pause_does_not_flutter() -> None:
    """A paused recording does not go on at the first byte that is free."""
    policy = Policy(quota=1000)
    assert plan((), Disk(1001, TOTAL, TOTAL), policy).pause
    assert plan((), Disk(999, TOTAL, TOTAL), policy, paused=True).pause
    assert not plan((), Disk(950, TOTAL, TOTAL), policy, paused=True).pause


# -- the act ----------------------------------------------------------------------------------------------------------


class Rig:
    """A spool with its state inside, and a retention over it."""

    def __init__(self, root: Path, quota: int | None, *, drop: bool, priorities: dict[str, int] | None = None) -> None:
        self.spool = fresh_spool(root)
        self.state = root / "state"
        self.state.mkdir()
        self.told: list[tuple[str, dict[str, object]]] = []
        self.clock = FakeClock(START + timedelta(days=1))
        rules = Rules(Policy(quota=quota, drop=drop), priorities or {})
        self.retention = Retention(self.spool, self.state, self.clock, rules, self.tell)
        self.tombstones = Tombstones(self.state)

    def tell(self, name: str, **fields: object) -> None:
        self.told.append((name, fields))

    def named(self, name: str) -> list[dict[str, object]]:
        return [fields for told, fields in self.told if told == name]


def body(number: int) -> bytes:
    return bytes([number]) * 10 * BLOCK


def test_verified_copies_make_room_first(tmp_path: Path) -> None:
    """With a verified copy there, footage that waits is not touched, even where it might be."""
    rig = Rig(tmp_path / "spool", 30 * BLOCK, drop=True)
    for number in range(3):
        publish(rig.spool, number, body(number))
    rig.spool.keep_uploaded(rig.spool.ready_videos()[1])
    room = rig.retention.look()
    assert not room.paused
    assert len(videos_in(rig.spool.ready)) == 2
    assert names_in(rig.spool.uploaded) == []
    assert rig.tombstones.losses() == Losses()
    assert rig.named("segment_dropped") == []


def test_pause_keeps_everything_and_says_so(tmp_path: Path) -> None:
    """Under ``pause`` nothing that waits goes, and recording must pause until there is room."""
    rig = Rig(tmp_path / "spool", 30 * BLOCK, drop=False)
    for number in range(3):
        publish(rig.spool, number, body(number))
    assert rig.retention.look().paused
    assert len(videos_in(rig.spool.ready)) == 3
    rig.spool.keep_uploaded(rig.spool.ready_videos()[0])
    assert not rig.retention.look().paused
    assert len(videos_in(rig.spool.ready)) == 2


def test_every_loss_has_a_tombstone_and_is_told(tmp_path: Path) -> None:
    """What is dropped unsent is the oldest; its frames and bytes are written down, told and summed."""
    rig = Rig(tmp_path / "spool", 32 * BLOCK, drop=True)
    segments = [publish(rig.spool, number, body(number)) for number in range(4)]
    assert not rig.retention.look().paused
    left = {path.stem for path in rig.spool.ready_videos()}
    lost = [segment for segment in segments if segment.name.stem not in left]
    assert lost == segments[: len(lost)]
    assert lost
    assert rig.tombstones.stems() == {segment.name.stem for segment in lost}
    assert rig.tombstones.losses().frames == sum(segment.frames for segment in lost)
    assert [told["stem"] for told in rig.named("segment_dropped")] == [segment.name.stem for segment in lost]
    assert len(names_in(rig.spool.ready)) == 2 * len(left)


def test_the_lowest_priority_goes_first(tmp_path: Path) -> None:
    """A class the operator gave a higher priority outlives older footage of others."""
    rig = Rig(tmp_path / "spool", 20 * BLOCK, drop=True, priorities={"yellow_box": 1})
    publish(rig.spool, 0, body(0))
    (rig.spool.ready / "blue_box_1.mp4").write_bytes(body(1))
    rig.retention.look()
    assert [path.name for path in rig.spool.ready_videos()] == [f"{segment_of(b'').name.stem}.mp4"]


def test_what_is_being_uploaded_stays(tmp_path: Path) -> None:
    """A segment the uploader holds is passed over, and the next one goes instead."""
    rig = Rig(tmp_path / "spool", 20 * BLOCK, drop=True)
    publish(rig.spool, 0, body(0))
    publish(rig.spool, 1, body(1))
    first, second = rig.spool.ready_videos()
    with in_use(first):
        rig.retention.look()
        assert rig.spool.ready_videos() == [first]
    assert rig.tombstones.stems() == {second.stem}


def test_a_file_in_use_cannot_be_claimed(tmp_path: Path) -> None:
    """Claiming fails while a file is used, when it has gone, and when another stands under its name."""
    path = tmp_path / "a"
    path.write_text("x")
    with in_use(path), claimed(path) as mine:
        assert not mine
    with claimed(path) as mine:
        assert mine
    with claimed(tmp_path / "gone") as mine:
        assert not mine


def test_a_crash_while_dropping_never_loses_unsaid(tmp_path: Path) -> None:
    """Wherever the machine stops, a file that is gone has its line; dropped once more it is still one line."""
    steps = 0
    while True:
        rig = Rig(tmp_path / f"spool{steps}", 14 * BLOCK, drop=True)
        segment = publish(rig.spool, 0, body(0))
        publish(rig.spool, 1, body(1))
        with pytest.MonkeyPatch.context() as patch:
            Steps(patch, steps)
            try:
                rig.retention.look()
                done = True
            except PowerCut:
                done = False
        gone = segment.name.stem not in {path.stem for path in rig.spool.ready_videos()}
        assert not gone or segment.name.stem in rig.tombstones.stems()
        retention = Retention(rig.spool, rig.state, rig.clock, rig.retention.rules, rig.tell)
        retention.begin()
        retention.look()
        lines = [line for line in rig.tombstones.path.read_text().splitlines() if segment.name.stem in line]
        assert len(lines) == 1
        orphans = {n for n in names_in(rig.spool.ready) if n.endswith(".json")}
        assert orphans <= {f"{path.stem}.json" for path in rig.spool.ready_videos()}
        if done:
            return
        steps += 1


def test_tombstones_stay_countable_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there were: the file stays small, the sums stay right, a torn line counts for nothing."""
    monkeypatch.setattr(tombstones, "_FULL_BYTES", 500)
    stones = Tombstones(tmp_path)
    for number in range(40):
        stones.add(Tombstone(f"s{number}", f"s{number}.mp4", 10, 2, 1.0, "2026-11-22T14:31:05.123Z", "disk full"))
    assert stones.losses() == Losses(40, 80, 400)
    assert stones.path.stat().st_size < 1000
    with stones.path.open("ab") as file:
        file.write(b'{"stem": "torn')
    assert stones.losses() == Losses(40, 80, 400)
    stones.add(Tombstone("s40", "s40.mp4", 10, 2, 1.0, "2026-11-22T14:31:05.123Z", "disk full"))
    assert stones.losses() == Losses(41, 82, 410)
    last = stones.last()
    assert last is not None
    assert last.stem == "s40"


def test_the_inventory_counts_all_of_the_spool_once(tmp_path: Path) -> None:
    """Everything below the root counts, wherever it lies and however it moves, as du would count it."""
    spool = fresh_spool(tmp_path / "spool")
    clock = FakeClock(START)
    inventory = Inventory(spool)

    def du() -> int:
        return sum(p.lstat().st_blocks * 512 // p.lstat().st_nlink for p in spool.root.rglob("*") if p.is_file())

    def used() -> int:
        return inventory.disk(clock.now().timestamp()).used

    assert used() == 0
    publish(spool, 0, body(0))
    (spool.root / "state").mkdir()
    (spool.root / "state" / "ledger").write_bytes(body(1))
    assert used() == du() > 20 * BLOCK - 1
    spool.keep_uploaded(spool.ready_videos()[0])
    assert used() == du()
    for path in spool.uploaded.iterdir():
        path.unlink()
    assert used() == du() == 10 * BLOCK


def test_the_reserve_is_given_up_for_the_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When not even a tombstone can be written, the reserve makes room for it; nothing is deleted before."""
    rig = Rig(tmp_path / "spool", 20 * BLOCK, drop=True)
    publish(rig.spool, 0, body(0))
    publish(rig.spool, 1, body(1))
    reserve = rig.state / "reserve"
    reserve.write_bytes(b"x" * BLOCK)
    real = Tombstones.add

    def full(self: Tombstones, stone: Tombstone) -> None:
        if reserve.exists():
            assert len(rig.spool.ready_videos()) == 2
            raise DiskFull("no space left")
        real(self, stone)

    monkeypatch.setattr(Tombstones, "add", full)
    rig.retention.look()
    assert len(rig.tombstones.stems()) == 1
    assert len(rig.spool.ready_videos()) == 1


@given(held_lists, st.none() | st.integers(0, 10), st.none() | st.integers(0, 10**7), st.none() | st.integers(0, 20))
def test_copies_are_kept_for_age_or_bytes(held: list[Held], age: int | None, size: int | None, now: int | None) -> None:
    """No copy that is left is too old, all together are within the size, and no more went than that needs."""
    held = [replace(item, since=item.start) for item in held]
    gone = expired(held, Keep(age, size), now)
    left = [item for item in held if item.verified and item not in gone]
    assert all(item.verified for item in gone)
    assert [item.since for item in gone] == sorted(item.since for item in gone)
    if age is not None and now is not None:
        assert all(now - item.since <= age for item in left)
    if size is not None:
        assert sum(item.size for item in left) <= size
    fresh = [item for item in gone if age is None or now is None or now - item.since <= age]
    if fresh:
        assert size is not None
        assert sum(item.size for item in [*left, fresh[-1]]) > size
    if age is None and size is None:
        assert not gone


def _retention(spool: Spool, clock: FakeClock, keep: Keep, *, records: bool = True) -> Retention:
    rules = Rules(Policy(), {}, keep)
    return Retention(spool, spool.root, clock, rules, lambda *_, **__: None, records=records)


@pytest.mark.parametrize("records", [True, False])
def test_a_copy_goes_when_it_is_old_enough(tmp_path: Path, records: bool) -> None:
    """A day after its upload the copy and its sidecar go; what is not uploaded stays, whatever its age."""
    spool, clock = fresh_spool(tmp_path / "spool"), FakeClock(datetime.now(UTC))
    stem = publish(spool, 0).name.stem
    spool.keep_uploaded(spool.ready / f"{stem}.mp4")
    publish(spool, 1)
    retention = _retention(spool, clock, Keep(age=86400.0), records=records)
    clock.advance(86000)
    retention.look()
    assert videos_in(spool.uploaded) == [f"{stem}.mp4"]
    clock.advance(460)
    retention.look()
    assert not names_in(spool.uploaded)
    assert len(videos_in(spool.ready)) == 1


def test_an_unset_clock_deletes_nothing_by_age(tmp_path: Path) -> None:
    """While the clock is still to be set nobody knows how old a copy is; the size counts even then."""
    spool, clock = fresh_spool(tmp_path / "spool"), FakeClock(datetime.now(UTC))
    stem = publish(spool, 0).name.stem
    spool.keep_uploaded(spool.ready / f"{stem}.mp4")
    clock.is_synchronised = False
    clock.advance(10**6 - 1)
    _retention(spool, clock, Keep(age=60.0)).look()
    assert videos_in(spool.uploaded)
    _retention(spool, clock, Keep(size=0)).look()
    assert not names_in(spool.uploaded)
