"""Camera in, manifest lines out: the processes as they run in the field, on a real clip, over both stores."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_agent.segment import parse_frame
from edge_agent.store import ObjectStore
from edge_agent.store.checksum import crc64nvme
from tests.support.agent import ROOT, packets_in, process, segments_in, write_settings
from tests.support.wait import promised, until


def _second_store(store: ObjectStore, tmp_path: Path) -> str:
    """Where the dataset goes: another bucket of the same server, or another directory."""
    client = getattr(store, "client", None)
    if client is None:
        (tmp_path / "dataset").mkdir()
        return str(tmp_path / "dataset")
    client.create_bucket(Bucket=f"{store.name}-dataset")
    return f"s3://{store.name}-dataset"


def _settings_of(store: ObjectStore, moto_endpoint: str) -> Mapping[str, Any]:
    if hasattr(store, "client"):
        return {"url": f"s3://{store.name}", "endpoint_url": moto_endpoint, "region": "us-east-1"}
    return {"url": store.uri("x").removesuffix("/x")}


def _open(url: str, moto_endpoint: str) -> ObjectStore:
    from edge_agent.store import open_store

    return open_store(url, endpoint_url=moto_endpoint if url.startswith("s3:") else None, region="us-east-1")


def test_every_frame_of_the_camera_becomes_footage_and_every_sampled_one_a_manifest_line(
    store: ObjectStore, black_cup: Path, tmp_path: Path, moto_endpoint: str
) -> None:
    """What the camera sent is stored bit for bit, uploaded, and listed once, by processes that know only contracts."""
    raw, dataset_url = _settings_of(store, moto_endpoint), _second_store(store, tmp_path)
    config = write_settings(tmp_path, f"file:{black_cup}", raw)
    cloud = tmp_path / "cloud.yaml"
    target = {**raw, "url": dataset_url}
    cloud.write_text(json.dumps({"raw": raw, "dataset": target, "sampling": {"every": 10}}))
    sent = packets_in(black_cup)
    uploaded = tmp_path / "spool" / "uploaded"
    dataset = _open(dataset_url, moto_endpoint)
    with (
        process("cloud.cli", "watch", "-c", cloud) as watch,
        process("edge_agent.cli", "run", "-c", config) as agent,
    ):

        def done() -> bool:
            assert agent.poll() is None, agent.communicate()[0]
            assert watch.poll() is None, watch.communicate()[0]
            if sum(segment.frames for _, segment in segments_in(uploaded)) < len(sent):
                return False
            return len(list(dataset.list("index/"))) == len(list(uploaded.glob("*.mp4")))

        until(done, "all segments uploaded and indexed")
        until(lambda: _lines(dataset) and len(_lines(dataset)) >= len(list(dataset.list("frames/"))), "all lines")
    segments = segments_in(uploaded)
    assert [packet for video, _ in segments for packet in packets_in(video)] == sent
    assert len(segments) == 4
    for video, segment in segments:
        info = store.head(f"videos/dock7/{segment.start:%Y/%m/%d}/{video.name}")
        assert (info.size, info.checksum) == (video.stat().st_size, crc64nvme(video))
    lines = _lines(dataset)
    frames = {dataset.uri(info.key) for info in dataset.list("frames/")}
    assert sorted(line["source-ref"] for line in lines) == sorted(frames)
    assert all((line["color"], line["object"]) == ("black", "cup") for line in lines)
    expected = [(s.name.stem, index) for _, s in segments for index in range(0, s.frames, 10)]
    names = [parse_frame(line["source-ref"].rpartition("/")[2].removesuffix(".jpg")) for line in lines]
    assert [(name.stem, index) for name, index in names] == expected
    for opened in (store, dataset):
        if hasattr(opened, "close"):
            opened.close()


def _lines(dataset: ObjectStore) -> list[dict[str, str]]:
    found = []
    for info in dataset.list("manifests/"):
        found += [json.loads(line) for line in dataset.get(info.key).body.splitlines()]
    return found


def test_the_demo_ends_by_itself_and_says_what_came_out(tmp_path: Path) -> None:
    """One command on one machine: within a minute it ends with a summary whose paths exist."""
    out = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent.cli", "demo", "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=promised(60),
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "What came out" in done.stdout
    paths = [word for line in done.stdout.splitlines() for word in line.split() if word.startswith(str(out))]
    assert len(paths) >= 5
    assert all(Path(path).exists() for path in paths)
    manifest = next(path for path in paths if path.endswith(".manifest"))
    lines = [json.loads(line) for line in Path(manifest).read_text().splitlines()]
    assert len(lines) == 22
    assert all(Path(line["source-ref"].removeprefix("file://")).is_file() for line in lines)


def test_the_demo_never_empties_a_directory_of_other_things(tmp_path: Path) -> None:
    """A directory with something else in it is refused, with one line, and left as it is."""
    (tmp_path / "thesis.txt").write_text("do not delete")
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent.cli", "demo", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=promised(60),
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
