"""The settings of the local page."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from edge_agent.config_base import StrictSettings, checked
from edge_agent.errors import ConfigInvalid

_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*", re.ASCII)


def parse_listen(text: str) -> tuple[str, int]:
    """Address and port of ``127.0.0.1:8080``, ``localhost:8080`` or ``[::1]:8080``. Raises ConfigInvalid."""
    host, _, port = text.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
        if (address.version == 6) != bracketed or not port.isdecimal() or not 0 < int(port) < 1 << 16:
            raise ValueError
    except ValueError as error:
        raise ConfigInvalid(
            "is no address and port", fix="write 127.0.0.1:8080, or 0.0.0.0:8080 for the whole network"
        ) from error
    return str(address), int(port)


def _check_host(name: str) -> None:
    if not _HOST.fullmatch(name):
        raise ConfigInvalid("is no host name", fix="write it as in dock7.local, without a port")


class WebSettings(StrictSettings):
    """The page and its API. Elsewhere than on a loopback address they demand the token of ``edge-agent web-link``."""

    listen: Annotated[str, checked(parse_listen)] = "127.0.0.1:8080"
    hosts: tuple[Annotated[str, checked(_check_host)], ...] = ()
    classes: tuple[str, ...] = ()
