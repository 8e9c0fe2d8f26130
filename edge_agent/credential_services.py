"""The two services that give a device keys for a while: AWS IoT's credential provider, and Greengrass's token exchange.

One GET each. What they and the network say is told apart here, once: an operator must know whether the certificate was
refused, the clock is wrong, or the service is away. (Why not awscrt's provider: docs/decisions/.)
"""

from __future__ import annotations

import json
import ssl
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit

import edge_agent
from edge_agent.errors import CredentialsRefused, EdgeCaptureError, StoreThrottled, StoreUnreachable
from edge_agent.identity import IotIdentity, check_private_key

GREENGRASS_URL = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
"""The environment variable by which the nucleus names its token exchange service to a component that depends on it."""

_IOT_SECONDS = 10.0
_GREENGRASS_SECONDS = 2.0  # on this machine; as botocore's own client
_LONGEST = 64 * 1024  # bytes of a reply; credentials are some 2 KiB
_MESSAGE = 200  # characters of a service's message that are passed on

_IOT_FIX = (
    "activate the certificate, attach it to the thing, and a policy that allows iot:AssumeRoleWithCertificate on the "
    "role alias"
)
_ALIAS_FIX = "correct store.iot.role_alias, or create it with `aws iot create-role-alias`"
_GREENGRASS_FIX = "check the component's dependency on aws.greengrass.TokenExchangeService, and the token exchange role"
_AWAY_FIX = "check the network, its DNS and proxy; it is tried again"
_HUNG_UP_FIX = "check the network and its proxy, and that the certificate is of this account; it is tried again"
_CLOCK_FIX = "set this machine's clock"
_NOT_YET_VALID, _EXPIRED, _WRONG_HOST = 9, 10, 62  # X509_V_ERR_… of OpenSSL


@dataclass(frozen=True, slots=True)
class Grant:
    """Keys for a while. Its repr shows none of them."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str = field(repr=False)
    expires: datetime


def from_iot(identity: IotIdentity, environ: Mapping[str, str]) -> Grant:
    """Keys for *identity*'s role alias, against its certificate. Files are read anew: a certificate may be rotated.

    Raises CredentialsRefused, StoreUnreachable or StoreThrottled.
    """
    url = f"https://{identity.endpoint}/role-aliases/{quote(identity.role_alias, safe='')}/credentials"
    https = urllib.request.HTTPSHandler(context=_context(identity, environ))
    # Without the thing's name the role's policy variable ${credentials-iot:ThingName} stays empty, and permits nothing.
    document = _get(url, {"x-amzn-iot-thingname": identity.thing}, _IOT_SECONDS, _IOT_FIX, https)
    return _grant(
        document.get("credentials"), ("accessKeyId", "secretAccessKey", "sessionToken", "expiration"), identity.endpoint
    )


def from_greengrass(environ: Mapping[str, str]) -> Grant:
    """Keys of the token exchange role, from the service *environ* names. Raises like :func:`from_iot`."""
    url = environ[GREENGRASS_URL]
    if urlsplit(url).scheme not in ("http", "https"):
        raise CredentialsRefused("is no URL", where=GREENGRASS_URL, fix=_GREENGRASS_FIX)
    headers = {"Authorization": environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", ""), "Accept": "application/json"}
    direct = urllib.request.ProxyHandler({})  # the service is on this machine
    document = _get(url, headers, _GREENGRASS_SECONDS, _GREENGRASS_FIX, direct)
    return _grant(document, ("AccessKeyId", "SecretAccessKey", "Token", "Expiration"), _place(url))


def _context(identity: IotIdentity, environ: Mapping[str, str]) -> ssl.SSLContext:
    try:
        check_private_key(Path(identity.private_key), environ)
        context = ssl.create_default_context(cafile=identity.ca)
        # The password, which is asked for only where a key is encrypted, is given: nobody sits at this machine.
        context.load_cert_chain(identity.certificate, identity.private_key, password="")
    except ssl.SSLError as error:
        raise CredentialsRefused(
            f"certificate, private key or ca cannot be used ({error.reason or error})",
            where=f"{identity.certificate}, {identity.private_key}",
            fix="give PEM files that belong together, the key without a password",
        ) from error
    except OSError as error:
        raise CredentialsRefused(
            error.strerror or str(error),
            where=error.filename or f"{identity.certificate}, {identity.private_key}, {identity.ca}",
            fix="correct the paths below store.iot, and let the agent's user read the files",
        ) from error
    return context


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """These services redirect nobody: whoever does is none of them."""

    def redirect_request(self, *_: object) -> None:
        return None


def _get(
    url: str, headers: Mapping[str, str], seconds: float, fix: str, *handlers: urllib.request.BaseHandler
) -> dict[str, Any]:
    """The JSON object at *url*. The reply is in no error: it holds secrets."""
    where = _place(url)
    request = urllib.request.Request(  # noqa: S310 - https, or a scheme that was looked at
        url, headers={"User-Agent": f"edge-capture/{edge_agent.__version__}", **headers}
    )
    try:
        opener = urllib.request.build_opener(_NoRedirect, *handlers)
        with opener.open(request, timeout=seconds) as reply:
            document = json.loads(reply.read(_LONGEST))
    except HTTPError as error:
        with closing(error):
            raise _refusal(error.code, _message(error), where, fix) from error
    except URLError as error:
        raise _failure(error.reason if isinstance(error.reason, OSError) else error, where) from error
    except OSError as error:
        raise _failure(error, where) from error
    except HTTPException as error:
        raise StoreUnreachable(f"hung up ({type(error).__name__})", where=where, fix=_AWAY_FIX) from error
    except ValueError as error:
        raise _strange(where) from error
    if not isinstance(document, dict):
        raise _strange(where)
    return document


def _grant(document: object, names: tuple[str, str, str, str], where: str) -> Grant:
    values = [document.get(name) for name in names] if isinstance(document, dict) else []
    texts = [value for value in values if isinstance(value, str) and value]
    if len(texts) != len(names):
        raise _strange(where)
    try:
        expires = datetime.fromisoformat(texts[3])
    except ValueError as error:
        raise _strange(where) from error
    if expires.tzinfo is None:
        expires = expires.replace(tzinfo=UTC)
    return Grant(texts[0], texts[1], texts[2], expires)


def _refusal(status: int, said: str, where: str, fix: str) -> EdgeCaptureError:
    """What a reply with *status* means. Pure."""
    answer = f"{status}: {said}" if said else str(status)
    if status == 429:
        return StoreThrottled(f"told to slow down ({answer})", where=where)
    if status == 404:
        return CredentialsRefused(f"does not know what is asked for ({answer})", where=where, fix=_ALIAS_FIX)
    if 400 <= status < 500:
        return CredentialsRefused(f"refused credentials ({answer})", where=where, fix=fix)
    return StoreUnreachable(f"gave no credentials ({answer})", where=where, fix=_AWAY_FIX)


def _failure(error: Exception, where: str) -> EdgeCaptureError:
    """What it means that no reply came. Pure."""
    if isinstance(error, ssl.SSLCertVerificationError):
        fix = "check store.iot.ca"
        if error.verify_code in (_NOT_YET_VALID, _EXPIRED):
            fix = _CLOCK_FIX
        elif error.verify_code == _WRONG_HOST:
            fix = "correct store.iot.endpoint"
        return StoreUnreachable(f"TLS: {error.verify_message}", where=where, fix=fix)
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason or "ACCESS_DENIED" in reason):
            return CredentialsRefused(f"refused the certificate ({reason})", where=where, fix=_IOT_FIX)
        if isinstance(error, ssl.SSLEOFError):  # the alert that says why may be lost behind the request
            return StoreUnreachable("hung up during TLS", where=where, fix=_HUNG_UP_FIX)
        return StoreUnreachable(f"TLS: {reason}", where=where, fix=_AWAY_FIX)
    said = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return StoreUnreachable(said, where=where, fix=_AWAY_FIX)


def _strange(where: str) -> StoreUnreachable:
    return StoreUnreachable("answered with something that is no credentials", where=where, fix=_AWAY_FIX)


def _message(error: HTTPError) -> str:
    """What the service said beside the status, on one line, cut short."""
    try:
        document = json.loads(error.read(_LONGEST))
    except (OSError, HTTPException, ValueError):
        return ""
    said = document.get("message") if isinstance(document, dict) else None
    return " ".join(said.split())[:_MESSAGE] if isinstance(said, str) else ""


def _place(url: str) -> str:
    """*url* without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{parts.path}"
