"""The page's decisions: names, callers, words, metrics, what is asked for."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config_web import parse_listen
from edge_agent.control import web
from edge_agent.control.journal import KEPT, Journal
from edge_agent.control.web import requests
from edge_agent.control.web.callers import FAILURES, WINDOW_SECONDS, Throttle, host_of, is_known, is_own_origin
from edge_agent.control.web.metrics import PREFIX, exposition
from edge_agent.control.web.openapi import description
from edge_agent.control.web.state import gathered
from edge_agent.control.web.token import TokenFile, is_same, session
from edge_agent.control.web.words import camera_words, disk_words, log_words, upload_words
from edge_agent.errors import ConfigInvalid, InvalidInput
from tests.support.clock import FakeClock
from tests.support.page import job_for

NOW = datetime(2026, 11, 22, 14, 31, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("localhost:80", ("127.0.0.1", 80)),
        ("0.0.0.0:8080", ("0.0.0.0", 8080)),  # noqa: S104 - only read
        ("[::1]:8080", ("::1", 8080)),
    ],
)
def test_an_address_to_listen_on_is_read(text: str, found: tuple[str, int]) -> None:
    """Addresses of both kinds, and the name of this box."""
    assert parse_listen(text) == found


@pytest.mark.parametrize(
    "text", ["", "8080", "dock7:80", "127.0.0.1", "127.0.0.1:0", "1.2.3.4:70000", "::1:8080", "[1.2.3.4]:1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """Names, which may mean anything tomorrow, and halves."""
    with pytest.raises(ConfigInvalid, match="address and port"):
        parse_listen(text)


@given(st.text(max_size=60))
def test_any_host_header_is_read_or_refused(header: str) -> None:
    """Nothing that a client writes there raises."""
    host = host_of(header)
    assert host is None or isinstance(is_known(host, frozenset(), is_local=True), bool)
    assert not is_own_origin(header, "127.0.0.1:8080") or header.lower().endswith("//127.0.0.1:8080")


@given(st.integers(1, 30), st.floats(0, 1e6))
def test_a_caller_waits_after_five_failures_and_no_longer_than_a_minute(count: int, now: float) -> None:
    """Others are not held up by it."""
    throttle = Throttle()
    for _ in range(count):
        throttle.failed("192.0.2.7", now)
    assert (throttle.blocked("192.0.2.7", now) > 0) == (count >= FAILURES)
    assert throttle.blocked("192.0.2.7", now + WINDOW_SECONDS) == 0
    assert throttle.blocked("192.0.2.8", now) == 0


def test_an_ipv6_host_is_its_network() -> None:
    """It may take any address there; each counts."""
    throttle = Throttle()
    for number in range(FAILURES):
        throttle.failed(f"2001:db8::{number:x}", 1.0)
    assert throttle.blocked("2001:db8::ffff", 1.0) > 0
    assert throttle.blocked("2001:db8:1::1", 1.0) == 0


def test_a_token_is_made_once_and_renewed_on_demand(tmp_path: Path) -> None:
    """For its owner alone; the cookie made from it tells nothing of it."""
    file = TokenFile(tmp_path)
    token = file.read()
    assert file.read() == token
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.renew() != token
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert token not in session(token)


@given(st.text(max_size=40), st.text(max_size=40))
def test_tokens_are_the_same_only_when_equal(given_: str, wanted: str) -> None:
    """And an empty one lets nobody in."""
    assert is_same(given_, wanted) == (given_ == wanted != "")


@pytest.mark.parametrize(
    ("status", "level", "words"),
    [
        ({"state": "waiting", "problem": "no packet for 12 s", "attempt": 3}, "bad", "no packet for 12 s (retry 3)"),
        ({"state": "recording", "segment": "x", "problem": ""}, "ok", "recording"),
        ({"state": "recording", "segment": "x", "problem": "the picture is black"}, "bad", "the picture is black"),
        ({"state": "gate closed", "gate": "waiting for motion"}, "idle", "waits for something to move"),
        ({"state": "gate closed", "gate": "off"}, "idle", "stopped: nothing is recorded until it is started"),
        ({"state": "no class set", "gate": "open"}, "idle", "nothing is recorded: choose a class"),
        ({}, "idle", "starting"),
    ],
)
def test_a_camera_is_told_in_plain_words(status: dict[str, Any], level: str, words: str) -> None:
    """What is wrong, and which attempt to mend it this is."""
    assert camera_words(status) == (level, words)


def test_queue_and_disk_are_told_in_plain_words() -> None:
    """Rate, time to go and what is in the way."""
    queue = {"waiting": 12, "waiting_bytes": 34_000_000, "rate": 512_000, "eta": 180}
    assert upload_words(queue, uploads=True) == ("ok", "12 waiting, 34.0 MB; 512.0 kB/s, about 3 min to go")
    assert upload_words({**queue, "link": "no route"}, uploads=True) == ("bad", "no route; 12 waiting, 34.0 MB")
    assert upload_words(queue, uploads=False)[0] == "idle"
    assert upload_words({}, uploads=True) == ("ok", "nothing to upload yet")
    assert disk_words({"used": 2e9, "free": 75e9, "quota": 20e9}) == ("ok", "2.0 GB of 20.0 GB recorded, 75.0 GB free")
    assert disk_words({"paused": "disk full"})[0] == "bad"


def test_what_goes_wrong_again_and_again_stands_there_once() -> None:
    """Newest first, with how often."""
    lost = {"event": "camera_lost", "camera": "cam1", "error": "no packet", "level": "warning", "timestamp": "t"}
    other = {"event": "disk_full", "error": "full", "level": "warning", "timestamp": "t"}
    found = gathered([lost, lost, other, lost])
    assert [line["words"] for line in found] == ["cam1: camera lost: no packet (3 times)", "disk full: full"]
    assert log_words({"event": "gate_changed", "camera": "cam1", "gate": "open"}) == "cam1: gate changed: gate open"


def test_the_journal_keeps_the_last_lines_only() -> None:
    """A long life costs no memory; who follows misses nothing and hears nothing twice."""
    journal = Journal()
    for number in range(KEPT + 10):
        journal.add({"event": "e", "n": number, "level": "error" if number % 2 else "info", "odd": [1]})
    number, lines = journal.since(0, KEPT)
    assert len(lines) == KEPT
    assert lines[-1] == {"event": "e", "n": KEPT + 9, "level": "error", "odd": "[1]"}
    assert journal.since(number, 10) == (number, [])
    assert all(line["level"] == "error" for line in journal.since(0, 50, trouble=True)[1])


@given(st.binary(max_size=80) | st.recursive(st.none() | st.booleans() | st.text(max_size=5), st.lists).map(str))
def test_any_body_is_an_order_or_refused(body: bytes | str) -> None:
    """Rubbish raises nothing but InvalidInput."""
    raw = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    for read in (
        lambda: requests.class_wanted(raw, job_for(Path()), "cam1", NOW),
        lambda: requests.recording_wanted(raw, "cam1"),
        lambda: requests.upload_wanted(raw, NOW),
        lambda: requests.token_shown(raw),
    ):
        with pytest.raises(InvalidInput):
            read()


@given(st.text(max_size=30))
def test_no_value_breaks_the_metrics_out_of_their_line(text: str) -> None:
    """A label holds anything, on one line."""
    lines = exposition({**DOCUMENT, "device": text}).split("\n")
    info = [line for line in lines if line.startswith(f"{PREFIX}info")]
    assert len(info) == 1
    assert info[0].endswith('",version="1"} 1')


def test_every_documented_metric_is_there_and_every_one_there_is_documented() -> None:
    """The page of metrics and the code name the same ones."""
    from edge_agent.control.web import metrics

    made = {metric.name for metric in vars(metrics).values() if isinstance(metric, metrics.Metric)}
    made |= {metric.name for metric in metrics.COUNTERS.values()}
    page = (Path(__file__).parents[2] / "docs" / "operations" / "metrics.md").read_text()
    told = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    assert told == {PREFIX + name for name in made}


def test_every_route_is_described() -> None:
    """The description has each path of the API, and no other."""
    from edge_agent.control.web.app import Page
    from edge_agent.control.web.hub import Hub
    from edge_agent.control.web.state import Box

    job = job_for(Path())
    hub = Hub(dict, lambda _: {}, ())
    routes = Page(job, FakeClock(), Box(job, FakeClock()), hub).routes()
    hub.close()
    told = set(description(("color", "object"), ("cam1",))["paths"])
    assert {route.path for route in routes} - {"/", "/page.js", "/page.css", "/icon.svg"} == told


def test_what_the_page_asks_with_is_described() -> None:
    """Every parameter that the page's script puts behind a question mark is in the description."""
    script = (Path(web.__file__).parent / "static" / "page.js").read_text()
    paths = description(("color", "object"), ("cam1",))["paths"].values()
    parameters = [parameter for path in paths for parameter in path.get("parameters", ())]
    told = {parameter["name"] for parameter in parameters if parameter["in"] == "query"}
    assert set(re.findall(r"[?&](\w+)=\$\{", script)) == told


DOCUMENT: dict[str, Any] = {
    "device": "dock7",
    "version": "1",
    "now": "2026-11-22T14:31:05.000Z",
    "running": True,
    "cameras": [],
    "spool": {},
    "disk": {},
    "upload": {},
}
