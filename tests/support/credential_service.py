"""Stand-ins with state for the services that give a device keys: AWS IoT's credential provider and Greengrass's."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from edge_agent.clock import Clock
from tests.support.http_server import Answer, Request, http_server

IOT_PATH = "/role-aliases/edge-uploads/credentials"
GREENGRASS_PATH = "/2016-11-01/credentialprovider/"
GREENGRASS_TOKEN = "nucleus-told-us"
SECRET = "wJalrXUtnFEMIsecret"


@dataclass
class CredentialService:
    """Gives ``key-1``, ``key-2`` … with tokens ``token-1`` …, each good for *seconds*; *status* refuses instead."""

    clock: Clock
    seconds: float = 3600.0
    status: int = 200
    message: str = "Access Denied"
    requests: list[Request] = field(default_factory=list)
    given: int = 0

    @property
    def token(self) -> str:
        """The token given last."""
        return f"token-{self.given}"

    @contextmanager
    def iot(self, tls: ssl.SSLContext, port: int = 0) -> Iterator[str]:
        """``host:port`` of AWS IoT's credential provider, until the block ends."""
        with http_server(self._iot, tls=tls, port=port) as url:
            yield url.removeprefix("https://")

    @contextmanager
    def greengrass(self, port: int = 0) -> Iterator[str]:
        """The URL of the token exchange service, until the block ends."""
        with http_server(self._greengrass, port=port) as url:
            yield url + GREENGRASS_PATH

    def _iot(self, request: Request) -> Answer:
        if not request.headers.get("x-amzn-iot-thingname"):
            return Answer(400, b'{"message": "no thing name"}')
        names = ("accessKeyId", "secretAccessKey", "sessionToken", "expiration")
        return self._answer(request, IOT_PATH, lambda keys: {"credentials": dict(zip(names, keys, strict=True))})

    def _greengrass(self, request: Request) -> Answer:
        if request.headers.get("authorization") != GREENGRASS_TOKEN:
            return Answer(403, b'{"message": "who are you"}')
        names = ("AccessKeyId", "SecretAccessKey", "Token", "Expiration")
        return self._answer(request, GREENGRASS_PATH, lambda keys: dict(zip(names, keys, strict=True)))

    def _answer(self, request: Request, path: str, shape: Callable[[tuple[str, ...]], object]) -> Answer:
        self.requests.append(request)
        if self.status != 200:
            return Answer(self.status, json.dumps({"message": self.message}).encode())
        if request.path != path:
            return Answer(404, b'{"message": "Role alias does not exist"}')
        self.given += 1
        expires: datetime = self.clock.now() + timedelta(seconds=self.seconds)
        keys = (f"key-{self.given}", SECRET, self.token, expires.strftime("%Y-%m-%dT%H:%M:%SZ"))
        return Answer(200, json.dumps(shape(keys)).encode())
