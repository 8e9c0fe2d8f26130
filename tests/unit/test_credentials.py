"""Keys that stay fresh: who waits for them, who does not, and who may read the private one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge_agent.credential_services import Grant
from edge_agent.credentials import RENEW_SECONDS, SPARE_SECONDS, Keeper
from edge_agent.errors import ConfigInvalid, CredentialsRefused, EdgeCaptureError, StoreUnreachable
from edge_agent.identity import IotIdentity, check_identity, check_private_key, misfit
from tests.support.clock import FakeClock
from tests.support.wait import until


@dataclass
class Service:
    """Grants keys for an hour, one after another; waits for *open* first, fails with *error*."""

    clock: FakeClock
    seconds: float = 3600.0
    error: EdgeCaptureError | None = None
    open: threading.Event = field(default_factory=threading.Event)
    asked: int = 0

    def __post_init__(self) -> None:
        self.open.set()

    def __call__(self) -> Grant:
        self.asked += 1
        assert self.open.wait(60)
        if self.error is not None:
            raise self.error
        return Grant(f"key-{self.asked}", "secret", "token", self.clock.now() + timedelta(seconds=self.seconds))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def service(clock: FakeClock) -> Iterator[Service]:
    service = Service(clock)
    yield service
    service.open.set()
    until(lambda: not renewing(), "the renewal to end")


def renewing() -> bool:
    return any(thread.name == "credentials" for thread in threading.enumerate())


def test_keys_are_fetched_at_their_first_use_and_then_kept(service: Service, clock: FakeClock) -> None:
    """A keeper asks nobody before keys are needed, and once for many uses."""
    keeper = Keeper(service, clock)
    assert service.asked == 0
    assert {keeper.grant().access_key for _ in range(5)} == {"key-1"}
    assert service.asked == 1


def test_nobody_waits_while_keys_are_renewed_before_they_end(service: Service, clock: FakeClock) -> None:
    """Within the last quarter of an hour a thread renews the keys; meanwhile the old ones are given at once."""
    keeper = Keeper(service, clock)
    keeper.grant()
    clock.advance(3600 - RENEW_SECONDS + 1)
    service.open.clear()
    assert [keeper.grant().access_key for _ in range(3)] == ["key-1"] * 3
    until(lambda: service.asked == 2, "the service to be asked")
    service.open.set()
    until(lambda: keeper.grant().access_key == "key-2", "the new keys")


def test_a_renewal_that_fails_is_tried_again_with_back_off_and_is_told(service: Service, clock: FakeClock) -> None:
    """While the old keys are good a service that is away costs one line a try, and no request; then it is an error."""
    keeper = Keeper(service, clock)
    keeper.grant()
    service.error = StoreUnreachable("connection refused", where="https://provider")
    clock.advance(3600 - RENEW_SECONDS + 1)
    with capture_logs() as lines:
        for _ in range(50):
            assert keeper.grant().access_key == "key-1"
            until(lambda: not renewing(), "the renewal to end")
        assert service.asked == 2
        clock.advance(31)
        assert keeper.grant().access_key == "key-1"
        until(lambda: not renewing(), "the renewal to end")
    assert service.asked == 3
    assert [line["event"] for line in lines] == ["credentials_not_renewed"] * 2
    clock.advance(RENEW_SECONDS - SPARE_SECONDS)
    with pytest.raises(StoreUnreachable):
        keeper.grant()
    service.error = None
    assert keeper.grant().access_key == "key-5"


def test_a_service_that_gives_the_same_keys_again_is_not_asked_at_every_request(
    service: Service, clock: FakeClock
) -> None:
    """Greengrass hands its keys out until shortly before their end: asking is paced by the back-off."""
    fixed = service()
    asked = 0

    def same() -> Grant:
        nonlocal asked
        asked += 1
        return fixed

    keeper = Keeper(same, clock)
    keeper.grant()
    clock.advance(3600 - 600)
    for _ in range(20):
        keeper.grant()
        until(lambda: not renewing(), "the renewal to end")
    assert asked == 2


def test_keys_about_to_end_are_not_used(service: Service, clock: FakeClock) -> None:
    """With less than a minute left, whoever asks waits for new ones."""
    keeper = Keeper(service, clock)
    keeper.grant()
    clock.advance(3600 - SPARE_SECONDS + 1)
    assert keeper.grant().access_key == "key-2"


def test_many_who_need_keys_at_once_make_one_request(service: Service, clock: FakeClock) -> None:
    """Upload threads that start together share one fetch."""
    keeper = Keeper(service, clock)
    service.open.clear()
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(keeper.grant().access_key)) for _ in range(8)]
    for thread in threads:
        thread.start()
    service.open.set()
    for thread in threads:
        thread.join()
    assert found == ["key-1"] * 8


def test_keys_that_are_expired_when_they_come_are_a_clock_problem(service: Service, clock: FakeClock) -> None:
    """A clock hours ahead is named as such; it must not look like a refused certificate."""
    service.seconds = -7200
    with pytest.raises(CredentialsRefused, match="set this machine's clock"):
        Keeper(service, clock).grant()


def test_no_repr_shows_a_secret(service: Service) -> None:
    """Whatever is logged by accident holds no key and no token."""
    grant = service()
    assert "secret" not in repr(grant)
    assert "token" not in repr(grant)
    assert "key-1" not in repr([grant])


@pytest.mark.parametrize(
    ("mode", "good"), [(0o600, True), (0o400, True), (0o640, False), (0o604, False), (0o622, False)]
)
def test_a_private_key_that_others_may_read_is_refused_with_its_mode_and_the_remedy(
    tmp_path: Path, mode: int, good: bool
) -> None:
    """Also behind a link: it is the file that counts."""
    key, link = tmp_path / "device.key", tmp_path / "link.key"
    key.write_text("key")
    key.chmod(mode)
    link.symlink_to(key)
    for path in (key, link):
        if good:
            check_private_key(path, {})
        else:
            with pytest.raises(CredentialsRefused, match=rf"device\.key: .*mode {mode:04o}.*chmod 600"):
                check_private_key(path, {})


@pytest.mark.parametrize(("mode", "good"), [(0o400, True), (0o440, True), (0o444, False), (0o460, False)])
def test_systemd_may_give_its_service_a_key_through_an_access_list(tmp_path: Path, mode: int, good: bool) -> None:
    """Below $CREDENTIALS_DIRECTORY the group's read bit is the list's mask; beside it, it is the group's."""
    key = tmp_path / "credentials" / "device.key"
    key.parent.mkdir()
    key.write_text("key")
    key.chmod(mode)
    check: Callable[[], None] = lambda: check_private_key(key, {"CREDENTIALS_DIRECTORY": str(key.parent)})  # noqa: E731
    if good:
        check()
    else:
        with pytest.raises(CredentialsRefused):
            check()
    if mode == 0o440:
        with pytest.raises(CredentialsRefused):
            check_private_key(key, {"CREDENTIALS_DIRECTORY": str(tmp_path / "other")})


GOOD = IotIdentity(
    endpoint="c1abc.credentials.iot.eu-central-1.amazonaws.com",
    role_alias="edge-uploads",
    certificate="device.pem",
    private_key="device.key",
)


def test_a_sound_identity_passes() -> None:
    """The endpoint as AWS prints it, with or without a port; no thing name means the device's."""
    check_identity(GOOD)
    assert misfit(GOOD, "s3://bucket", None, "dock7") == ""


def test_all_faults_of_an_identity_are_named_at_once() -> None:
    """A URL, the endpoint of messages, names AWS would not take, and empty paths are refused, a line each."""
    bad = IotIdentity(endpoint="https://x/", role_alias="a b", certificate="", private_key="k", thing="a.b")
    with pytest.raises(ConfigInvalid) as caught:
        check_identity(bad)
    fields = [line.split(":")[0] for line in str(caught.value).splitlines()]
    assert fields == [".endpoint", ".role_alias", ".thing", ".certificate"]
    messages = IotIdentity(
        endpoint="c1abc-ats.iot.eu-central-1.amazonaws.com", role_alias="a", certificate="c", private_key="k"
    )
    with pytest.raises(ConfigInvalid, match="describe-endpoint --endpoint-type iot:CredentialProvider"):
        check_identity(messages)


@pytest.mark.parametrize(
    ("url", "profile", "device", "fault"),
    [
        ("store", None, "dock7", "directory"),
        ("s3://bucket", "dock", "dock7", "profile"),
        ("s3://bucket", None, "dock.7", ".thing"),
    ],
)
def test_settings_that_do_not_go_with_a_certificate_are_refused(
    url: str, profile: str | None, device: str, fault: str
) -> None:
    """A directory, a second source of credentials, and a device whose name no thing can have."""
    assert fault in misfit(GOOD, url, profile, device)
