"""Who uploads in the benchmark: the agent's upload process, and the tools people use instead, as whole processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from benchmarks.harness import wait_for
from edge_agent.durable import move_durably
from edge_agent.segment import ClassTag, Segment, SegmentName, Take
from edge_agent.spool import Spool
from edge_agent.store.checksum import crc64nvme
from edge_agent.supervisor import LEAN
from edge_agent.upload.job import UploadJob

ROOT = Path(__file__).parents[2]
BUCKET = "bench"
FIELDS = ("color", "object")
START = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)
FINISHED = ("put", "complete")

_BOTO3 = """
import pathlib, sys, boto3
directory, endpoint, prefix = sys.argv[1:4]
client = boto3.client("s3", endpoint_url=endpoint)
for path in sorted(pathlib.Path(directory).iterdir()):
    client.upload_file(str(path), "bench", prefix + "/" + path.name)
"""
_BOTO3_THREADS = """
import pathlib, sys, boto3
from concurrent.futures import ThreadPoolExecutor
directory, endpoint, prefix, how = sys.argv[1:5]
client = boto3.client("s3", endpoint_url=endpoint)
def upload(path):
    client.upload_file(str(path), "bench", prefix + "/" + path.name)
def put(path):
    with path.open("rb") as file:
        client.put_object(Bucket="bench", Key=prefix + "/" + path.name, Body=file)
with ThreadPoolExecutor(4) as pool:
    list(pool.map({"upload_file": upload, "put_object": put}[how], sorted(pathlib.Path(directory).iterdir())))
"""


def environment() -> dict[str, str]:
    """Credentials that nobody issued, and nothing of this machine's own AWS configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RCLONE_"))}
    return {
        **kept,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "RCLONE_CONFIG": os.devnull,
        "RCLONE_S3_PROVIDER": "Other",
        "RCLONE_S3_ENV_AUTH": "true",
        "RCLONE_S3_NO_CHECK_BUCKET": "true",
    }


@dataclass(frozen=True, slots=True)
class Peer:
    """A tool: its name with its version, and the command that uploads all of a directory and ends."""

    name: str
    command: Callable[[Path, str, str], list[str]]


def _boto3(script: str, *more: str) -> Callable[[Path, str, str], list[str]]:
    return lambda directory, endpoint, prefix: [sys.executable, "-c", script, str(directory), endpoint, prefix, *more]


def _aws(directory: Path, endpoint: str, prefix: str) -> list[str]:
    options = ["--recursive", "--only-show-errors", "--endpoint-url", endpoint]
    return ["aws", "s3", "cp", str(directory), f"s3://{BUCKET}/{prefix}", *options]


def _rclone(directory: Path, endpoint: str, prefix: str) -> list[str]:
    return ["rclone", "copy", "-q", "--s3-endpoint", endpoint, str(directory), f":s3:{BUCKET}/{prefix}"]


def _version(command: Sequence[str]) -> str:
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    return (told.stdout or told.stderr).split()[0 if "aws" in command[0] else 1].replace("aws-cli/", "")


def peers() -> list[Peer]:
    """boto3, and of aws-cli and rclone those that are installed; who is missing is said."""
    import boto3

    found = [Peer(f"boto3 {boto3.__version__} upload_file", _boto3(_BOTO3))]
    for name, command in (("aws", _aws), ("rclone", _rclone)):
        if shutil.which(name) is None:
            print(f"missing: {name} (apt-get install {'awscli' if name == 'aws' else name})")
        else:
            version = _version([name, "--version" if name == "aws" else "version"])
            found.append(Peer(f"{'aws-cli' if name == 'aws' else name} {version}", command))
    return found


def four_threads(how: str) -> Peer:
    """boto3 with four threads and one client; *how* is ``upload_file`` or ``put_object``."""
    return Peer(f"boto3 {how}, 4 threads", _boto3(_BOTO3_THREADS, how))


# -- the server's end ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stub:
    """A running stub: where it is, and what it was asked."""

    url: str
    pid: int
    log: Path

    def requests(self) -> list[dict[str, Any]]:
        lines = self.log.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1]]

    def stored(self) -> int:
        """How many objects were stored; a line at a time costs less than reading all of it."""
        return sum(1 for seen in self.requests() if seen["op"] in FINISHED and seen["status"] == 200)


@contextmanager
def stub(root: Path, *, before: Sequence[str] = (), port: int = 0, host: str = "127.0.0.1") -> Iterator[Stub]:
    """A stub server, as long as the block lasts; *before* is what its command is run under."""
    root.mkdir(parents=True, exist_ok=True)
    log = root / "requests.jsonl"
    log.touch()
    command = [*before, sys.executable, str(ROOT / "benchmarks" / "support" / "s3_stub.py"), str(log), str(port), host]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Stub(f"http://{host}:{int(process.stdout.readline())}", process.pid, log)
        finally:
            process.kill()


# -- our end -------------------------------------------------------------------------------------------------------


def fresh_spool(root: Path) -> Spool:
    spool = Spool(root)
    spool.prepare()
    (root / "state").mkdir()
    return spool


def segment_of(number: int, size: int, checksum: str) -> Segment:
    """The sidecar of the *number*-th segment."""
    start = START + timedelta(seconds=number)
    name = SegmentName(ClassTag(FIELDS, ("yellow", "box")), str(Take("bench", "cam1", start)))
    picture = {"duration": 1.0, "frames": 30, "codec": "h264", "width": 1920, "height": 1080}
    return Segment(name, "bench", "cam1", start, **picture, size=size, crc64nvme=checksum)  # type: ignore[arg-type]


def queue(spool: Spool, files: Sequence[Path]) -> None:
    """*files* as finished segments in ``ready/``, linked and not copied, nothing synced: the spool is new."""
    for number, path in enumerate(files):
        segment = segment_of(number, path.stat().st_size, crc64nvme(path).value)
        video = spool.ready / f"{segment.name}.mp4"
        video.with_suffix(".json").write_text(segment.to_json())
        os.link(path, video)


def publish(spool: Spool, number: int, body: bytes) -> tuple[Segment, float]:
    """A segment as capture publishes it; the monotonic time just before its name appeared in ``ready/``."""
    part = spool.recording / f"{number}.part"
    part.write_bytes(body)
    segment = segment_of(number, len(body), crc64nvme(body).value)
    video = spool.ready / f"{segment.name}.mp4"
    spool.write_sidecar(video, segment)
    at = time.monotonic()
    move_durably(part, video)
    return segment, at


@contextmanager
def agent(spool: Spool, endpoint: str, *, before: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """The agent's upload process, as the agent starts it; ended with SIGTERM when the block ends."""
    job = UploadJob(
        "bench", FIELDS, str(spool.root), str(spool.root / "state"), f"s3://{BUCKET}", endpoint, "us-east-1"
    )
    job = replace(job, log_format="json")
    command = [*before, sys.executable, "-m", "edge_agent.processes", "upload"]
    with (spool.root / "log").open("a") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True, cwd=ROOT, env=LEAN | environment()
        )
    try:
        told: IO[str] | None = process.stdin
        assert told is not None
        told.write(job.to_line())
        told.flush()
        yield process
    except TimeoutError as error:
        error.add_note(f"the agent ({process.poll()}) said: {(spool.root / 'log').read_text()[-2000:]}")
        raise
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
        assert process.stdin is not None
        process.stdin.close()


def cpu_of(process: subprocess.Popen[str]) -> float:
    """CPU seconds of a process that is about to end, its children's included; waits for it."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def peer_cpu(peer: Peer, directory: Path, endpoint: str) -> float:
    """CPU seconds of *peer* uploading *directory*, from its start to its end."""
    process = subprocess.Popen(peer.command(directory, endpoint, "peer"), env=environment(), text=True)
    used = cpu_of(process)
    assert process.returncode == 0, f"{peer.name} failed"
    return used


def our_cpu(root: Path, files: Sequence[Path], server: Stub) -> float:
    """CPU seconds of the agent uploading *files*, from its start until it was asked to end after the last."""
    spool = fresh_spool(root)
    queue(spool, files)
    with agent(spool, server.url) as process:
        wait_for(lambda: server.stored() >= len(files), f"{len(files)} objects", 120)
        wait_for(lambda: not any(spool.ready.glob("*.mp4")), "the moves to uploaded/")
        process.send_signal(signal.SIGTERM)
        return cpu_of(process)
