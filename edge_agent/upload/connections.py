"""This process's TCP connections that wait for a way that is gone: told from the others, and broken off.

What nobody acknowledges the kernel sends again after twice the time each time: once the way is open again it is
silent for up to as long as the outage was. Whoever knows better breaks the connection off; its user then makes a new
one at once. The client libraries keep their sockets to themselves, so they are found where the kernel lists them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import struct
import termios
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

_DESCRIPTORS = Path("/proc/self/fd")
_INFO = struct.Struct("=BxBB4xI")  # linux/tcp.h, struct tcp_info: state, …, retransmits, probes, …, rto in microseconds
ESTABLISHED, SYN_SENT, CLOSED = 1, 2, 7  # net/tcp_states.h

# Three times without an answer are seven of the time-outs that the kernel had measured for this way, 1.4 s at least,
# and the next try comes twice the last pause later. Chance alone loses that often next to never.
HANGS_AFTER = 3
PATIENCE = 1.0  # seconds: well below the 2 s an upload may begin late


@dataclass(frozen=True, slots=True)
class Doing:
    """What the kernel says of a connection: its state, how often in a row it had to ask again, and after how long next.

    *pause*: seconds between the last time and the next one.
    """

    state: int
    unanswered: int
    pause: float

    @property
    def hangs(self) -> bool:
        """Whether it is established, and nothing comes back any more."""
        return self.state == ESTABLISHED and self.unanswered >= HANGS_AFTER

    @property
    def is_late(self) -> bool:
        """Whether a new connection would be quicker, if the way is open now."""
        asks_late = self.state == SYN_SENT or (self.state == ESTABLISHED and self.pause > PATIENCE)
        return self.hangs or (self.unanswered > 0 and asks_late)


def is_any_hanging() -> bool:
    """Whether a connection seems to have lost its way. A few microseconds for each file that is open."""
    return any(doing.hangs for _, doing in _connections())


def break_late() -> int:
    """Break off what waits for a way that is gone, or comes from an address this box has no more; how many.

    To be called when the way is open again.
    """
    return sum(_break(found) for found, doing in _connections() if doing.is_late or not _is_ours(found))


def break_sending(port: int) -> int:
    """Break off what is sending to *port*, with what waits in the kernel to be sent; how many."""
    return sum(_break(found) for found, _ in _connections() if _peer_port(found) == port and _unacknowledged(found))


def _connections() -> Iterator[tuple[socket.socket, Doing]]:
    """Each TCP socket of this process, by a descriptor of its own: its user may close it at any moment."""
    entries: list[int] = []
    with suppress(OSError):  # no descriptor to spare
        entries = [int(path.name) for path in _DESCRIPTORS.iterdir()]
    for entry in entries:
        with suppress(OSError):  # closed meanwhile
            if not stat.S_ISSOCK(os.fstat(entry).st_mode):
                continue
            with closing(socket.socket(fileno=os.dup(entry))) as found:
                if found.proto == socket.IPPROTO_TCP:
                    told = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
                    state, retransmits, probes, microseconds = _INFO.unpack(told)
                    yield found, Doing(state, max(retransmits, probes), microseconds / 1e6)


def _unacknowledged(connection: socket.socket) -> int:
    """Bytes that were given to the kernel, and of which the other side has not said that they arrived."""
    with suppress(OSError):  # not connected any more
        (count,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))
        return int(count)
    return 0


def _peer_port(connection: socket.socket) -> int | None:
    with suppress(OSError):  # not connected
        port: int = connection.getpeername()[1]
        return port
    return None


def _is_ours(connection: socket.socket) -> bool:
    """Whether the box still has the address the connection comes from, if it is connected."""
    if _peer_port(connection) is None:
        return True
    try:
        with socket.socket(connection.family, socket.SOCK_DGRAM) as other:
            host, _, *scope = connection.getsockname()
            other.bind((host, 0, *scope))
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    return True


def _break(connection: socket.socket) -> bool:
    """Let every call on it fail at once; what was not acknowledged is thrown away when its user closes it."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
        return True
    return False
