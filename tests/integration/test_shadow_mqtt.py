"""An agent and its shadow, over a real broker that asks for certificates."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_agent.control.desired import DesiredState
from edge_agent.spool import Spool
from tests.support.agent import process, segments_in, write_settings
from tests.support.broker import ACL, THING, Broker, Cloud, control_settings
from tests.support.wait import until

SOURCE = "synthetic:?size=160x120&fps=10"
BLUE = {"color": "blue", "object": "crate"}


class Rig:
    """A broker, the cloud behind it, and the settings of a box."""

    def __init__(self, root: Path, stack: ExitStack, acl: str = ACL, source: str = SOURCE) -> None:
        self.root = root
        self._stack = stack
        self.broker = Broker(root / "broker", acl)
        self.broker.start()
        stack.callback(self.broker.kill)
        self.cloud = stack.enter_context(Cloud(self.broker).running())
        (root / "store").mkdir()
        self.settings = write_settings(root, source, str(root / "store"), segment_seconds=3600)
        document = yaml.safe_load(self.settings.read_text())
        document["control"] = control_settings(self.broker)
        self.settings.write_text(yaml.safe_dump(document))
        self.spool = Spool(root / "spool")

    def start(self) -> subprocess.Popen[str]:
        return self._stack.enter_context(process("edge_agent.cli", "run", "-c", self.settings))

    @property
    def camera(self) -> dict[str, Any]:
        """What the shadow was told of the camera."""
        found: dict[str, Any] = self.cloud.reported.get("cameras", {}).get("cam1", {})
        return found

    def until_recording(self) -> None:
        until(lambda: self.camera.get("applied", {}).get("tag") == "black_cup", "the shadow to say what is recorded")

    @property
    def refused(self) -> list[dict[str, Any]]:
        """What the shadow was told that is not obeyed."""
        found: list[dict[str, Any]] = self.cloud.reported.get("refused", [])
        return found

    @property
    def upload(self) -> dict[str, Any]:
        """What the shadow was told of uploads."""
        found: dict[str, Any] = self.cloud.reported.get("upload", {})
        return found

    def classes(self) -> list[str]:
        """Of what was uploaded, in order of time; a class as often as it was begun."""
        uploaded = [segment.name for _, segment in segments_in(self.spool.uploaded)]
        tags = (str(name.tag) for name in sorted(uploaded, key=lambda name: name.take))
        return [tag for tag, _ in groupby(tags)]


def shell(*arguments: str | Path) -> str:
    """What a command says."""
    command = [sys.executable, "-m", "edge_agent.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def rig(tmp_path: Path, stack: ExitStack) -> Rig:
    return Rig(tmp_path, stack)


def test_a_class_set_in_the_shadow_begins_a_segment_and_is_reported(rig: Rig) -> None:
    """Mid-recording: the segment ends there, the next bears the class, and the shadow has no delta left."""
    rig.start()
    rig.until_recording()
    rig.cloud.want(cameras={"cam1": {"class": BLUE}})
    until(lambda: rig.camera.get("class") == BLUE, "the class to be reported")
    until(lambda: rig.camera["applied"].get("tag") == "blue_crate", "the class to be in force")
    assert rig.camera["class_set_by"] == "shadow"
    until(lambda: rig.classes() == ["black_cup"], "the segment before to end")
    rig.cloud.want(cameras={"cam1": {"class": "default", "recording": False}})
    until(lambda: rig.camera.get("recording") is False, "the stop to be reported")
    until(lambda: rig.classes()[:2] == ["black_cup", "blue_crate"], "the segment of the class to be there")
    until(lambda: len(rig.cloud.events("segment_uploaded")) >= 2, "both uploads to be told")
    assert {event["stem"].rpartition("_")[0] for event in rig.cloud.events("segment_closed")} >= {"black_cup"}
    telemetry = until(lambda: rig.cloud.messages("/telemetry"), "telemetry")[-1]
    assert telemetry["cameras"]["cam1"].keys() >= {"state", "healthy", "tag"}


def test_what_cannot_be_is_refused_and_reported_while_recording_goes_on(rig: Rig) -> None:
    """A bad class, an unknown camera, a wrong type: each with its reason; what is right beside them is obeyed."""
    rig.start()
    rig.until_recording()
    rig.cloud.want(
        cameras={"cam1": {"class": {"color": "No Such", "object": "cup"}, "recording": "yes"}, "cam9": {}},
        upload={"paused": True, "bandwidth": "fast"},
        nonsense=1,
    )
    until(lambda: rig.upload.get("paused") is True, "the pause to be reported")
    paths = {"cameras.cam1.class", "cameras.cam1.recording", "cameras.cam9", "upload.bandwidth", "nonsense"}
    until(lambda: {fault["path"] for fault in rig.refused} == paths, "what was refused to be reported")
    assert all(fault["reason"] for fault in rig.refused)
    rig.cloud.send(f"$aws/things/{THING}/shadow/name/capture/get/accepted", b"{" * 100_000)
    until(
        lambda: any(f["path"] == "document" for report in rig.cloud.reports for f in report.get("refused", [])),
        "the document to be refused",
    )
    assert rig.camera["applied"]["tag"] == "black_cup"
    until(lambda: rig.camera["healthy"] is True, "the camera to be well")


def test_limits_and_sampling_set_in_the_shadow_hold_and_are_reported(rig: Rig) -> None:
    """A bandwidth is in force in place of the settings'; sampling that a source cannot do is refused."""
    rig.start()
    rig.until_recording()
    rig.cloud.want(upload={"bandwidth": "512k"}, cameras={"cam1": {"sampling": {"keep_every": 5}}})
    until(lambda: rig.upload.get("bandwidth") == "512k", "the bandwidth to be reported")
    until(lambda: rig.upload["applied"].get("bytes_per_second") == 512 * 1024, "the bandwidth to be in force")
    (fault,) = until(lambda: rig.refused, "what was refused")
    assert fault["path"] == "cameras.cam1.sampling"
    rig.cloud.want(upload={"bandwidth": "default"}, cameras={"cam1": {"sampling": None}})
    until(lambda: rig.upload["applied"] == {}, "the settings' bandwidth to hold again")
    until(lambda: not rig.refused, "nothing to be refused")


def test_status_says_how_the_link_does(rig: Rig) -> None:
    """Connected, and as whom; then why not: in words, and for machines."""

    def told(*options: str) -> str:
        return shell("status", *options, "-c", rig.settings)

    rig.start()
    rig.until_recording()
    until(lambda: f"shadow: connected as {THING}" in told(), "the link")
    rig.broker.kill()

    def lost() -> dict[str, Any]:
        """What machines are told of it; empty while the link is up, or people are told of another problem by now."""
        link: dict[str, Any] = json.loads(told("--json"))["control"] or {}
        return link if link and not link["up"] and f"shadow: {link['problem']}"[:40] in told() else {}

    assert until(lost, "the link to be lost")["thing"] == THING


def test_an_order_given_while_the_box_was_off_is_obeyed_when_it_comes_back(rig: Rig) -> None:
    """What the shadow wants at start is what is recorded; and what was obeyed stays so with no link at all."""
    rig.cloud.want(cameras={"cam1": {"class": BLUE}})
    agent = rig.start()
    until(lambda: rig.camera.get("class") == BLUE, "the class to be reported")
    agent.terminate()
    agent.communicate(timeout=60)
    rig.broker.kill()
    rig.start()
    until(lambda: any(path.name.startswith("blue_crate") for path in rig.spool.recording.iterdir()), "a segment")


def test_the_broker_tells_that_a_box_is_gone(rig: Rig) -> None:
    """Killed: the last will says offline. Stopped: the agent does. At each connect it says online."""
    agent = rig.start()
    until(lambda: rig.cloud.messages("/presence"), "the first word")
    agent.kill()
    agent.wait()
    until(lambda: rig.cloud.messages("/presence")[-1]["state"] == "offline", "the last will")
    assert [message["state"] for message in rig.cloud.messages("/presence")] == ["online", "offline"]
    agent = rig.start()
    until(lambda: rig.cloud.messages("/presence")[-1]["state"] == "online", "the next connect")
    agent.terminate()
    agent.communicate(timeout=60)
    until(lambda: rig.cloud.messages("/presence")[-1]["state"] == "offline", "the goodbye")


def test_a_local_change_later_than_the_shadows_stands_and_is_reported(rig: Rig) -> None:
    """The last writer wins: the box reports what somebody set on it, until the shadow is written again."""
    agent = rig.start()
    rig.until_recording()
    rig.cloud.want(cameras={"cam1": {"class": BLUE}})
    until(lambda: rig.camera.get("class") == BLUE, "the class to be reported")
    arguments = ("label", "cam1", "color=red", "object=cup", "-c", rig.settings)
    with process("edge_agent.cli", *arguments) as shell:
        shell.communicate(timeout=60)
    until(lambda: rig.camera.get("applied", {}).get("tag") == "red_cup", "the local class to be reported")
    assert rig.camera["class_set_by"].startswith("shell:")
    agent.terminate()
    agent.communicate(timeout=60)
    gets = rig.cloud.gets
    rig.start()
    until(lambda: rig.cloud.gets > gets, "the box to look at the shadow again")
    until(lambda: rig.camera.get("applied", {}).get("tag") == "red_cup", "the local class to be in force")
    rig.cloud.want(cameras={"cam1": {"class": BLUE}})
    until(lambda: rig.camera.get("class") == BLUE, "the shadow's newer word to win")


def test_a_publish_that_is_not_permitted_is_told_once_and_does_not_block(tmp_path: Path, stack: ExitStack) -> None:
    """Telemetry may not be sent: a log line names the topic and what to do; events still arrive."""
    rig = Rig(tmp_path, stack, ACL.replace(f"topic write edge/{THING}/telemetry\n", ""))
    agent = rig.start()
    rig.until_recording()
    rig.cloud.want(cameras={"cam1": {"class": BLUE}})
    until(lambda: rig.cloud.events("segment_uploaded"), "an event")
    until(lambda: "message_refused" in shell("logs", "--json", "-n", "500", "-c", rig.settings), "the line")
    agent.terminate()
    output, _ = agent.communicate(timeout=60)
    lines = [json.loads(line) for line in output.splitlines() if "message_refused" in line]
    assert len(lines) == 1
    assert f"edge/{THING}/telemetry" in lines[0]["error"]
    assert "thing's policy" in lines[0]["error"]
    assert rig.cloud.messages("/telemetry") == []


def test_desired_state_of_the_shadow_is_durable(rig: Rig) -> None:
    """An order is on the disk before it is reported."""
    rig.start()
    rig.cloud.want(cameras={"cam1": {"class": BLUE}})
    until(lambda: rig.camera.get("class") == BLUE, "the class to be reported")
    choice = DesiredState(rig.root / "spool" / "state", ("color", "object")).of("cam1").choice
    assert choice is not None
    assert choice.set_by == "shadow"
