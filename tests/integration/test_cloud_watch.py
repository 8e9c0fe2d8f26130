"""The embedded trigger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloud.bell import Bell, Stopped, back_off
from cloud.engine import EventHandler
from cloud.events import ObjectRef, parse
from cloud.settings import Settings
from cloud.watch import Hints, Watch, notification
from edge_agent.errors import StoreUnreachable
from edge_agent.store import ObjectInfo, ObjectStore
from edge_agent.store.directory import DirectoryStore
from tests.support.clock import FakeClock

SETTINGS = Settings.model_validate({"raw": "x", "dataset": "x", "sampling": {"every": 100}})


class Recording(EventHandler):
    """The real handler, remembering what it was given."""

    def handle(self, event: object) -> dict[str, Any]:
        given.append(event)
        return EventHandler.handle(self, event)


given: list[object] = []


@pytest.fixture
def clock() -> FakeClock:
    given.clear()
    return FakeClock()


def watch(store: ObjectStore, clock: FakeClock, bell: Bell | None = None) -> Watch:
    return Watch(Recording(SETTINGS, clock, opener=lambda _: store), store, clock, bell or Bell())


def test_new_videos_become_genuine_events_once(store: ObjectStore, black_cup: Path, clock: FakeClock) -> None:
    """Every new video is one S3 event for the same handler; a second look finds nothing to do."""
    store.put("videos/black_cup_1.mp4", black_cup)
    store.put("videos/notes.txt", b"no video")
    watching = watch(store, clock)
    assert watching.run_once() == []
    assert watching.run_once() == []
    info = store.head("videos/black_cup_1.mp4")
    assert len(given) == 1
    (ref,) = parse(given[0])
    assert (ref.bucket, ref.key, ref.etag, ref.size) == (store.name, info.key, info.etag, info.size)
    assert store.get("manifests/black_cup/undated.manifest").body.count(b"\n") == 3


def test_a_changed_video_is_new(store: ObjectStore, black_cup: Path, clock: FakeClock) -> None:
    """Rubbish is reported once and then left alone, until other bytes stand under its key."""
    store.put("videos/black_cup_1.mp4", b"rubbish" * 100)
    watching = watch(store, clock)
    (error,) = watching.run_once()
    assert error.code == "VideoUnreadable"
    clock.advance(10_000)
    assert watching.run_once() == []
    store.put("videos/black_cup_1.mp4", black_cup)
    assert watching.run_once() == []
    assert len(given) == 2
    assert store.get("manifests/black_cup/undated.manifest").body.count(b"\n") == 3


class Flaky(DirectoryStore):
    """A directory whose heads fail while it is told so."""

    down = True

    def head(self, key: str) -> ObjectInfo:
        if self.down:
            raise StoreUnreachable("no route", where=key)
        return super().head(key)


def test_failures_that_pass_are_retried_with_back_off(tmp_path: Path, black_cup: Path, clock: FakeClock) -> None:
    """A store that comes back is found again, after growing pauses and not before them."""
    store = Flaky(tmp_path)
    store.put("videos/black_cup_1.mp4", black_cup)
    watching = watch(store, clock)
    assert [error.code for error in watching.run_once()] == ["StoreUnreachable"]
    assert watching.run_once() == []
    assert len(given) == 1
    clock.advance(2)
    assert [error.code for error in watching.run_once()] == ["StoreUnreachable"]
    store.down = False
    clock.advance(4)
    assert watching.run_once() == []
    assert len(given) == 3
    assert store.get("manifests/black_cup/undated.manifest").body.count(b"\n") == 3


def test_back_off_doubles_up_to_a_limit() -> None:
    """Waits grow, stay within five minutes, and never vanish."""
    assert all(1 <= back_off(1) <= 2 for _ in range(50))
    assert all(150 <= back_off(attempt) <= 300 for attempt in (9, 100, 10_000))


class Gone(DirectoryStore):
    """A directory that cannot be listed the first three times."""

    fails = 3

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        if self.fails:
            self.fails -= 1
            raise StoreUnreachable("no route", where=prefix)
        return super().list(prefix)


def test_the_watch_outlives_a_store_that_is_away(tmp_path: Path, black_cup: Path, clock: FakeClock) -> None:
    """It goes on looking, processes the video when the store is back, and ends when the bell says so."""
    store, bell = Gone(tmp_path), Bell()
    store.put("videos/black_cup_1.mp4", black_cup)
    clock.after(100, bell.stop)
    watch(store, clock, bell).run()
    assert len(given) == 1


def test_stopping_ends_a_video_in_the_middle(directory_store: DirectoryStore, black_cup: Path) -> None:
    """A stop while a video is processed is honoured at its next frame; nothing is committed of it."""
    directory_store.put("videos/black_cup_1.mp4", black_cup)
    bell, clock = Bell(), FakeClock()

    def stop_then_check(progress: object) -> None:
        bell.stop()
        bell.check()

    handler = EventHandler(SETTINGS, clock, stop_then_check, opener=lambda _: directory_store)
    watching = Watch(handler, directory_store, clock, bell)
    with pytest.raises(Stopped):
        watching.run_once()
    watching.run()
    assert not list(directory_store.list("manifests/"))


def test_a_hint_wakes_the_watch(directory_store: DirectoryStore, black_cup: Path) -> None:
    """A video that appears in a directory rings the bell; its directory may appear later than the watch."""
    bell = Bell()
    with Hints(directory_store, bell) as hints:
        hints.renew()
        assert not bell._rung.is_set()
        directory_store.put("videos/first.mp4", b"x")
        hints.renew()
        directory_store.put("videos/new/black_cup_1.mp4", black_cup)
        directory_store.put("videos/black_cup_2.mp4", black_cup)
        assert bell._rung.wait(60)


def test_a_notification_spells_what_was_found(directory_store: DirectoryStore) -> None:
    """Key, version, ETag and size of the object come back from the event; later objects have later sequencers."""
    first = directory_store.put("videos/a=b/black_cup_1.mp4", b"x")
    later = replace(first, modified=first.modified.replace(year=first.modified.year + 1), version="v1")
    (one,), (two,) = parse(notification("raw", first)), parse(notification("raw", later))
    assert one == ObjectRef("raw", first.key, None, first.etag, 1, one.sequencer)
    assert two.version_id == "v1"
    assert one.sequencer is not None
    assert two.sequencer is not None
    assert one.sequencer < two.sequencer
