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
    ("answer", "tries", "code"),  # how often the client library asks by itself before it tells
    [
        (SLOW_DOWN, 3, "StoreThrottled"),
        (TOO_MANY, 3, "StoreThrottled"),
        (INTERNAL_ERROR, 3, "StoreUnreachable"),
        (EXPIRED, 1, "CredentialsRefused"),
        (SKEWED, 1, "CredentialsRefused"),
    ],
    ids=["503", "429", "500", "400", "403"],
)
def test_error_answers(
    shelf: Shelf,
    link: Proxy,
    s3_store: S3Store,
    storm: bool,
    account: Callable[..., None],
    answer: Answer,
    tries: int,
    code: str,
) -> None:
    """Errors that are the store's own pause all uploads, are told by their cause, and count against no file."""
    first = shelf.add(LARGE if storm else 20_000)
    for number in range(6):
        shelf.add(20_001 + number)
    # In the storm it meets parts of an upload that is begun.
    met = link.inject(answer, key=first.name.stem, after=int(storm), times=tries * (4 if storm else 1))
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
    met = link.inject(Delay(3.0), Operation.PUT, times=6 if storm else 1)
    with uploading(job_for(shelf.spool, s3_store.bucket, link.url)) as uploader:
        shelf.wait_until_sent(uploader, 300 if storm else 60)
        assert uploader.said("upload_postponed") == []
    shelf.assert_stored_once(s3_store)
    assert met.left == 0
    assert link.count(Operation.PUT) == 6
    account(f"{met.done} answers 3 s late", "nothing", "no request made again")
