"""``edge-agent pause-upload`` and ``resume-upload``, and an agent that obeys."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.config import load
from edge_agent.errors import ConfigInvalid
from edge_agent.spool import Spool
from tests.support.agent import ROOT, process, write_settings
from tests.support.upload import fresh_spool, publish, videos_in
from tests.support.wait import until


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_agent.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    (tmp_path / "store").mkdir()
    return fresh_spool(tmp_path / "spool")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_settings(tmp_path, "synthetic:", str(tmp_path / "store"))


def changed(config: Path, upload: str) -> Path:
    config.write_text(config.read_text().replace("upload:\n", f"upload:\n  {upload}\n"))
    return config


def test_a_paused_agent_uploads_nothing_until_it_is_resumed(spool: Spool, config: Path) -> None:
    """The order holds from before the start on, is told, and is obeyed at once when it is taken back."""
    done = run("pause-upload", "--for", "1h", "-c", config)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("upload: paused by shell:")
    assert " until " in done.stdout
    publish(spool)
    with process("edge_agent.cli", "upload", "-c", config):
        until(
            lambda: "paused by" in (json.loads(run("status", "--json", "-c", config).stdout)["limits"]["paused"] or ""),
            "the status",
        )
        assert videos_in(spool.uploaded) == []
        done = run("resume-upload", "-c", config)
        assert done.stdout == "upload: allowed, no limit\n"
        until(lambda: videos_in(spool.uploaded), "the upload")


def test_the_answer_tells_what_holds_after_the_order(spool: Spool, config: Path) -> None:
    """Also that a window goes before an order without an end, and the limit."""
    changed(config, "bandwidth: 2M")
    assert run("resume-upload", "-c", config).stdout == "upload: allowed, at most 2048 KiB a second\n"
    changed(config, "timetable: {mon-sun: 0}")
    assert "timetable" in run("resume-upload", "-c", config).stdout
    said = run("resume-upload", "--for", "1h", "-c", config).stdout
    assert said.startswith("upload: allowed until ")
    assert "at most 2048 KiB" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("pause-upload", "--for", "1h", "--until", "18:30"),
        ("pause-upload", "--for", "x"),
        ("resume-upload", "--until", "2000-01-01"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(spool: Spool, config: Path, arguments: tuple[str, ...]) -> None:
    """One line, exit status 2, and nothing was ordered."""
    done = run(*arguments, "-c", config)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: ")
    assert not (spool.root / "state" / "desired.json").exists()


def test_limits_are_read_and_faults_named(config: Path) -> None:
    """Every fault of the section is named with its place; what is right becomes bytes a second, in order."""
    changed(config, 'timetable: {"mon-fri 08:00-18:00": 512k, "sat,sun": off, "mon": pause}')
    changed(config, "bandwidth: 2M")
    upload = load(config).upload
    assert (upload.mode, upload.bandwidth) == ("continuous", 2097152)
    assert list(upload.timetable.items()) == [("mon-fri 08:00-18:00", 524288), ("sat,sun", None), ("mon", 0)]
    bad = config.read_text().replace("bandwidth: 2M", "bandwidth: fast").replace("mon-fri 08:00-18:00", "mon-fry")
    config.write_text(bad.replace("rescan_seconds", "mode: never\n  rescan_seconds"))
    with pytest.raises(ConfigInvalid) as caught:
        load(config)
    faults = str(caught.value)
    assert "upload.bandwidth: 'fast' is no bandwidth" in faults
    assert "mon-fry" in faults
    assert "upload.mode" in faults
