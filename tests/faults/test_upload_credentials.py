"""Credentials that are late, expire in the middle, or do not count because the clock is wrong: no file pays for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edge_agent.credential_services import GREENGRASS_URL
from edge_agent.credentials import session_factory
from edge_agent.segment import Segment, video_key
from edge_agent.spool import Spool
from edge_agent.store.s3 import S3Store
from edge_agent.upload.report import Happened
from edge_agent.upload.rows import State
from tests.support.clock import FakeClock
from tests.support.credential_service import GREENGRASS_PATH, GREENGRASS_TOKEN, CredentialService
from tests.support.forwarding import forwarding
from tests.support.http_server import Answer, Request
from tests.support.ports import free_port
from tests.support.upload import Rig, body_of, fresh_spool, names_in, publish

MIB = 1 << 20


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return fresh_spool(tmp_path / "spool")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def greengrass_port() -> int:
    """Where the token exchange service will be."""
    return free_port()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def through(
    s3_store: S3Store,
    moto_endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
    clock: FakeClock,
    greengrass_port: int,
    stack: ExitStack,
) -> Callable[..., S3Store]:
    """Makes a store on the bucket of ``s3_store`` that goes through a door, with Greengrass's credentials."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    environ = {
        GREENGRASS_URL: f"http://127.0.0.1:{greengrass_port}{GREENGRASS_PATH}",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": GREENGRASS_TOKEN,
    }

    def make(door: Callable[[Request], Answer | None]) -> S3Store:
        url = stack.enter_context(forwarding(moto_endpoint, door))
        store = S3Store(
            s3_store.name,
            endpoint_url=url,
            region="us-east-1",
            session=session_factory(clock, environ=environ),
            clock=clock,
        )
        stack.callback(store.close)
        return store

    return make


@pytest.fixture
def serving(clock: FakeClock, greengrass_port: int, stack: ExitStack) -> Callable[..., CredentialService]:
    """Starts the token exchange service, *after* so many seconds, with tokens that last *seconds*."""

    def serve(after: float = 0.0, seconds: float = 3600.0) -> CredentialService:
        service = CredentialService(clock, seconds=seconds)

        def begin() -> None:
            stack.enter_context(service.greengrass(greengrass_port))

        if after:
            clock.after(after, begin)
        else:
            begin()
        return service

    return serve


def refusal(code: str, status: int, message: str) -> Answer:
    return Answer(status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode())


def assert_nothing_counted(rig: Rig, segments: list[Segment]) -> None:
    """Every segment verified, none with an attempt to its name, none set aside."""
    assert rig.ledger.counts()[State.VERIFIED] == len(segments)
    assert {row.attempts for row in rig.ledger.recent(len(segments))} == {0}
    assert names_in(rig.spool.failed) == names_in(rig.spool.ready) == []


def test_token_service_refuses_at_boot(
    spool: Spool,
    s3_store: S3Store,
    through: Callable[..., S3Store],
    clock: FakeClock,
    serving: Callable[..., CredentialService],
    account: Callable[..., None],
    storm: bool,
) -> None:
    """A token exchange service that refuses connections for ten minutes holds nothing up but the uploads."""
    segments = [publish(spool, number) for number in range(200 if storm else 10)]
    service = serving(after=600)
    asked: list[float] = []

    def door(request: Request) -> None:
        asked.append(clock.monotonic())
        assert request.headers["x-amz-security-token"] == "token-1"

    with Rig(spool, through(door), clock) as rig:
        rig.run_until_empty()
        assert_nothing_counted(rig, segments)
    late = asked[0] - 600
    assert 0 <= late <= 40
    assert service.given == 1
    assert sorted(info.key for info in s3_store.list()) == sorted(video_key(segment) for segment in segments)
    account(f"{len(segments)} segments, no token for 600 s", "nothing", f"first byte {late:.0f} s after it came")


def test_token_expires_midfile(
    spool: Spool,
    s3_store: S3Store,
    through: Callable[..., S3Store],
    clock: FakeClock,
    serving: Callable[..., CredentialService],
    account: Callable[..., None],
    storm: bool,
) -> None:
    """Each token dies after a part: the upload goes on with the next one, and no part is sent twice."""
    size = (60 if storm else 22) * MIB
    body = bytes(range(256)) * (size // 256)
    segments = [publish(spool, 0, body)]
    service = serving()
    parts: list[str] = []
    expired: set[str] = set()

    def door(request: Request) -> Answer | None:
        token = request.headers["x-amz-security-token"]
        if token in expired:
            return refusal("ExpiredToken", 400, "The provided token has expired.")
        if request.method == "PUT" and "partNumber=" in request.path:
            parts.append(request.path)
            expired.add(token)
        return None

    with Rig(spool, through(door), clock) as rig:
        rig.run_until_empty()
        assert_nothing_counted(rig, segments)
        assert rig.happened(Happened.POSTPONED) != []
    assert len(parts) == len(set(parts)) >= 3
    assert service.given == len(parts) + 1
    assert s3_store.get(video_key(segments[0])).body == body
    account(f"{len(parts)} parts, {len(expired)} tokens expired", "nothing", "0 parts sent twice, 0 attempts counted")


def test_clock_skew(
    spool: Spool,
    s3_store: S3Store,
    through: Callable[..., S3Store],
    clock: FakeClock,
    serving: Callable[..., CredentialService],
    account: Callable[..., None],
    storm: bool,
) -> None:
    """A clock that S3 will not have stops everything, blames no file, is told by its name, and heals when it is set."""
    segments = [publish(spool, number) for number in range(100 if storm else 6)]
    serving(seconds=1e6)
    wrong = True
    refused = 0

    def door(_request: Request) -> Answer | None:
        nonlocal refused
        if not wrong:
            return None
        refused += 1
        return refusal("RequestTimeTooSkewed", 403, "The difference between the request time and now is too large.")

    def set_clock() -> None:
        nonlocal wrong
        wrong = False

    clock.after(900, set_clock)
    with Rig(spool, through(door), clock) as rig:
        rig.run_until_empty()
        assert_nothing_counted(rig, segments)
        lines = {str(event.error) for event in rig.happened(Happened.POSTPONED)}
    assert any("set this machine's clock" in line for line in lines)
    assert all(line.isprintable() for line in lines)
    assert refused < 200
    for number, segment in enumerate(segments):
        assert s3_store.get(video_key(segment)).body == body_of(number)
    account(f"{len(segments)} segments, clock wrong for 900 s", "nothing", f"{refused} requests refused, 0 counted")
