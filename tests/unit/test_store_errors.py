"""Every way a store's library or the operating system fails has one meaning here, and says nothing secret."""

from __future__ import annotations

import errno

import botocore.exceptions as boto
import pytest
import urllib3.exceptions
from botocore.parsers import ResponseParserError

from edge_agent.errors import (
    ConfigInvalid,
    ContainerMissing,
    CredentialsRefused,
    EdgeCaptureError,
    IntegrityMismatch,
    KeyInvalid,
    ObjectNotFound,
    PreconditionFailed,
    Scope,
    StoreError,
    StoreThrottled,
    StoreUnreachable,
)
from edge_agent.store.checksum import RunningCrc64Nvme, crc64nvme
from edge_agent.store.files import refusal
from edge_agent.store.s3_errors import clean, code_of, translate, translated

WHERE = "s3://bucket/key"


def client_error(code: str, status: int, message: str = "No.") -> boto.ClientError:
    return boto.ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "PutObject",
    )


CODES: list[tuple[str, int, type[EdgeCaptureError]]] = [
    ("NoSuchBucket", 404, ContainerMissing),
    ("NoSuchKey", 404, ObjectNotFound),
    ("404", 404, ObjectNotFound),
    ("PreconditionFailed", 412, PreconditionFailed),
    ("412", 412, PreconditionFailed),
    ("ConditionalRequestConflict", 409, PreconditionFailed),
    ("AccessDenied", 403, CredentialsRefused),
    ("403", 403, CredentialsRefused),
    ("AllAccessDisabled", 403, CredentialsRefused),
    ("InvalidAccessKeyId", 403, CredentialsRefused),
    ("SignatureDoesNotMatch", 403, CredentialsRefused),
    ("ExpiredToken", 400, CredentialsRefused),
    ("InvalidToken", 400, CredentialsRefused),
    ("400", 400, CredentialsRefused),
    ("401", 401, CredentialsRefused),
    ("RequestTimeTooSkewed", 403, CredentialsRefused),
    ("SlowDown", 503, StoreThrottled),
    ("ServiceUnavailable", 503, StoreThrottled),
    ("503", 503, StoreThrottled),
    ("TooManyRequests", 429, StoreThrottled),
    ("429", 429, StoreThrottled),
    ("ThrottlingException", 400, StoreThrottled),
    ("InternalError", 500, StoreUnreachable),
    ("502", 502, StoreUnreachable),
    ("504", 504, StoreUnreachable),
    ("RequestTimeout", 400, StoreUnreachable),
    ("InternalError", 200, StoreUnreachable),  # S3 may fail after it began to answer 200
    ("302", 302, StoreUnreachable),
    ("BadDigest", 400, IntegrityMismatch),
    ("XAmzContentSHA256Mismatch", 400, IntegrityMismatch),
    ("IncompleteBody", 400, IntegrityMismatch),
    ("PermanentRedirect", 301, ConfigInvalid),
    ("AuthorizationHeaderMalformed", 400, ConfigInvalid),
    ("InvalidBucketName", 400, ConfigInvalid),
    ("EntityTooLarge", 400, StoreError),
    ("MethodNotAllowed", 405, StoreError),
    ("OperationAborted", 409, StoreError),
]

URL = "http://user:password@store.example/key?X-Amz-Signature=abc"
LIBRARY: list[tuple[Exception, type[EdgeCaptureError]]] = [
    (boto.NoCredentialsError(), CredentialsRefused),
    (boto.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), CredentialsRefused),
    (boto.CredentialRetrievalError(provider="container-role", error_msg="refused"), CredentialsRefused),
    (boto.ProfileNotFound(profile="nobody"), CredentialsRefused),
    (boto.TokenRetrievalError(provider="sso", error_msg="expired"), CredentialsRefused),
    (boto.UnauthorizedSSOTokenError(), CredentialsRefused),
    (boto.EndpointConnectionError(endpoint_url=URL), StoreUnreachable),
    (boto.ConnectTimeoutError(endpoint_url=URL), StoreUnreachable),
    (boto.ReadTimeoutError(endpoint_url=URL), StoreUnreachable),
    (boto.ConnectionClosedError(endpoint_url=URL), StoreUnreachable),
    (boto.SSLError(endpoint_url=URL, error=OSError("certificate has expired")), StoreUnreachable),
    (boto.ProxyConnectionError(proxy_url=URL), StoreUnreachable),
    (boto.HTTPClientError(error="broken"), StoreUnreachable),
    (boto.ResponseStreamingError(error="broken"), StoreUnreachable),
    (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), StoreUnreachable),
    (ResponseParserError("not XML"), StoreUnreachable),
    (urllib3.exceptions.ProtocolError("broken"), StoreUnreachable),
    (boto.FlexibleChecksumError(error_msg="differs"), IntegrityMismatch),
    (boto.ChecksumError(checksum_type="crc64", expected_checksum="a", actual_checksum="b"), IntegrityMismatch),
    (boto.ParamValidationError(report="bad bucket"), ConfigInvalid),
    (boto.InvalidRegionError(region_name="x y"), ConfigInvalid),
    (boto.NoRegionError(), ConfigInvalid),
    (boto.ConfigParseError(path="config"), ConfigInvalid),
    (ValueError("Invalid endpoint: nonsense"), ConfigInvalid),
    (boto.BotoCoreError(), StoreError),
]


@pytest.mark.parametrize(("code", "status", "expected"), CODES)
def test_every_code_of_s3_has_one_meaning(code: str, status: int, expected: type[EdgeCaptureError]) -> None:
    """A code or bare status of S3 becomes the error that says whether trying again helps, and where it happened."""
    found = translate(client_error(code, status), WHERE)
    assert type(found) is expected
    assert found.where == WHERE
    assert code in found.what


@pytest.mark.parametrize(("error", "expected"), LIBRARY, ids=lambda value: type(value).__name__)
def test_every_error_of_the_library_has_one_meaning(error: Exception, expected: type[EdgeCaptureError]) -> None:
    """What the client library raises becomes one of ours, on one line, without passwords and signed queries."""
    found = translate(error, WHERE)
    assert type(found) is expected
    assert "\n" not in str(found)
    assert "password" not in str(found).replace("AWS_SECRET_ACCESS_KEY", "")
    assert "X-Amz-Signature" not in str(found)


def test_what_waits_for_an_operator_says_what_to_do() -> None:
    """Errors that only a person can end carry a fix; a wrong clock is called by its name."""
    for code, status, expected in CODES:
        if expected in (ContainerMissing, CredentialsRefused, ConfigInvalid):
            assert translate(client_error(code, status), WHERE).fix
    assert "clock" in translate(client_error("RequestTimeTooSkewed", 403), WHERE).fix


def test_nothing_of_the_line_counts_against_a_file() -> None:
    """Whatever the network, the login or the server does is retried, and has the scope of the whole line."""
    for error in (ContainerMissing, CredentialsRefused, StoreUnreachable, StoreThrottled):
        assert (error.retryable, error.scope) == (True, Scope.LINK)


def test_messages_are_cleaned() -> None:
    """Foreign messages are one short line without credentials or the path of an object that is named already."""
    assert clean("a\n  b. ") == "a b"
    assert clean('no "http://u:p@host/a?b=c" there') == 'no "http://host" there'
    assert clean("key AKIAIOSFODNN7EXAMPLE is gone") == "key (key id) is gone"
    assert len(clean("x" * 1000)) == 200


def test_the_cause_is_kept_and_other_errors_pass() -> None:
    """A translated error keeps the library's as its cause, and what is not the library's is left alone."""
    with pytest.raises(ObjectNotFound) as raised, translated(WHERE):
        raise client_error("NoSuchKey", 404)
    assert code_of(raised.value.__cause__) == "NoSuchKey"
    assert code_of(KeyError("x")) == code_of(None) == ""
    with pytest.raises(ZeroDivisionError), translated(WHERE):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, StoreUnreachable),
        (errno.EDQUOT, StoreUnreachable),
        (errno.EIO, StoreUnreachable),
        (errno.ESTALE, StoreUnreachable),
        (errno.EACCES, CredentialsRefused),
        (errno.EPERM, CredentialsRefused),
        (errno.EROFS, CredentialsRefused),
        (errno.EISDIR, KeyInvalid),
        (errno.ENOTDIR, KeyInvalid),
        (errno.EEXIST, KeyInvalid),
        (errno.ENAMETOOLONG, KeyInvalid),
    ],
)
def test_every_refusal_of_the_file_system_has_one_meaning(number: int, expected: type[EdgeCaptureError]) -> None:
    """A full disk, a lack of rights and a name in the way are told apart, each with what to do."""
    found = refusal(OSError(number, "reason"), "/store/key")
    assert type(found) is expected
    assert found.where == "/store/key"
    assert found.fix
    if number in (errno.ENOSPC, errno.EDQUOT):
        assert "disk is full" in found.what


def test_the_checksum_is_the_one_of_the_standard() -> None:
    """CRC-64/NVME of "123456789" is AE8B14860A799888, as its specification says, in one go or in pieces."""
    expected = "rosUhgp5mIg="  # base64 of those eight bytes
    assert crc64nvme(b"123456789").value == expected
    running = RunningCrc64Nvme()
    for piece in (b"1234", b"", b"56789"):
        running.update(piece)
    assert running.checksum().value == expected
