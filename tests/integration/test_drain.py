"""drain, retry, quarantine and status as a person types them, with real agents and real files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_agent.clock import SystemClock
from edge_agent.control.commands import PauseUpload
from edge_agent.control.desired import DesiredState
from edge_agent.spool import Spool
from tests.support.agent import ROOT, process, write_settings
from tests.support.clips import make_clip
from tests.support.upload import FIELDS, fresh_spool, publish, videos_in
from tests.support.wait import until

SYNTHETIC = "synthetic:?size=160x120&fps=25"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return fresh_spool(tmp_path / "spool")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return write_settings(tmp_path, SYNTHETIC, str(tmp_path / "store"))


def _change(config: Path, **changes: Any) -> None:
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), **changes}))


def _run(*arguments: str | Path, columns: int = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_agent.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": str(columns)},
    )


def _drain(config: Path, *options: str) -> tuple[int, dict[str, Any]]:
    done = _run("drain", "--json", *options, "-c", config)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def _status(config: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(_run("status", "--json", "-c", config).stdout)
    return report


def _objects(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "store" / "videos").rglob("*.mp4"))


def test_drain_uploads_everything_while_nothing_runs(tmp_path: Path, spool: Spool, config: Path) -> None:
    """With no agent it uploads by itself, whatever waits and even where uploads are paused; then exits 0."""
    names = sorted(f"{publish(spool, number).name.stem}.mp4" for number in range(5))
    state = DesiredState(spool.root / "state", FIELDS)
    state.apply_upload(PauseUpload(), "shell:me", SystemClock().now())
    status, said = _drain(config)
    assert (status, said["drained"], said["why"]) == (0, True, [])
    assert _objects(tmp_path) == names
    order = state.upload()
    assert order is not None
    assert (order.on, order.set_by) == (False, "shell:me")


def test_drain_waits_for_the_uploader_that_runs(tmp_path: Path, spool: Spool, config: Path) -> None:
    """Beside a running uploader it starts none of its own; when it exits with 0, everything is in the store."""
    with process("edge_agent.cli", "upload", "-c", config):
        until((spool.root / "state" / "upload.sock").exists, "the agent")
        _run("pause-upload", "-c", config)
        names = sorted(f"{publish(spool, number).name.stem}.mp4" for number in range(5))
        status, said = _drain(config)
        assert (status, said["left"]["ready"]) == (0, 0)
        assert _objects(tmp_path) == names


def test_drain_says_what_is_left_and_why(spool: Spool, config: Path) -> None:
    """What was set aside is no success: exit status 1, the count, and where to look."""
    publish(spool, 0)
    (spool.ready / "holiday.mov").write_bytes(b"no segment")
    status, said = _drain(config)
    assert (status, said["drained"], said["left"]["failed"], said["left"]["ready"]) == (1, False, 1, 0)
    assert "quarantine list" in said["why"][0]


def test_drain_gives_up_when_told_to(tmp_path: Path, spool: Spool, config: Path) -> None:
    """With a store that is not there it ends after its time-out, with the store's trouble as the reason."""
    shutil.rmtree(tmp_path / "store")
    publish(spool, 0)
    for timeout in ("4s", "16s"):  # on a busy machine the first may be over before the store was asked
        status, said = _drain(config, "--timeout", timeout)
        assert (status, said["left"]["ready"]) == (1, 1)
        if "store" in said["why"][0]:
            break
    assert "store" in said["why"][0]
    assert videos_in(spool.ready)


def test_drain_takes_what_others_dropped(tmp_path: Path, spool: Spool, config: Path) -> None:
    """A video in a foreign directory is part of everything."""
    drops = tmp_path / "drops"
    drops.mkdir()
    make_clip(drops / "film.mp4", frames=10)
    foreign = {"path": str(drops), "class": {"color": "yellow", "object": "box"}, "settle_seconds": 1}
    _change(config, foreign=[foreign])
    status, said = _drain(config)
    assert (status, said["why"]) == (0, [])
    (name,) = _objects(tmp_path)
    assert name.startswith("yellow_box_dock7-foreign-")


def test_quarantine_lists_and_releases(tmp_path: Path, spool: Spool, config: Path) -> None:
    """What was mended goes back by its stem, and a drain then brings it to the store."""
    stem = publish(spool, 0).name.stem
    spool.fail(spool.ready / f"{stem}.mp4", "was odd")
    (item,) = json.loads(_run("quarantine", "list", "--json", "-c", config).stdout)
    assert (item["stem"], item["reason"]) == (stem, "was odd")
    assert _run("quarantine", "release", "-c", config).returncode == 2
    assert _run("quarantine", "release", "blue_box_9", "-c", config).returncode == 2
    assert _run("quarantine", "release", stem, "-c", config).stdout == f"released: {stem}.mp4\n"
    assert _drain(config)[0] == 0
    assert _objects(tmp_path) == [f"{stem}.mp4"]


def test_retry_failed_puts_back_while_the_agent_runs(tmp_path: Path, spool: Spool, config: Path) -> None:
    """The running uploader notices what comes back from failed/ and uploads it."""
    stem = publish(spool, 0).name.stem
    spool.fail(spool.ready / f"{stem}.mp4", "was odd")
    with process("edge_agent.cli", "upload", "-c", config):
        until((spool.root / "state" / "upload.sock").exists, "the agent")
        assert _run("retry", "--failed", "--all", "-c", config).returncode == 0
        until(lambda: _objects(tmp_path) == [f"{stem}.mp4"], "the upload")


def test_status_of_an_uploader_alone(spool: Spool, config: Path) -> None:
    """An agent that only uploads is running, and says so; its queue and last upload are told."""
    stem = publish(spool, 0).name.stem
    with process("edge_agent.cli", "upload", "-c", config):
        until(lambda: videos_in(spool.uploaded), "the upload")
        said = until(lambda: found if (found := _status(config))["running"] else {}, "the agent")
        assert (said["captures"], said["uploads"]) == (False, True)
        until(lambda: stem in str(_status(config)["upload"]["last_uploaded"]), "the ledger's note")
        assert "upload only" in _run("status", "-c", config).stdout


@pytest.mark.parametrize("columns", [80, 120])
def test_status_shows_what_needs_attention(spool: Spool, config: Path, columns: int) -> None:
    """Queue, set-aside files with reasons and foreign directories, none cut at the terminal's edge."""
    stem = publish(spool, 0).name.stem
    spool.fail(spool.ready / f"{stem}.mp4", "is not the file its sidecar tells of")
    _change(config, foreign=[{"path": str(spool.root.parent), "class": {"color": "yellow", "object": "box"}}])
    shown = _run("status", "-c", config, columns=columns).stdout
    assert f"failed: {stem}: is not the file its sidecar tells of" in shown
    assert f"foreign: {spool.root.parent}: 0 not taken yet" in shown
