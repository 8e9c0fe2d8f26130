"""A changed settings file takes effect while the agent runs, and touches only what changed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edge_agent.config import Settings
from edge_agent.reload import changes, restart_faults
from tests.support.agent import ROOT, write_settings
from tests.support.wait import until

SOURCE = "synthetic:?size=160x120&fps=25"


@dataclass
class Running:
    """An agent whose log can be read while it runs."""

    process: subprocess.Popen[bytes]
    config: Path
    log: Path

    def said(self, event: str) -> list[dict[str, Any]]:
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [document for document in map(json.loads, lines) if document["event"] == event]

    def wait_for(self, event: str, count: int = 1, seconds: float = 60.0) -> dict[str, Any]:
        until(lambda: len(self.said(event)) >= count, f"{count} {event}", seconds)
        return self.said(event)[count - 1]

    def pids(self) -> dict[str, int]:
        """The newest process of each camera and of the upload."""
        return {said["process"]: said["pid"] for said in self.said("process_started")}

    def rewrite(self, change: Callable[[Any], None]) -> None:
        """Put a changed settings file in the place of the old one, as editors do."""
        document = yaml.safe_load(self.config.read_text())
        change(document)
        beside = self.config.with_suffix(".new")
        beside.write_text(yaml.safe_dump(document))
        beside.replace(self.config)


@contextmanager
def agent(
    tmp_path: Path, command: str = "run", cameras: int = 2, change: Callable[[Any], None] = lambda _: None
) -> Iterator[Running]:
    """A running agent with *cameras* test pictures, each of them recording, its settings *change*-d first."""
    config = write_settings(tmp_path, SOURCE, str(tmp_path / "store"), segment_seconds=60)
    document = yaml.safe_load(config.read_text())
    document["cameras"] = {f"cam{n}": dict(document["cameras"]["cam1"]) for n in range(1, cameras + 1)}
    document["disk"] = {"free": 0}
    change(document)
    config.write_text(yaml.safe_dump(document))
    log = tmp_path / "agent.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge_agent.cli", command, "-c", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
        )
    running = Running(process, config, log)
    try:
        running.wait_for("segment_opened", cameras)
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()


def test_only_the_changed_camera_restarts(tmp_path: Path) -> None:
    """SIGHUP: one camera is changed, one added, one removed; the unchanged one keeps its process and its segment."""
    with agent(tmp_path, cameras=3) as running:
        before = running.pids()

        def change(document: Any) -> None:
            document["cameras"]["cam2"]["segment_seconds"] = 30
            document["cameras"]["cam4"] = document["cameras"].pop("cam3")

        running.rewrite(change)
        running.process.send_signal(signal.SIGHUP)
        done = running.wait_for("settings_reloaded")
        assert (done["stopped"], done["started"]) == (["cam2", "cam3"], ["cam2", "cam4"])
        running.wait_for("segment_opened", 5)
        after = running.pids()
        assert after["cam1"] == before["cam1"]
        assert after["upload"] == before["upload"]
        assert after["cam2"] != before["cam2"]
        assert sorted(said["camera"] for said in running.said("segment_closed")) == ["cam2", "cam3"]
        running.process.terminate()
        assert running.process.wait(60) == 0


def test_a_changed_file_is_noticed_without_a_signal(tmp_path: Path) -> None:
    """Another store restarts the upload process alone, soon after the file was replaced."""
    with agent(tmp_path) as running:
        before = running.pids()
        running.rewrite(lambda document: document["store"].update(url=str(tmp_path / "other")))
        done = running.wait_for("settings_reloaded")
        assert (done["stopped"], done["started"]) == (["-upload"], ["-upload"])
        until(lambda: running.pids()["upload"] != before["upload"], "the new upload process")
        assert {**running.pids(), "upload": 0} == {**before, "upload": 0}
        assert not running.said("segment_closed")


def test_what_needs_a_restart_is_said() -> None:
    """Device, fields and places are refused by name; everything else may change."""
    document = {"device": "dock7", "spool": "spool", "store": {"url": "store"}, "cameras": {"cam1": {"source": SOURCE}}}
    old = Settings.model_validate(document)
    new = Settings.model_validate({**document, "device": "dock8", "spool": "other", "disk": {"quota": "1GB"}})
    assert [fault.partition(":")[0] for fault in restart_faults(old, new)] == ["device", "spool"]
    assert restart_faults(old, Settings.model_validate({**document, "disk": {"quota": "1GB"}})) == []


def test_changes_name_only_what_differs() -> None:
    """Equal orders go on; others stop, start, or both."""
    found = changes({"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 2, "d": 1})
    assert sorted(found.stop) == ["b", "c"]
    assert sorted(found.start) == ["b", "d"]
