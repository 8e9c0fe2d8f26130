"""The way to an endpoint, step by step: its name, a connection, TLS and its certificate, an answer and its time."""

from __future__ import annotations

import email.utils
import http.client
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from edge_agent.clock import Clock
from edge_agent.doctor.finding import Finding, fault, ok, warning
from edge_agent.errors import StoreUnreachable
from edge_agent.upload.reach import target_of

NETWORK = "network"
STEP_SECONDS = 5.0
# AWS refuses requests that are signed with a time more than 15 minutes off (RequestTimeTooSkewed).
_SKEW_SECONDS, _MOST_SKEW_SECONDS = 60.0, 900.0
_SOON_SECONDS = 14 * 86400.0  # a certificate that ends within two weeks was forgotten: most renew a month before
_NOT_YET_VALID, _EXPIRED = 9, 10  # X509_V_ERR_… of OpenSSL
_CLOCK = "set this machine's clock"


@dataclass(frozen=True, slots=True)
class Way:
    """What was seen on the way. Moments in seconds since the epoch; None where there is none, as without TLS."""

    where: str
    address: str
    milliseconds: float
    tls: str = ""
    valid_from: float | None = None
    valid_until: float | None = None
    its_time: float | None = None


def network(url: str, clock: Clock) -> Iterator[Finding]:
    """Whether *url* can be reached and its certificate and time agree with *clock*. Raises StoreUnreachable."""
    yield way_finding(walk(url, clock), clock.now().timestamp())


def way_finding(way: Way, now: float) -> Finding:
    """What *way* means at *now*, by this machine's clock. Pure."""
    seen = f"{way.where} is {way.address}, connected in {way.milliseconds:.0f} ms"
    if way.valid_from is not None and way.valid_until is not None:
        seen += f", {way.tls}, certificate until {_day(way.valid_until)}"
        if not way.valid_from <= now <= way.valid_until:
            return fault(NETWORK, f"{seen}, from {_day(way.valid_from)}; this clock says {_day(now)}", _CLOCK)
    skew = 0.0 if way.its_time is None else now - way.its_time
    if abs(skew) >= _SKEW_SECONDS:
        seen += f"; this clock is {abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'} the server's"
        return (fault if abs(skew) >= _MOST_SKEW_SECONDS else warning)(NETWORK, seen, _CLOCK)
    if way.valid_until is not None and way.valid_until - now < _SOON_SECONDS:
        return warning(NETWORK, seen, "let whoever runs the server renew its certificate")
    return ok(NETWORK, seen)


def walk(url: str, clock: Clock) -> Way:
    """Go to *url*, through the proxy where the environment names one, and ask for nothing. Raises StoreUnreachable."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    host, port = target_of(url)
    through = "" if host == parts.hostname else f" through the proxy {host}:{port}"
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]
    except (OSError, UnicodeError) as error:
        raise StoreUnreachable(
            f"the name {host} is not known ({getattr(error, 'strerror', None) or error})",
            where=place,
            fix="check the network cable or Wi-Fi, then the name server in /etc/resolv.conf, then the spelling",
        ) from error
    before = clock.monotonic()
    with closing(_connection(parts.scheme, host, port, place if through else "")) as connection:
        _connect(connection, place + through)
        milliseconds = (clock.monotonic() - before) * 1000
        tls, valid_from, valid_until = _certificate(connection.sock)
        its_time = _ask_time(connection)
    return Way(place + through, str(address), milliseconds, tls, valid_from, valid_until, its_time)


def _connection(scheme: str, host: str, port: int, tunnel: str) -> http.client.HTTPConnection:
    if scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=STEP_SECONDS)
    from botocore.httpsession import get_cert_path

    trusted = os.environ.get("AWS_CA_BUNDLE") or get_cert_path(True)  # those whom the uploader trusts
    context = ssl.create_default_context(cafile=trusted)
    connection = http.client.HTTPSConnection(host, port, timeout=STEP_SECONDS, context=context)
    if tunnel:
        name, _, number = tunnel.partition(":")
        connection.set_tunnel(name, int(number or 443))
    return connection


def _connect(connection: http.client.HTTPConnection, where: str) -> None:
    """Connect, shake hands. Raises StoreUnreachable."""
    try:
        connection.connect()
    except ssl.SSLCertVerificationError as error:
        fix = "a proxy opens TLS here: let it pass, or trust its authority (AWS_CA_BUNDLE)"
        if error.verify_code in (_NOT_YET_VALID, _EXPIRED):
            fix = f"{_CLOCK}, or let whoever runs the server renew its certificate"
        raise StoreUnreachable(f"TLS: {error.verify_message}", where=where, fix=fix) from error
    except ssl.SSLError as error:
        raise StoreUnreachable(
            f"no TLS there ({error.reason or error})", where=where, fix="check store.endpoint_url: http or https?"
        ) from error
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise StoreUnreachable(
            reason, where=where, fix="check the network, its firewall and proxy, and the endpoint URL"
        ) from error


def _certificate(sock: socket.socket) -> tuple[str, float | None, float | None]:
    """TLS's version, and from and until when the server's certificate is valid."""
    if not isinstance(sock, ssl.SSLSocket):
        return "", None, None
    found = sock.getpeercert() or {}
    start, end = (ssl.cert_time_to_seconds(str(found[name])) for name in ("notBefore", "notAfter"))
    return sock.version() or "TLS", start, end


def _ask_time(connection: http.client.HTTPConnection) -> float | None:
    """The server's time, by its answer; None when it does not tell."""
    try:
        connection.request("HEAD", "/")
        told = connection.getresponse().getheader("Date")
        return email.utils.parsedate_to_datetime(told).timestamp() if told else None
    except (OSError, http.client.HTTPException, ValueError):
        return None


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
