"""Child processes are kept alive, and ended in time."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest

from edge_agent.capture.report import STATUS, Event
from edge_agent.clock import SystemClock
from edge_agent.supervisor import Orders, Worker, supervise
from tests.support.capture import job_for
from tests.support.wait import BUSY, until


@contextmanager
def supervised(worker: Worker) -> Iterator[tuple[list[Event], Orders, threading.Thread]]:
    events: list[Event] = []
    orders = Orders()
    thread = threading.Thread(target=supervise, args=(worker, orders, SystemClock(), events.append))
    thread.start()
    try:
        yield events, orders, thread
    finally:
        orders.end()
        thread.join()
        orders.close()


def child() -> psutil.Process | None:
    found = [p for p in psutil.Process().children() if any("edge_agent.processes" in part for part in p.cmdline())]
    return found[0] if found else None


def opened(events: list[Event]) -> int:
    return sum(event.name == "segment_opened" for event in events)


def test_a_child_that_hangs_is_replaced(tmp_path: Path) -> None:
    """A capture process that says nothing for too long is killed, said to be restarting, and started anew."""
    job = job_for(tmp_path, "synthetic:?size=160x120")
    with supervised(Worker("cam1", "capture", job.to_line(), silence=3.0)) as (events, _, _):
        until(lambda: opened(events), "recording")
        first = child()
        assert first is not None
        first.send_signal(signal.SIGSTOP)
        until(lambda: [e for e in events if e.name == STATUS and e.fields["state"] == "restarting"], "the restart")
        until(lambda: opened(events) >= 2, "recording again")
        second = child()
        assert second is not None
        assert second.pid != first.pid
        assert any(event.name == "segment_salvaged" for event in events)


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
        process = child()
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        orders.end()
        thread.join(5 * BUSY)
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
    with supervised(Worker("cam1", "capture", job.to_line())) as (events, orders, thread):
        until(lambda: opened(events), "recording")
        process = child()
        assert process is not None
        process.terminate()
        process.terminate()
        orders.end()
        thread.join(5 * BUSY)
    assert [event.fields["reason"] for event in events if event.name == "segment_closed"] == ["stopped"]
