"""The function's entry points: what Lambda and S3 Batch Operations are answered, logged and metered."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from cloud import handler as module
from cloud.events import ObjectRef, s3_notification
from edge_agent.clock import SystemClock
from edge_agent.errors import EventInvalid, NameInvalid
from tests.support.function import Context

CONTEXT: Any = Context()


class Function:
    """The entry points over a raw and a dataset directory, and what they wrote to standard output."""

    def __init__(self, raw: Path, dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.raw, self.dataset, self._capsys = raw, dataset, capsys

    def land(self, name: str, content: bytes) -> dict[str, Any]:
        """Put a video where videos land; the event that tells of it."""
        (self.raw / "videos" / name).write_bytes(content)
        return s3_notification(ObjectRef(self.raw.name, f"videos/{name}"), SystemClock().now())

    def written(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Log lines and metric documents since the last look; without the metric of a cold start."""
        documents = [json.loads(line) for line in self._capsys.readouterr().out.splitlines()]
        return [d for d in documents if "_aws" not in d], [d for d in documents if "_aws" in d]

    @property
    def lines(self) -> int:
        return (self.dataset / "manifests/black_cup/undated.manifest").read_bytes().count(b"\n")


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Function]:
    raw, dataset = tmp_path / "raw", tmp_path / "dataset"
    (raw / "videos").mkdir(parents=True)
    dataset.mkdir()
    monkeypatch.setenv("EDGE_CLOUD_RAW", str(raw))
    monkeypatch.setenv("EDGE_CLOUD_DATASET", str(dataset))
    monkeypatch.setenv("EDGE_CLOUD_SAMPLING__EVERY", "100")
    module._function.cache_clear()
    logging.Logger.manager.loggerDict.pop(module.SERVICE, None)  # it keeps the standard output of its first test
    yield Function(raw, dataset, capsys)
    module._function.cache_clear()
    structlog.reset_defaults()


def queued(*bodies: object) -> dict[str, Any]:
    records = [
        {"messageId": f"m{i}", "receiptHandle": "r", "eventSource": "aws:sqs", "body": json.dumps(body)}
        for i, body in enumerate(bodies)
    ]
    return {"Records": records}


def test_only_the_bad_messages_of_a_batch_come_again(function: Function, black_cup: Path) -> None:
    """A bad video and rubbish come again, the good video between them is done, however the batch is mixed."""
    batch = queued(
        function.land("black_cup_2.mp4", b"rubbish" * 99), function.land("black_cup_1.mp4", black_cup.read_bytes()), {}
    )
    assert module.handler(batch, CONTEXT) == {"batchItemFailures": [{"itemIdentifier": "m0"}, {"itemIdentifier": "m2"}]}
    assert function.lines == 3
    bad = queued(function.land("black_cup_2.mp4", b"rubbish" * 99))
    assert module.handler(bad, CONTEXT) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}


def test_log_lines_carry_the_invocation_and_metrics_count_it(function: Function, black_cup: Path) -> None:
    """One JSON line for each video, with the request's id; metrics in CloudWatch's embedded format."""
    event = function.land("black_cup_1.mp4", black_cup.read_bytes())
    module.handler(queued(event), CONTEXT)
    logged, metered = function.written()
    (line,) = logged
    assert (line["message"], line["key"], line["level"]) == ("video_processed", "videos/black_cup_1.mp4", "INFO")
    assert line["function_request_id"] == Context.aws_request_id
    counted = next(document for document in metered if "VideosProcessed" in document)
    assert counted["_aws"]["CloudWatchMetrics"][0]["Namespace"] == module.NAMESPACE
    assert (counted["VideosProcessed"], counted["FramesSampled"], counted["service"]) == ([1.0], [3.0], "edge-cloud")
    module.handler(queued(event, function.land("cup.mp4", b"")), CONTEXT)
    logged, (counted,) = function.written()
    assert [line["message"] for line in logged] == ["video_unchanged", "video_failed"]
    assert (counted["VideosUnchanged"], counted["VideosFailed"]) == ([1.0], [1.0])


def test_a_direct_event_is_answered_or_raised(function: Function, black_cup: Path) -> None:
    """Without a queue the answer tells what was done, and the first error goes to whoever can send the event again."""
    event = function.land("black_cup_1.mp4", black_cup.read_bytes())
    assert [video["outcome"] for video in module.handler(event, CONTEXT)["videos"]] == ["processed"]
    assert [video["outcome"] for video in module.handler(event, CONTEXT)["videos"]] == ["unchanged"]
    with pytest.raises(NameInvalid):
        module.handler(function.land("cup.mp4", b"x"), CONTEXT)


def test_settings_are_read_once(function: Function, monkeypatch: pytest.MonkeyPatch, black_cup: Path) -> None:
    """A process that was warmed up needs its environment no more."""
    event = function.land("black_cup_1.mp4", black_cup.read_bytes())
    module.handler({"Records": []}, CONTEXT)
    monkeypatch.delenv("EDGE_CLOUD_DATASET")
    assert module.handler(event, CONTEXT)["videos"]


def test_a_fault_of_ours_is_logged_and_its_message_comes_again(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even an error nobody thought of loses a message, or goes unseen."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("nobody thought of it")

    module.handler({"Records": []}, CONTEXT)
    monkeypatch.setattr(module._function().engine, "opener", broken)
    event = queued(function.land("black_cup_1.mp4", b"x"))
    assert module.handler(event, CONTEXT) == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    (line,) = function.written()[0]
    assert (line["message"], line["exception_name"]) == ("message_crashed", "ZeroDivisionError")


@pytest.mark.parametrize("schema", ["1.0", "2.0"])
def test_batch_operations_hears_of_each_task(function: Function, black_cup: Path, schema: str) -> None:
    """Done, passed over, for ever bad: every task has its result, and ids and schema go back as they came."""
    function.land("black_cup_1.mp4", black_cup.read_bytes())
    function.land("black_cup_2.mp4", b"rubbish" * 99)
    keys = ["videos/black_cup_1.mp4", "videos/notes.txt", "videos/black_cup_2.mp4"]
    bucket = {"s3BucketArn": "arn:aws:s3:::raw"} if schema == "1.0" else {"s3Bucket": "raw"}
    tasks = [{"taskId": f"t{i}", "s3Key": key, "s3VersionId": None, **bucket} for i, key in enumerate(keys)]
    event = {"invocationSchemaVersion": schema, "invocationId": "i", "job": {"id": "j"}, "tasks": tasks}
    reply = module.batch_operations(event, CONTEXT)
    assert (reply["invocationSchemaVersion"], reply["invocationId"]) == (schema, "i")
    assert [(result["taskId"], result["resultCode"]) for result in reply["results"]] == [
        ("t0", "Succeeded"),
        ("t1", "Succeeded"),
        ("t2", "PermanentFailure"),
    ]
    assert reply["results"][0]["resultString"] == "processed"
    assert "black_cup_2.mp4" in reply["results"][2]["resultString"]
    assert function.lines == 3


def test_a_store_that_is_away_is_a_temporary_failure(function: Function) -> None:
    """S3 Batch Operations tries a task again when waiting may help."""
    (function.raw / "videos").rmdir()
    function.raw.rmdir()
    task = {"taskId": "t", "s3Key": "videos/black_cup_1.mp4", "s3Bucket": "raw"}
    event = {"invocationSchemaVersion": "2.0", "invocationId": "i", "tasks": [task]}
    (result,) = module.batch_operations(event, CONTEXT)["results"]
    assert result["resultCode"] == "TemporaryFailure"


def test_an_unknown_invocation_is_refused(function: Function) -> None:
    """An event that is none of S3 Batch Operations has no task to answer."""
    with pytest.raises(EventInvalid, match="unknown shape"):
        module.batch_operations({"Records": []}, CONTEXT)


def test_a_cold_start_is_short_and_imports_nothing_heavy() -> None:
    """From nothing to ready in 0.6 s of CPU: codecs, arrays and the AWS client wait for the first video."""
    code = (
        "import sys, time, os; os.environ['EDGE_CLOUD_DATASET'] = 's3://d'; import cloud.handler as h; h._function();"
        "print([m for m in ('av', 'cv2', 'numpy', 'boto3', 'typer') if m in sys.modules], time.process_time())"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    heavy, seconds = zip(*(run.stdout.rsplit(maxsplit=1) for run in runs), strict=True)
    assert set(heavy) == {"[]"}
    assert min(map(float, seconds)) < 0.6
