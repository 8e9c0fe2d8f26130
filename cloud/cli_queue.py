"""The commands around a queue: ``worker`` and ``backfill``."""

from __future__ import annotations

import json
import signal
from typing import Annotated

import typer

from cloud.cli_options import ConfigFile, Endpoint, Every, Fields, Seconds, settings_of
from cloud.settings import StoreSettings
from cloud.words import counted
from edge_agent.clock import SystemClock
from edge_agent.errors import ConfigInvalid

QueueUrl = Annotated[str, typer.Option("--queue", metavar="URL", help="The SQS queue's URL.")]


def worker(
    queue: QueueUrl,
    config: ConfigFile = None,
    processes: Annotated[int, typer.Option("--processes", "-p", min=1, metavar="N", help="Videos at once.")] = 1,
    raw: Annotated[str | None, typer.Option("--raw", metavar="URL", help="Take videos of this store only.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="URL", help="Where everything goes.")] = None,
    every: Every = None,
    seconds: Seconds = None,
    fields: Fields = None,
    endpoint_url: Endpoint = None,
    visibility: Annotated[
        int,
        typer.Option(
            "--visibility", min=3, max=43200, metavar="S", help="Seconds until another gets a dead worker's video."
        ),
    ] = 60,
    drain: Annotated[
        float,
        typer.Option(
            "--drain", min=0, metavar="S", help="Seconds to finish a video in after SIGTERM; then it is given back."
        ),
    ] = 20.0,
) -> None:
    """Process the videos a queue tells of, until stopped: for videos too long for a function, or without functions.

    Takes what S3 or EventBridge puts into an SQS queue, one message at a time in each process, for as long as a video
    takes. Stop it with SIGTERM, and leave it --drain and 5 seconds more to end. A video that fails comes again; after
    as many times as the queue's redrive policy says, its message goes to the dead letters.
    """
    from cloud import logs
    from cloud.bell import Bell, terminating
    from cloud.crew import Crew, Post, work
    from cloud.queue import Queue

    settings = settings_of(config, every, seconds, fields, endpoint_url, dataset=dataset, raw=raw)
    Queue(queue).close()  # a wrong URL is told at once
    logs.to_json()
    post = Post(settings, queue, visibility, drain)
    if processes == 1:
        return work(post, signal.SIGTERM, signal.SIGINT)
    bell = Bell()
    with terminating(bell, signal.SIGTERM, signal.SIGINT):
        status = Crew(post, processes, SystemClock(), bell, logs.to_json).run()
    raise typer.Exit(status)


def backfill(
    videos: Annotated[str, typer.Argument(metavar="s3://BUCKET/videos/", help="Where the videos are.")],
    queue: Annotated[str | None, typer.Option("--queue", metavar="URL", help="The SQS queue workers read.")] = None,
    batch_operations: Annotated[
        str | None, typer.Option("--batch-operations", metavar="ARN", help="Instead: the function S3 is to call.")
    ] = None,
    role: Annotated[
        str | None, typer.Option("--role", metavar="ARN", help="The role S3 takes, with --batch-operations.")
    ] = None,
    report: Annotated[
        str | None, typer.Option("--report", metavar="BUCKET", help="Where S3 puts its report of failures.")
    ] = None,
    start_after: Annotated[
        str | None, typer.Option("--start-after", metavar="KEY", help="Go on behind this key: see the last line.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    endpoint_url: Endpoint = None,
) -> None:
    """Have an archive processed: one message for each video there is, or one job of S3 Batch Operations.

    Videos that were processed before cost next to nothing, so it may be repeated. With --queue, workers or the function
    take the messages; with --batch-operations, S3 calls cloud.handler.batch_operations once for each video.
    """
    from cloud.extract import bucket_and_key

    bucket, prefix = bucket_and_key(videos)
    if batch_operations is not None:
        if queue is not None or start_after is not None:
            raise ConfigInvalid(
                "--batch-operations goes with neither --queue nor --start-after", fix="give one of them"
            )
        if role is None or report is None:
            raise ConfigInvalid("--batch-operations needs --role and --report", fix="see docs/cloud.md")
        return _job(bucket, prefix, batch_operations, role, report, dry_run)
    if queue is None and not dry_run:
        raise ConfigInvalid("--queue or --batch-operations is missing", fix="say who is to process the videos")
    return _enqueue(StoreSettings(url=f"s3://{bucket}", endpoint_url=endpoint_url), prefix, queue, start_after, dry_run)


def _job(bucket: str, prefix: str, function: str, role: str, report: str, dry_run: bool) -> None:
    from cloud.backfill import control_client, create_job, job_request

    request = job_request(bucket, prefix, function, role, report)
    if dry_run:
        typer.echo(json.dumps(request, indent=1))
        return
    typer.echo(f"job {create_job(control_client(function), request)}")


def _enqueue(settings: StoreSettings, prefix: str, queue_url: str | None, after: str | None, dry_run: bool) -> None:
    from rich.console import Console

    from cloud.backfill import Enqueued, enqueue, videos_in
    from cloud.queue import Queue

    store = settings.open()
    found = videos_in(store, prefix, after)
    if queue_url is None or dry_run:
        sizes = [info.size for info in found]
        typer.echo(f"{counted(len(sizes), 'video')}, {sum(sizes) / 1e9:.3f} GB would be enqueued")
        return
    queue = Queue(queue_url)
    done = Enqueued()

    def progress(now: Enqueued) -> None:
        nonlocal done
        done = now
        bar.update(f"{now.videos} videos, {now.size / 1e9:.3f} GB enqueued, up to {now.last}")

    complete = False
    try:
        with Console(stderr=True).status("") as bar:  # draws on a terminal only
            enqueue(found, store.name, queue, SystemClock(), progress)
        complete = True
    finally:
        queue.close()
        typer.echo(f"{counted(done.videos, 'video')}, {done.size / 1e9:.3f} GB enqueued")
        if not complete and done.last is not None:
            typer.echo(f"go on with --start-after {done.last}")
