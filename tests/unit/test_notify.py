"""Whom the agent speaks to, and what its line for people says."""

from __future__ import annotations

import socket
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.report import STATUS, Event, Scalar
from edge_agent.fleet import GRACE_SECONDS, RESTART_SECONDS, Hearing
from edge_agent.notify import Manager, status, take_manager
from edge_agent.service import Service, status_line
from edge_agent.supervisor import STOP_SECONDS
from tests.support.clock import FakeClock


@pytest.mark.parametrize("abstract", [False, True])
def test_words_reach_path_and_abstract_sockets_as_one_datagram(tmp_path: Path, abstract: bool) -> None:
    """A manager hears what it is told, wherever its socket is."""
    name = f"@edge-agent-{uuid.uuid4().hex}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name[1:]}" if abstract else name)
        manager.settimeout(5)
        Manager(name).tell("READY=1", status("all\nwell"))
        assert manager.recv(4096) == b"READY=1\nSTATUS=all well"


def test_a_manager_that_is_gone_is_no_failure(tmp_path: Path) -> None:
    """Recording does not depend on who listens."""
    Manager(str(tmp_path / "nobody")).tell("READY=1")
    Manager().tell("READY=1")


def test_children_are_not_told_of_the_manager() -> None:
    """The environment that children inherit names neither socket nor watchdog; the rest of it stays."""
    environment = {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7", "HOME": "/"}
    assert take_manager(environment, 7) == Manager("/run/n", 30.0)
    assert environment == {"HOME": "/"}


def test_a_watchdog_of_another_process_is_not_fed() -> None:
    """WATCHDOG_PID names who is watched."""
    environment = {"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}
    assert take_manager(environment, 7) == Manager("@n", None)


@given(st.dictionaries(st.sampled_from(["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]), st.text(max_size=9)))
def test_no_environment_makes_the_agent_fail(environment: dict[str, str]) -> None:
    """Whatever stands there, there is a manager, or none."""
    manager = take_manager(environment, 7)
    assert manager.watchdog is None or manager.address


def test_the_line_for_people_tells_health_queue_and_problems() -> None:
    """Counts first, then each camera's problem."""
    cameras: dict[str, dict[str, Scalar]] = {
        "cam1": {"healthy": True, "problem": ""},
        "cam2": {"healthy": False, "problem": "no packet for 12 s"},
    }
    assert status_line(cameras, 1) == "1 of 2 cameras healthy; 1 segment waits for upload; cam2: no packet for 12 s"
    assert status_line({}, 14) == "14 segments wait for upload"


def test_a_child_is_late_only_after_its_watcher_should_have_restarted_it() -> None:
    """Silence is due to end with the bound; a child that is restarted may take back-off and start."""
    hearing = Hearing(silence=15, due=0)
    hearing.hear(Event("camera_connected", "cam1", {}), now=100)
    assert (hearing.due, hearing.known) == (100 + 15 + STOP_SECONDS + GRACE_SECONDS, False)
    hearing.hear(Event(STATUS, "cam1", {"state": "hanging"}), now=150)
    assert hearing.due == 150 + 15 + STOP_SECONDS + GRACE_SECONDS  # one that waits for a disk outlives its killing
    hearing.hear(Event(STATUS, "cam1", {"state": "restarting"}), now=200)
    assert (hearing.due, hearing.known) == (200 + RESTART_SECONDS + GRACE_SECONDS, True)


def test_the_watchdog_is_fed_by_turns_alone_and_only_while_nobody_is_late(tmp_path: Path) -> None:
    """No turn, or a child that is watched by nobody: no food; READY comes with the last first status, once."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        service = Service(Manager(str(tmp_path / "notify"), 30.0), FakeClock(), tmp_path)

        def heard() -> list[str]:
            return [word for word in manager.recv(4096).decode().splitlines() if not word.startswith("STATUS=")]

        service.turn({}, unknown=["cam1"], late=[])
        assert heard() == ["WATCHDOG=1"]
        service.turn({}, unknown=[], late=[])
        assert heard() == ["READY=1", "WATCHDOG=1"]
        service.turn({}, unknown=[], late=["cam1"])
        service.turn({}, unknown=[], late=[])
        assert heard() == ["WATCHDOG=1"]  # the turn before said nothing
        service.reloading()
        assert heard()[0] == "RELOADING=1"
        service.turn({}, unknown=["cam2"], late=[])
        assert heard() == ["READY=1", "WATCHDOG=1"]
