"""What the project does in the benchmark, a process each: ``python -m benchmarks.support.extract_ours WHAT …``.

Each prints one JSON object; ``cpu`` and ``wall`` are seconds used after the imports.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import sys
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from cloud.pipeline import Result
    from edge_agent.store import ObjectStore

QUALITY = 95
JUDGES = ("blank", "under_exposed", "over_exposed", "blur", "background", "duplicate", "faces")
LINES_A_VIDEO = 60  # one frame a second of a segment of a minute
LINES_A_PARTITION = 1000
STEM = "red_cup_bench-cam1-20261122T143105123Z"  # its partition is the first of :func:`fill`
Told = dict[str, Any]


def pipeline(clip: str, out: str, every: str, judges: str) -> Told:
    """The whole of a video: frames, sheet, index and manifest lines in a directory store, every judge ``judges``."""
    _warm()
    cpu, wall = time.process_time(), time.perf_counter()
    result = _process(clip, out, every, judges)
    assert result.index is not None
    return {
        "frames": len(result.index.frames),
        "mode": result.index.decode.mode,
        "kept": len(result.index.kept),
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
    }


def frames(clip: str, out: str, every: str) -> Told:
    """Sampled frames to plain files, as the pipeline makes them but with no judge, sheet, index or store."""
    _warm()
    from cloud.decode.decoder import Decoder
    from cloud.decode.encode import file_of
    from cloud.decode.sample import Sample
    from cloud.extraction import AHEAD, WORKERS
    from cloud.pipelining import pipelined
    from cloud.settings import PictureSettings, Sampling

    cpu, wall, count = time.process_time(), time.perf_counter(), 0
    rule, picture = Sampling(every=int(every)), PictureSettings()

    def write(sample: Sample) -> None:
        Path(f"{out}/{sample.index:06d}.jpg").write_bytes(file_of(sample, picture, QUALITY))

    with Decoder(Path(clip), clip) as decoder:
        with closing(pipelined(decoder.samples(rule, picture), write, workers=WORKERS, ahead=AHEAD)) as done:
            for _ in done:
                count += 1
        mode = str(decoder.report().mode)
    used = time.process_time() - cpu
    return {"frames": count, "mode": mode, "cpu": used, "wall": time.perf_counter() - wall}


def decode(clip: str, out: str, every: str) -> Told:
    """Sampled frames to BGR arrays, one after the other."""
    del out
    _warm()
    from cloud.decode.decoder import Decoder
    from cloud.settings import PictureSettings, Sampling

    cpu, wall, count = time.process_time(), time.perf_counter(), 0
    with Decoder(Path(clip), clip) as decoder:
        for sample in decoder.samples(Sampling(every=int(every)), PictureSettings()):
            count += sample.picture.ndim // 3
        mode = str(decoder.report().mode)
    used = time.process_time() - cpu
    return {"frames": count, "mode": mode, "cpu": used, "wall": time.perf_counter() - wall}


def billed(clip: str, out: str, every: str) -> Told:
    """The second video of a process, as most invocations of a warm function are; and how many objects were put."""
    _process(clip, f"{out}/first", every, "flag")
    second = Path(out, f"{Path(clip).stem}x{Path(clip).suffix}")
    shutil.copyfile(clip, second)
    cpu, wall = time.process_time(), time.perf_counter()
    result = _process(str(second), f"{out}/second", every, "flag")
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert result.index is not None
    stored = sum(path.is_file() and ".store" not in path.parts for path in Path(out, "second").rglob("*"))
    return {"cpu": cpu, "wall": wall, "frames": len(result.index.frames), "puts": stored + 1}  # and the claim


def ready(first_video: str) -> Told:
    """The function's handler imported, settings read and S3's test event answered; or what a first video needs too."""
    from cloud.handler import handler

    os.environ.update(EDGE_CLOUD_DATASET="s3://dataset", EDGE_CLOUD_RAW="s3://raw")
    context = SimpleNamespace(
        function_name="extract", memory_limit_in_mb=1769, invoked_function_arn="arn:aws:lambda:x", aws_request_id="1"
    )
    handler({"Event": "s3:TestEvent"}, cast("LambdaContext", context))
    if first_video == "yes":
        os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
        _warm()
        import boto3

        boto3.client("s3")
    return {"cpu": time.process_time()}


def append(out: str, lines: str, rounds: str) -> Told:
    """Milliseconds of each of *rounds* appends of a video to a partition of a data set that holds *lines*."""
    from cloud.dataset import manifest
    from edge_agent.clock import SystemClock

    store, key = _store(out), _key(0)
    took = []
    for number in range(int(rounds) + 2):
        rows = _lines(store, STEM, LINES_A_VIDEO, turn=number)  # other lines than before, so they must be written
        began = time.perf_counter()
        manifest.append(store, key, STEM, rows, SystemClock())
        took.append((time.perf_counter() - began) * 1000)
    return {"milliseconds": took[2:], "lines": int(lines)}  # the first two warm it up


def fill(out: str, lines: str) -> Told:
    """A data set of *lines* in partitions of a thousand, each of its own device and day."""
    store = _store(out)
    per_partition = min(LINES_A_PARTITION, int(lines))
    for number in range(int(lines) // per_partition):
        rows = [
            line
            for video in range(-(-per_partition // LINES_A_VIDEO))
            for line in _lines(store, f"red_cup_take{number}-{video:03d}", LINES_A_VIDEO)
        ]
        store.put(_key(number), "".join(f"{row}\n" for row in rows[:per_partition]).encode())
    return {}


def appenders(out: str, count: str) -> Told:
    """*count* processes append a video each to one partition at the same moment; seconds until all are in."""
    from cloud.dataset import manifest

    fork = multiprocessing.get_context("fork")
    start = fork.Barrier(int(count) + 1)
    children = [fork.Process(target=_append_one, args=(out, number, start)) for number in range(int(count))]
    for child in children:
        child.start()
    start.wait()
    began = time.perf_counter()
    for child in children:
        child.join()
    wall = time.perf_counter() - began
    store = _store(out)
    rows = manifest.parse(store.get(_key(0)).body, out)
    stems = {row.stem for row in rows}
    return {"wall": wall, "lines": len(rows), "videos": len(stems), "failed": sum(bool(c.exitcode) for c in children)}


def _append_one(out: str, number: int, start: Any) -> None:
    from cloud.dataset import manifest
    from edge_agent.clock import SystemClock

    random.seed(number)  # a fork inherits its parent's
    store, stem = _store(out), f"red_cup_take-{number:03d}"
    rows = _lines(store, stem, LINES_A_VIDEO)
    start.wait()
    manifest.append(store, _key(0), stem, rows, SystemClock())


def _key(number: int) -> str:
    return f"manifests/red_cup/2026-11-22-bench{number or ''}.manifest"


def _lines(store: ObjectStore, stem: str, count: int, turn: int = 0) -> list[str]:
    from cloud.dataset import manifest

    class_ = {"color": "red", "object": "cup"}
    uris = [store.uri(f"frames/{stem}/{stem}_{30 * number:06d}.jpg") for number in range(count)]
    return [manifest.make_line(uri, class_, {"turn": turn}) for uri in uris]


def _warm() -> None:
    """Import all that a video needs, as the loops of others have imported theirs when their clock starts."""
    from cloud.decode.libraries import load

    load()  # first: a numpy that is imported before it has threads that spin

    import awscrt.checksums
    import simplejpeg

    import cloud.local
    import cloud.pipeline
    import edge_agent.store.directory

    del awscrt, simplejpeg, cloud, edge_agent


def _store(out: str) -> ObjectStore:
    from edge_agent.store import open_store

    if "://" not in out:
        Path(out).mkdir(parents=True, exist_ok=True)
    return open_store(out)


def _process(clip: str, out: str, every: str, judges: str) -> Result:
    from cloud.events import ObjectRef
    from cloud.local import LocalVideos
    from cloud.pipeline import process
    from cloud.settings import load
    from edge_agent.clock import SystemClock

    settings = load(
        overrides={
            "dataset": out,
            "sampling": {"every": int(every)},
            "jpeg_quality": QUALITY,
            "judges": {name: {"action": judges} for name in JUDGES},
        }
    )
    return process(ObjectRef("", clip), LocalVideos(), _store(out), settings, SystemClock())


def main() -> None:
    what, *rest = sys.argv[1:]
    jobs = (pipeline, frames, decode, billed, ready, append, fill, appenders)
    print(json.dumps({job.__name__: job for job in jobs}[what](*rest)))


if __name__ == "__main__":
    main()
