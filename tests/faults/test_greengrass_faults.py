"""A nucleus that is killed again and again, and goes offline in between: what the box had to tell arrives."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.control import greengrass
from edge_agent.control.greengrass import GreengrassControl
from edge_agent.control.transport import Link
from edge_agent.errors import ControlUnreachable
from tests.support.nucleus import FakeNucleus
from tests.support.wait import until

TOPIC = "edge/dock7/events"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["lite", "classic"])
def test_every_message_arrives_whatever_the_nucleus_does(
    kind: str, tmp_path: Path, account: Callable[..., None], storm: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent again until its future says so, each message is in the cloud, and no future stays open."""
    monkeypatch.setattr(greengrass, "backoff", lambda _attempt: 0.05)
    rounds, seed = (60 if storm else 5), random.Random(6)
    links: list[Link] = []
    with FakeNucleus(tmp_path, classic=kind == "classic") as nucleus:
        harms: list[Callable[[], None]] = [nucleus.end, nucleus.drop, partial(nucleus.go, online=False)]
        control = GreengrassControl(nucleus.known, SystemClock())
        control.start(links.append)
        try:
            sent = again = 0
            for number in range(rounds):
                until(lambda: links and links[-1].up, "the link")
                futures = {f"{number}-{one}": control.publish(TOPIC, f"{number}-{one}".encode()) for one in range(20)}
                sent += len(futures)
                seed.choice(harms)()
                failed = [text for text, future in futures.items() if not _arrived(future)]
                if not nucleus.path.exists():
                    nucleus.begin()
                nucleus.go(online=True)
                again += len(failed)
                for text in failed:
                    until(partial(_sent, control, text), f"{text} to be taken")
        finally:
            control.close()
        came = {payload.decode() for _, payload in nucleus.topics}
    assert len(came) == sent
    account(f"{rounds} times {kind} ended, cut or offline", "nothing", f"{again} of {sent} messages sent again")


def _sent(control: GreengrassControl, text: str) -> bool:
    return _arrived(control.publish(TOPIC, text.encode()))


def _arrived(future: Future[None]) -> bool:
    """Whether the nucleus took it; what ends otherwise ends soon, and says that trying again helps."""
    error = future.exception(60)
    assert error is None or isinstance(error, ControlUnreachable)
    return error is None
