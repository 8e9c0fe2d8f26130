"""Credentials from real services on this machine: TLS with client certificates, and Greengrass's token exchange."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.credential_services import GREENGRASS_URL, Grant, from_greengrass, from_iot
from edge_agent.credentials import session_factory
from edge_agent.errors import CredentialsRefused, EdgeCaptureError, StoreThrottled, StoreUnreachable
from edge_agent.identity import IotIdentity
from edge_agent.store.s3 import S3Store
from edge_agent.upload.job import UploadJob
from tests.support.agent import process, write_settings
from tests.support.certificates import Authority
from tests.support.credential_service import (
    GREENGRASS_PATH,
    GREENGRASS_TOKEN,
    IOT_PATH,
    SECRET,
    CredentialService,
)
from tests.support.http_server import Answer, Request, http_server
from tests.support.ports import free_port
from tests.support.upload import fresh_spool, publish

LISTING = b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name></ListBucketResult>'


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def service() -> CredentialService:
    return CredentialService(SystemClock())


@pytest.fixture
def identity(authority: Authority, service: CredentialService) -> Iterator[IotIdentity]:
    """A device's identity, good at *service*."""
    device = authority.issue("dock7")
    with service.iot(authority.server_context(authority.issue("server"))) as endpoint:
        yield IotIdentity(
            endpoint=endpoint,
            role_alias="edge-uploads",
            thing="dock7",
            certificate=str(device.certificate),
            private_key=str(device.private_key),
            ca=str(authority.certificate),
        )


def fetched(identity: IotIdentity) -> Grant:
    return from_iot(identity, {})


def refused(identity: IotIdentity) -> EdgeCaptureError:
    """The error that ends an attempt, which is one line without a secret, and concerns the link, not a file."""
    with pytest.raises(EdgeCaptureError) as caught:
        fetched(identity)
    assert str(caught.value).isprintable()
    assert SECRET not in str(caught.value)
    assert (caught.value.scope, caught.value.retryable) == ("link", True)
    return caught.value


def test_a_certificate_is_exchanged_for_keys_in_the_name_of_its_thing(
    identity: IotIdentity, service: CredentialService
) -> None:
    """The role alias is asked for over mutual TLS, with the header that sets the role's policy variable."""
    grant = fetched(identity)
    assert (grant.access_key, grant.secret_key, grant.token) == ("key-1", SECRET, "token-1")
    assert 3500 < (grant.expires - datetime.now(UTC)).total_seconds() <= 3600
    (request,) = service.requests
    assert (request.method, request.path) == ("GET", IOT_PATH)
    assert request.headers["x-amzn-iot-thingname"] == "dock7"


@pytest.mark.parametrize(
    ("status", "error", "remedy"),
    [
        (403, CredentialsRefused, "iot:AssumeRoleWithCertificate"),
        (401, CredentialsRefused, "iot:AssumeRoleWithCertificate"),
        (404, CredentialsRefused, "store.iot.role_alias"),
        (429, StoreThrottled, ""),
        (302, StoreUnreachable, "network"),
        (500, StoreUnreachable, "network"),
        (503, StoreUnreachable, "network"),
    ],
)
def test_what_the_service_says_is_told_with_what_to_do(
    identity: IotIdentity, service: CredentialService, status: int, error: type[EdgeCaptureError], remedy: str
) -> None:
    """A refused certificate, a wrong alias and a service in trouble are three different lines."""
    service.status = status
    found = refused(identity)
    assert type(found) is error
    assert remedy in str(found)
    assert str(status) in str(found)


def test_a_strangers_certificate_is_refused_in_the_handshake(identity: IotIdentity, tmp_path: Path) -> None:
    """A certificate of another authority is named as what may be wrong, whether the server's alert arrives or not."""
    stranger = Authority(tmp_path / "stranger", "another authority").issue("dock7")
    found = refused(replace(identity, certificate=str(stranger.certificate), private_key=str(stranger.private_key)))
    assert "certificate" in str(found) or "reset" in str(found)


def test_a_server_of_an_unknown_authority_is_not_told_anything(
    identity: IotIdentity, service: CredentialService, tmp_path: Path
) -> None:
    """A service that cannot prove who it is gets no request, and the line points at the setting."""
    other = Authority(tmp_path / "other", "another authority")
    found = refused(replace(identity, ca=str(other.certificate)))
    assert isinstance(found, StoreUnreachable)
    assert "check store.iot.ca" in str(found)
    assert service.requests == []


def test_files_that_are_wrong_are_named(identity: IotIdentity, authority: Authority, tmp_path: Path) -> None:
    """A missing file, a key that is another's, a key open to others and a file that is no PEM: each in a line."""
    other = authority.issue("other")
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("hello")
    exposed = tmp_path / "exposed.key"
    exposed.write_bytes(Path(identity.private_key).read_bytes())
    exposed.chmod(0o644)
    for wrong, told in (
        (replace(identity, certificate=str(tmp_path / "gone.pem")), "gone.pem"),
        (replace(identity, private_key=str(tmp_path / "gone.key")), "gone.key: No such file"),
        (replace(identity, ca=str(tmp_path / "gone.ca")), "gone.ca"),
        (replace(identity, private_key=str(other.private_key)), "belong together"),
        (replace(identity, certificate=str(rubbish)), "rubbish.pem"),
        (replace(identity, ca=str(rubbish)), "cannot be used"),
        (replace(identity, private_key=str(exposed)), "chmod 600"),
    ):
        found = refused(wrong)
        assert isinstance(found, CredentialsRefused)
        assert told in str(found)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"credentials": {"accessKeyId": "a"}}', b"<html>", b"\xff"])
def test_an_answer_that_is_no_credentials_is_no_answer(
    authority: Authority, identity: IotIdentity, body: bytes
) -> None:
    """Whatever comes with status 200 but holds no whole set of keys is StoreUnreachable."""
    with http_server(lambda _: Answer(200, body), tls=authority.server_context(authority.issue("server"))) as url:
        found = refused(replace(identity, endpoint=url.removeprefix("https://")))
    assert isinstance(found, StoreUnreachable)


# -- as S3 sees it ---------------------------------------------------------------------------------------------------


@pytest.fixture
def seen() -> list[Request]:
    return []


@pytest.fixture
def store_of(
    aws_environment: None, monkeypatch: pytest.MonkeyPatch, seen: list[Request]
) -> Iterator[Callable[..., S3Store]]:
    """Makes a store whose session comes from session_factory(...), at a server that notes who asks."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    def answer(request: Request) -> Answer:
        seen.append(request)
        return Answer(200, LISTING)

    with ExitStack() as stack:
        url = stack.enter_context(http_server(answer))

        def make(**arguments: object) -> S3Store:
            session = session_factory(SystemClock(), **arguments)  # type: ignore[arg-type]
            store = S3Store("bucket", endpoint_url=url, session=session)
            stack.callback(store.close)
            return store

        yield make


def signer(request: Request) -> tuple[str, str | None]:
    """Key id and token a request was signed with."""
    key = request.headers["authorization"].partition("Credential=")[2].partition("/")[0]
    return key, request.headers.get("x-amz-security-token")


def test_a_store_signs_with_the_certificates_keys_and_fetches_them_once(
    store_of: Callable[..., S3Store], identity: IotIdentity, service: CredentialService, seen: list[Request]
) -> None:
    """A certificate stands before everything else in boto3's chain."""
    store = store_of(iot=identity)
    for _ in range(3):
        store.check()
    assert {signer(request) for request in seen} == {("key-1", "token-1")}
    assert service.given == 1


def test_a_provider_that_is_away_at_start_is_found_as_soon_as_it_answers(
    store_of: Callable[..., S3Store], identity: IotIdentity, authority: Authority, seen: list[Request]
) -> None:
    """Making the store waits for nobody; the first call after the service came up succeeds."""
    port = free_port()
    store = store_of(iot=replace(identity, endpoint=f"127.0.0.1:{port}"))
    for _ in range(3):
        with pytest.raises(StoreUnreachable, match="Connection refused"):
            store.check()
    assert seen == []
    service = CredentialService(SystemClock())
    with service.iot(authority.server_context(authority.issue("server")), port):
        store.check()
    assert signer(seen[0]) == ("key-1", "token-1")


def test_greengrass_is_asked_with_its_token_when_its_service_is_up(
    store_of: Callable[..., S3Store], service: CredentialService, seen: list[Request]
) -> None:
    """A token exchange service that refuses connections at boot delays the first upload, not the start."""
    port = free_port()
    environ = {
        GREENGRASS_URL: f"http://127.0.0.1:{port}{GREENGRASS_PATH}",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": GREENGRASS_TOKEN,
    }
    store = store_of(environ=environ)
    with pytest.raises(StoreUnreachable, match="Connection refused"):
        store.check()
    with service.greengrass(port):
        store.check()
        wrong = {**environ, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "not-that-one"}
        with pytest.raises(CredentialsRefused, match="TokenExchangeService") as caught:
            from_greengrass(wrong)
    assert "not-that-one" not in str(caught.value)
    assert signer(seen[0]) == ("key-1", "token-1")


def test_no_credentials_at_all_is_said_and_looked_for_again(
    store_of: Callable[..., S3Store], seen: list[Request], tmp_path: Path
) -> None:
    """A machine that has none is told so in a line; once they are there, they are used without a restart."""
    store = store_of()
    for _ in range(2):
        with pytest.raises(CredentialsRefused, match=r"no AWS credentials; set store\.iot or store\.profile"):
            store.check()
    Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).write_text(
        "[default]\naws_access_key_id = filed\naws_secret_access_key = s\n"
    )
    store.check()
    assert signer(seen[0]) == ("filed", None)


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId", "InvalidToken"])
def test_refused_keys_are_obtained_anew(
    aws_environment: None, identity: IotIdentity, service: CredentialService, code: str
) -> None:
    """A token that S3 calls expired, hours before its time, costs one failed call."""
    seen: list[Request] = []

    def answer(request: Request) -> Answer:
        seen.append(request)
        if request.headers["x-amz-security-token"] == "token-1":
            return Answer(400, f"<Error><Code>{code}</Code><Message>No.</Message></Error>".encode())
        return Answer(200, LISTING)

    with http_server(answer) as url:
        store = S3Store("bucket", endpoint_url=url, session=session_factory(SystemClock(), iot=identity))
        with pytest.raises(CredentialsRefused):
            store.check()
        store.check()
        store.check()
        store.close()
    assert [signer(request)[1] for request in seen] == ["token-1", "token-2", "token-2"]


def test_no_log_of_ours_or_of_the_library_holds_a_secret(
    store_of: Callable[..., S3Store],
    identity: IotIdentity,
    service: CredentialService,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Keys given, then refused: nothing at warning level or above holds them, and no traceback is printed."""
    caplog.set_level(logging.WARNING)
    store_of(iot=identity).check()
    service.status = 403
    with pytest.raises(CredentialsRefused):
        store_of(iot=identity).check()
    printed = capfd.readouterr()
    for text in (printed.out, printed.err):
        assert text == ""
    for secret in (SECRET, "token-1", "key-1"):
        assert secret not in caplog.text


def test_an_agent_whose_key_is_open_to_others_says_so_and_goes_on_once_it_is_not(
    tmp_path: Path,
    aws_environment: None,
    identity: IotIdentity,
    service: CredentialService,
    s3_store: S3Store,
    moto_endpoint: str,
) -> None:
    """A real uploader: check-config names the fault, no request is made with that key, and chmod alone mends it."""
    key = Path(identity.private_key)
    key.chmod(0o644)
    store = {
        "url": f"s3://{s3_store.name}",
        "endpoint_url": moto_endpoint,
        "region": "us-east-1",
        "iot": {**asdict(identity), "thing": ""},
    }
    config = write_settings(tmp_path, "synthetic:", store)
    publish(fresh_spool(tmp_path / "spool"))
    with process("edge_agent.cli", "check-config", "-c", config) as checked:
        assert f"{key}: private key is open to others (mode 0644); chmod 600 {key}" in checked.communicate()[0]
        assert checked.returncode == 1
    with process("edge_agent.cli", "upload", "-c", config) as agent:
        assert agent.stdout is not None
        log = iter(agent.stdout.readline, "")
        assert any("private key is open to others" in line for line in log)
        assert service.requests == []
        key.chmod(0o600)
        assert any("segment_uploaded" in line for line in log)
    assert len(list(s3_store.list())) == 1
    assert service.requests[0].headers["x-amzn-iot-thingname"] == "dock7"


def test_the_upload_process_is_told_paths_never_keys(identity: IotIdentity) -> None:
    """The order of the upload process survives the pipe, and holds no private key."""
    job = UploadJob("dock7", ("color",), "spool", "state", "s3://bucket", iot=identity)
    line = job.to_line()
    assert UploadJob.from_line(line) == job
    assert "PRIVATE" not in line
