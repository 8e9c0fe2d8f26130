"""The watcher: hints of arrivals, and nothing that it cannot survive."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import watchdog.observers

from edge_agent.durable import move_durably
from edge_agent.upload.watcher import Watcher

SOON = 60.0  # far beyond what an event takes; only a failing test waits that long


@pytest.fixture
def wake() -> threading.Event:
    return threading.Event()


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    directory = tmp_path / "ready"
    directory.mkdir()
    return directory


@pytest.fixture
def watcher(ready: Path, wake: threading.Event) -> Iterator[Watcher]:
    threads = threading.active_count()
    watcher = Watcher(ready, wake)
    yield watcher
    watcher.close()
    assert threading.active_count() == threads


def arrive(ready: Path, name: str) -> None:
    outside = ready.parent / f"{name}.part"
    outside.write_bytes(b"video")
    move_durably(outside, ready / name)


def test_a_file_linked_in_wakes(watcher: Watcher, ready: Path, wake: threading.Event) -> None:
    """The way capture publishes a segment is noticed."""
    assert watcher.ensure()
    arrive(ready, "a.mp4")
    assert wake.wait(SOON)


def test_a_file_renamed_in_wakes(watcher: Watcher, ready: Path, wake: threading.Event) -> None:
    """The way a person's ``mv`` publishes a segment is noticed."""
    assert watcher.ensure()
    outside = ready.parent / "b.mp4"
    outside.write_bytes(b"video")
    outside.rename(ready / "b.mp4")
    assert wake.wait(SOON)


class Bell(threading.Event):
    """An event that counts how often it was set."""

    def __init__(self) -> None:
        super().__init__()
        self.rings = 0

    def set(self) -> None:
        self.rings += 1
        super().set()


def test_our_own_work_in_the_directory_wakes_nobody(ready: Path) -> None:
    """Sidecars, scratch files, reading and removing raise no hint, so an idle box stays idle; an arrival raises one."""
    bell = Bell()
    watcher = Watcher(ready, bell)
    (ready / "a.mp4").write_bytes(b"video")
    try:
        assert watcher.ensure()
        (ready / "a.json").write_text("{}")
        (ready / ".a.json.tmp").write_text("{}")
        (ready / "a.mp4").read_bytes()
        (ready / "a.mp4").unlink()
        arrive(ready, "b.mp4")  # events keep their order: all the others came before this one
        assert bell.wait(SOON)
    finally:
        watcher.close()
    assert bell.rings == 1


def test_a_dead_observer_is_started_anew(watcher: Watcher, ready: Path, wake: threading.Event) -> None:
    """Once its threads have ended, the next call brings the hints back."""
    assert watcher.ensure()
    for thread in threading.enumerate():
        if isinstance(thread, watchdog.observers.api.BaseObserver):
            thread.stop()
            thread.join()
    assert not watcher.alive
    assert watcher.ensure()
    arrive(ready, "a.mp4")
    assert wake.wait(SOON)


def test_a_directory_that_was_replaced_is_watched_again(watcher: Watcher, ready: Path, wake: threading.Event) -> None:
    """An observer of a directory that is no longer there counts as dead."""
    assert watcher.ensure()
    ready.rename(ready.with_name("old"))
    ready.mkdir()
    assert not watcher.alive
    assert watcher.ensure()
    wake.clear()
    arrive(ready, "a.mp4")
    assert wake.wait(SOON)


def test_an_absent_directory_is_no_error_and_watched_once_it_is_there(watcher: Watcher, ready: Path) -> None:
    """Nothing is raised, no thread is left behind, and it is made good later."""
    ready.rmdir()
    assert not watcher.ensure()
    assert not watcher.ensure()
    ready.mkdir()
    assert watcher.ensure()


def test_inotify_limits_are_survived(watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that gives no watch leaves the rescans in charge until it does."""

    def refuse() -> None:
        raise OSError(errno.EMFILE, "inotify instance limit reached")

    with monkeypatch.context() as patch:
        patch.setattr(watchdog.observers, "Observer", refuse)
        assert not watcher.ensure()
    assert watcher.ensure()
