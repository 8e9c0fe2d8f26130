"""Where the object store's keys come from, and how they stay fresh.

Three kinds, told apart by the settings and the environment (docs/operations/credentials.md):

- ``store.iot``: an AWS IoT certificate and a role alias, through the credential provider's endpoint;
- Greengrass: the token exchange service, named by the nucleus in the environment, in its place in boto3's chain;
- else boto3's own chain: environment, profile, configuration files, instance role.

Nothing is fetched before a request is signed, so no start waits for a service that is away; what then fails is raised
as CredentialsRefused or StoreUnreachable, which open the uploader's breaker and are tried again.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import structlog

from edge_agent.backoff import backoff
from edge_agent.clock import Clock
from edge_agent.credential_services import GREENGRASS_URL, Grant, from_greengrass, from_iot
from edge_agent.errors import CredentialsRefused, EdgeCaptureError
from edge_agent.identity import IotIdentity

if TYPE_CHECKING:
    import boto3
    from botocore.session import Session as CoreSession

log = structlog.get_logger()

RENEW_SECONDS = 900.0  # before the end: when botocore asks again; of short grants the last third, if that is later
SPARE_SECONDS = 60.0  # keys with less left are as good as expired: a request takes time, and clocks differ

_NO_CREDENTIALS = "set store.iot or store.profile, or give the agent's environment credentials"


class Keeper:
    """Keeps the grant that *fetch* gives: fetched at the first use, renewed in the background before it ends.

    Whoever needs keys while the kept ones are good never waits; a renewal that fails is tried again with back-off by
    whoever comes next. Only without good keys does :meth:`grant` fetch itself. Safe to use from several threads.
    """

    def __init__(self, fetch: Callable[[], Grant], clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._fetching = threading.Lock()
        self._kept: Grant | None = None
        self._renew_from = 0.0  # seconds that are left when renewal begins
        self._failures = 0
        self._next_try = 0.0

    def grant(self) -> Grant:
        """Keys that are good for SPARE_SECONDS at least. Raises what *fetch* raises, and CredentialsRefused."""
        kept = self._good()
        if kept is None:
            with self._fetching:
                return self._good() or self._obtain()
        if self._left(kept) < self._renew_from and self._clock.monotonic() >= self._next_try:
            self._renew_soon()
        return kept

    def metadata(self) -> dict[str, str]:
        """:meth:`grant` in the form botocore's refreshable credentials take."""
        grant = self.grant()
        return {
            "access_key": grant.access_key,
            "secret_key": grant.secret_key,
            "token": grant.token,
            "expiry_time": grant.expires.isoformat(),
        }

    def _good(self) -> Grant | None:
        kept = self._kept
        return kept if kept is not None and self._left(kept) >= SPARE_SECONDS else None

    def _left(self, grant: Grant) -> float:
        return (grant.expires - self._clock.now()).total_seconds()

    def _obtain(self) -> Grant:
        grant = self._fetch()
        left = self._left(grant)
        if left < SPARE_SECONDS:
            raise CredentialsRefused(
                f"the credentials given end at {grant.expires:%Y-%m-%d %H:%M:%S} UTC, which is now or past",
                fix="set this machine's clock",
            )
        self._kept = grant
        self._renew_from = min(RENEW_SECONDS, left / 3)
        return grant

    def _renew_soon(self) -> None:
        if self._fetching.acquire(blocking=False):  # else somebody is at it
            threading.Thread(target=self._renew, name="credentials", daemon=True).start()

    def _renew(self) -> None:
        """Runs in a thread of its own, which owns the lock."""
        try:
            old = self._kept
            new = self._obtain()
            # A service that hands the same grant out until shortly before its end is not to be asked at every request.
            fresh = old is None or new.expires > old.expires
            self._failures = 0 if fresh else self._failures + 1
            log.debug("credentials_renewed", expires=new.expires.isoformat())
        except EdgeCaptureError as error:
            self._failures += 1
            log.warning("credentials_not_renewed", error=str(error), code=error.code)
        finally:
            self._next_try = self._clock.monotonic() + (backoff(self._failures) if self._failures else 0.0)
            self._fetching.release()


def session_factory(
    clock: Clock,
    *,
    profile: str | None = None,
    iot: IotIdentity | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Callable[[], boto3.session.Session]:
    """What makes an AWS session whose keys stay fresh; each session it makes obtains its keys anew.

    Making one contacts nobody, unless boto3's own chain has to ask an instance's metadata service. It raises
    CredentialsRefused when there are no credentials at all, and what boto3 raises for a broken configuration.
    """

    def session() -> boto3.session.Session:
        import boto3
        import botocore.session

        # botocore logs what it raises as well, with a traceback: once, in one line, is enough.
        logging.getLogger("botocore.credentials").addHandler(logging.NullHandler())
        core = botocore.session.Session(profile=profile)
        if iot is not None:
            _provide(core, "iot-certificate", "env", Keeper(lambda: from_iot(iot, environ), clock), clock)
        elif GREENGRASS_URL in environ:
            _provide(core, "greengrass", "container-role", Keeper(lambda: from_greengrass(environ), clock), clock)
        if core.get_credentials() is None:
            # A client made now would have none for ever, also when the machine's role is known a moment later.
            raise CredentialsRefused("there are no AWS credentials", fix=_NO_CREDENTIALS)
        return boto3.session.Session(botocore_session=core)

    return session


def _provide(core: CoreSession, name: str, before: str, keeper: Keeper, clock: Clock) -> None:
    """Let *keeper* stand before the provider *before* in the chain of *core*."""
    from botocore.credentials import CredentialProvider, DeferredRefreshableCredentials

    class Kept(CredentialProvider):  # type: ignore[misc, unused-ignore]
        METHOD = name
        CANONICAL_NAME = name

        def load(self) -> DeferredRefreshableCredentials:
            return DeferredRefreshableCredentials(keeper.metadata, name, clock.now)

    core.get_component("credential_provider").insert_before(before, Kept())
