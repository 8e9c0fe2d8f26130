"""What the kernel says of the network: recorded messages, and a real device that comes up."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import SystemClock
from edge_agent.upload.netlink import LinkWatch, says_up
from tests.support.clock import FakeClock
from tests.support.wait import until


def _recorded(text: str) -> bytes:
    """A message as the kernel sent it, without the attributes after its fixed part."""
    message = bytes.fromhex(text)
    return len(message).to_bytes(4, sys.byteorder) + message[4:]


# Recorded in a network namespace while a veth pair was made, switched on, given addresses and a default route, removed.
LINK_DOWN = _recorded("d4050000100000000000000000000000000001000300000002100000ffffffff")
LINK_UP = _recorded("d405000010000000000000000000000000000100030000004310010000000000")
NO_CARRIER = _recorded("d405000010000000000000000000000000000100030000000310000001000000")
LINK_GONE = _recorded("a8020000110000000000000000000000000001000300000002100000ffffffff")
LOOPBACK_UP = _recorded("bc05000010000000000000000000000000000403010000004900010001000000")
ADDRESS = _recorded("4c000000140000009643036b870400000218800003000000")
ADDRESS_GONE = _recorded("4c000000150000000000000000000000021880000300000008000100c0000201")
HOST_ADDRESS = _recorded("4c000000140000000000000000000000020880fe01000000")
LINK_ADDRESS = _recorded("500000001400000000000000000000000a4080fd02000000")
TENTATIVE = _recorded("480000001400000000000000000000000a40c00003000000")
DEFAULT_ROUTE = _recorded("34000000180000069643036b8804000002000000fe03000100000000")
NEAR_ROUTE = _recorded("3c00000018000006000000000000000002180000fe02fd0100000000")

WATCH = """
import sys, threading
from edge_agent.clock import SystemClock
from edge_agent.upload.netlink import LinkWatch
ups = threading.Semaphore(0)
with LinkWatch(ups.release, SystemClock(), draw=lambda: 0.0) as watch:
    assert watch.watching
    print("watching", flush=True)
    sys.stdin.readline()
    print("up" if ups.acquire(timeout=60) else "silent", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize(
    ("message", "up"),
    [
        (LINK_DOWN, False),
        (NO_CARRIER, False),
        (ADDRESS_GONE, False),
        (LINK_ADDRESS, False),
        (LINK_UP, True),
        (LOOPBACK_UP, False),
        (ADDRESS, True),
        (HOST_ADDRESS, False),
        (TENTATIVE, False),
        (DEFAULT_ROUTE, True),
        (NEAR_ROUTE, False),
        (LINK_GONE, False),
        (LINK_DOWN + ADDRESS, True),
        (LINK_UP[:-1], False),
        (b"", False),
    ],
)
def test_only_what_may_make_the_network_better_counts(message: bytes, up: bool) -> None:
    """A carrier, an address for others, a default route; not what goes away, and not this host's own."""
    assert says_up(message) is up


@given(st.binary(max_size=200))
def test_no_message_can_hurt(message: bytes) -> None:
    """Whatever comes, it is read to its end."""
    says_up(message)


def test_a_kernel_that_tells_nothing_is_said_once_and_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the socket there is no thread, and closing is no error."""

    def refused(*_: object) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", refused)
    before = threading.active_count()
    watch = LinkWatch(lambda: None, FakeClock())
    assert not watch.watching
    assert threading.active_count() == before
    watch.close()


def test_it_ends_at_once() -> None:
    """Closing joins the thread, however quiet the network is."""
    watch = LinkWatch(lambda: None, SystemClock())
    watch.close()
    watch.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace of one's own needs root")
def test_a_real_device_that_comes_up_is_noticed() -> None:
    """In a network namespace of the test's own, a pair of devices is made, connected and switched on."""
    made = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("the kernel allows no network namespace here")
    with subprocess.Popen(
        ["unshare", "--net", sys.executable, "-c", WATCH], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "watching\n"
        inside = ["nsenter", "--net", "--target", str(child.pid)]
        for command in ("ip link add up0 type veth peer name up1", "ip link set up0 up", "ip link set up1 up"):
            subprocess.run([*inside, *command.split()], check=True, stdin=subprocess.DEVNULL)
        child.stdin.write("\n")
        child.stdin.flush()
        said = until(child.stdout.readline, "the child's word")
        child.stdin.close()
        assert said == "up\n"
    assert child.returncode == 0
