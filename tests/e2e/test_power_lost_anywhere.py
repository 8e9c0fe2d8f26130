"""Manifest lines exactly once: duplicates, races, any order and crashes leave the bytes of one clean run."""

from __future__ import annotations

import itertools
import json
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import av
import pytest

from cloud.engine import EventHandler
from cloud.events import ObjectRef, s3_notification
from cloud.settings import Settings
from edge_agent.clock import SystemClock
from edge_agent.store import Body, ObjectInfo, ObjectStore, StoredObject

NOW = datetime(2026, 11, 22, 14, 31, 7, tzinfo=UTC)
DERIVED = ("frames/", "previews/", "index/", "manifests/")
# Two of one partition, two of one partition of hand-made takes, and one beside each.
TAKES = {
    "yellow_box_dock7-cam1-20261122T143105123Z": ("yellow", 20),
    "yellow_box_dock7-cam2-20261122T143105123Z": ("yellow", 26),
    "yellow_box_dock8-cam1-20261122T143105123Z": ("yellow", 14),
    "black_cup_1": ("black", 24),
    "black_cup_2": ("black", 12),
    "yellow_box_1": ("yellow", 24),
}
Clips = Mapping[str, Path]
R = TypeVar("R")


@pytest.fixture(scope="module")
def clips(yellow_box: Path, black_cup: Path, tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """The first frames of real footage, as small segments of their own."""
    directory, made = tmp_path_factory.mktemp("clips"), {}
    for stem, (kind, frames) in TAKES.items():
        made[stem] = directory / f"{stem}.mp4"
        with av.open(yellow_box if kind == "yellow" else black_cup) as source, av.open(made[stem], "w") as target:
            stream = source.streams.video[0]
            copy = target.add_stream_from_template(stream)
            for packet in itertools.islice((p for p in source.demux(stream) if p.size), frames):
                packet.stream = copy
                target.mux(packet)
    return made


def handling(store: ObjectStore, every: int = 10) -> EventHandler:
    document = {"raw": "r", "dataset": "d", "sampling": {"every": every}, "sheet": {"tile_width": 64}}
    return EventHandler(Settings.model_validate(document), SystemClock(), opener=lambda _: store)


def land(store: ObjectStore, clips: Clips) -> list[dict[str, Any]]:
    """Put the clips where videos land; the events that tell of it."""
    events = []
    for stem, path in clips.items():
        info = store.put(f"videos/dock7/2026/11/22/{stem}.mp4", path)
        ref = ObjectRef(store.name, info.key, info.version, info.etag, info.size, "0055AED6DCD90281E5")
        events.append(s3_notification(ref, NOW))
    return events


def derived(store: ObjectStore) -> dict[str, bytes]:
    """Everything made of the videos, to the byte."""
    return {info.key: store.get(info.key).body for prefix in DERIVED for info in store.list(prefix)}


def restore(store: ObjectStore, state: Mapping[str, bytes]) -> None:
    """Make the derived objects those of *state* again."""
    now = derived(store)
    for key in now.keys() - state.keys():
        store.delete(key)
    for key, body in state.items():
        if now.get(key) != body:
            store.put(key, body)


def clean_run(store: ObjectStore, events: list[dict[str, Any]], every: int = 10) -> dict[str, bytes]:
    """What one orderly pass makes of the events' videos; the store is left as before."""
    for event in events:
        handling(store, every).handle(event)
    made = derived(store)
    restore(store, {})
    return made


def test_one_clean_run_has_each_line_once(store: ObjectStore, clips: Clips) -> None:
    """The yardstick itself: one line for each sampled frame of each video, in four partitions."""
    made = clean_run(store, land(store, clips))
    lines = [line for key, body in made.items() if key.startswith("manifests/") for line in body.splitlines()]
    frames = [key for key in made if key.startswith("frames/")]
    assert sorted(json.loads(line)["source-ref"] for line in lines) == sorted(store.uri(key) for key in frames)
    assert len(frames) == sum(-(-count // 10) for _, count in TAKES.values()) == 15
    assert len([key for key in made if key.startswith("manifests/")]) == 4


@pytest.mark.parametrize("seed", range(2))
def test_duplicate_reordered_and_concurrent_events_change_nothing(store: ObjectStore, clips: Clips, seed: int) -> None:
    """Every event three times, in random order and batches, by eight workers at once."""
    events = land(store, clips)
    clean = clean_run(store, events)
    chance = random.Random(seed)
    several = events * 3
    chance.shuffle(several)
    pairs = [several[start : start + 2] for start in range(0, len(several), 2)]
    batches = [chance.choice([queued, joined])(pair) for pair in pairs]
    workers = [handling(store) for _ in range(4)]
    together = threading.Barrier(8)

    def work(worker: int) -> list[dict[str, Any]]:
        together.wait()
        return [workers[worker % 4].handle(batch) for batch in batches[worker::8]]

    with ThreadPoolExecutor(8) as pool:
        replies = [reply for some in pool.map(work, range(8)) for reply in some]
    assert len(replies) == len(batches)
    assert all(not reply.get("batchItemFailures") for reply in replies)
    assert derived(store) == clean


def queued(events: list[dict[str, Any]]) -> dict[str, Any]:
    records = [{"messageId": str(i), "eventSource": "aws:sqs", "body": json.dumps(e)} for i, e in enumerate(events)]
    return {"Records": records}


def joined(events: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Records": [record for event in events for record in event["Records"]]}


class Crash(Exception):
    """The process ends here: nothing in the product catches it."""


@dataclass
class Crashing:
    """The store, ending the process before or after its call number *at*."""

    store: ObjectStore
    at: int
    after: bool
    calls: list[str] = field(default_factory=list)

    def _call(self, name: str, call: Callable[[], R]) -> R:
        self.calls.append(name)
        now = len(self.calls) == self.at
        if now and not self.after:
            raise Crash(name)
        result = call()
        if now:
            raise Crash(name)
        return result

    @property
    def name(self) -> str:
        return self.store.name

    def uri(self, key: str) -> str:
        return self.store.uri(key)

    def key_of(self, uri: str) -> str | None:
        return self.store.key_of(uri)

    def check(self) -> None:
        self.store.check()

    def put(
        self, key: str, body: Body, *, content_type: str = "", metadata: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        return self._call("put", lambda: self.store.put(key, body, content_type=content_type, metadata=metadata))

    def put_if_absent(
        self, key: str, body: Body, *, content_type: str = "", metadata: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        return self._call("put_if_absent", lambda: self.store.put_if_absent(key, body, content_type=content_type))

    def put_if_match(
        self, key: str, body: Body, etag: str, *, content_type: str = "", metadata: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        return self._call("put_if_match", lambda: self.store.put_if_match(key, body, etag, content_type=content_type))

    def get(self, key: str) -> StoredObject:
        return self._call("get", lambda: self.store.get(key))

    def head(self, key: str) -> ObjectInfo:
        return self._call("head", lambda: self.store.head(key))

    def checkout(self, key: str) -> AbstractContextManager[Path]:
        return self._call("checkout", lambda: self.store.checkout(key))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        return iter(self._call("list", lambda: [*self.store.list(prefix)]))

    def delete(self, key: str) -> None:
        self._call("delete", lambda: self.store.delete(key))


def crash_everywhere(store: ObjectStore, event: dict[str, Any], every: int, clean: Mapping[str, bytes]) -> list[str]:
    """Crash at each call in turn, from the state found; each time a redelivery must end in *clean*.

    Before one and after the next: who dies after a call leaves what he leaves who dies before the one behind it.
    Returns the calls of an undisturbed run.
    """
    before = derived(store)
    for at in itertools.count(1):
        restore(store, before)
        crashing = Crashing(store, at, after=at % 2 == 0)
        try:
            handling(cast("ObjectStore", crashing), every).handle(event)  # which stores nothing in parts
        except Crash:
            handling(store, every).handle(event)
            assert derived(store) == clean, (crashing.calls[-1], at)
        else:
            assert derived(store) == clean
            return crashing.calls
    raise AssertionError("calls without end")


def test_a_crash_at_any_store_call_is_mended_by_redelivery(store: ObjectStore, clips: Clips) -> None:
    """A first processing, beside another video of the same partition."""
    neighbour, event = land(store, {stem: clips[stem] for stem in ("black_cup_1", "black_cup_2")})
    clean = clean_run(store, [event, neighbour])
    handling(store).handle(neighbour)
    calls = crash_everywhere(store, event, 10, clean)
    assert {"head", "get", "checkout", "put", "put_if_match", "list"} <= set(calls)


def test_a_crash_while_a_video_is_processed_anew_is_mended(store: ObjectStore, clips: Clips) -> None:
    """Other settings than before: it ends as if the old ones had never been, wherever the crash was."""
    (event,) = land(store, {"black_cup_2": clips["black_cup_2"]})
    clean = clean_run(store, [event], every=9)
    handling(store, every=5).handle(event)
    calls = crash_everywhere(store, event, 9, clean)
    assert {"put_if_match", "delete"} <= set(calls)


def test_a_crash_in_a_duplicate_harms_nothing(store: ObjectStore, clips: Clips) -> None:
    """A worker that dies over work that was done already leaves it as it is."""
    (event,) = land(store, {"black_cup_2": clips["black_cup_2"]})
    handling(store).handle(event)
    calls = crash_everywhere(store, event, 10, derived(store))
    assert not {"put", "put_if_absent", "put_if_match", "checkout"} & set(calls)
