"""Noticing that a host can be reached again, with real sockets."""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
from contextlib import closing, suppress

import pytest

from edge_agent.clock import SystemClock
from edge_agent.upload import connections
from edge_agent.upload.connections import CLOSED, ESTABLISHED, HANGS_AFTER, SYN_SENT, Doing
from edge_agent.upload.link import Link
from edge_agent.upload.reach import Reach, target_of
from tests.support.wait import promised, until


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
            assert calls[0] - began < promised(2)
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
    ("doing", "hangs", "late"),
    [
        (Doing(ESTABLISHED, 0, 3.0), False, False),
        (Doing(ESTABLISHED, HANGS_AFTER - 1, 0.8), False, False),
        (Doing(ESTABLISHED, 1, 2.0), False, True),
        (Doing(ESTABLISHED, HANGS_AFTER, 0.9), True, True),
        (Doing(SYN_SENT, 0, 1.0), False, False),
        (Doing(SYN_SENT, 1, 1.0), False, True),
        (Doing(CLOSED, 15, 9.0), False, False),
    ],
)
def test_a_connection_hangs_when_nothing_comes_back(doing: Doing, hangs: bool, late: bool) -> None:
    """One loss is chance; a connection that is being made has nothing to lose by being made anew."""
    assert (doing.hangs, doing.is_late) == (hangs, late)


def test_what_waits_in_the_kernel_is_thrown_away_and_the_rest_goes_on() -> None:
    """Of two connections to one port only the one with bytes under way is broken off, and those never arrive."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with closing(socket.create_connection(("127.0.0.1", port))) as idle, server.accept()[0] as there:
            with closing(socket.create_connection(("127.0.0.1", port))) as busy, server.accept()[0] as other:
                busy.setblocking(False)
                sent = 0
                with suppress(BlockingIOError):
                    while True:
                        sent += busy.send(bytes(1 << 16))
                assert connections.break_sending(port + 1 if port < 65535 else 1) == 0
                assert connections.break_sending(port) == 1
                with pytest.raises(OSError, match="pipe"):
                    busy.send(b"x")
                busy.close()
                assert _received(other) < sent
            assert connections.break_late() == 0
            assert not connections.is_any_hanging()
            idle.sendall(b"still here")
            assert there.recv(100) == b"still here"


def _received(connection: socket.socket) -> int:
    """How many bytes come until the connection ends."""
    count = 0
    with suppress(ConnectionResetError):
        while data := connection.recv(1 << 20):
            count += len(data)
    return count


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


ATTACH_FILTER = 26  # SO_ATTACH_FILTER, asm-generic/socket.h
ACCEPT_NOTHING = struct.pack("=HBBI", 0x06, 0, 0, 0)  # BPF_RET, so many bytes: linux/filter.h


def lose_the_way_to(connection: socket.socket) -> None:
    """Let nothing arrive at *connection* any more: what a gateway does that has forgotten one flow of many."""
    code = ctypes.create_string_buffer(ACCEPT_NOTHING)
    program = struct.pack("@HP", 1, ctypes.addressof(code))
    try:
        connection.setsockopt(socket.SOL_SOCKET, ATTACH_FILTER, program)
    except OSError as error:
        pytest.skip(f"no filter can be put on a socket here: {error}")


def test_one_connection_that_lost_its_way_is_broken_off_while_new_ones_stand() -> None:
    """A gateway forgets one flow, and was never away: that one is broken off at once, and no other."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        address = server.getsockname()
        link = Link(SystemClock(), threading.Event(), f"http://127.0.0.1:{address[1]}")
        with (
            socket.create_connection(address) as lost,
            server.accept()[0] as there,
            socket.create_connection(address) as kept,
            server.accept()[0] as other,
            link.watching(),
        ):
            lose_the_way_to(there)
            lost.sendall(b"x")

            def is_broken_off() -> bool:
                link.look()
                with suppress(BlockingIOError):
                    return not lost.recv(1, socket.MSG_DONTWAIT)
                return False

            until(is_broken_off, "the connection to be broken off")
            kept.sendall(b"still here")
            assert other.recv(100) == b"still here"
