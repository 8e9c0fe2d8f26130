"""The link that opens the page, as text and as a code for a phone's camera."""

from __future__ import annotations

import io
import ipaddress
import socket
from pathlib import Path
from urllib.parse import quote

from edge_agent.config_web import WebSettings, parse_listen
from edge_agent.control.web.token import TokenFile


def link(web: WebSettings, state: Path, *, new: bool) -> str:
    """The page's address; with the token where one is asked for. Raises SpoolError.

    The token stands behind a ``#``: a browser sends that to nobody, and no server writes it to a log.
    """
    host, port = parse_listen(web.listen)
    address = ipaddress.ip_address(host)
    if address.is_loopback:
        return f"http://{_in_url(host)}:{port}/"
    token = TokenFile(state).renew() if new else TokenFile(state).read()
    if web.hosts:
        host = web.hosts[0]
    elif address.is_unspecified:
        host = outward_address(address.version)
    return f"http://{_in_url(host)}:{port}/#token={quote(token)}"


def outward_address(version: int = 4) -> str:
    """This box's address on the network that leads outward, or its name where there is none. Nothing is sent."""
    family, far = (socket.AF_INET, "192.0.2.1") if version == 4 else (socket.AF_INET6, "2001:db8::1")
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((far, 9))  # addresses for documentation (RFC 5737, RFC 3849): a route suffices
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])


def terminal_code(url: str) -> str:
    """*url* as a QR code of text."""
    import segno

    out = io.StringIO()
    segno.make_qr(url, error="l").terminal(out, compact=True)
    return out.getvalue()


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
