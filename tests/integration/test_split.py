"""The two halves of an agent, each in a process of its own: what has the network speaks for what has the cameras."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
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
    found = set()
    for child in psutil.Process(agent.pid).children():
        with suppress(psutil.NoSuchProcess):
            found |= set(child.cmdline()[-1:])
    return found


def recorded(url: str) -> str:
    """The class the page says is recorded; empty while none is, or nobody serves it."""
    return next((str(camera["recording_class"] or "") for camera in state_of(url).get("cameras", [])), "")


def health(url: str) -> str:
    """How the page says the box is; empty while nobody serves it."""
    return str(state_of(url).get("health", {}).get("words", ""))


def state_of(url: str) -> dict[str, Any]:
    """What the page shows; empty while nobody serves it."""
    try:
        with urllib.request.urlopen(f"{url}/api/v1/state", timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except OSError:
        return {}


def picture_of(url: str) -> bytes:
    """How the camera's picture begins; empty where there is none."""
    try:
        with urllib.request.urlopen(f"{url}/snapshot/cam1.jpg", timeout=60) as picture:
            return bytes(picture.read(2))
    except OSError:
        return b""


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
            until(lambda: recorded(url), "the page, and what is recorded on it")
            until(lambda: kinds(capture) == {"capture"}, "cameras alone")
            until(lambda: kinds(uploads) == {"upload", "web"}, "uploads and page alone")
            until(lambda: (found := state_of(url)) and found["running"] and found["upload"]["runs"], "both to run")
            until(lambda: picture_of(url) == b"\xff\xd8", "a picture")
            body = json.dumps({"class": {"color": "red", "object": "box"}}).encode()
            order = urllib.request.Request(f"{url}/api/v1/cameras/cam1/class", body, method="PUT")
            order.add_header("content-type", "application/json")
            with urllib.request.urlopen(order, timeout=60) as answer:
                assert answer.status == 200
            until(lambda: recorded(url) == "red_box", "the class to be recorded")
        until(lambda: "the agent does not answer" in health(url), "that nobody captures")
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{url}/healthz", timeout=60)


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
