"""From the camera to a trainer's data set: every command a person types on the way, on real footage and real labels."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.agent import ROOT
from tests.support.browser import chromium
from tests.support.wait import until

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

TRUTH = ROOT / "tests/ground_truth/yellow-box-large.output.manifest"


def cloud(*arguments: object) -> str:
    """What ``edge-cloud`` with *arguments* prints; it succeeds."""
    command = [sys.executable, "-m", "cloud.cli", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def reviewing(dataset: Path) -> Iterator[str]:
    """``edge-cloud review`` of *dataset*; the page's address."""
    command = [sys.executable, "-m", "cloud.cli", "review", str(dataset), "--listen", "127.0.0.1:0", "--as", "ann"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield next(word for line in process.stdout for word in line.split() if word.startswith("http://"))
        finally:
            process.send_signal(signal.SIGINT)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def by_source(manifest: Path) -> dict[str, dict[str, Any]]:
    return {line["source-ref"]: line for line in lines_of(manifest)}


def drop_first(browser: WebDriver, address: str, dataset: Path) -> str:
    """Drop the first frame on the page by a key; its video's decisions."""
    browser.get(address)
    until(lambda: browser.execute_script("return document.querySelectorAll('.tile').length") > 0, "frames")
    browser.find_element("tag name", "body").send_keys("d")
    overrides = dataset / "overrides"
    until(lambda: overrides.is_dir() and list(overrides.glob("*.json")), "a durable decision")
    return next(overrides.glob("*.json")).read_text()


def test_from_the_camera_to_a_data_set_for_training(tmp_path: Path, black_cup: Path) -> None:
    """Recorded, extracted, one frame dropped in a browser, built, checked, asked to be labelled, and exported."""
    record = ["record", "--name", "black_cup_7", "--source", f"file:{black_cup}", "--out", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "edge_agent.cli", *record], cwd=ROOT, check=True, capture_output=True)
    dataset = tmp_path / "dataset"
    cloud("extract", tmp_path / "black_cup_7.mp4", "--out", dataset, "--every", 20)
    frames = sorted(path.name for path in (dataset / "frames/black_cup_7").iterdir())
    with reviewing(dataset) as address, chromium(tmp_path / "browser") as browser:
        decisions = json.loads(drop_first(browser, address, dataset))["decisions"]
    assert decisions["0"]["decision"] == "drop"
    assert decisions["0"]["by"] == "ann"

    cloud("manifest", "build", dataset, "--name", "first", "--rebase", "s3://my-dataset-bucket")
    manifest = dataset / "datasets/first/first.manifest"
    listed = [line["source-ref"].rpartition("/")[2] for line in lines_of(manifest)]
    assert listed == [name for name in frames if name != "black_cup_7_000000.jpg"]
    assert "Ground Truth would take it" in cloud("manifest", "validate", manifest)

    job = ["label", "create", "first", "-m", manifest, "-c", ROOT / "config/labelling.yaml", "--dry-run"]
    request = json.loads(cloud(*job, "--region", "us-east-1", "--bucket", "s3://my-dataset-bucket"))
    assert request["LabelingJobName"] == "first"

    exported = tmp_path / "folders"
    cloud("export", "coco", manifest, "--images", dataset / "frames", "--out", exported)
    assert sorted(path.name for path in (exported / "images").rglob("*.jpg")) == listed


def test_labels_that_came_back_leave_for_a_trainer_and_return(tmp_path: Path) -> None:
    """The 633 real lines: reviewed, cleaned, exported and read back, with every line accounted for."""
    clean, coco, back = tmp_path / "clean.manifest", tmp_path / "coco", tmp_path / "back.manifest"
    said = cloud("label", "review", TRUTH, "--min-confidence", 0.5, "--out", clean)
    assert "633 lines" in said
    assert clean.read_bytes() == TRUTH.read_bytes()  # one worker a picture: no label reaches 0.5, so none is dropped
    cloud("export", "coco", clean, "--pictures", "none", "--out", coco)
    cloud("import", "coco", coco, "--out", back)
    assert by_source(back) == by_source(TRUTH)
