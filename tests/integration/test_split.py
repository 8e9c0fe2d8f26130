"""The two halves of an agent, each in a process of its own: what has the network speaks for what has the cameras."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest
import yaml

from tests.integration.test_shadow_mqtt import Rig
from tests.support.agent import process, write_settings
from tests.support.clips import make_clip
from tests.support.ports import free_port
from tests.support.wait import until


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def kinds(agent: subprocess.Popen[str]) -> set[str]:
    """What the children of *agent* are for."""
    return {child.cmdline()[-1] for child in psutil.Process(agent.pid).children()}


def state_of(url: str) -> dict[str, Any]:
    """What the page shows; empty while nobody serves it."""
    try:
        with urllib.request.urlopen(f"{url}/api/v1/state", timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except OSError:
        return {}


@contextmanager
def captures(settings: Path) -> Iterator[subprocess.Popen[str]]:
    """``edge-agent capture``, once its camera records."""
    recording = settings.parent / "spool" / "recording"
    with process("edge_agent.cli", "capture", "-c", settings) as agent:
        until(lambda: recording.exists() and list(recording.glob("*.part")), "a segment")
        yield agent


def test_the_page_of_two_halves_is_the_uploads(tmp_path: Path) -> None:
    """What only captures serves none; what uploads shows its cameras and pictures, and changes their class."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    path = write_settings(tmp_path, "synthetic:?size=320x240&fps=25", str(tmp_path / "store"), segment_seconds=60)
    document = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**document, "disk": {"free": 0}, "web": {"listen": f"127.0.0.1:{port}"}}))
    with process("edge_agent.cli", "upload", "-c", path) as uploads:
        with captures(path) as capture:
            until(lambda: state_of(url), "the page")
            assert kinds(capture) == {"capture"}
            assert kinds(uploads) == {"upload", "web"}
            state = until(lambda: (found := state_of(url)) and found["cameras"][0]["recording_class"] and found, "it")
            assert state["running"]
            assert state["upload"]["runs"]
            with urllib.request.urlopen(f"{url}/snapshot/cam1.jpg", timeout=30) as picture:
                assert picture.read(2) == b"\xff\xd8"
            body = json.dumps({"class": {"color": "red", "object": "box"}}).encode()
            order = urllib.request.Request(f"{url}/api/v1/cameras/cam1/class", body, method="PUT")
            order.add_header("content-type", "application/json")
            with urllib.request.urlopen(order, timeout=30) as answer:
                assert answer.status == 200
            until(lambda: state_of(url)["cameras"][0]["recording_class"] == "red_box", "the class to be recorded")
        until(lambda: "the agent does not answer" in state_of(url)["health"]["words"], "that nobody captures")
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{url}/healthz", timeout=30)


def test_what_the_shadow_wants_of_cameras_reaches_the_half_that_has_them(tmp_path: Path, stack: ExitStack) -> None:
    """Sampling and class, set in the shadow: the uploading half takes and reports them, the capturing half obeys."""
    clip = make_clip(tmp_path / "clip.avi", codec="mjpeg", pixels="yuvj420p")
    rig = Rig(tmp_path / "box", stack, source=f"file:{clip}?loop=true")
    stack.enter_context(process("edge_agent.cli", "upload", "-c", rig.settings))
    capture = stack.enter_context(captures(rig.settings))
    rig.until_recording()
    before = psutil.Process(capture.pid).children()
    rig.cloud.want(cameras={"cam1": {"sampling": {"keep_every": 5}}})
    until(lambda: rig.camera.get("sampling") == {"keep_every": 5}, "the sampling to be reported")
    until(lambda: before[0] not in psutil.Process(capture.pid).children(), "the camera's process to be another one")
    rig.cloud.want(cameras={"cam1": {"class": {"color": "blue", "object": "crate"}}})
    until(lambda: rig.camera.get("applied", {}).get("tag") == "blue_crate", "the class to be recorded")
