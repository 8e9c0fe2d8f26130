"""Archives: a message for each video that was there before the queue, or one job of S3 Batch Operations."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from cloud import cli_queue
from cloud.backfill import Enqueued, create_job, enqueue, job_request, videos_in
from cloud.events import parse
from cloud.queue import Queue
from edge_agent.errors import ConfigInvalid, CredentialsRefused, StoreThrottled
from edge_agent.store.s3 import S3Store
from tests.support.clock import FakeClock
from tests.support.command import Run
from tests.support.queueing import Queued, make_queue

FUNCTION = "arn:aws:lambda:eu-central-1:111122223333:function:extract"
ROLE = "arn:aws:iam::111122223333:role/backfill"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(monkeypatch, capsys)


@pytest.fixture
def archive(s3_store: S3Store, moto_endpoint: str) -> Iterator[Queued]:
    """Twenty-three videos, and beside them what is none; announced to nobody."""
    for number in range(23):
        s3_store.put(f"videos/dock7/black_cup_{number:02d}.mp4", b"x" * number)
    for key in ("videos/dock7/notes.txt", "frames/black_cup_1.mp4"):
        s3_store.put(key, b"x")
    made = make_queue(s3_store, moto_endpoint)
    yield made
    made.sqs.close()


def received(archive: Queued) -> list[str]:
    """The keys that wait in the queue; they are taken out."""
    keys: list[str] = []
    while messages := archive.sqs.receive_message(QueueUrl=archive.url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            keys += [ref.key for ref in parse(message["Body"])]
            archive.sqs.delete_message(QueueUrl=archive.url, ReceiptHandle=message["ReceiptHandle"])
    return sorted(keys)


def test_every_video_is_one_message_and_it_goes_on_where_it_was(run: Run, archive: Queued) -> None:
    """The command enqueues what S3 would have announced, says where it got to, and goes on behind any key."""
    prefix = f"s3://{archive.store.name}/videos/"
    where = ("--endpoint-url", archive.endpoint)
    assert run("backfill", prefix, "--dry-run", *where)[1] == "23 videos, 0.000 GB would be enqueued\n"
    assert archive.empty
    status, out, _ = run("backfill", prefix, "--queue", archive.url, *where)
    assert (status, out) == (0, "23 videos, 0.000 GB enqueued\n")
    assert received(archive) == [f"videos/dock7/black_cup_{number:02d}.mp4" for number in range(23)]
    after = ("--start-after", "videos/dock7/black_cup_20.mp4")
    assert run("backfill", prefix, "--queue", archive.url, *where, *after)[1].startswith("2 videos")
    assert len(received(archive)) == 2


def test_an_interrupted_backfill_says_how_to_go_on(run: Run, archive: Queued, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the queue goes away in the middle, the last line names the key to start after."""
    sent: list[int] = []
    real = Queue.send

    def send(queue: Queue, bodies: Sequence[str]) -> dict[int, str]:
        sent.append(len(bodies))
        if len(sent) > 1:
            raise CredentialsRefused("expired", where=queue.url)
        return real(queue, bodies)

    monkeypatch.setattr(Queue, "send", send)
    command = ("backfill", f"s3://{archive.store.name}/videos/", "--queue", archive.url)
    status, out, err = run(*command, "--endpoint-url", archive.endpoint)
    assert status == 1
    assert out.splitlines() == [
        "10 videos, 0.000 GB enqueued",
        "go on with --start-after videos/dock7/black_cup_09.mp4",
    ]
    assert err.startswith("error: ")


class Reluctant(Queue):
    """A queue that takes only the first of what it is sent, for as long as told."""

    refusals = 3
    taken: list[str]

    def send(self, bodies: Sequence[str]) -> dict[int, str]:
        if self.refusals == 0:
            self.taken += bodies
            return {}
        self.refusals -= 1
        self.taken.append(bodies[0])
        return dict.fromkeys(range(1, len(bodies)), "InternalError")


def test_what_the_queue_did_not_take_is_sent_again(archive: Queued) -> None:
    """Partial failures of a batch are repeated with pauses, and only they; nothing is sent twice or left out."""
    queue, clock, heard = Reluctant(archive.url), FakeClock(), list[Enqueued]()
    queue.taken = []
    done = enqueue(videos_in(archive.store, "videos/"), archive.store.name, queue, clock, heard.append)
    keys = [ref.key for body in queue.taken for ref in parse(body)]
    assert sorted(keys) == [f"videos/dock7/black_cup_{number:02d}.mp4" for number in range(23)]
    assert clock.monotonic() >= 1 + 2 + 4
    assert [(one.videos, one.last) for one in heard][-1] == (23, "videos/dock7/black_cup_22.mp4")
    assert done == heard[-1]
    queue.refusals = 10_000
    with pytest.raises(StoreThrottled, match="did not take"):
        enqueue(videos_in(archive.store, "videos/"), archive.store.name, queue, clock, heard.append)


def test_only_where_videos_land_can_be_backfilled(archive: Queued) -> None:
    """A prefix whose messages no engine would take is refused, not enqueued in vain."""
    with pytest.raises(ConfigInvalid, match="is not where videos land"):
        videos_in(archive.store, "frames/")


@pytest.fixture
def control(aws_environment: None) -> Iterator[Any]:
    client = boto3.client("s3control", region_name="eu-central-1")
    yield client
    client.close()


def test_a_job_of_batch_operations_is_created(
    run: Run, control: Any, monkeypatch: pytest.MonkeyPatch, aws_environment: None
) -> None:
    """S3 is asked to list the videos itself and to call the function for each; the job's id is printed."""
    monkeypatch.setattr("cloud.backfill.control_client", lambda _: control)
    expected = {**job_request("raw", "videos/", FUNCTION, ROLE, "reports"), "ClientRequestToken": ANY}
    assert expected["AccountId"] == "111122223333"
    assert expected["Operation"]["LambdaInvoke"]["FunctionArn"] == FUNCTION
    command = ("backfill", "s3://raw/videos/", "--batch-operations", FUNCTION, "--role", ROLE, "--report", "reports")
    with Stubber(control) as stub:
        stub.add_response("create_job", {"JobId": "5f4e-job"}, expected)
        assert run(*command) == (0, "job 5f4e-job\n", "")
        stub.assert_no_pending_responses()
    printed = json.loads(run(*command, "--dry-run")[1])
    assert printed["ManifestGenerator"] == expected["ManifestGenerator"]


def test_a_refused_job_is_an_error_of_ours(control: Any) -> None:
    """A role that may not create jobs is one line."""
    with Stubber(control) as stub:
        stub.add_client_error("create_job", "AccessDenied", "not allowed", 403)
        with pytest.raises(CredentialsRefused, match="S3 Batch Operations of account 111122223333: not allowed"):
            create_job(control, job_request("raw", "videos/", FUNCTION, ROLE, "reports"))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["s3://raw/videos/"], "--queue or --batch-operations is missing"),
        (["videos/", "--dry-run"], "videos/: names no bucket"),
        (["s3://raw/videos/", "--batch-operations", FUNCTION], "--batch-operations needs --role and --report"),
        (["s3://raw/v/", "--batch-operations", FUNCTION, "--queue", "q"], "--batch-operations goes with neither"),
        (["s3://raw/v/", "--batch-operations", "extract", "--role", ROLE, "--report", "r"], "extract: is no ARN"),
        (["s3://raw/videos/", "--queue", "videos"], "videos: is no queue URL"),
    ],
)
def test_what_a_person_must_change_is_one_line(run: Run, arguments: list[str], line: str) -> None:
    """Wrong arguments end at once with status 2, before anything was contacted."""
    status, out, err = run("backfill", *arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {line}")
    assert len(err.splitlines()) == 1


def test_both_commands_explain_themselves(run: Run) -> None:
    """``worker`` and ``backfill`` say what they do and what they need."""
    assert cli_queue.worker.__doc__
    assert "--drain" in run("worker", "--help")[1]
    assert "--start-after" in run("backfill", "--help")[1]
