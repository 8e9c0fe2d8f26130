"""One link's talk with the shadow: what is asked, which answers count, and which are too old to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.control.desired import DesiredState
from edge_agent.control.outbox import Outbox
from edge_agent.control.shadow import Box
from edge_agent.control.shadow_session import ANSWER_SECONDS, RETRY_SECONDS, Facts, ShadowSession
from tests.support.clock import FakeClock

FIELDS = ("color", "object")
FACTS = Facts(Box("dock7", FIELDS, ("cam1",), lambda *_: ""), {"cam1": (None, 1)}, {}, None)


class Talk:
    """A session whose link is up, and everything it said."""

    def __init__(self, directory: Path, outbox: Outbox) -> None:
        self.clock = FakeClock()
        self.desired = DesiredState(directory, FIELDS)
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.session = ShadowSession(self.desired, outbox, self.clock, lambda: FACTS, lambda: None, self._publish)
        self.session.linked(True)

    def _publish(self, end: str, payload: bytes) -> None:
        self.said.append((end, json.loads(payload)))

    @property
    def token(self) -> str:
        """Which the last get bore."""
        return str([document for end, document in self.said if end == "get"][-1]["clientToken"])

    def came(self, end: str, **message: Any) -> list[str]:
        """Give it a message; the topics it spoke on because of it."""
        before = len(self.said)
        self.session.came(end, json.dumps(message).encode())
        return [end for end, _ in self.said[before:]]

    def answer(self, version: int, color: str, token: str | None = None) -> list[str]:
        """Answer its last get, or that of *token*: the document, in which *color* is wanted and nothing reported."""
        state = {"desired": {"cameras": {"cam1": {"class": {"color": color, "object": "box"}}}}}
        stamps = {"desired": {"cameras": {"cam1": {"class": {"color": {"timestamp": version}}}}}}
        return self.came("get/accepted", version=version, state=state, metadata=stamps, clientToken=token or self.token)

    @property
    def tag(self) -> str:
        """The class that was ordered."""
        choice = self.desired.of("cam1").choice
        return str(choice.tag) if choice else ""


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    outbox = Outbox(tmp_path)
    yield Talk(tmp_path, outbox)
    outbox.close()


def test_a_delta_of_a_version_seen_already_asks_nothing(talk: Talk) -> None:
    """It was overtaken by the answer that told all of it; the next version's is asked about, as is one without any."""
    assert talk.answer(9, "red") == ["update"]
    assert talk.came("update/delta", version=8) == []
    assert talk.came("update/delta", version=9) == []
    assert talk.came("update/delta", version=10) == ["get"]
    assert talk.came("update/delta") == ["get"]


def test_an_answer_of_an_older_version_changes_nothing(talk: Talk) -> None:
    """What it wants is neither obeyed nor answered, and a delta is still measured by the newer one."""
    talk.answer(9, "red")
    assert talk.answer(8, "blue") == []
    assert talk.tag == "red_box"
    assert talk.came("update/delta", version=9) == []


def test_an_answer_to_somebody_else_or_to_an_earlier_get_is_ignored(talk: Talk) -> None:
    """Only the last get's token counts: the answer that comes too late does not, nor a refusal meant for another."""
    earlier = talk.token
    talk.clock.advance(ANSWER_SECONDS)
    talk.session.tick(FACTS)
    assert talk.token != earlier
    assert talk.answer(9, "blue", "somebody-1") == []
    assert talk.answer(9, "blue", earlier) == []
    assert talk.came("get/rejected", code=404, clientToken="somebody-1") == []
    assert talk.came("get/rejected", code=404) == []
    assert talk.tag == ""
    assert talk.answer(9, "red") == ["update"]
    assert talk.tag == "red_box"


def test_a_new_link_begins_with_whatever_version_the_shadow_has(talk: Talk) -> None:
    """A shadow deleted and begun anew counts from the start: its lower version is obeyed, its deltas are looked at."""
    talk.answer(9, "red")
    talk.session.linked(False)
    talk.session.linked(True)
    assert talk.came("update/delta", version=2) == ["get"]
    talk.answer(10, "blue")
    assert talk.tag == "blue_box"
    talk.session.linked(False)
    talk.session.linked(True)
    assert talk.answer(2, "blue") == ["update"]
    assert talk.came("update/delta", version=2) == []
    assert talk.came("update/delta", version=3) == ["get"]


def test_after_a_refused_report_the_same_version_is_told_again(talk: Talk) -> None:
    """The shadow is asked again after a while, and the document it still holds is good enough to report against."""
    talk.answer(9, "red")
    talk.came("update/rejected", code=500, clientToken=talk.token)
    talk.session.tick(FACTS)
    assert [end for end, _ in talk.said] == ["get", "update"]
    talk.clock.advance(RETRY_SECONDS)
    talk.session.tick(FACTS)
    assert talk.answer(9, "red") == ["update"]
