"""Child processes are kept alive, and ended in time."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest

from edge_agent.capture.report import Event, Scalar
from edge_agent.clock import SystemClock
from edge_agent.statuses import STALE_SECONDS, Cameras
from edge_agent.supervisor import STOP_SECONDS, Orders, Worker, supervise
from tests.support.capture import job_for
from tests.support.clock import FakeClock
from tests.support.wait import promised, tries, until


@contextmanager
def supervised(
    worker: Worker, take: Callable[[Event], None] = lambda _: None
) -> Iterator[tuple[list[Event], Orders, threading.Thread]]:
    """A thread that keeps *worker* alive; its events are listed, and *take* hears of them, too."""
    events: list[Event] = []
    orders = Orders()

    def hear(event: Event) -> None:
        events.append(event)
        take(event)

    thread = threading.Thread(target=supervise, args=(worker, orders, SystemClock(), hear))
    thread.start()
    try:
        yield events, orders, thread
    finally:
        orders.end()
        thread.join()
        orders.close()


def child() -> psutil.Process | None:
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if any("edge_agent.processes" in part for part in process.cmdline()):
                return process
    return None


def the_child() -> psutil.Process:
    """The process there is to be."""
    process = until(child, "the process")
    assert process is not None
    return process


def opened(events: list[Event]) -> int:
    return sum(event.name == "segment_opened" for event in events)


def test_a_child_that_hangs_is_replaced(tmp_path: Path) -> None:
    """A capture process that says nothing for too long is killed, said to be restarting, and started anew."""
    job = job_for(tmp_path, "synthetic:?size=160x120")
    with supervised(Worker("cam1", "capture", job.to_line(), silence=3.0)) as (events, _, _):
        until(lambda: opened(events), "recording")
        first = the_child()
        first.send_signal(signal.SIGSTOP)
        hung = until(lambda: [e.fields for e in events if e.fields.get("state") == "hanging"], "the word on it")
        assert hung[0]["problem"] == "its process said nothing for 3 s and is ended"
        until(lambda: [e for e in events if e.fields.get("state") == "restarting"], "the restart")
        until(lambda: opened(events) >= 2, "recording again")
        assert not first.is_running()
        assert any(event.name == "segment_salvaged" for event in events)


def test_a_child_that_hangs_is_not_called_healthy(tmp_path: Path) -> None:
    """Its parent says so while it is silent, and it is well again once it speaks."""
    clock = FakeClock()  # of the parent's judgement: the silence is real, and as long as the test says
    cameras = Cameras(clock, lambda _: None)

    def status() -> dict[str, Scalar]:
        return cameras.status().get("cam1", {})

    def silent() -> bool:
        clock.advance(1.0)
        return str(status()["problem"]).startswith("its process has said nothing for ")

    job = job_for(tmp_path, "synthetic:?size=160x120")
    with supervised(Worker("cam1", "capture", job.to_line(), silence=600.0), cameras.take):
        until(lambda: status().get("healthy"), "recording")
        process = the_child()
        process.send_signal(signal.SIGSTOP)
        until(silent, "its silence to be told")
        assert status()["healthy"] is False
        assert float(str(status()["last_durable_age"])) >= STALE_SECONDS
        process.send_signal(signal.SIGCONT)
        until(lambda: status()["healthy"], "a word of it")


def test_a_child_that_ends_well_is_not_started_again(tmp_path: Path) -> None:
    """A file that has been played is over."""
    job = job_for(tmp_path, "synthetic:?size=160x120&seconds=1")
    with supervised(Worker("cam1", "capture", job.to_line())) as (events, _, thread):
        thread.join(60)
        assert not thread.is_alive()
    assert opened(events) == 1


def test_a_child_that_will_not_stop_is_killed_in_time(tmp_path: Path) -> None:
    """Stopping takes no longer than the deadline, whatever the child does."""
    job = job_for(tmp_path, "synthetic:?size=160x120")
    with supervised(Worker("cam1", "capture", job.to_line())) as (events, orders, thread):
        until(lambda: opened(events), "recording")
        process = the_child()
        process.send_signal(signal.SIGSTOP)
        orders.end()
        thread.join(promised(STOP_SECONDS + 1))
        assert not thread.is_alive()
        assert not process.is_running()


def test_a_machine_without_room_for_a_process_is_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no process can be started, it is tried again."""
    import subprocess

    real, failures = subprocess.Popen, iter([OSError(11, "Resource temporarily unavailable")])

    def start(*arguments: object, **options: object) -> object:
        if error := next(failures, None):
            raise error
        return real(*arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", start)
    job = job_for(tmp_path, "synthetic:?size=160x120&seconds=1")
    with supervised(Worker("cam1", "capture", job.to_line())) as (events, _, thread):
        thread.join(60)
        assert not thread.is_alive()
    assert opened(events) == 1


def test_a_service_manager_that_signals_children_too_loses_no_footage(tmp_path: Path) -> None:
    """SIGTERM to the child and then from its parent finishes the segment once, as one signal would."""
    job = job_for(tmp_path, "synthetic:?size=160x120")
    for _ in tries(3):
        with supervised(Worker("cam1", "capture", job.to_line())) as (events, orders, _):
            until(lambda: opened(events), "recording")
            process = the_child()
            process.terminate()
            process.terminate()
            orders.end()
            began = time.monotonic()
        # Of a machine that stands still for as long as a stop may take, the segment is salvaged the next time.
        if any(event.name == "segment_closed" for event in events) or time.monotonic() - began < STOP_SECONDS / 2:
            break
    assert [event.fields["reason"] for event in events if event.name == "segment_closed"] == ["stopped"]
