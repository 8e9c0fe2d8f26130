"""A service manager's view of a real agent: what it says on the socket it was given, and when it falls silent."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]
import yaml

from edge_agent.capture.report import Event
from edge_agent.fleet import GRACE_SECONDS, Fleet
from edge_agent.supervisor import STOP_SECONDS, Worker
from tests.support.agent import process, write_settings
from tests.support.capture import job_for
from tests.support.clock import FakeClock
from tests.support.wait import until

SOURCE = "synthetic:?size=160x120&fps=10"


class Listener:
    """What was said, word by word, in order."""

    def __init__(self, listening: socket.socket) -> None:
        self._socket = listening
        self.words: list[str] = []

    def pending(self) -> list[str]:
        """What was said and not yet heard."""
        said: list[str] = []
        with suppress(BlockingIOError):
            while True:
                said += self._socket.recv(4096).decode().splitlines()
        return said

    def hear(self, beginning: str, *, known: int | None = None, containing: str = "") -> str:
        """The next word that begins so and has *containing* in it; what was said before is kept in :attr:`words`.

        Of those the first *known* are passed over, all when that is None.
        """
        passed = len(self.words) if known is None else known

        def found() -> str:
            self.words += self.pending()
            words = (word for word in self.words[passed:] if word.startswith(beginning) and containing in word)
            return next(words, "")

        return until(found, beginning)


@contextmanager
def _listening(directory: Path) -> Iterator[tuple[Listener, dict[str, str]]]:
    path = str(directory / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path)
        listening.setblocking(False)
        yield Listener(listening), {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "30000000"}


def _settings(directory: Path, source: str = SOURCE) -> Path:
    (directory / "store").mkdir()
    return write_settings(directory, source, str(directory / "store"))


def test_a_service_is_ready_with_its_first_status_reloads_and_stops_in_so_many_words(tmp_path: Path) -> None:
    """READY after the camera's status; RELOADING and READY around a SIGHUP; STOPPING at the end."""
    config = _settings(tmp_path)
    with (
        _listening(tmp_path) as (manager, environment),
        process("edge_agent.cli", "run", "-c", config, **environment) as agent,
    ):
        manager.hear("READY=1")
        manager.hear("WATCHDOG=1")
        manager.hear("STATUS=1 of 1 cameras healthy", known=0)
        agent.send_signal(signal.SIGHUP)
        manager.hear("RELOADING=1")
        assert any(word.startswith("MONOTONIC_USEC=") for word in manager.words)
        assert manager.words.count("READY=1") == 2 or manager.hear("READY=1")
        children = [child.environ() for child in psutil.Process(agent.pid).children()]
        agent.send_signal(signal.SIGTERM)
        manager.hear("STOPPING=1")
        agent.communicate(timeout=60)
        assert agent.returncode == 0
    assert children
    assert not [names for names in children if "NOTIFY_SOCKET" in names or "WATCHDOG_USEC" in names]


def test_a_camera_that_is_away_does_not_keep_a_service_from_being_ready(tmp_path: Path) -> None:
    """Its status has come, and the line for people says what is wrong with it."""
    config = _settings(tmp_path, f"file:{tmp_path / 'absent.mp4'}")
    with _listening(tmp_path) as (manager, environment), process("edge_agent.cli", "run", "-c", config, **environment):
        manager.hear("READY=1")
        assert "absent.mp4" in manager.hear("STATUS=0 of 1 ", known=0, containing="cam1: ")


def test_an_uploader_alone_is_ready_and_feeds_the_watchdog(tmp_path: Path) -> None:
    """The half without cameras waits for no camera's status."""
    settings = yaml.safe_load(_settings(tmp_path).read_text())
    config = tmp_path / "upload.yaml"
    config.write_text(yaml.safe_dump(settings))
    with (
        _listening(tmp_path) as (manager, environment),
        process("edge_agent.cli", "upload", "-c", config, **environment),
    ):
        manager.hear("READY=1")
        manager.hear("WATCHDOG=1")


def test_a_child_whose_watcher_is_stuck_is_late_until_it_is_heard_again(tmp_path: Path) -> None:
    """The thread that passes its words on hangs: it counts as late, so the watchdog goes hungry, until it gets on."""
    clock, go_on, heard = FakeClock(), threading.Event(), threading.Event()

    def take(_event: Event) -> None:
        heard.set()
        go_on.wait(60)

    fleet = Fleet(clock, take, lambda: None)
    fleet.start(Worker("cam1", "capture", job_for(tmp_path, "synthetic:?size=160x120").to_line(), silence=3.0))
    try:
        assert heard.wait(60)
        assert fleet.late() == []
        clock.advance(3.0 + STOP_SECONDS + GRACE_SECONDS + 1)
        assert fleet.late() == ["cam1"]
        go_on.set()
        until(lambda: not fleet.late(), "a word of the camera")
        until(lambda: not fleet.unknown(), "its status")
    finally:
        go_on.set()
        fleet.stop()


def _sizes(spool: Path) -> list[int]:
    """Of what is being recorded; without what moves on in this moment."""
    sizes = []
    for path in (spool / "recording").iterdir():
        with suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return sizes


def test_a_parent_that_hangs_feeds_nobody(tmp_path: Path) -> None:
    """After SIGSTOP no word comes, though its children go on; after SIGCONT they do again."""
    config = _settings(tmp_path)
    with (
        _listening(tmp_path) as (manager, environment),
        process("edge_agent.cli", "capture", "-c", config, **environment) as agent,
    ):
        manager.hear("READY=1")
        agent.send_signal(signal.SIGSTOP)
        until(lambda: psutil.Process(agent.pid).status() == psutil.STATUS_STOPPED, "the parent to stand still")
        spool = tmp_path / "spool"
        sizes = _sizes(spool)
        manager.pending()  # what was said before it stood still
        until(lambda: _sizes(spool) != sizes, "footage that grows")
        assert manager.pending() == []
        os.kill(agent.pid, signal.SIGCONT)
        manager.hear("WATCHDOG=1")
