"""The running agent's socket, and what status shows of its answers."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from edge_agent.control import local
from edge_agent.errors import EdgeCaptureError, SpoolUnusable
from edge_agent.status_table import show


def answer(request: dict[str, Any]) -> dict[str, Any]:
    match request.get("command"):
        case "ping":
            return {"ok": True}
        case "fail":
            raise EdgeCaptureError("cannot be done", fix="do not ask")
    return {"echo": request}


def answers(path: Path) -> bool:
    """Whether the agent at *path* does, however busy it is."""
    return local.ask(path, {"command": "ping"}, timeout=60) == {"ok": True}


def test_a_question_is_answered_while_the_agent_runs(tmp_path: Path) -> None:
    """One request, one answer; before and after, the agent is not running, and nothing is left."""
    path = tmp_path / "agent.sock"
    assert not local.is_running(path)
    with local.serve(path, answer):
        assert local.ask(path, {"command": "x"}) == {"echo": {"command": "x"}}
        assert local.ask(path, {"command": "fail"}) == {"error": "cannot be done; do not ask"}
        assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(local.NotRunning):
        local.ask(path, {"command": "ping"})
    assert not path.exists()


@pytest.mark.parametrize("request_line", [b"\n", b"{\n", b"5\n", b"\xff\n", b"x" * 70_000, b""])
def test_a_bad_request_harms_nobody(tmp_path: Path, request_line: bytes) -> None:
    """Rubbish and clients that hang up are survived."""
    path = tmp_path / "agent.sock"
    with local.serve(path, answer):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(request_line)
        assert answers(path)


def test_a_deep_directory_is_no_matter(tmp_path: Path) -> None:
    """A path longer than a socket's address may be works."""
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    with local.serve(deep / "agent.sock", answer):
        assert answers(deep / "agent.sock")


def test_a_second_agent_is_refused_and_a_dead_ones_socket_is_taken_over(tmp_path: Path) -> None:
    """Two agents never share a spool; a socket that a crash left is no agent."""
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with local.serve(path, answer):
        with pytest.raises(SpoolUnusable, match="another agent"), local.serve(path, answer):
            pass
        assert answers(path)


def test_an_agent_too_busy_to_answer_is_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever listens and is only slow is no dead agent: its socket is not taken away from it."""
    path, go_on = tmp_path / "agent.sock", threading.Event()
    monkeypatch.setattr(local, "PING_SECONDS", 0.1)

    def slow(request: dict[str, Any]) -> dict[str, Any]:
        go_on.wait(60)
        return answer(request)

    with local.serve(path, slow):
        try:
            assert local.is_running(path)
            with pytest.raises(SpoolUnusable, match="another agent"), local.serve(path, answer):
                pass
        finally:
            go_on.set()
        assert answers(path)


def test_an_agent_whose_queue_is_full_is_running(tmp_path: Path) -> None:
    """Whoever listens and has no room for one more that asks is no dead agent either."""
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as busy, ExitStack() as asking:
        busy.bind(str(path))
        busy.listen(0)
        with suppress(BlockingIOError):
            while True:
                client = asking.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(str(path))
        with pytest.raises(SpoolUnusable, match="another agent"), local.serve(path, answer):
            pass
    assert not local.is_running(path)


def test_a_place_without_room_for_a_socket_is_refused(tmp_path: Path) -> None:
    """A state directory that is none is an error of ours."""
    (tmp_path / "file").touch()
    with pytest.raises(SpoolUnusable), local.serve(tmp_path / "file" / "agent.sock", answer):
        pass


def test_a_problem_is_shown_as_it_reads(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Brackets in an error are text, not markup."""
    monkeypatch.setitem(os.environ, "COLUMNS", "200")
    problem = "rtsp://[::1]/x: [/dev/video0] [red]gone[/red]"
    show(
        {
            "device": "dock7",
            "running": True,
            "captures": True,
            "uploads": False,
            "cameras": {"cam1": {"state": "waiting", "problem": problem}},
            "spool": {"ready": {"segments": 1, "bytes": 5}},
            "disk": {},
            "upload": {},
            "limits": {"paused": None, "rate": None, "next_change": None},
            "control": None,
            "quarantined": [{"stem": "yellow_box_1", "reason": problem}],
            "foreign": [],
        }
    )
    shown = capsys.readouterr().out
    assert shown.count(problem) == 2
