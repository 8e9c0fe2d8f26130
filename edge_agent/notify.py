"""Words to the service manager, as sd_notify(3) says them: datagrams to the socket it named in the environment."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass

READY = "READY=1"
RELOADING = "RELOADING=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"


@dataclass(frozen=True, slots=True)
class Manager:
    """Who started this process and wants to hear of it; nobody, where ``address`` is empty.

    ``address`` is the path of a datagram socket, or a name that begins with ``@`` (abstract). ``watchdog`` is how many
    seconds without WATCHDOG=1 make the manager end this process; None: it does not watch.
    """

    address: str = ""
    watchdog: float | None = None

    def tell(self, *words: str) -> None:
        """Send ``NAME=value`` words in one datagram. A manager that does not listen is no failure of ours."""
        if not self.address:
            return
        name = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.setblocking(False)  # a manager whose queue is full must not hold a recorder up
            speaker.sendto("\n".join(words).encode(), name)


def take_manager(environment: MutableMapping[str, str], pid: int | None = None) -> Manager:
    """The service manager *environment* names, which no longer names it then: children must not speak for this process.

    A watchdog for another process (WATCHDOG_PID) is not ours to feed.
    """
    address = environment.pop("NOTIFY_SOCKET", "")
    microseconds = environment.pop("WATCHDOG_USEC", "")
    watched = environment.pop("WATCHDOG_PID", "")
    ours = watched in ("", str(os.getpid() if pid is None else pid))
    usable = address if address.startswith(("/", "@")) else ""
    watchdog = int(microseconds) / 1e6 if usable and ours and microseconds.isdecimal() else None
    return Manager(usable, watchdog or None)


def status(line: str) -> str:
    """The word that shows *line* in ``systemctl status``."""
    return f"STATUS={' '.join(line.split())}"
