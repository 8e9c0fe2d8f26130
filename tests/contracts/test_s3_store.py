"""What the S3 adapter promises beyond the protocol: it believes no reply that proves nothing, and names what failed."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from hashlib import md5
from pathlib import Path

import pytest

from edge_agent.errors import (
    ConfigInvalid,
    CredentialsRefused,
    DiskFull,
    EdgeCaptureError,
    IntegrityMismatch,
    ObjectExists,
    PreconditionFailed,
    StoreError,
    StoreThrottled,
    StoreUnreachable,
)
from edge_agent.store import ObjectStore
from edge_agent.store.base import Part
from edge_agent.store.checksum import crc64nvme
from edge_agent.store.s3 import S3Store
from tests.support.http_server import Answer, Request, http_server
from tests.support.moto_server import moto_server

pytestmark = pytest.mark.usefixtures("aws_environment")

PORTAL = b"<!DOCTYPE html><html><head><title>Welcome to the guest network</title></head><body>Log in</body></html>"
STORED = {"ETag": '"e"', "Last-Modified": "Sun, 22 Nov 2026 16:03:48 GMT"}
CALLS: dict[str, Callable[[ObjectStore], object]] = {
    "check": lambda store: store.check(),
    "list": lambda store: list(store.list()),
    "get": lambda store: store.get("a"),
    "head": lambda store: store.head("a"),
    "checkout": lambda store: store.checkout("a").__enter__(),
    "put": lambda store: store.put("a", b"1"),
    "put_if_absent": lambda store: store.put_if_absent("a", b"1"),
    "put_if_match": lambda store: store.put_if_match("a", b"1", "etag"),
    "delete": lambda store: store.delete("a"),
    "create_multipart": lambda store: store.create_multipart("a"),
    "upload_part": lambda store: store.upload_part("a", "id", 1, b"1"),
    "list_parts": lambda store: store.list_parts("a", "id"),
    "complete_multipart": lambda store: store.complete_multipart("a", "id", [Part(1, 1, "e")], crc64nvme(b"1")),
    "abort_multipart": lambda store: store.abort_multipart("a", "id"),
    "list_multiparts": lambda store: list(store.list_multiparts()),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@contextmanager
def answering(answer: Callable[[Request], Answer | None]) -> Iterator[S3Store]:
    """A store at a server that answers as told."""
    with ExitStack() as stack:
        store = S3Store("bucket", endpoint_url=stack.enter_context(http_server(answer)))
        stack.callback(store.close)
        yield store


def refused(code: str, status: int) -> Answer:
    """S3's way to say no."""
    return Answer(status, f"<Error><Code>{code}</Code><Message>No.</Message></Error>".encode())


@every_call
@pytest.mark.parametrize("page", [PORTAL, b"", b"<html/>"])
def test_a_captive_portal_stores_and_serves_nothing(call: Callable[[ObjectStore], object], page: bytes) -> None:
    """Where a login page answers 200 to everything, every call raises StoreUnreachable."""
    portal = Answer(200, page, {"Content-Type": "text/html"})
    with answering(lambda _: portal) as store, pytest.raises(StoreUnreachable):
        call(store)


@every_call
@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_portal_that_redirects_is_no_store_either(call: Callable[[ObjectStore], object], status: int) -> None:
    """Where everything is redirected to a login page, every call raises StoreUnreachable after one request."""
    seen: list[Request] = []

    def redirect(request: Request) -> Answer:
        seen.append(request)
        return Answer(status, PORTAL, {"Location": "http://login.invalid/"})

    with answering(redirect) as store, pytest.raises(StoreUnreachable):
        call(store)
    assert len(seen) == 1


@pytest.mark.parametrize("name", ["check", "head", "put_if_absent"])
def test_a_dead_endpoint_is_unreachable(name: str) -> None:
    """A port on which nobody listens raises StoreUnreachable that names the object."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        store = S3Store("bucket", endpoint_url=f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(StoreUnreachable, match=r"^s3://bucket/"):
            CALLS[name](store)
        store.close()


def test_a_server_that_hangs_up_is_unreachable() -> None:
    """A connection closed without an answer raises StoreUnreachable."""
    with answering(lambda _: None) as store, pytest.raises(StoreUnreachable):
        store.put("a", b"1")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (refused("SlowDown", 503), StoreThrottled),
        (Answer(503, PORTAL), StoreThrottled),
        (refused("InternalError", 500), StoreUnreachable),
        (refused("AccessDenied", 403), CredentialsRefused),
        (refused("RequestTimeTooSkewed", 403), CredentialsRefused),
        (refused("BadDigest", 400), IntegrityMismatch),
        (refused("EntityTooLarge", 400), StoreError),
    ],
)
def test_what_a_server_refuses_is_told_apart(answer: Answer, expected: type[EdgeCaptureError]) -> None:
    """Overload, trouble, refusal and damage on the way are different errors, whoever asks."""
    with answering(lambda _: answer) as store, pytest.raises(expected) as raised:
        store.put("a", b"1")
    assert raised.type is expected


def test_credentials_nobody_issued_are_refused() -> None:
    """An S3 that checks credentials and does not know ours raises CredentialsRefused from every call."""
    with moto_server() as url:
        store = S3Store("bucket", endpoint_url=url)
        store.client.create_bucket(Bucket="bucket")
        enforce = urllib.request.Request(f"{url}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"})
        with urllib.request.urlopen(enforce):
            pass
        for call in CALLS.values():
            with pytest.raises(CredentialsRefused):
                call(store)
        store.close()


def test_no_credentials_at_all_are_refused(moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials anywhere, or with a profile nobody wrote, calls raise CredentialsRefused."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store = S3Store("bucket", endpoint_url=moto_endpoint)
    with pytest.raises(CredentialsRefused):
        store.head("a")
    store.close()
    with pytest.raises(CredentialsRefused):
        S3Store("bucket", endpoint_url=moto_endpoint, profile="nobody").head("a")


@pytest.mark.parametrize(
    "store",
    [
        S3Store("bucket", endpoint_url="nonsense"),
        S3Store("bucket", endpoint_url="http://127.0.0.1:1", region="not a region"),
        S3Store("not a bucket", endpoint_url="http://127.0.0.1:1"),
    ],
    ids=["endpoint", "region", "bucket"],
)
def test_settings_that_cannot_be_are_invalid(store: S3Store) -> None:
    """An endpoint, region or bucket name of impossible shape raises ConfigInvalid, at the first call."""
    with pytest.raises(ConfigInvalid):
        store.check()
    store.close()


def test_no_region_is_needed_for_an_endpoint(moto_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server named by URL works without any region configured."""
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    store = S3Store("bucket-without-region", endpoint_url=moto_endpoint)
    store.client.create_bucket(Bucket=store.name)
    stored = store.put("a", b"1")
    assert stored == replace(store.head("a"), modified=stored.modified)
    store.close()


# -- proof of what was stored ------------------------------------------------------------------------------------------


def test_a_put_without_proof_in_its_reply_asks_again() -> None:
    """When the reply to a put has no checksum, HEAD provides it; with neither, or another one, IntegrityMismatch."""
    right, wrong = crc64nvme(b"1").value, crc64nvme(b"2").value

    def put(in_put: dict[str, str], in_head: dict[str, str]) -> None:
        with answering(lambda r: Answer(200, headers=STORED | (in_put if r.method == "PUT" else in_head))) as store:
            store.put("a", b"1")

    name = "x-amz-checksum-crc64nvme"
    put({name: right}, {})
    put({}, {name: right})
    put({"ETag": f'"{md5(b"1", usedforsecurity=False).hexdigest()}"'}, {})  # a server that does not know this checksum
    for said in ({name: wrong}, {}, {"x-amz-checksum-crc32": "AAAAAA=="}):
        with pytest.raises(IntegrityMismatch):
            put(said, {})
    with pytest.raises(IntegrityMismatch):
        put({}, {name: wrong})


@pytest.mark.parametrize("name", ["get", "checkout"])
def test_a_reply_damaged_on_the_way_is_noticed(name: str) -> None:
    """A body that does not match the object's checksum raises IntegrityMismatch and is not handed out."""
    headers = STORED | {"x-amz-checksum-crc64nvme": crc64nvme(b"sent").value}
    with answering(lambda _: Answer(200, b"rcvd", headers)) as store, pytest.raises(IntegrityMismatch):
        CALLS[name](store)


@pytest.mark.parametrize("name", ["get", "checkout"])
def test_a_reply_cut_short_is_noticed(name: str) -> None:
    """A body shorter than announced raises StoreUnreachable, though the store gave no checksum."""
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as stack:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                headers = [f"{name}: {value}" for name, value in (STORED | {"Content-Length": "9"}).items()]
                connection.sendall("\r\n".join(["HTTP/1.1 200 OK", *headers, "", "half"]).encode())

        thread = threading.Thread(target=serve)
        thread.start()
        stack.callback(thread.join)
        store = S3Store("bucket", endpoint_url=f"http://127.0.0.1:{server.getsockname()[1]}")
        stack.callback(store.close)
        with pytest.raises(StoreUnreachable):
            CALLS[name](store)


def test_checkout_says_when_there_is_no_room(s3_store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary copy that does not fit the disk raises DiskFull."""
    full = Path("/dev/full")
    s3_store.put("full", b"1")
    monkeypatch.setattr("tempfile.TemporaryDirectory.__enter__", lambda _: str(full.parent))
    with pytest.raises(DiskFull, match="No space left"), s3_store.checkout("full"):
        pass


# -- conditions --------------------------------------------------------------------------------------------------------


def test_an_overtaken_condition_is_tried_again() -> None:
    """409 is no answer to a condition: the put starts anew, and then succeeds or hears the real one."""
    proof = STORED | {"x-amz-checksum-crc64nvme": crc64nvme(b"1").value}

    def put(last: Answer, call: str) -> None:
        answers = iter([refused("ConditionalRequestConflict", 409)] * 2 + [last])
        with answering(lambda _: next(answers)) as store:
            CALLS[call](store)

    for name in ("put_if_absent", "put_if_match"):
        put(Answer(200, headers=proof), name)
    with pytest.raises(ObjectExists):
        put(refused("PreconditionFailed", 412), "put_if_absent")
    with pytest.raises(PreconditionFailed):
        put(refused("PreconditionFailed", 412), "put_if_match")


def test_a_condition_overtaken_for_ever_is_given_up() -> None:
    """After a handful of 409s the caller hears what fits: exists if it does, lost the race, or come back later."""

    def give_up(call: str, head: Answer) -> None:
        conflict = refused("ConditionalRequestConflict", 409)
        with answering(lambda request: head if request.method == "HEAD" else conflict) as store:
            CALLS[call](store)

    with pytest.raises(ObjectExists):
        give_up("put_if_absent", Answer(200, headers=STORED))
    with pytest.raises(StoreThrottled):
        give_up("put_if_absent", Answer(404))
    with pytest.raises(PreconditionFailed):
        give_up("put_if_match", Answer(404))


def test_a_lost_reply_reads_as_exists_and_stores_one_object(s3_store: S3Store) -> None:
    """A put_if_absent whose first reply is lost raises ObjectExists, and the object has the bytes that were sent."""
    lost = False
    endpoint = s3_store.client.meta.endpoint_url

    def forward(request: Request) -> Answer | None:
        nonlocal lost
        headers = {name: value for name, value in request.headers.items() if name not in ("host", "expect")}
        onward = urllib.request.Request(endpoint + request.path, request.body, headers, method=request.method)
        onward.add_header("Host", request.headers["host"])
        try:
            with urllib.request.urlopen(onward) as reply:
                answer = Answer(reply.status, reply.read(), dict(reply.headers))
        except urllib.request.HTTPError as error:
            with error:
                answer = Answer(error.code, error.read())
        if not lost and request.method == "PUT":
            lost = True
            return None
        return answer

    with http_server(forward) as url:
        store = S3Store(s3_store.name, endpoint_url=url)
        with pytest.raises(ObjectExists):
            store.put_if_absent("a", b"1")
        store.close()
    assert lost
    assert [info.key for info in s3_store.list()] == ["a"]
    assert s3_store.head("a").checksum == crc64nvme(b"1")


# -- details -----------------------------------------------------------------------------------------------------------


def test_versions_are_reported_where_they_are_kept(s3_store: S3Store) -> None:
    """In a bucket with versions put, get and head agree on the version; elsewhere there is none."""
    assert s3_store.put("a", b"0").version is None
    s3_store.client.put_bucket_versioning(Bucket=s3_store.name, VersioningConfiguration={"Status": "Enabled"})
    version = s3_store.put("a", b"1").version
    assert version
    assert s3_store.head("a").version == s3_store.get("a").info.version == version
    assert s3_store.put("a", b"1").version != version


def test_keys_of_others_are_passed_over(s3_store: S3Store) -> None:
    """Objects whose keys no other store could take, such as directory markers, are not listed."""
    for key in ("videos/", "videos/my video (1).mp4", "videos/a.mp4"):
        s3_store.client.put_object(Bucket=s3_store.name, Key=key, Body=b"")
    assert [info.key for info in s3_store.list()] == ["videos/a.mp4"]


def test_an_object_put_by_others_is_readable(s3_store: S3Store) -> None:
    """An object without a checksum of our kind is read, and has none."""
    s3_store.client.put_object(Bucket=s3_store.name, Key="a", Body=b"1")
    assert s3_store.get("a").body == b"1"
    assert s3_store.head("a").checksum is None


def test_nothing_is_loaded_before_the_first_call() -> None:
    """Building a store and asking for names loads neither the client library nor the checksum library."""
    script = """if True:
        import sys
        from edge_agent.store import open_store
        store = open_store("s3://bucket", endpoint_url="http://192.0.2.1", profile="nobody")
        assert (store.name, store.uri("a"), store.key_of("s3://bucket/a")) == ("bucket", "s3://bucket/a", "a")
        assert not {"boto3", "botocore", "awscrt", "urllib3"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", script], check=True)
