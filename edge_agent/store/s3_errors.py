"""What S3 and its client library say when something goes wrong, as errors of ours. The table is in one place: here.

Nothing is imported from the library until something goes wrong or a call is made: errors are told by their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from edge_agent.errors import (
    ConfigInvalid,
    ContainerMissing,
    CredentialsRefused,
    EdgeCaptureError,
    IntegrityMismatch,
    ObjectNotFound,
    PreconditionFailed,
    StoreError,
    StoreThrottled,
    StoreUnreachable,
    UploadGone,
)

CONFLICT = "ConditionalRequestConflict"
"""S3's code for "a conditional write was overtaken while it ran": to be tried again, unlike a failed condition."""

_MESSAGE = 200  # characters of a third party's message that are passed on


class _Meaning(NamedTuple):
    error: type[EdgeCaptureError]
    fix: str


_ABSENT = _Meaning(ObjectNotFound, "")
_NO_BUCKET = _Meaning(ContainerMissing, "create the bucket, or correct its name")
_GONE = _Meaning(UploadGone, "")
_LOST = _Meaning(PreconditionFailed, "")
_CLOCK = _Meaning(CredentialsRefused, "set this machine's clock: requests are signed with the time")
_LOGIN = _Meaning(CredentialsRefused, "check the credentials: absent, wrong or expired; then the policy of their role")
# S3 hides whether an object exists from those who may not list: then 403 also means "not there".
_DENIED = _Meaning(CredentialsRefused, "let the role do this (for reading that includes s3:ListBucket)")
_SLOW = _Meaning(StoreThrottled, "")
_AWAY = _Meaning(StoreUnreachable, "check the network, its DNS, proxy and clock, and the endpoint URL")
_BROKEN = _Meaning(IntegrityMismatch, "")
_REGION = _Meaning(ConfigInvalid, "set the bucket's region")
_SETTING = _Meaning(ConfigInvalid, "correct the store's settings or the AWS configuration files")
_OTHER = _Meaning(StoreError, "")

_BY_CODE = {
    "NoSuchBucket": _NO_BUCKET,
    "NoSuchKey": _ABSENT,
    "NoSuchVersion": _ABSENT,
    "NoSuchUpload": _GONE,
    "PreconditionFailed": _LOST,
    CONFLICT: _LOST,
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    "SignatureDoesNotMatch": _LOGIN,
    "InvalidAccessKeyId": _LOGIN,
    "InvalidClientTokenId": _LOGIN,
    "UnrecognizedClientException": _LOGIN,
    "InvalidToken": _LOGIN,
    "ExpiredToken": _LOGIN,
    "ExpiredTokenException": _LOGIN,
    "TokenRefreshRequired": _LOGIN,
    "400": _LOGIN,  # HEAD has no body to name a code in; an expired token and a wrong region come like this
    "SlowDown": _SLOW,
    "Throttling": _SLOW,
    "ThrottlingException": _SLOW,
    "ThrottledException": _SLOW,
    "RequestThrottled": _SLOW,
    "RequestLimitExceeded": _SLOW,
    "TooManyRequests": _SLOW,
    "TooManyRequestsException": _SLOW,
    "RequestTimeout": _AWAY,  # a 400: the body did not arrive in time
    "BadDigest": _BROKEN,
    "InvalidDigest": _BROKEN,
    "XAmzContentSHA256Mismatch": _BROKEN,
    "XAmzContentChecksumMismatch": _BROKEN,
    "IncompleteBody": _BROKEN,
    "InvalidPart": _BROKEN,  # a part that was replaced since it was told, or never arrived
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "IncorrectEndpoint": _REGION,
    "InvalidBucketName": _SETTING,
}

_BY_STATUS = {401: _LOGIN, 403: _DENIED, 404: _ABSENT, 409: _OTHER, 412: _LOST, 429: _SLOW, 503: _SLOW}

# By the names of the classes of botocore and urllib3; a class not listed is looked up by its bases.
_BY_CLASS = {
    "NoCredentialsError": _LOGIN,
    "PartialCredentialsError": _LOGIN,
    "CredentialRetrievalError": _LOGIN,
    "UnknownCredentialError": _LOGIN,
    "RefreshWithMFAUnsupportedError": _LOGIN,
    "MetadataRetrievalError": _LOGIN,
    "NoAuthTokenError": _LOGIN,
    "TokenRetrievalError": _LOGIN,
    "UnknownTokenProviderError": _LOGIN,
    "SSOError": _LOGIN,
    "LoginError": _LOGIN,
    "ProfileNotFound": _LOGIN,
    "ConnectionError": _AWAY,
    "HTTPClientError": _AWAY,
    "ResponseStreamingError": _AWAY,
    "IncompleteReadError": _AWAY,
    "HTTPError": _AWAY,
    "ResponseParserError": _AWAY,
    "FlexibleChecksumError": _BROKEN,
    "ChecksumError": _BROKEN,
    "AwsChunkedWrapperError": _BROKEN,
    "ParamValidationError": _SETTING,
    "ValidationError": _SETTING,
    "InvalidRegionError": _SETTING,
    "NoRegionError": _REGION,
    "InvalidConfigError": _SETTING,
    "InvalidRetryConfigurationError": _SETTING,
    "InvalidRetryModeError": _SETTING,
    "InvalidMaxRetryAttemptsError": _SETTING,
    "InvalidProxiesConfigError": _SETTING,
    "InvalidChecksumConfigError": _SETTING,
    "InvalidEndpointConfigurationError": _SETTING,
    "InvalidIMDSEndpointError": _SETTING,
    "InvalidIMDSEndpointModeError": _SETTING,
    "ConfigNotFound": _SETTING,
    "ConfigParseError": _SETTING,
    "InfiniteLoopConfigError": _SETTING,
    "EndpointProviderError": _SETTING,
    "BaseEndpointResolverError": _SETTING,
    "MissingDependencyException": _SETTING,
    "ValueError": _SETTING,
}

_SECRETS = (
    (re.compile(r"(?<=://)[^/\s@]*@"), ""),  # user and password in an endpoint or proxy URL
    (re.compile(r"\?[^\s\"']*"), ""),  # the query of a URL: a presigned one is a credential
    # No secret, but the object is named already; without it, one cause says the same of every object.
    (re.compile(r"(https?://[^/\s\"']+)/[^\s\"']+"), r"\1"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"), "(key id)"),
)


def translate(error: Exception, where: str) -> EdgeCaptureError:
    """*error* of the client library at *where*, as one of ours. Pure; the message carries no secrets."""
    reply: dict[str, Any] = getattr(error, "response", None) or {}
    if "Error" in reply:
        code = code_of(error)
        status = int(reply.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        said = reply["Error"].get("Message") or ""
        what = f"{said} ({code})" if said else f"the store answered {code}"
        meaning = _BY_CODE.get(code) or _by_status(status)
    else:
        what = str(error) or type(error).__name__
        meaning = next((_BY_CLASS[c.__name__] for c in type(error).__mro__ if c.__name__ in _BY_CLASS), _OTHER)
    return meaning.error(clean(what), where=where, fix=meaning.fix)


def code_of(error: BaseException | None) -> str:
    """The code S3 gave, such as ``NoSuchKey`` or, where there was none, the HTTP status; "" for other errors."""
    reply: dict[str, Any] = getattr(error, "response", None) or {}
    return str(reply.get("Error", {}).get("Code", ""))


def wants_new_keys(reply: dict[str, Any]) -> bool:
    """Whether the parsed *reply* refuses the keys themselves, not what they are allowed: others may be better. Pure."""
    return _BY_CODE.get(str(reply.get("Error", {}).get("Code", ""))) is _LOGIN


def clean(message: str) -> str:
    """*message* of a third party on one line, cut short, without what must not be logged."""
    line = " ".join(message.split())
    for pattern, instead in _SECRETS:
        line = pattern.sub(instead, line)
    return line[:_MESSAGE].rstrip(" .")


def _by_status(status: int) -> _Meaning:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return _AWAY if status >= 500 or 200 <= status < 400 else _OTHER


def refuse_strange_redirects(response: tuple[Any, dict[str, Any]] | None, **_: object) -> None:
    """For the client's event ``needs-retry.s3``, first in line: a redirect that S3 did not send is an error at once.

    The client's own handler takes every redirect for "another region", asks the same server which one, is redirected,
    asks again, until Python's stack is full (botocore 1.44). A captive portal redirects everything.
    """
    from botocore.parsers import ResponseParserError

    if response is None or response[0] is None or response[0].status_code not in (301, 302, 303, 307, 308):
        return
    code = str(response[1].get("Error", {}).get("Code", ""))
    if (not code or code.isdigit()) and "x-amz-bucket-region" not in response[0].headers:
        raise ResponseParserError(f"redirected by something that is no object store ({response[0].status_code})")


def begin_only_once(operation: Any, caught_exception: Exception | None = None, **_: object) -> None:
    """For the client's event ``needs-retry.s3``, first in line: a begun upload whose reply was lost is not begun again.

    The library would leave two, one of which nobody knows; whoever called looks for it before trying again.
    """
    if caught_exception is not None and operation.name == "CreateMultipartUpload":
        raise caught_exception


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise what botocore, boto3 and urllib3 raise inside the block as errors of ours."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (ClientError, BotoCoreError, ResponseParserError, HTTPError) as error:
        raise translate(error, where) from error
