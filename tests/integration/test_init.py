"""``edge-agent init`` as a person, and as a script, runs it."""

from __future__ import annotations

import os
import pty
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.config import load
from tests.support.agent import ROOT
from tests.support.rtsp import rtsp_camera
from tests.support.wait import until

SYNTHETIC = "synthetic:?size=160x120&fps=25"


def _run(command: str, config: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_agent.cli", command, "-c", str(config), *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
    )


def _init(config: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return _run("init", config, "--yes", *options)


class Terminal:
    """``init`` on a pseudo-terminal: what it has said so far, and a keyboard."""

    def __init__(self, config: Path) -> None:
        self._leader, follower = pty.openpty()
        command = [sys.executable, "-m", "edge_agent.cli", "init", "-c", str(config)]
        self.process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, cwd=ROOT)
        os.close(follower)
        self._all = ""  # only the reader adds to it
        self._heard = 0
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while chunk := os.read(self._leader, 4096):
                self._all += chunk.decode(errors="replace")
        except OSError:
            return

    @property
    def heard(self) -> str:
        """Up to the question that was answered last."""
        return self._all[: self._heard]

    @property
    def said(self) -> str:
        """After it."""
        return self._all[self._heard :]

    def answer(self, question: str, text: str) -> None:
        """Type *text* once *question* has been asked, since the last answer."""
        try:
            until(lambda: question in self.said, f"{question!r}")
        except AssertionError as error:
            error.add_note(f"what was said: {self.said!r}")
            raise
        self._heard = self._all.index(question, self._heard) + len(question)
        os.write(self._leader, f"{text}\n".encode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        os.close(self._leader)


@contextmanager
def terminal(config: Path) -> Iterator[Terminal]:
    shown = Terminal(config)
    try:
        yield shown
    finally:
        shown.close()


def test_flags_alone_make_a_file_that_check_config_takes(tmp_path: Path) -> None:
    """Nothing is asked; the file is for its owner alone, and the two commands that come next are named and work."""
    config = tmp_path / "box" / "edge-agent.yaml"
    tag = ("--class", "color=yellow object=box")
    done = _init(config, "--device", "dock7", "--camera", f"cam1={SYNTHETIC}", *tag)
    assert done.returncode == 0, done.stderr
    assert "h264 160x120" in done.stdout
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert done.stdout.endswith(f"Next:\n  edge-agent doctor -c {config}\n  edge-agent run -c {config}\n")
    assert _run("check-config", config).returncode == 0
    settings = load(config)
    assert (settings.device, str(settings.tag_of("cam1"))) == ("dock7", "yellow_box")
    assert settings.spool == tmp_path / "box" / "spool"
    assert settings.web == load(ROOT / "config" / "edge-agent.yaml").web
    assert _run("doctor", config).returncode == 0
    assert sorted(path.name for path in config.parent.iterdir()) == ["edge-agent.yaml", "store"]


def test_a_file_that_is_there_is_kept_unless_forced(tmp_path: Path) -> None:
    """Without --force one line says so, before anything is tried; with it the file is replaced, and private."""
    config = tmp_path / "edge-agent.yaml"
    config.write_text("mine")
    done = _init(config, "--camera", f"cam1={SYNTHETIC}")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--force" in done.stderr
    assert config.read_text() == "mine"
    assert _init(config, "--camera", f"cam1={SYNTHETIC}", "--force").returncode == 0
    assert load(config).cameras
    assert stat.S_IMODE(config.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--camera", "cam1=ftp://host/x"], "unknown kind of source"),
        (["--camera", "cam1"], "NAME=URL"),
        (["--camera", f"cam1={SYNTHETIC}", "--camera", f"cam1={SYNTHETIC}"], "twice"),
        (["--camera", f"cam1={SYNTHETIC}", "--device", "dock 7"], "device name"),
        (["--camera", f"cam1={SYNTHETIC}", "--store", "ftp://host"], "store"),
        (["--camera", f"cam1={SYNTHETIC}", "--store", "s3://a#b"], "store.url"),
        (["--camera", f"cam1={SYNTHETIC}", "--class", "color=Blue! object=x"], "color"),
        (["--camera", f"cam1={SYNTHETIC}", "--class", "yellow"], "color=yellow object=box"),
    ],
)
def test_options_that_cannot_be_are_one_line_and_no_file(tmp_path: Path, options: list[str], said: str) -> None:
    """Exit status 2, what is wrong, and nothing on the disk."""
    done = _init(tmp_path / "edge-agent.yaml", *options)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_without_a_terminal_nobody_is_asked(tmp_path: Path) -> None:
    """A script that forgot --yes is told so, instead of waiting for ever."""
    done = _run("init", tmp_path / "edge-agent.yaml")
    assert done.returncode == 2
    assert "--yes" in done.stderr


def test_a_camera_that_is_not_there_yet_may_be_set_up(tmp_path: Path) -> None:
    """With --yes its error is said, without the password, and the file is written even so."""
    config = tmp_path / "edge-agent.yaml"
    done = _init(config, "--camera", "cam1=rtsp://bob:s3cret@127.0.0.1:9/x")
    assert done.returncode == 0
    assert "127.0.0.1:9" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr
    assert load(config).cameras["cam1"].source.get_secret_value() == "rtsp://bob:s3cret@127.0.0.1:9/x"


def test_questions_lead_to_a_file_and_a_password_is_never_shown(tmp_path: Path) -> None:
    """A wrong name is asked again, a camera behind a login is tried, what it delivers is said, the password is not."""
    config = tmp_path / "edge-agent.yaml"
    with rtsp_camera(user="bob", password="p@ss/w:rd") as camera, terminal(config) as shown:
        shown.answer("Name of this box", "dock 7")
        shown.answer("cannot be used", "")
        shown.answer("Store: ", "s3://bucket")
        shown.answer("AWS region", "eu-central-1")
        shown.answer("cam1: ", f"rtsp://bob@127.0.0.1:{camera.port}/0")
        shown.answer("Password of bob", "p@ss/w:rd")
        shown.answer("h264 320x240, ", "")
        shown.answer("Class of what is shown first", "color=yellow object=box")
        until(lambda: "edge-agent run" in shown.said, "the next commands")
        assert shown.process.wait(60) == 0
        everything = shown.heard + shown.said
    rate = re.search(r"h264 320x240, ([\d.]+) frames a second", everything)
    assert rate is not None
    assert float(rate[1]) == pytest.approx(25, abs=2)
    assert "p@ss" not in everything
    assert "p%40ss" not in everything
    settings = load(config)
    assert not re.search(" ", settings.device)
    assert (settings.store.url, settings.store.region) == ("s3://bucket", "eu-central-1")
    source = settings.cameras["cam1"].source.get_secret_value()
    assert source == f"rtsp://bob:p%40ss%2Fw%3Ard@127.0.0.1:{camera.port}/0"
    assert str(settings.tag_of("cam1")) == "yellow_box"


def test_a_camera_that_fails_can_be_answered_anew(tmp_path: Path) -> None:
    """No, do not use it even so: the question comes again, and Ctrl-D at any question leaves no file."""
    config = tmp_path / "edge-agent.yaml"
    with terminal(config) as shown:
        shown.answer("Name of this box", "dock7")
        shown.answer("Store: ", "")
        shown.answer("cam1: ", "rtsp://127.0.0.1:9/x")
        shown.answer("Use it even so?", "n")
        shown.answer("cam1: ", "")
        shown.answer("source names no kind", SYNTHETIC)
        shown.answer("cam2 (empty: no more)", "\x04")
        assert shown.process.wait(60) != 0
    assert list(tmp_path.iterdir()) == []
