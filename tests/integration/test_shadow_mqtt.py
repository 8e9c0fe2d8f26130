"""An agent and its shadow, over a real broker that asks for certificates."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
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

    def classes(self) -> list[str]:
        uploaded = [segment.name for _, segment in segments_in(self.spool.uploaded)]
        return [str(name.tag) for name in sorted(uploaded, key=lambda name: name.take)]


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
    assert rig.camera["applied"]["tag"] == "blue_crate"
    assert rig.camera["class_set_by"] == "shadow"
    until(lambda: rig.classes() == ["black_cup"], "the segment before to end")
    rig.cloud.want(cameras={"cam1": {"class": "default", "recording": False}})
    until(lambda: rig.camera.get("recording") is False, "the stop to be reported")
    assert rig.classes()[:2] == ["black_cup", "blue_crate"]
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
    until(lambda: rig.cloud.reported["upload"]["paused"] is True, "the pause to be reported")
    refused = {fault["path"]: fault["reason"] for fault in rig.cloud.reported["refused"]}
    assert refused.keys() == {
        *("cameras.cam1.class", "cameras.cam1.recording", "cameras.cam9", "upload.bandwidth", "nonsense")
    }
    rig.cloud.send(f"$aws/things/{THING}/shadow/name/capture/get/accepted", b"{" * 100_000)
    until(
        lambda: any(f["path"] == "document" for report in rig.cloud.reports for f in report.get("refused", [])),
        "the document to be refused",
    )
    assert rig.camera["applied"]["tag"] == "black_cup"
    assert rig.camera["healthy"] is True


def test_limits_and_sampling_set_in_the_shadow_hold_and_are_reported(rig: Rig) -> None:
    """A bandwidth is in force in place of the settings'; sampling that a source cannot do is refused."""
    rig.start()
    rig.until_recording()
    rig.cloud.want(upload={"bandwidth": "512k"}, cameras={"cam1": {"sampling": {"keep_every": 5}}})
    until(lambda: rig.cloud.reported["upload"]["bandwidth"] == "512k", "the bandwidth to be reported")
    assert rig.cloud.reported["upload"]["applied"]["bytes_per_second"] == 512 * 1024
    (fault,) = rig.cloud.reported["refused"]
    assert fault["path"] == "cameras.cam1.sampling"
    rig.cloud.want(upload={"bandwidth": "default"}, cameras={"cam1": {"sampling": None}})
    until(lambda: rig.cloud.reported["upload"]["applied"] == {}, "the settings' bandwidth to hold again")
    until(lambda: rig.cloud.reported["refused"] == [], "nothing to be refused")


def test_status_says_how_the_link_does(rig: Rig) -> None:
    """Connected, and as whom; then why not: in words, and for machines."""

    def told(*options: str) -> str:
        command = [sys.executable, "-m", "edge_agent.cli", "status", *options, "-c", str(rig.settings)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    rig.start()
    rig.until_recording()
    assert f"shadow: connected as {THING}" in told()
    rig.broker.kill()
    until(lambda: not json.loads(told("--json"))["control"]["up"], "the link to be lost")
    found = json.loads(told("--json"))["control"]
    assert found["thing"] == THING
    assert f"shadow: {found['problem']}"[:40] in told()


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
