"""Who may call the page: by which name, from which other page, how often with a wrong token."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

FAILURES = 5  # wrong tokens of one caller within WINDOW_SECONDS; a person mistypes less often
WINDOW_SECONDS = 60.0
_CALLERS = 1024  # remembered at once


def host_of(header: str) -> str | None:
    """The host in a ``Host`` header, lower-case, without port and brackets; None where it is none."""
    try:
        parts = urlsplit(f"//{header}")
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or parts.path or parts.query or parts.fragment or parts.username is not None:
        return None
    return host.rstrip(".")


def is_known(host: str, names: Collection[str], *, is_local: bool) -> bool:
    """Whether the page answers to *host*.

    A page of somebody else's, whose name was made to point here (DNS rebinding), calls us by that name; so any address
    will do, but only our own *names*. A page for this box alone is called by a loopback address or ``localhost``.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host in names
    return address.is_loopback if is_local else True


def is_own_origin(origin: str, host_header: str) -> bool:
    """Whether *origin* is the page that was called as *host_header*."""
    scheme, mark, rest = origin.partition("://")
    return bool(mark) and scheme in ("http", "https") and rest.lower() == host_header.lower()


def caller_of(address: str) -> str:
    """Whom failures at *address* count against: an IPv6 host may take any address of its network."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ipaddress.ip_network(f"{parsed}/64", strict=False)) if parsed.version == 6 else address


@dataclass(frozen=True, slots=True)
class _Failures:
    count: int
    since: float


class Throttle:
    """Counts wrong tokens; times in monotonic seconds."""

    def __init__(self) -> None:
        self._failures: dict[str, _Failures] = {}

    def blocked(self, address: str, now: float) -> float:
        """Seconds until *address* may try again; 0 when it may now."""
        found = self._failures.get(caller_of(address))
        if found is None or found.count < FAILURES:
            return 0.0
        return max(0.0, found.since + WINDOW_SECONDS - now)

    def failed(self, address: str, now: float) -> None:
        """*address* has shown a wrong token."""
        caller = caller_of(address)
        found = self._failures.pop(caller, None)
        count, since = (
            (1, now) if found is None or now - found.since >= WINDOW_SECONDS else (found.count + 1, found.since)
        )
        self._failures[caller] = _Failures(count, since)
        while len(self._failures) > _CALLERS:
            self._failures.pop(next(iter(self._failures)))
