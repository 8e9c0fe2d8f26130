"""The entry points of the Lambda function: queue messages and direct events, and tasks of S3 Batch Operations.

Heavy libraries wait for the first video; the libraries of the function itself are used nowhere else.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from cloud import logs
from cloud.engine import EventHandler
from cloud.events import BatchTask, Message, batch_invocation, is_queue_batch, sqs_message
from cloud.pipeline import Outcome, Result
from cloud.redelivery import Redelivery
from cloud.settings import load
from edge_agent.errors import EdgeCaptureError

NAMESPACE = "EdgeCapture"
SERVICE = "edge-cloud"
Work = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]

_RESULT_STRING = 1000  # characters of a task's result that go into the job's report


def handler(event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Process the videos *event* names. Settings come from the environment, once per process.

    A batch of queue messages is answered with ``batchItemFailures``, so that only those come again, each at a time of
    its own (``redelivery.py``); of any other event all videos are tried, then the first error is raised.
    """
    return _function().handle(event, context)


def batch_operations(event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Process the tasks of one invocation by S3 Batch Operations (schema 1.0 or 2.0), with a result for each."""
    return _function().batch_operations(event, context)


class Function:
    """What lives as long as the function's process: stores, and the log and metrics they all share."""

    def __init__(self, engine: EventHandler, logger: Logger, metrics: Metrics) -> None:
        self.engine, self.logger, self.metrics = engine, logger, metrics
        self.redelivery = Redelivery()
        engine.seen = self._count

    def handle(self, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
        return self._instrumented(self._answer, event, context)

    def batch_operations(self, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
        return self._instrumented(self._work_off, event, context)

    def _instrumented(self, work: Work, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
        """The answer of *work*, with the invocation's facts in each log line and its metrics written at the end."""

        def answer(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
            self.metrics.add_metric("Events", MetricUnit.Count, len(event.get("Records") or event.get("tasks") or ()))
            return work(event, context)

        measured = self.metrics.log_metrics(answer, capture_cold_start_metric=True)
        logged = self.logger.inject_lambda_context(measured, clear_state=True)
        reply: dict[str, Any] = logged(dict(event), context)
        return reply

    def _answer(self, event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        if not is_queue_batch(event):
            with self._counting_failures():
                return self.engine.handle(event)
        processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)

        def take(record: SQSRecord) -> None:
            self._take_record(record, context.get_remaining_time_in_millis() / 1000)

        reply = process_partial_response(event, take, processor, context)
        for kind, error, trace in processor.exceptions:
            if not isinstance(error, EdgeCaptureError):  # a fault of ours, not of the video: not logged by the engine
                self.logger.error("message_crashed", exc_info=(kind, error, trace))  # type: ignore[arg-type]
        return dict(reply)

    def _take_record(self, record: SQSRecord, seconds_left: float) -> None:
        with self._counting_failures(), self.redelivery.of(record.raw_event, seconds_left):
            self.engine.take(sqs_message(record.raw_event))

    def _work_off(self, event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG002
        """The answer to S3 Batch Operations; raises EventInvalid for anything that is no invocation by it."""
        invocation = batch_invocation(event)
        return {
            "invocationSchemaVersion": invocation.schema,
            "treatMissingKeysAs": "PermanentFailure",
            "invocationId": invocation.id,
            "results": [self._task(task) for task in invocation.tasks],
        }

    def _task(self, task: BatchTask) -> dict[str, str]:
        try:
            with self._counting_failures():
                results = self.engine.take(Message(task.id, (task.ref,)))
        except EdgeCaptureError as error:
            return _outcome(task, "TemporaryFailure" if error.retryable else "PermanentFailure", str(error))
        return _outcome(task, "Succeeded", str(results[0].outcome) if results else "passed over: no video")

    @contextmanager
    def _counting_failures(self) -> Iterator[None]:
        try:
            yield
        except EdgeCaptureError:
            self.metrics.add_metric("VideosFailed", MetricUnit.Count, 1)
            raise

    def _count(self, result: Result) -> None:
        """For the engine: each result as metrics, with ``VideoSeconds`` to set a bill against."""
        self.metrics.add_metric(f"Videos{str(result.outcome).title()}", MetricUnit.Count, 1)
        if result.index is None or result.outcome is not Outcome.PROCESSED:
            return
        index = result.index
        self.metrics.add_metric("FramesSampled", MetricUnit.Count, len(index.frames))
        self.metrics.add_metric("FramesLost", MetricUnit.Count, index.decode.lost)
        self.metrics.add_metric("LinesListed", MetricUnit.Count, len(index.kept))
        self.metrics.add_metric("VideoSeconds", MetricUnit.Seconds, index.probe.duration or 0.0)


def _outcome(task: BatchTask, code: str, text: str) -> dict[str, str]:
    return {"taskId": task.id, "resultCode": code, "resultString": text[:_RESULT_STRING]}


@functools.cache
def _function() -> Function:
    logger = Logger(service=SERVICE, location=None, use_rfc3339=True)
    logs.to_logger(logger)
    return Function(EventHandler(load(environ=os.environ)), logger, Metrics(namespace=NAMESPACE, service=SERVICE))
