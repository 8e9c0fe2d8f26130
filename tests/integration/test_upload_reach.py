"""Noticing that a host can be reached again, with real sockets."""

from __future__ import annotations

import socket
import threading

import pytest

from edge_agent.clock import SystemClock
from edge_agent.upload.reach import Reach, target_of
from tests.support.wait import until


def test_a_host_that_takes_connections_again_is_noticed_within_two_seconds() -> None:
    """Refused for a while, then accepted: one call, and none any more after that."""
    clock = SystemClock()
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        port = placeholder.getsockname()[1]
        calls: list[float] = []
        with Reach("127.0.0.1", port, lambda: calls.append(clock.monotonic()), clock) as reach:
            reach.seek()
            assert not threading.Event().wait(1.0)
            assert not calls
            began = clock.monotonic()
            placeholder.listen(8)
            until(lambda: calls, "the host to be noticed")
            assert calls[0] - began < 2.0
            reach.rest()


def test_a_host_that_was_never_away_is_no_news() -> None:
    """A store that answers but refuses is not asked more often because its port is open."""
    clock = SystemClock()
    with socket.create_server(("127.0.0.1", 0)) as server:
        calls: list[float] = []
        with Reach("127.0.0.1", server.getsockname()[1], lambda: calls.append(1.0), clock, draw=lambda: 0.0) as reach:
            reach.seek()
            for _ in range(2):
                server.accept()[0].close()
            assert not calls


def test_a_host_without_an_address_is_looked_up_until_there_is_one() -> None:
    """A name that nobody knows ends nothing and calls nobody."""
    calls: list[float] = []
    with Reach("no-such-host.invalid", 443, lambda: calls.append(1.0), SystemClock()) as reach:
        reach.seek()
        assert not threading.Event().wait(0.2)
        reach.rest()
    assert not calls


@pytest.mark.parametrize(
    ("url", "proxy", "target"),
    [
        ("https://s3.eu-central-1.amazonaws.com", "", ("s3.eu-central-1.amazonaws.com", 443)),
        ("http://127.0.0.1:9000", "", ("127.0.0.1", 9000)),
        ("https://s3.amazonaws.com", "http://proxy.example:3128", ("proxy.example", 3128)),
        ("https://s3.amazonaws.com", "proxy.example:3128", ("proxy.example", 3128)),
        ("https://inside.example", "http://proxy.example:3128", ("inside.example", 443)),
    ],
)
def test_the_target_is_what_a_request_would_connect_to(
    monkeypatch: pytest.MonkeyPatch, url: str, proxy: str, target: tuple[str, int]
) -> None:
    """A proxy of the environment, but not for the hosts it is not for."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    if proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        monkeypatch.setenv("NO_PROXY", "inside.example")
    assert target_of(url) == target
