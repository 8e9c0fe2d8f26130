"""The page's process beside a real agent, and what the shell shows of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest
import yaml

from edge_agent.capture.report import PICTURE
from edge_agent.control import local
from edge_agent.control.web.token import TokenFile
from tests.support.agent import process, write_settings
from tests.support.capture import capturing, job_for
from tests.support.clips import make_clip
from tests.support.ports import free_port
from tests.support.wait import until


@contextmanager
def agent(root: Path, listen: str) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """An agent with a page; its settings file and its process."""
    path = write_settings(root, "synthetic:?size=320x240&fps=25", str(root / "store"), segment_seconds=1)
    settings = {**yaml.safe_load(path.read_text()), "disk": {"free": "10MB"}, "web": {"listen": listen}}
    path.write_text(yaml.safe_dump(settings))
    with process("edge_agent.cli", "run", "-c", path) as running:
        until(lambda: local.is_running(root / "spool" / "state" / local.SOCKET_NAME), "the agent")
        yield path, running


def edge_agent(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_agent.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def state_of(url: str) -> dict[str, Any]:
    """What the page shows; empty while nobody serves it."""
    try:
        with urllib.request.urlopen(f"{url}/api/v1/state", timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except OSError:
        return {}


def recording(url: str) -> dict[str, Any]:
    """What the page shows of the camera while it records; empty while it does not, or nobody serves the page."""
    for camera in state_of(url).get("cameras", []):
        if camera["recording_class"]:
            status: dict[str, Any] = camera["status"]
            return status
    return {}


def test_a_picture_is_drawn_only_while_somebody_looks(tmp_path: Path) -> None:
    """No event before anybody asked; then one at once, a JPEG of the camera's view."""
    with capturing(job_for(tmp_path, "synthetic:?size=320x240&fps=25", segment_seconds=1.0)) as capture:
        capture.wait_for("segment_closed", 2)
        assert not capture.events(PICTURE)
        assert capture.process.stdin is not None
        capture.process.stdin.write(b"look 30\n")  # long enough for a second picture, whoever is held up meanwhile
        capture.process.stdin.flush()
        picture = capture.wait_for(PICTURE, 2)
        assert (picture.fields["width"], picture.fields["height"]) == (320, 240)
        assert str(picture.fields["jpeg"]).startswith("/9j/")
        assert capture.stop() == 0
        assert capture.err.read_text() == ""


def test_the_shell_shows_the_picture_and_the_log_of_a_running_agent(tmp_path: Path) -> None:
    """`snapshot` writes a JPEG, `logs` the last lines, each over the local socket."""
    with agent(tmp_path, f"127.0.0.1:{free_port()}") as (config, _):
        out = tmp_path / "now.jpg"
        until(lambda: edge_agent("snapshot", "cam1", "--out", out, "-c", config).returncode == 0, "a snapshot")
        with av.open(str(out)) as picture:
            assert next(picture.decode(video=0)).width == 320
        assert edge_agent("snapshot", "cam9", "-c", config).stderr.count("there is: cam1") == 1
        lines = [json.loads(line) for line in edge_agent("logs", "--json", "-c", config).stdout.splitlines()]
        assert {"agent_started", "camera_connected"} <= {line["event"] for line in lines}
        assert edge_agent("logs", "-n", "1", "-c", config).stdout.count("\n") == 1
    stopped = edge_agent("logs", "-c", config)
    assert (stopped.returncode, stopped.stderr.count("agent is not running")) == (1, 1)


def test_a_page_that_dies_is_back_and_the_cameras_did_not_notice(tmp_path: Path) -> None:
    """SIGKILL of the page's process: it is started anew, and recording went on."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    with agent(tmp_path, f"127.0.0.1:{port}") as (_, running):
        before = until(lambda: recording(url), "a recording")
        (page,) = [child for child in psutil.Process(running.pid).children() if child.cmdline()[-1:] == ["web"]]
        os.kill(page.pid, signal.SIGKILL)
        page.wait(60)
        newer = until(
            lambda: shown if (shown := recording(url)).get("packets", 0) > before["packets"] else {},
            "the page again, with newer figures",
        )
        assert newer["abandoned"] == 0
        running.send_signal(signal.SIGTERM)
        said, _ = running.communicate(timeout=60)
    assert "camera_lost" not in said
    assert "Traceback" not in said


def test_an_agent_whose_pages_address_is_taken_records(tmp_path: Path) -> None:
    """The log says in one line what is in the way."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        agent(tmp_path, f"127.0.0.1:{taken.getsockname()[1]}") as (config, running),
    ):
        until(lambda: list((tmp_path / "spool" / "ready").glob("*.mp4")), "a segment")
        until(
            lambda: "process_failed" in edge_agent("logs", "--json", "-c", config).stdout, "the page's process to end"
        )
        running.send_signal(signal.SIGTERM)
        said, _ = running.communicate(timeout=60)
    failed = [json.loads(line) for line in said.splitlines() if '"process_failed"' in line]
    assert failed
    assert failed[0]["code"] == "NotListening"
    assert "cannot listen: Address already in use; stop what uses that port" in failed[0]["error"]
    assert "Traceback" not in said


@pytest.mark.parametrize("new", [False, True])
def test_the_link_opens_the_page_from_elsewhere(tmp_path: Path, new: bool) -> None:
    """A QR code and the link, with the token behind the #; none for a page that only this box can reach."""
    path = write_settings(tmp_path, f"file:{make_clip(tmp_path / 'clip.mp4', frames=5)}", str(tmp_path / "store"))
    settings = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**settings, "web": {"listen": "0.0.0.0:8080", "hosts": ["dock7.example"]}}))
    before = TokenFile(tmp_path / "spool" / "state").read()
    shown = edge_agent("web-link", *(["--new"] if new else []), "-c", path).stdout
    token = TokenFile(tmp_path / "spool" / "state").read()
    assert (token != before) == new
    assert shown.splitlines()[-1] == f"http://dock7.example:8080/#token={token}"
    assert "▀" in shown
    path.write_text(yaml.safe_dump({**settings, "web": {}}))
    assert edge_agent("web-link", "-c", path).stdout.startswith("http://127.0.0.1:8080/  for this box alone")
    path.write_text(yaml.safe_dump(settings))
    assert "there is no page" in edge_agent("web-link", "-c", path).stderr
