"""The link to the cloud goes, and comes back: nothing recorded is lost, nothing that was to be told either."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.integration.test_shadow_mqtt import BLUE, Rig
from tests.support.agent import process
from tests.support.wait import until

DOWN_SECONDS = 60  # how long the broker is away in a storm, at least


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with ExitStack() as stack:
        yield Rig(tmp_path, stack)


def recording(rig: Rig, tag: str) -> bool:
    return any(tag in path.name for path in rig.spool.recording.iterdir())


def test_broker_killed_and_back(rig: Rig, storm: bool, account: Callable[..., None]) -> None:
    """Classes changed on the box meanwhile, orders written in the shadow meanwhile: all told, all obeyed."""
    agent = rig.start()
    rig.until_recording()
    killed = time.monotonic()
    rig.broker.kill()
    until(lambda: not rig.cloud.connected.is_set(), "the link to be lost")
    rig.cloud.desired = {"cameras": {"cam1": {"recording": False}}}
    for number in range(20 if storm else 2):
        with process("edge_agent.cli", "label", "cam1", f"color=c{number}", "object=cup", "-c", rig.settings) as shell:
            shell.communicate(timeout=60)
        until(partial(recording, rig, f"c{number}_cup"), "a segment")
    if storm:
        until(lambda: time.monotonic() - killed >= DOWN_SECONDS, "the minute to pass", 2 * DOWN_SECONDS)
    rig.cloud.heard.clear()
    down = time.monotonic() - killed
    rig.broker.start()
    until(rig.cloud.connected.is_set, "the cloud's side to be back")
    rig.cloud.want(cameras={"cam1": {"recording": False}, "cam9": {}})
    until(lambda: rig.camera.get("recording") is False, "the order to be obeyed")
    until(lambda: rig.refused, "the refusal to be told")
    expected = 21 if storm else 3
    until(lambda: len({event["stem"] for event in rig.cloud.events("segment_uploaded")}) >= expected, "all uploads")
    until(lambda: len({event["stem"] for event in rig.cloud.events("segment_closed")}) >= expected, "all their ends")
    told = {event["stem"] for event in rig.cloud.events("segment_closed")}
    assert told == {path.stem for path in rig.spool.uploaded.glob("*.mp4")}
    assert agent.poll() is None
    account(f"broker killed for {down:.0f} s, {expected - 1} class changes", "nothing", f"{len(told)} segments told")


def test_agent_killed_with_messages_waiting(rig: Rig, account: Callable[..., None]) -> None:
    """What waited when the agent was killed, with the broker gone, arrives from the next one."""
    agent = rig.start()
    rig.until_recording()
    rig.broker.kill()
    until(lambda: not rig.cloud.connected.is_set(), "the link to be lost")
    with process("edge_agent.cli", "label", "cam1", *(f"{k}={v}" for k, v in BLUE.items()), "-c", rig.settings) as it:
        it.communicate(timeout=60)
    until(lambda: list(rig.spool.uploaded.glob("black_cup*.mp4")), "the first segment to be uploaded")
    agent.kill()
    agent.communicate()
    rig.broker.start()
    until(rig.cloud.connected.is_set, "the cloud's side to be back")
    rig.start()
    (video,) = rig.spool.uploaded.glob("black_cup*.mp4")
    until(lambda: video.stem in {event["stem"] for event in rig.cloud.events("segment_uploaded")}, "the event")
    account("agent killed with the broker gone", "nothing", "told by the next one")
