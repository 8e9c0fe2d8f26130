"""The link through a Greengrass nucleus: the real IPC client, over a real socket, against a protocol-level fake."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.control import greengrass
from edge_agent.control.greengrass import GreengrassControl
from edge_agent.control.nucleus import LITE_PAYLOAD, SOCKET, TOKEN, Ipc, Nucleus
from edge_agent.control.transport import MAX_PAYLOAD, Link
from edge_agent.errors import ConfigInvalid, ControlRefused, ControlUnreachable
from tests.support.nucleus import MQTT, FakeNucleus
from tests.support.wait import until

WANTED = "$aws/things/dock7/shadow/name/capture/update/delta"
EVENTS = "edge/dock7/events"
SOON = 60.0


class _Box:
    """A started transport that remembers what it was told. Anyone may look at the lists."""

    def __init__(self, nucleus: Nucleus) -> None:
        self.links: list[Link] = []
        self.heard: list[tuple[str, bytes]] = []
        self.control = GreengrassControl(nucleus, SystemClock())
        self.control.subscribe(WANTED, lambda topic, payload: self.heard.append((topic, payload)))
        self.control.start(self.links.append)

    def up(self, times: int = 1) -> None:
        until(lambda: sum(link.up for link in self.links) >= times, f"link {times} times up: {self.links}")

    def down(self) -> str:
        return until(lambda: next((link.problem for link in self.links if not link.up), ""), "a link that is down")


Connect = Callable[[FakeNucleus], _Box]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes transports, and closes them."""
    made: list[_Box] = []

    def make(nucleus: FakeNucleus) -> _Box:
        made.append(_Box(nucleus.known))
        return made[-1]

    yield make
    for box in made:
        box.control.close()


@pytest.fixture(params=["lite", "classic"])
def nucleus(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeNucleus]:
    """A nucleus of each kind in turn."""
    with FakeNucleus(tmp_path, classic=request.param == "classic") as running:
        yield running


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[FakeNucleus]:
    with FakeNucleus(tmp_path) as running:
        yield running


@pytest.fixture
def classic(tmp_path: Path) -> Iterator[FakeNucleus]:
    with FakeNucleus(tmp_path, classic=True) as running:
        yield running


def test_messages_pass_both_ways(nucleus: FakeNucleus, connect: Connect) -> None:
    """Once the link is up, all is subscribed, the component counts as running, and what is sent arrives."""
    box = connect(nucleus)
    box.up()
    assert (nucleus.subscriptions, nucleus.states) == ([WANTED], ["RUNNING"])
    assert box.control.publish(EVENTS, b"one").result(SOON) is None
    assert nucleus.topics == [(EVENTS, b"one")]
    nucleus.deliver(WANTED, b"\x00\xffbytes")
    until(lambda: box.heard, "the message")
    assert box.heard == [(WANTED, b"\x00\xffbytes")]


def test_a_nucleus_that_is_killed_is_found_again(nucleus: FakeNucleus, connect: Connect) -> None:
    """What was under way fails soon and says so, the link comes back by itself, and everything is subscribed again."""
    box = connect(nucleus)
    box.up()
    nucleus.hung = True
    unanswered = box.control.publish(EVENTS, b"lost")
    nucleus.end()
    assert isinstance(unanswered.exception(SOON), ControlUnreachable)
    assert box.down()
    assert isinstance(box.control.publish(EVENTS, b"too early").exception(SOON), ControlUnreachable)
    nucleus.hung = False
    nucleus.begin()
    box.up(times=2)
    assert nucleus.subscriptions == [WANTED]
    assert box.control.publish(EVENTS, b"again").result(SOON) is None


def test_a_nucleus_that_starts_late_is_waited_for(tmp_path: Path, connect: Connect) -> None:
    """With no socket there, the link is down with one line that says why, until the nucleus listens."""
    late = FakeNucleus(tmp_path)
    box = connect(late)
    assert "ipc.socket" in box.down()
    with late:
        box.up()


def test_a_nucleus_that_hangs_ends_the_session(
    nucleus: FakeNucleus, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publish that is never answered fails, and a new session is begun."""
    monkeypatch.setattr(greengrass, "ANSWER_SECONDS", 0.2)
    box = connect(nucleus)
    box.up()
    nucleus.hung = True
    assert isinstance(box.control.publish(EVENTS, b"x").exception(SOON), ControlUnreachable)
    assert "does not answer" in box.down()
    nucleus.hung = False
    box.up(times=2)


def test_without_the_cloud_lite_is_tried_again(lite: FakeNucleus, connect: Connect) -> None:
    """Lite does not tell that it is offline: the first message that does not pass does, and the link is tried anew."""
    box = connect(lite)
    box.up()
    lite.go(online=False)
    assert isinstance(box.control.publish(EVENTS, b"x").exception(SOON), ControlUnreachable)
    assert box.down()
    lite.go(online=True)
    box.up(times=2)
    assert box.control.publish(EVENTS, b"y").result(SOON) is None


def test_the_classic_nucleus_tells_that_it_is_offline(classic: FakeNucleus, connect: Connect) -> None:
    """The link goes down and up with the nucleus's own, in the same session."""
    box = connect(classic)
    box.up()
    until(lambda: classic.watchers, "a watch over the connection")
    classic.go(online=False)
    assert "no connection to AWS IoT Core" in box.down()
    classic.go(online=True)
    box.up(times=2)
    assert classic.states == ["RUNNING"]


def test_what_the_recipe_does_not_permit_is_told_once(nucleus: FakeNucleus, connect: Connect) -> None:
    """A refused message is refused for good and names its topic; the session goes on for the others."""
    wanted = WANTED.replace("dock7", "{iot:thingName}")
    allow = {"operations": ["aws.greengrass#SubscribeToIoTCore"], "resources": [wanted]}
    more = {"operations": ["aws.greengrass#PublishToIoTCore"], "resources": ["edge/{iot:thingName}/telemetry"]}
    nucleus.configuration = {"accessControl": {MQTT: {"a": allow, "b": more}}}
    box = connect(nucleus)
    box.up()
    error = box.control.publish(EVENTS, b"x").exception(SOON)
    assert isinstance(error, ControlRefused)
    assert str(error) == f"{EVENTS}: not permitted; permit it in the component's accessControl"
    assert box.control.publish("edge/dock7/telemetry", b"y").result(SOON) is None
    assert [link.up for link in box.links] == [True]


def test_a_subscription_that_is_not_permitted_keeps_the_link_down(nucleus: FakeNucleus, connect: Connect) -> None:
    """Without its shadow's topics a box would obey nobody: that is told, with the topic."""
    nucleus.configuration = {"accessControl": {MQTT: {}}}
    box = connect(nucleus)
    assert box.down() == f"{WANTED}: not permitted; permit it in the component's accessControl"


def test_a_message_too_large_for_the_nucleus_never_reaches_it(nucleus: FakeNucleus, connect: Connect) -> None:
    """The largest that fits passes; one byte more is refused, where lite would break the connection."""
    most = MAX_PAYLOAD if nucleus.classic else LITE_PAYLOAD
    box = connect(nucleus)
    box.up()
    topic = "$aws/things/" + "t" * 128 + "/shadow/name/capture/update"  # the longest there can be
    assert box.control.publish(topic, b"x" * most).result(SOON) is None
    assert isinstance(box.control.publish(topic, b"x" * (most + 1)).exception(SOON), ControlRefused)
    assert nucleus.refused_packets == 0


def test_a_token_that_is_refused_is_not_shown(nucleus: FakeNucleus) -> None:
    """A component the nucleus does not know stays offline and says so, without the token."""
    stranger = Nucleus(str(nucleus.path), "secret-token", "dock7")
    links: list[Link] = []
    control = GreengrassControl(stranger, SystemClock())
    control.start(links.append)
    try:
        problem = until(lambda: next((link.problem for link in links), ""), "a refusal")
    finally:
        control.close()
    assert ("does not know this component" if nucleus.classic else "socket is closed") in problem
    assert "secret-token" not in problem + repr(stranger)


def test_closing_is_quick_and_silent(nucleus: FakeNucleus, connect: Connect) -> None:
    """Closed in the middle of a session, nothing more is told, and nobody waits for long."""
    box = connect(nucleus)
    box.up()
    threads = {thread.name for thread in threading.enumerate()}
    assert "greengrass" in threads
    box.control.close()
    assert "greengrass" not in {thread.name for thread in threading.enumerate()}
    assert [link.up for link in box.links] == [True]
    assert isinstance(box.control.publish(EVENTS, b"x").exception(SOON), ControlUnreachable)


def test_the_configuration_is_read_whole(nucleus: FakeNucleus) -> None:
    """Nested objects, lists and strings arrive as they were deployed."""
    nucleus.configuration = {"Agent": {"cameras": {"cam1": {"audio": "true"}}, "fields": ["color", "object"]}}
    ipc = Ipc.connect(nucleus.known, lambda _: None)
    try:
        assert ipc.configuration() == nucleus.configuration
    finally:
        ipc.close()


def test_outside_a_component_there_is_no_nucleus() -> None:
    """Without what a nucleus puts into the environment, the option is refused, and what is missing is named."""
    with pytest.raises(ConfigInvalid, match=f"{SOCKET}, {TOKEN}, AWS_IOT_THING_NAME not set; deploy the component"):
        Nucleus.of_environment({})
