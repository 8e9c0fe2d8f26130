"""The kernel's word that the network came back: a link that comes up, a new address, a new default route."""

from __future__ import annotations

import errno
import os
import random
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import structlog

from edge_agent.clock import Clock

# linux/rtnetlink.h, linux/netlink.h, linux/if.h
_RTM_NEWLINK, _RTM_NEWADDR, _RTM_NEWROUTE = 16, 20, 24
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400  # RTMGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE
_IFF_UP, _IFF_LOOPBACK, _IFF_LOWER_UP = 0x1, 0x8, 0x10000
_RT_SCOPE_LINK = 253  # and 254: this host
_RTN_UNICAST = 1
_IFA_F_TENTATIVE = 0x40  # an IPv6 address that is not sure to be ours yet: nothing can be sent from it
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBi")  # struct ifaddrmsg: family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
_BYTES = 65536  # far above any one message

SETTLE_SECONDS = 0.05  # a link that comes up says so several times: flags, addresses, routes
SPREAD_SECONDS = 0.8  # boxes on one switch do not return in one instant; well below the 2 s an upload may begin late
QUIET_SECONDS = 1.0  # at most one call in this time: a link that flaps is no reason to hurry


def says_up(message: bytes) -> bool:
    """Whether a datagram of NETLINK_ROUTE says that the network may be better than before. Pure.

    That is a link other than loopback that is up with a carrier, an address that is known beyond this link, or a
    default route. What cannot be read says nothing.
    """
    return any(_is_up(kind, body) for kind, body in _messages(message))


def _messages(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + _HEADER.size <= len(datagram):
        length, kind, *_ = _HEADER.unpack_from(datagram, position)
        if length < _HEADER.size or position + length > len(datagram):
            return
        yield kind, datagram[position + _HEADER.size : position + length]
        position += length + 3 & ~3


def _is_up(kind: int, body: bytes) -> bool:
    if kind == _RTM_NEWLINK and len(body) >= _LINK.size:
        flags: int = _LINK.unpack_from(body)[3]
        return flags & (_IFF_UP | _IFF_LOWER_UP | _IFF_LOOPBACK) == _IFF_UP | _IFF_LOWER_UP
    if kind == _RTM_NEWADDR and len(body) >= _ADDRESS.size:
        _, _, marks, scope, _ = _ADDRESS.unpack_from(body)
        return bool(scope < _RT_SCOPE_LINK and not marks & _IFA_F_TENTATIVE)
    if kind == _RTM_NEWROUTE and len(body) >= _ROUTE.size:
        _, to_bits, _, _, _, _, _, sort, _ = _ROUTE.unpack_from(body)
        return bool(to_bits == 0 and sort == _RTN_UNICAST)
    return False


class LinkWatch:
    """Calls *on_up*, on a thread of its own, shortly after the network may have come back. To be closed.

    Up to SPREAD_SECONDS later, by chance (*draw* gives a number in [0, 1)), and at most once in QUIET_SECONDS. Where
    the kernel refuses to tell, that is logged once, and nothing is ever called: it is a hint that spares a wait.
    """

    def __init__(self, on_up: Callable[[], object], clock: Clock, draw: Callable[[], float] = random.random) -> None:
        self._on_up = on_up
        self._clock = clock
        self._draw = draw
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._socket = _listening()
        if self._socket is not None:
            self._end = os.eventfd(0, os.EFD_CLOEXEC)
            self._thread = threading.Thread(target=self._run, args=(self._socket,), name="netlink")
            self._thread.start()

    @property
    def watching(self) -> bool:
        """Whether the kernel tells."""
        return self._socket is not None

    def close(self) -> None:
        """Call no more; join the thread."""
        self._stop.set()
        if self._thread is None or self._socket is None:
            return
        os.eventfd_write(self._end, 1)
        self._thread.join()
        self._thread = None
        self._socket.close()
        os.close(self._end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, messages: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(messages, selectors.EVENT_READ)
            selector.register(self._end, selectors.EVENT_READ)
            while not self._stop.is_set():
                selector.select()
                if not self._stop.is_set() and _drained(messages):
                    self._call(messages)

    def _call(self, messages: socket.socket) -> None:
        if self._clock.wait(self._stop, SETTLE_SECONDS + self._draw() * SPREAD_SECONDS):
            return
        _drained(messages)  # what came meanwhile is told by this call
        self._on_up()
        self._clock.wait(self._stop, QUIET_SECONDS)


def _listening() -> socket.socket | None:
    """A socket that hears of every change, or None where there are none to be had."""
    try:
        found = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        try:
            found.bind((0, _GROUPS))
            found.setblocking(False)
        except OSError:
            found.close()
            raise
    except OSError as error:
        structlog.get_logger().warning(
            "netlink_unavailable",
            error=error.strerror or str(error),
            consequence="a link that returns is noticed by the next probe, up to 30 s later",
        )
        return None
    return found


def _drained(messages: socket.socket) -> bool:
    """Read all that waits; whether any of it is good news. What was lost to a full buffer may have been."""
    good = False
    while True:
        try:
            good |= says_up(messages.recv(_BYTES))
        except BlockingIOError:
            return good
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            good = True
