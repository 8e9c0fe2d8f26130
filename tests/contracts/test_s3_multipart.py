"""What the S3 adapter promises of objects in parts, of bodies on their way, and of servers with older checksums."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Callable
from contextlib import closing
from hashlib import md5
from pathlib import Path
from typing import Any, get_args

import pytest

from edge_agent.errors import IntegrityMismatch, ObjectExists, StoreUnreachable, UploadGone
from edge_agent.store.base import ChecksumName, FileSlice, Part
from edge_agent.store.checksum import composite, crc64nvme, etag_of_parts, is_object, is_part
from edge_agent.store.s3 import S3Store
from tests.contracts.test_s3_store import answering, refused
from tests.support.http_server import Answer, Request, http_server
from tests.support.link_faults import FlipBit
from tests.support.proxy import proxy
from tests.support.s3_http import Operation

pytestmark = pytest.mark.usefixtures("aws_environment")

MIB = 1 << 20
PART = 5 * MIB
WHOLE = crc64nvme(b"12")
PARTS = [Part(1, 1, "e1", crc64nvme(b"1")), Part(2, 1, "e2", crc64nvme(b"2"))]
COMPLETED = (
    "<CompleteMultipartUploadResult><Bucket>bucket</Bucket><Key>a</Key><ETag>e</ETag>{}</CompleteMultipartUploadResult>"
)
PROOF = f"<ChecksumCRC64NVME>{WHOLE.value}</ChecksumCRC64NVME>"
HEAD = {"ETag": '"e"', "Last-Modified": "Sun, 22 Nov 2026 16:03:48 GMT"}
every_kind = pytest.mark.parametrize("kind", get_args(ChecksumName))


def completed(inside: str) -> Answer:
    return Answer(200, COMPLETED.format(inside).encode())


def complete(*answers: Answer | None) -> list[Request]:
    """A completion that gets *answers* one after the other; the requests it made."""
    left, seen = iter(answers), []

    def answer(request: Request) -> Answer | None:
        seen.append(request)
        return next(left)

    with answering(answer) as store:
        info = store.complete_multipart("a", "id", PARTS, WHOLE)
    assert info.checksum == WHOLE
    return seen


# -- completion --------------------------------------------------------------------------------------------------------


def test_a_completion_says_what_must_hold() -> None:
    """A completion names the checksum and size of the whole, each part's checksum, and that nothing may be there."""
    (request,) = complete(completed(PROOF))
    assert request.headers["if-none-match"] == "*"
    assert request.headers["x-amz-checksum-crc64nvme"] == WHOLE.value
    assert request.headers["x-amz-checksum-type"] == "FULL_OBJECT"
    assert request.headers["x-amz-mp-object-size"] == "2"
    for part in PARTS:
        assert part.checksum is not None
        assert f"<ChecksumCRC64NVME>{part.checksum.value}</ChecksumCRC64NVME>".encode() in request.body


def test_a_completion_without_proof_asks_again() -> None:
    """When the reply to a completion has no checksum, HEAD provides it; with neither, or another one, it is damage."""
    name = "x-amz-checksum-crc64nvme"
    _, asked = complete(completed(""), Answer(200, headers=HEAD | {name: WHOLE.value}))
    assert asked.method == "HEAD"
    other = crc64nvme(b"other").value
    for answers in (
        [completed(""), Answer(200, headers=HEAD)],
        [completed(""), Answer(200, headers=HEAD | {name: other})],
        [completed(f"<ChecksumCRC64NVME>{other}</ChecksumCRC64NVME>")],
    ):
        with pytest.raises(IntegrityMismatch):
            complete(*answers)


def test_an_error_inside_a_200_is_an_error() -> None:
    """S3 may answer a completion 200 and then say in the body that it failed: that is no success."""
    error = Answer(200, b"<Error><Code>InternalError</Code><Message>No.</Message></Error>")
    with pytest.raises(StoreUnreachable):
        complete(error, error, error)


def test_a_lost_reply_to_a_completion_reads_as_gone() -> None:
    """When the first reply is lost and the store has forgotten the upload meanwhile, UploadGone says: look."""
    with pytest.raises(UploadGone):
        complete(None, refused("NoSuchUpload", 404))


def test_an_overtaken_completion_is_begun_anew() -> None:
    """409 to a completion is ObjectExists when there is one by now; else the upload is given up and UploadGone."""
    conflict = refused("ConditionalRequestConflict", 409)
    with pytest.raises(ObjectExists):
        complete(conflict, Answer(200, headers=HEAD))
    methods: list[str] = []

    def answer(request: Request) -> Answer:
        methods.append(request.method)
        return {"POST": conflict, "HEAD": Answer(404), "DELETE": Answer(204)}[request.method]

    with answering(answer) as store, pytest.raises(UploadGone):
        store.complete_multipart("a", "id", PARTS, WHOLE)
    assert methods == ["POST", "HEAD", "DELETE"]


# -- listing -----------------------------------------------------------------------------------------------------------


def test_parts_are_listed_over_all_pages() -> None:
    """More parts than fit a page of S3's are all listed, with what the store knows of each."""

    def answer(request: Request) -> Answer:
        first = "part-number-marker" not in request.path
        number = 1 if first else 1001
        more = "<IsTruncated>true</IsTruncated><NextPartNumberMarker>1</NextPartNumberMarker>" if first else ""
        part = f"<PartNumber>{number}</PartNumber><Size>7</Size><ETag>e</ETag>{PROOF}"
        return Answer(
            200, f"<ListPartsResult><UploadId>id</UploadId>{more}<Part>{part}</Part></ListPartsResult>".encode()
        )

    with answering(answer) as store:
        assert store.list_parts("a", "id") == [Part(1, 7, "e", WHOLE), Part(1001, 7, "e", WHOLE)]


def test_pending_uploads_are_listed_over_all_pages() -> None:
    """More pending uploads than fit a page are all listed, those to keys of others passed over."""

    def answer(request: Request) -> Answer:
        first = "key-marker" not in request.path
        key = "a" if first else "b"
        more = (
            "<IsTruncated>true</IsTruncated><NextKeyMarker>a</NextKeyMarker><NextUploadIdMarker>1</NextUploadIdMarker>"
        )
        uploads = "".join(
            f"<Upload><Key>{key}</Key><UploadId>1</UploadId><Initiated>2026-11-22T16:03:48Z</Initiated></Upload>"
            for key in (key, "not ours")
        )
        page = f"<Bucket>bucket</Bucket>{more if first else ''}{uploads}"
        return Answer(200, f"<ListMultipartUploadsResult>{page}</ListMultipartUploadsResult>".encode())

    with answering(answer) as store:
        assert [(each.key, each.upload_id) for each in store.list_multiparts()] == [("a", "1"), ("b", "1")]


# -- bodies on their way -----------------------------------------------------------------------------------------------


def test_what_is_sent_again_is_paced_again(tmp_path: Path) -> None:
    """A part that the library tries a second time is sent whole from its start, and paced for both tries."""
    path = tmp_path / "video"
    path.write_bytes(b"head" + bytes(range(256)) * 2000 + b"tail")
    body = FileSlice(path, 4, 512_000)
    seen: list[bytes] = []
    steps: list[int] = []

    def answer(request: Request) -> Answer:
        seen.append(request.body)
        if len(seen) == 1:
            return refused("InternalError", 500)
        return Answer(200, headers={"ETag": '"e"', "x-amz-checksum-crc64nvme": crc64nvme(body).value})

    with answering(answer) as store:
        store.upload_part("a", "id", 1, FileSlice(body.path, body.offset, body.size, steps.append))
    assert seen == [path.read_bytes()[4:-4]] * 2
    assert sum(steps) == 2 * body.size


@every_kind
def test_a_bit_flipped_on_the_way_is_refused(localstack_store: S3Store, tmp_path: Path, kind: ChecksumName) -> None:
    """A server that verifies refuses a put, and a part, damaged on the way: IntegrityMismatch, and nothing stored."""
    path = tmp_path / "video"
    path.write_bytes(bytes(100_000))
    with (
        proxy(str(localstack_store.client.meta.endpoint_url)) as between,
        closing(S3Store(localstack_store.name, endpoint_url=between.url, checksum=kind)) as store,
    ):
        upload_id = store.create_multipart("b")
        between.inject(FlipBit(at=50_000), Operation.PUT, Operation.PART)
        calls: list[Callable[[], object]] = [
            lambda: store.put_if_absent("a", path),
            lambda: store.put_if_absent("a", path, checksum=crc64nvme(path)),
            lambda: store.upload_part("b", upload_id, 1, FileSlice(path, 0, 100_000, lambda _: None)),
        ]
        for call in calls:
            with pytest.raises(IntegrityMismatch):
                call()
        between.heal()
        assert list(store.list()) == []
        assert store.list_parts("b", upload_id) == []


def test_an_upload_begun_under_another_setting_is_gone(localstack_store: S3Store) -> None:
    """After the checksum setting was changed, an upload of before is given up, and to be begun anew."""
    upload_id = localstack_store.create_multipart("a")
    endpoint = str(localstack_store.client.meta.endpoint_url)
    with closing(S3Store(localstack_store.name, endpoint_url=endpoint, checksum="sha256")) as store:
        with pytest.raises(UploadGone):
            store.list_parts("a", upload_id)
        assert list(store.list_multiparts()) == []


@pytest.mark.parametrize(
    ("endpoint", "signed"), [(None, False), ("https://127.0.0.1:1", False), ("http://127.0.0.1:1", True)]
)
def test_over_tls_a_body_is_not_read_for_its_signature(endpoint: str | None, signed: bool) -> None:
    """A signature covers the checksum in the headers; a digest of the body, which costs a reading, only without TLS."""
    sent: list[str] = []

    def seen(request: Any, **_: object) -> None:
        sent.append(request.headers["X-Amz-Content-SHA256"])
        raise StoreUnreachable("far enough")

    with closing(S3Store("bucket", endpoint_url=endpoint)) as store:
        store.client.meta.events.register_first("before-send.s3", seen)
        with pytest.raises(StoreUnreachable, match="far enough"):
            store.put_if_absent("a", b"1")
    assert [digest not in {b"UNSIGNED-PAYLOAD", "UNSIGNED-PAYLOAD"} for digest in sent] == [signed]


def test_a_signature_is_that_of_the_bytes_sent(tmp_path: Path) -> None:
    """Without TLS the digest that is signed is that of the very slice that arrives, retries included."""
    path = tmp_path / "video"
    path.write_bytes(random.Random(1).randbytes(3_000_000))
    seen: list[Request] = []

    def answer(request: Request) -> Answer | None:
        seen.append(request)
        proof = "x-amz-checksum-crc64nvme"
        return None if len(seen) == 1 else Answer(headers={"ETag": '"e"', proof: request.headers[proof]})

    with http_server(answer) as url, closing(S3Store("bucket", endpoint_url=url, region="us-east-1")) as store:
        store.upload_part("a", "id", 1, FileSlice(path, 1_000_001, 1_234_567, lambda _: None))
    first, second = seen
    assert first.body == second.body == path.read_bytes()[1_000_001:2_234_568]
    for request in (first, second):
        assert request.headers["x-amz-content-sha256"] == hashlib.sha256(request.body).hexdigest()


# -- servers with older checksums --------------------------------------------------------------------------------------


@pytest.fixture(params=["moto", "localstack"])
def endpoint(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"{request.param}_endpoint")
    return found


@every_kind
def test_each_kind_of_checksum_proves_puts_and_parts(
    request: pytest.FixtureRequest, endpoint: str, tmp_path: Path, kind: ChecksumName
) -> None:
    """With every setting, puts and uploads in parts are proved, and the stored object is told to be the file's."""
    path, other = tmp_path / "video", tmp_path / "other"
    path.write_bytes(bytes(PART) + b"the rest")
    other.write_bytes(bytes(PART) + b"THE REST")
    whole = crc64nvme(path)
    with closing(S3Store(f"bucket-{uuid.uuid4().hex}", endpoint_url=endpoint, checksum=kind)) as store:
        store.client.create_bucket(Bucket=store.name)
        store.put_if_absent("put", path, metadata={"crc64nvme": whole.value}, checksum=whole)
        assert is_object(store.head("put"), path, whole, None) is True
        assert is_object(store.head("put"), other, crc64nvme(other), None) in (False, None)
        upload_id = store.create_multipart("parts")
        slices = [FileSlice(path, 0, PART), FileSlice(path, PART, 8)]
        for number, piece in enumerate(slices, 1):
            store.upload_part("parts", upload_id, number, piece, checksum=crc64nvme(piece))
        listed = store.list_parts("parts", upload_id)
        assert all(is_part(part, piece) for part, piece in zip(listed, slices, strict=True))
        assert not is_part(listed[1], FileSlice(other, PART, 8))
        store.complete_multipart("parts", upload_id, listed, whole)
        assert store.get("parts").body == path.read_bytes()
        with store.checkout("parts") as copy:
            assert copy.read_bytes() == path.read_bytes()
        told = is_object(store.head("parts"), path, whole, PART)
        assert told is True or (told is None and "moto" in request.node.name)  # whose HEAD leaves the "-2" out
        assert is_object(store.head("parts"), other, crc64nvme(other), PART) in (False, None)


def test_a_server_that_ignores_checksums_is_believed_by_etags() -> None:
    """A server that knows no CRC-64/NVME proves parts by MD5s as ETags, and the whole by the MD5 of these."""
    etags = [md5(body, usedforsecurity=False).hexdigest() for body in (b"1", b"2")]
    parts = [Part(number, 1, etag) for number, etag in enumerate(etags, 1)]

    def answer(etag: str) -> Callable[[Request], Answer]:
        def reply(request: Request) -> Answer:
            if request.method == "POST":
                return Answer(200, COMPLETED.replace("<ETag>e<", f"<ETag>{etag}<").format("").encode())
            return Answer(200, headers=HEAD | {"ETag": f'"{etag}"'})

        return reply

    with answering(answer(etags[0])) as store:
        assert store.upload_part("a", "id", 1, b"1") == parts[0]
        with pytest.raises(IntegrityMismatch):
            store.upload_part("a", "id", 1, b"2")
        with pytest.raises(IntegrityMismatch, match="sent with the checksum"):
            store.upload_part("a", "id", 1, b"1", checksum=crc64nvme(b"other"))
    with answering(answer(etag_of_parts(parts))) as store:
        store.complete_multipart("a", "id", parts, WHOLE)
    with answering(answer("0" * 32 + "-2")) as store, pytest.raises(IntegrityMismatch):
        store.complete_multipart("a", "id", parts, WHOLE)


def test_parts_without_checksums_have_no_checksum_together() -> None:
    """Where the store told no SHA-256 of a part, or an ETag that is none, nothing is made up for the whole."""
    assert composite([Part(1, 1, "e1")]) is None
    assert etag_of_parts([Part(1, 1, "opaque!")]) == ""
