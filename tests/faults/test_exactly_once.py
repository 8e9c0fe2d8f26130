"""Exactly once, fuzzed: duplicates, any order, races, kills at any call to a store, videos replaced and deleted."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from cloud import extraction
from cloud.dataset.index import VideoIndex
from cloud.events import ObjectRef
from cloud.pipeline import process, remove
from cloud.settings import Settings
from edge_agent.errors import NameInvalid, ObjectNotFound, PreconditionFailed, VideoUnreadable
from edge_agent.store import ObjectStore
from tests.support.clock import FakeClock
from tests.support.memory_store import MemoryStore, Told
from tests.support.schedules import Deaths, Killed, race
from tests.support.toy_video import ToyDecoder, ToySheet, toy

DERIVED = ("frames/", "previews/", "index/", "manifests/")
STEMS = ["blue_box_1", "blue_box_2", "blue_box_10", "red_cup_dock7-cam1-20261122T143105123Z"]
CALLS = ("checkout", "delete", "get", "head", "list", "put", "put_if_absent", "put_if_match")  # all the pipeline makes
WORKERS = 3
Around = Callable[[str, Callable[[], Any]], Any]


def settings(every: int) -> Settings:
    document = {"raw": "r", "dataset": "d", "sampling": {"every": every}, "sheet": {"tile_width": 64, "max_tiles": 1}}
    return Settings.model_validate({**document, "judges": {"faces": {"action": "off"}}})


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Videos cost nothing to decode, and a worker makes one call at a time, so a seed means one schedule."""
    monkeypatch.setattr(extraction, "Decoder", ToyDecoder)
    monkeypatch.setattr(extraction, "ContactSheet", ToySheet)
    monkeypatch.setattr(extraction, "WORKERS", 1)
    monkeypatch.setattr(extraction, "AHEAD", 1)


@dataclass
class World:
    """Raw and dataset store, the events that are still to be handled, and what happens to videos meanwhile."""

    chance: random.Random
    raw: MemoryStore
    dataset: MemoryStore
    every: int
    pending: list[tuple[str, ObjectRef]] = field(default_factory=list)
    under_way: int = 0
    changing: bool = False

    def land(self, stem: str, body: bytes) -> None:
        """Put a video, and send its event one to three times."""
        info = self.raw.put(f"videos/{stem}.mp4", body)
        self._send("created", ObjectRef(self.raw.name, info.key, etag=info.etag))

    def delete(self, stem: str) -> None:
        self.raw.delete(f"videos/{stem}.mp4")
        self._send("removed", ObjectRef(self.raw.name, f"videos/{stem}.mp4"))

    def _send(self, kind: str, ref: ObjectRef) -> None:
        for _ in range(self.chance.randint(1, 3)):
            self.pending.insert(self.chance.randint(0, len(self.pending)), (kind, ref))

    def changer(self, changes: list[Callable[[], None]]) -> Callable[[Around], None]:
        """A job that makes *changes*, between the others' calls."""
        self.changing = True

        def job(around: Around) -> None:
            for change in changes:
                for _ in range(self.chance.randint(0, 20)):
                    _pass(around)
                change()
            self.changing = False

        return job

    def worker(self, around: Around) -> None:
        """Take events until there are none; one that ends in a death or a lost race comes again."""
        raw, dataset = (cast("ObjectStore", Told(store, around)) for store in (self.raw, self.dataset))
        while self.pending or self.under_way or self.changing:
            if not self.pending:
                _pass(around)
                continue
            kind, ref = event = self.pending.pop(self.chance.randrange(len(self.pending)))
            self.under_way += 1
            try:
                handle(kind, ref, raw, dataset, self.every)
            except (Killed, PreconditionFailed):
                self.pending.append(event)
            finally:
                self.under_way -= 1


def _pass(around: Around) -> None:
    """Let others go first."""
    around("", lambda: None)


def handle(kind: str, ref: ObjectRef, raw: ObjectStore, dataset: ObjectStore, every: int) -> None:
    """What an engine does with an event: errors that trying again does not mend end it."""
    act = process if kind == "created" else remove
    try:
        act(ref, raw, dataset, settings(every), FakeClock())
    except (ObjectNotFound, NameInvalid, VideoUnreadable):
        return


def derived(store: MemoryStore) -> dict[str, bytes]:
    """Everything made of the videos, to the byte. A partition whose last line went is as good as none."""
    found = {key: stored.body for key, stored in sorted(store.objects.items()) if key.startswith(DERIVED)}
    return {key: body for key, body in found.items() if body}


def parked(store: MemoryStore) -> list[str]:
    return [key for key in sorted(store.objects) if key.startswith("failed/")]


def clean(world: World) -> MemoryStore:
    """One orderly run over the videos that are there at the end, into a data set of its own."""
    fresh = MemoryStore(world.dataset.name, world.dataset.scratch)
    for key in sorted(world.raw.objects):
        ref = ObjectRef(world.raw.name, key)
        handle("created", ref, cast("ObjectStore", world.raw), cast("ObjectStore", fresh), world.every)
    return fresh


def story(seed: int, tmp_path: Path) -> tuple[World, list[Callable[[Around], None]]]:
    """What *seed* tells: duplicates and races in all; in most, videos come in new versions, go, come back, or break."""
    chance = random.Random(seed)
    world = World(chance, MemoryStore("raw", tmp_path), MemoryStore("dataset", tmp_path), every=2)
    former = settings(3)
    stems = STEMS[: chance.choice([1, 1, 2, 4])]
    for stem in stems:
        world.land(stem, toy(chance.randint(2, 6), chance.randint(1, 40)))
        if seed % 3 == 1:  # the data set was made under other settings before
            ref = ObjectRef("raw", f"videos/{stem}.mp4")
            process(ref, cast("ObjectStore", world.raw), cast("ObjectStore", world.dataset), former, FakeClock())
    changes: list[Callable[[], None]] = []
    for _ in range(0 if seed % 4 == 0 else chance.randint(1, 5)):
        stem = chance.choice(stems[:2])
        body = toy(chance.choice([0, 2, 4, 5]), chance.randint(41, 80))
        changes.append(chance.choice([lambda s=stem, b=body: world.land(s, b), lambda s=stem: world.delete(s)]))  # type: ignore[misc]
    return world, [world.changer(changes), *[world.worker] * WORKERS]


def run(seed: int, tmp_path: Path) -> tuple[World, Deaths]:
    world, jobs = story(seed, tmp_path)
    deaths = Deaths(random.Random(seed + 1), every=25, most=seed % 7)
    race(jobs, seed, deaths)
    return world, deaths


@pytest.mark.timeout(900)
def test_whatever_the_schedule_the_bytes_are_those_of_one_clean_run(
    toys: None, tmp_path: Path, storm: bool, account: Callable[..., None]
) -> None:
    """Events repeated, reordered and raced, workers killed before and after calls, videos replaced and deleted."""
    schedules = 2000 if storm else 300
    where: Counter[str] = Counter()
    for seed in range(schedules):
        world, deaths = run(seed, tmp_path)
        expected = clean(world)
        made, wanted = derived(world.dataset), derived(expected)
        differing = sorted(key for key in made.keys() | wanted.keys() if made.get(key) != wanted.get(key))
        assert not differing, (seed, differing, deaths.seen)
        if not deaths.seen:  # a report may be lost with the worker: its message is still in the queue
            assert parked(world.dataset) == parked(expected), seed
        where.update(deaths.seen)
    assert set(where) == {f"{moment} {call}" for moment in ("before", "after") for call in CALLS}
    kills = ", ".join(f"{count} {call}" for call, count in sorted(where.items()))
    account(f"{schedules} schedules of {WORKERS} workers, {where.total()} killed", "nothing", kills)


def test_a_seed_is_a_schedule(toys: None, tmp_path: Path) -> None:
    """The same seed makes the same calls in the same order, so a failure can be looked at again."""
    assert [run(5, tmp_path)[1].seen for _ in range(3)].count(run(5, tmp_path)[1].seen) == 3


def test_of_two_new_videos_of_one_name_at_once_one_is_refused(
    toys: None, tmp_path: Path, storm: bool, account: Callable[..., None]
) -> None:
    """Neither has an index yet when both begin: one is made whole, the other parked, and no frame is of both."""
    refused = 0
    schedules = 300 if storm else 60
    for seed in range(schedules):
        chance = random.Random(seed)
        world = World(chance, MemoryStore("raw", tmp_path), MemoryStore("dataset", tmp_path), every=2)
        for place, shade in (("a", 10), ("b", 20)):
            info = world.raw.put(f"videos/{place}/blue_box_1.mp4", toy(5, shade))
            world.pending.append(("created", ObjectRef("raw", info.key, etag=info.etag)))
        race([world.worker] * 2, seed, Deaths(random.Random(seed), every=20, most=seed % 3))
        index = VideoIndex.from_json(world.dataset.get("index/blue_box_1.json").body)
        assert index is not None
        shade = {"videos/a/blue_box_1.mp4": 10, "videos/b/blue_box_1.mp4": 20}[index.video.key]
        for frame in index.frames:
            assert world.dataset.get(frame.key).body.count(b"x") == shade, seed
        assert parked(world.dataset) == ["failed/blue_box_1.json"]
        refused += 1
    account(f"{schedules} races of two videos of one name", "nothing", f"{refused} refused and parked")


@dataclass
class Overtaken:
    """A worker that falls asleep before its call number *sleeps*, while *meanwhile* happens, and may die at *dies*."""

    meanwhile: Callable[[], None]
    sleeps: int
    dies: int
    calls: int = 0

    def around(self, _: str, make: Callable[[], Any]) -> Any:
        self.calls += 1
        if self.calls == self.sleeps:
            self.meanwhile()
        made = make()
        if self.calls == self.dies:
            raise Killed
        return made


CHANGES: dict[str, Callable[[World], None]] = {
    "replaced": lambda world: world.land("blue_box_1", toy(4, 50)),
    "replaced by a shorter one": lambda world: world.land("blue_box_1", toy(2, 50)),
    "replaced by rubbish": lambda world: world.land("blue_box_1", b"rubbish"),
    "deleted": lambda world: world.delete("blue_box_1"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("first", ["created", "removed", "rubbish"])
def test_a_worker_overtaken_at_any_call_harms_nothing(
    toys: None, tmp_path: Path, storm: bool, first: str, change: str
) -> None:
    """While it sleeps the video changes and another worker sees to that; then it goes on, to its end or its death."""
    for sleeps in range(1, 60):
        for dies in (0, *range(sleeps, sleeps + 40, 1 if storm else 9)):
            world = World(random.Random(1), MemoryStore("raw", tmp_path), MemoryStore("dataset", tmp_path), every=2)
            raw, dataset = cast("ObjectStore", world.raw), cast("ObjectStore", world.dataset)

            def settle(world: World = world, raw: ObjectStore = raw, dataset: ObjectStore = dataset) -> None:
                while world.pending:
                    handle(*world.pending.pop(), raw, dataset, world.every)

            world.land("blue_box_2", toy(3, 9))
            world.land("blue_box_1", toy(6, 20))
            settle()
            world.land("blue_box_1", b"rubbish" if first == "rubbish" else toy(5, 30))
            if first == "removed":
                world.delete("blue_box_1")
            event = world.pending[0] if first != "removed" else ("removed", ObjectRef("raw", "videos/blue_box_1.mp4"))
            world.pending.clear()

            def meanwhile(world: World = world, settle: Callable[[], None] = settle) -> None:
                CHANGES[change](world)
                settle()

            sleeper = Overtaken(meanwhile, sleeps, dies)
            told = [cast("ObjectStore", Told(store, sleeper.around)) for store in (raw, dataset)]
            try:
                handle(*event, told[0], told[1], world.every)
            except Killed:
                handle(*event, raw, dataset, world.every)
            if sleeper.calls < sleeps:
                return
            expected = clean(world)
            assert derived(world.dataset) == derived(expected), (sleeps, dies)
            if not dies:
                assert parked(world.dataset) == parked(expected), sleeps
            if sleeper.calls < dies:
                break
    raise AssertionError("a video takes more calls than were tried")
