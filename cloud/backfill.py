"""Videos that were there before the queue: one message for each, or a job of S3 Batch Operations for all of them."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from cloud.bell import back_off
from cloud.engine import VIDEOS, is_landed
from cloud.origin import VIDEO_SUFFIXES
from cloud.queue import MAX_BATCH, Queue
from cloud.watch import notification
from edge_agent.clock import Clock
from edge_agent.errors import ConfigInvalid, StoreThrottled
from edge_agent.store import ObjectInfo, ObjectStore

_ATTEMPTS = 8  # for messages the queue did not take: about four minutes, with the pauses between
_LAMBDA_ARN = re.compile(r"arn:(?P<partition>aws[a-z-]*):lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):function:.+")
_SCHEMA = "2.0"  # of the invocations; the function answers 1.0 too


@dataclass(frozen=True, slots=True)
class Enqueued:
    """How far it is: videos and their bytes, and the key of the last one that is surely in the queue."""

    videos: int = 0
    size: int = 0
    last: str | None = None


def videos_in(store: ObjectStore, prefix: str, start_after: str | None = None) -> Iterator[ObjectInfo]:
    """The videos under *prefix*, in key order, from the one after the key *start_after* on.

    Raises ConfigInvalid for a prefix outside of where videos land: no engine would take such a message.
    """
    if not prefix.startswith(VIDEOS):
        raise ConfigInvalid("is not where videos land", where=prefix or "/", fix=f"name {VIDEOS} or something below it")
    after = (start_after or "").encode()
    return (info for info in store.list(prefix) if is_landed(info.key) and info.key.encode() > after)


def enqueue(
    videos: Iterable[ObjectInfo], bucket: str, queue: Queue, clock: Clock, progress: Callable[[Enqueued], object]
) -> Enqueued:
    """Send the event S3 would have sent for each of *videos*, which are in key order; *progress* hears of every batch.

    What the queue does not take is sent again, with pauses; raises StoreThrottled when it goes on refusing, and what
    the queue raises. To go on later, start after the key that *progress* heard last: a few may then be sent twice.
    """
    done = Enqueued()
    source = iter(videos)
    while batch := list(islice(source, MAX_BATCH)):
        _send(queue, [json.dumps(notification(bucket, info)) for info in batch], clock)
        done = Enqueued(done.videos + len(batch), done.size + sum(info.size for info in batch), batch[-1].key)
        progress(done)
    return done


def _send(queue: Queue, bodies: Sequence[str], clock: Clock) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        refused = queue.send(bodies)
        if not refused:
            return
        bodies = [bodies[position] for position in sorted(refused)]
        if attempt < _ATTEMPTS:
            clock.wait(threading.Event(), back_off(attempt))
    raise StoreThrottled(
        f"did not take {len(bodies)} of the messages ({next(iter(refused.values()))})",
        where=queue.url,
        fix="go on later",
    )


def job_request(bucket: str, prefix: str, function: str, role: str, report: str) -> dict[str, Any]:
    """What ``s3control.create_job`` is asked: *function* once for each video under *prefix*, failures in *report*.

    *role* is the ARN of the role S3 takes for it, *report* a bucket. Raises ConfigInvalid. The names of the keys are
    those of the API, see "CreateJob" in the Amazon S3 API reference.
    """
    found = function_parts(function)
    partition = found["partition"]
    names = {"MatchAnyPrefix": [prefix], "MatchAnySuffix": sorted(VIDEO_SUFFIXES)}
    return {
        "AccountId": found["account"],
        "ConfirmationRequired": False,
        "ClientRequestToken": str(uuid.uuid4()),
        "Description": f"Extract frames of s3://{bucket}/{prefix}"[:256],
        "Priority": 10,
        "RoleArn": role,
        "Operation": {"LambdaInvoke": {"FunctionArn": function, "InvocationSchemaVersion": _SCHEMA}},
        "ManifestGenerator": {
            "S3JobManifestGenerator": {
                "SourceBucket": f"arn:{partition}:s3:::{bucket}",
                "Filter": {"KeyNameConstraint": names},
                "EnableManifestOutput": False,
            }
        },
        "Report": {
            "Bucket": f"arn:{partition}:s3:::{report}",
            "Format": "Report_CSV_20180820",
            "Enabled": True,
            "Prefix": "backfill",
            "ReportScope": "FailedTasksOnly",
        },
    }


def create_job(client: Any, request: dict[str, Any]) -> str:
    """Ask *client*, a boto3 ``s3control`` client, for the job; its id. Raises StoreError and its kin."""
    from edge_agent.store.s3_errors import translated

    with translated(f"S3 Batch Operations of account {request['AccountId']}"):
        reply = client.create_job(**request)
    return str(reply["JobId"])


def control_client(function: str) -> Any:
    """The ``s3control`` client of the region *function* is in."""
    import boto3

    return boto3.session.Session().client("s3control", region_name=function_parts(function)["region"])


def function_parts(function: str) -> dict[str, str]:
    """Partition, region and account of the function's ARN. Raises ConfigInvalid."""
    found = _LAMBDA_ARN.fullmatch(function)
    if found is None:
        raise ConfigInvalid(
            "is no ARN of a function", where=function, fix="write arn:aws:lambda:<region>:<account>:function:<name>"
        )
    return found.groupdict()
