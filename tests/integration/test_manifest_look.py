"""edge-cloud manifest validate, show and stats, as people meet them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cloud.dataset import open_dataset
from cloud.decode.jpeg import encode_jpeg
from edge_agent.store import ObjectStore
from edge_agent.store.s3 import S3Store
from tests.support.command import Run
from tests.support.manifests import GROUND_TRUTH, boxed, line, write

PICTURE = encode_jpeg(np.full((480, 640, 3), 90, np.uint8), 90)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(monkeypatch, capsys)


@pytest.fixture
def bucket(s3_store: S3Store) -> S3Store:
    """A bucket with the pictures of lines 1 to 3 and one object that is no picture."""
    for number in (1, 2, 3):
        s3_store.put(_key(number), PICTURE)
    s3_store.put(_key(4), b"<html>no such page</html>")
    s3_store.put(_key(5), b"")
    return s3_store


def _key(number: int) -> str:
    return str(line(number)["source-ref"]).partition("bucket/")[2]


def test_validate_says_what_a_job_would_cost_twice_and_what_it_would_refuse(run: Run, tmp_path: Path) -> None:
    """Findings with line and fix on standard output, counted at the end; refused is status 1, a waste is not."""
    manifest = write(tmp_path / "a.manifest", [line(1), line(1)])
    status, out, err = run("manifest", "validate", manifest)
    assert (status, err) == (0, "")
    assert f"{manifest}:2: is about the same picture as line 1" in out
    assert out.splitlines()[-1] == "2 items, 1 finding (1 × duplicate line): Ground Truth would take it"
    manifest = write(tmp_path / "b.manifest", [line(1), "{"])
    status, out, _ = run("manifest", "validate", manifest)
    assert status == 1
    assert f"{manifest}:2: is no JSON" in out
    assert out.splitlines()[-1].endswith("Ground Truth would refuse it")


def test_validate_strict_makes_anything_an_error(run: Run, tmp_path: Path) -> None:
    """A duplicated line under --strict is status 1 and one error line that counts by kind."""
    manifest = write(tmp_path / "a.manifest", [line(1), line(1)])
    status, _, err = run("manifest", "validate", manifest, "--strict")
    assert (status, err) == (1, "error: --strict: 1 × duplicate line; mend them, or leave --strict out\n")


def test_validate_tells_programs_in_json(run: Run, tmp_path: Path) -> None:
    """Items, verdict, counts by code, and the first findings with their lines."""
    status, out, _ = run("manifest", "validate", "--json", write(tmp_path / "a.manifest", [line(1), "[]"]))
    said = json.loads(out)
    assert (status, said["items"], said["refused"], said["findings"]) == (1, 1, True, {"no_object": 1})
    assert said["first"][0]["line"] == 2


@pytest.mark.parametrize("arguments", [["validate", "none.manifest"], ["show", "none.manifest"], ["stats", "s3://b"]])
def test_a_manifest_that_cannot_be_read_is_one_line(run: Run, arguments: list[str]) -> None:
    """No file, or no object in the URL: status 2 and what to do."""
    status, _, err = run("manifest", *arguments)
    assert status == 2
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1


def test_validate_asks_the_store_about_every_picture(
    run: Run, bucket: S3Store, moto_endpoint: str, tmp_path: Path
) -> None:
    """Manifest and pictures in S3: what is missing, empty, no picture or of another size is found, and absent CORS."""
    lines = [line(1), boxed(2, size=(1920, 1080)), line(4), line(5), line(6)]
    named = [
        {**each, "source-ref": bucket.uri(_key(number))} for each, number in zip(lines, (1, 2, 4, 5, 6), strict=True)
    ]
    bucket.put("manifests/a.manifest", write(tmp_path / "a.manifest", named))
    status, out, _ = run(
        "manifest",
        "validate",
        bucket.uri("manifests/a.manifest"),
        "--pictures",
        "--json",
        "--endpoint-url",
        moto_endpoint,
    )
    said = json.loads(out)
    assert status == 1
    assert [(each["code"], each["line"]) for each in said["first"]] == [
        ("wrong_size", 2), ("broken_picture", 3), ("broken_picture", 4), ("missing_picture", 5), ("no_cors", None),
    ]  # fmt: skip


def test_a_bucket_that_allows_labelling_pages_is_fine(
    run: Run, bucket: S3Store, moto_endpoint: str, tmp_path: Path
) -> None:
    """With CORS set and all pictures there, nothing is wrong."""
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}
    bucket.client.put_bucket_cors(Bucket=bucket.name, CORSConfiguration={"CORSRules": [rule]})  # type: ignore[list-item]
    manifest = write(tmp_path / "a.manifest", [{**line(n), "source-ref": bucket.uri(_key(n))} for n in (1, 2, 3)])
    status, out, err = run("manifest", "validate", manifest, "--pictures", "--strict", "--endpoint-url", moto_endpoint)
    assert (status, err) == (0, "")
    assert out == "3 items, nothing wrong: Ground Truth would take it\n"


def test_show_draws_pictures_of_the_store_and_of_a_directory(
    run: Run, bucket: S3Store, moto_endpoint: str, tmp_path: Path
) -> None:
    """Local pictures first, the rest from S3, what is nowhere as a tile and a finding; a file for each page."""
    images = tmp_path / "images"
    images.mkdir()
    (images / Path(_key(9)).name).write_bytes(PICTURE)
    numbers = (9, 1, 2, 8)
    manifest = write(tmp_path / "a.manifest", [{**line(n), "source-ref": bucket.uri(_key(n))} for n in numbers])
    arguments = ["--out", tmp_path / "new/sheets", "--images", images, "--per-page", 3, "--endpoint-url", moto_endpoint]
    status, out, err = run("manifest", "show", manifest, *arguments)
    assert status == 0
    assert out.splitlines()[-1] == "4 pictures on 2 sheets, 1 finding (1 × missing picture)"
    assert f"{manifest}:4: its picture" in err
    assert sorted(path.name for path in (tmp_path / "new/sheets").iterdir()) == ["a-0001.jpg", "a-0002.jpg"]
    status, _, err = run("manifest", "show", manifest, *arguments, "--strict")
    assert status == 1
    assert "error: --strict: 1 × missing picture" in err


def test_show_says_who_is_refused_instead_of_drawing_nothing(
    run: Run, tmp_path: Path, aws_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without credentials and without --images it ends with one line; with them, each picture is missing."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    manifest = write(tmp_path / "a.manifest", [line(1), line(2)])
    status, _, err = run("manifest", "show", manifest, "-o", tmp_path / "sheets")
    assert status == 1
    assert "credentials" in err
    status, out, _ = run("manifest", "show", manifest, "-o", tmp_path / "sheets", "--images", tmp_path)
    assert status == 0
    assert "2 findings (2 × missing picture)" in out


def test_stats_of_the_published_job(run: Run, tmp_path: Path) -> None:
    """A table for people, JSON for programs, a plot beside either."""
    manifest = GROUND_TRUTH / "yellow-box-large.output.manifest"
    status, out, err = run("manifest", "stats", manifest, "--plot", tmp_path / "plot.png")
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == "633 lines, nothing wrong"
    assert "  yellow_box_1  321   51%" in out
    assert "56 of 633 labelled pictures have no box, the fullest has 2" in out
    assert out.splitlines()[-2] == "633 of 633 lines labelled"
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    status, out, _ = run("manifest", "stats", manifest, "--json")
    said = json.loads(out)
    assert (said["lines"], said["boxes"]["storage box"]["count"], said["findings"]) == (633, 579, {})
    status, _, err = run("manifest", "stats", manifest, "--plot", tmp_path / "plot.gif")
    assert status == 2
    assert "is no .png or .svg" in err


def test_a_notebook_opens_a_whole_data_set(store: ObjectStore, moto_endpoint: str, tmp_path: Path) -> None:
    """All partitions of a store, a directory or a bucket, are one data set; its pictures are read from there."""
    for number, partition in ((1, "2026-11-22-dock7"), (2, "2026-11-22-dock7"), (3, "2026-11-23-dock7")):
        store.put(_key(number), PICTURE)
        key = f"manifests/yellow_box/{partition}.manifest"
        before = store.get(key).body if number == 2 else b""
        after = write(tmp_path / "partition", [{**line(number), "source-ref": store.uri(_key(number))}])
        store.put(key, before + after.read_bytes())
    place = f"s3://{store.name}" if isinstance(store, S3Store) else tmp_path / "store"
    frames = open_dataset(place, endpoint_url=moto_endpoint)
    found = list(frames)
    assert [frame.source for frame in found] == [store.uri(_key(number)) for number in (1, 2, 3)]
    assert found[0].tag == {"color": "yellow", "object": "box"}
    assert found[0].image.shape == (480, 640, 3)
    assert frames.stats().cameras == {"dock7/cam1": 3}
    assert frames.sheet(limit=2).jpeg
    frames.pictures.close()
