"""Loopback ports for servers that are told theirs, or that end and begin again at the same one."""

from __future__ import annotations

import itertools
import os
import re
import socket
from pathlib import Path

# Below the ports that the system gives to whoever asks for any: none of these is taken by chance between the moment
# it is found free and the moment it is used. Each process that runs tests has its share, and begins somewhere in it.
_SHARE = 2500
_SHARES = 4
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = int(_EPHEMERAL.read_text().split()[0]) if _EPHEMERAL.exists() else 0
_WORKER = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 0) % _SHARES
_FROM = (_LOWEST if _LOWEST > 2 * _SHARES * _SHARE else 32768) - (_WORKER + 1) * _SHARE
_turn = itertools.count(os.getpid() * 7)


def free_port() -> int:
    """A port on which nobody listens, and which this process has not named before unless it has named all."""
    for _ in range(_SHARE):
        port = _FROM + next(_turn) % _SHARE
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"none of the ports from {_FROM} to {_FROM + _SHARE} is free")


def listens(port: int) -> bool:
    """Whether somebody takes connections on loopback at *port*."""
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
