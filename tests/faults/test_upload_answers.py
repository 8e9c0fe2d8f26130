"""Stores that answer with an error, or late: everything arrives once, and nothing is charged to a file."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edge_agent.store.s3 import S3Store
from tests.support.link_faults import EXPIRED, INTERNAL_ERROR, SKEWED, SLOW_DOWN, TOO_MANY, Answer, Delay
from tests.support.proxy import Proxy
from tests.support.s3_http import Operation
from tests.support.upload import names_in
from tests.support.uploading import LARGE, Shelf, job_for, uploading


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (SLOW_DOWN, "StoreThrottled"),
        (TOO_MANY, "StoreThrottled"),
        (INTERNAL_ERROR, "StoreUnreachable"),
        (EXPIRED, "CredentialsRefused"),
        (SKEWED, "CredentialsRefused"),
    ],
    ids=lambda value: value.code if isinstance(value, Answer) else value,
)
def test_error_answers(
    shelf: Shelf,
    link: Proxy,
    s3_store: S3Store,
    storm: bool,
    account: Callable[..., None],
    answer: Answer,
    code: str,
) -> None:
    """Errors that are the store's own pause all uploads, are told by their cause, and count against no file."""
    segments = [shelf.add(20_000 + number) for number in range(6)]
    if storm:
        shelf.add(LARGE)
    # The client library tries again by itself, once: of few answers, spread over many requests, nobody would hear.
    met = link.inject(answer, key="" if storm else segments[0].name.stem, times=12 if storm else 2)
    with uploading(job_for(shelf.spool, s3_store.bucket, link.url)) as uploader:
        shelf.wait_until_sent(uploader, 300 if storm else 60)
        uploader.wait_for("upload_resumed")
        said = uploader.said("upload_postponed")
    shelf.assert_stored_once(s3_store)
    assert met.left == 0
    assert {line["code"] for line in said} == {code}
    assert not any("stem" in line for line in said)  # the link's trouble, no file's
    assert names_in(shelf.spool.failed) == []
    account(f"{met.done} answers of {answer.status} {answer.code}", "nothing", f"{code}, charged to no file")


def test_late_answers(shelf: Shelf, link: Proxy, s3_store: S3Store, storm: bool, account: Callable[..., None]) -> None:
    """A store that takes seconds over each request is a slow store, not one that is away."""
    for number in range(6):
        shelf.add(20_000 + number)
    met = link.inject(Delay(3.0), times=12 if storm else 1)
    with uploading(job_for(shelf.spool, s3_store.bucket, link.url)) as uploader:
        shelf.wait_until_sent(uploader, 300 if storm else 60)
        assert uploader.said("upload_postponed") == []
    shelf.assert_stored_once(s3_store)
    assert met.left == 0
    assert link.count(Operation.PUT) == 6
    account(f"{met.done} answers 3 s late", "nothing", "no request made again")
