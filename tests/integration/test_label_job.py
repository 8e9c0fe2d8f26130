"""`edge-cloud label create | status | fetch`, against a service with state and a real S3 server."""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.loaders import JSONFileLoader

from cloud.labeling.template_preview import Preview, Sample, page
from tests.support.command import Run
from tests.support.ground_truth import GroundTruth, ground_truth, labelled
from tests.support.wait import until

JPEG = Path(__file__).parents[1] / "ground_truth"
OUTPUT = "datasets/{0}/labels/{0}/manifests/output/output.manifest"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    return Run(monkeypatch, capsys)


@pytest.fixture(scope="module", autouse=True)
def _models_read_once() -> Iterator[None]:
    """Each command makes clients of its own, as it does in a process of its own; here their models are read once."""
    with pytest.MonkeyPatch.context() as patch:
        read = functools.cache(functools.partial(JSONFileLoader.load_file, JSONFileLoader()))
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: read(path))
        yield


@pytest.fixture
def service(aws_environment: None, monkeypatch: pytest.MonkeyPatch, moto_endpoint: str) -> Iterator[GroundTruth]:
    """The labelling service, and S3 beside it, found as AWS's own would be."""
    with ground_truth() as (state, url):
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", url)
        yield state


@pytest.fixture
def bucket(service: GroundTruth, moto_endpoint: str) -> Any:
    """A bucket of its own whose pictures a labelling page may load."""
    made = boto3.resource("s3", endpoint_url=moto_endpoint).Bucket(f"label-{uuid.uuid4().hex[:12]}")
    made.create()
    made.Cors().put(CORSConfiguration={"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]})
    yield made
    made.meta.client.close()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return settings(tmp_path / "labelling.yaml")


def settings(path: Path, **changes: Any) -> Path:
    """A settings file with an example picture beside it."""
    (path.parent / "good.jpg").write_bytes(_jpeg())
    document = {
        "task": "bounding-box",
        "attribute": "bb",
        "categories": ["storage box"],
        "title": "Draw boxes",
        "description": "Draw boxes around storage boxes.",
        "instructions": {"short": "Draw **tight**.", "full": "Draw well.", "good": [{"picture": "good.jpg"}]},
        "workers": {"team": "arn:aws:sagemaker:us-east-1:123456789012:workteam/private-crowd/team"},
        "role": "arn:aws:iam::123456789012:role/labelling",
        **changes,
    }
    path.write_text(json.dumps(document))  # JSON is YAML
    return path


def _jpeg(width: int = 640, height: int = 480) -> bytes:
    import numpy as np
    import simplejpeg

    return bytes(simplejpeg.encode_jpeg(np.zeros((height, width, 3), np.uint8)))


def manifest(bucket: Any, lines: list[dict[str, object]], key: str = "in.manifest") -> str:
    bucket.put_object(Key=key, Body="".join(json.dumps(line) + "\n" for line in lines).encode())
    return f"s3://{bucket.name}/{key}"


def pictures(bucket: Any, count: int) -> list[dict[str, object]]:
    return [{"source-ref": f"s3://{bucket.name}/frames/f_{number:06d}.jpg"} for number in range(count)]


def keys(bucket: Any, prefix: str = "datasets/") -> list[str]:
    return sorted(each.key for each in bucket.objects.filter(Prefix=prefix))


def test_a_job_goes_from_manifest_to_labels(
    run: Run, service: GroundTruth, bucket: Any, config: Path, moto_endpoint: str, tmp_path: Path
) -> None:
    """Created with its files beside it, followed to its end, fetched, and held against what was sent."""
    where = manifest(bucket, pictures(bucket, 3))
    s3 = ("--endpoint-url", moto_endpoint)
    status, out, err = run("label", "create", "job-1", "-m", where, "-c", config, "--yes", *s3)
    assert (status, out.strip()) == (0, "arn:aws:sagemaker:us-east-1:123456789012:labeling-job/job-1")
    assert "service: 3 objects at 0.08 USD = 0.24 USD" in err
    sent = service.jobs["job-1"]
    assert sent["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"] == where
    stored = keys(bucket)
    for uri in (sent["LabelCategoryConfigS3Uri"], sent["HumanTaskConfig"]["UiConfig"]["UiTemplateS3Uri"]):
        assert uri.removeprefix(f"s3://{bucket.name}/") in stored
    template = bucket.Object(next(key for key in stored if "template" in key)).get()["Body"].read().decode()
    picture = next(key for key in stored if "good" in key)
    assert f"'s3://{bucket.name}/{picture}' | grant_read_access" in template

    status, out, _ = run("label", "status", "job-1", "--json")
    assert (status, json.loads(out)["status"]) == (0, "InProgress")
    status, out, err = run("label", "fetch", "job-1", *s3)
    assert (status, out) == (1, "")
    assert "the job (InProgress) wrote no output; wait for its end" in err

    lines = pictures(bucket, 3)
    back = [labelled(str(lines[0]["source-ref"])), lines[1], labelled(str(lines[2]["source-ref"]))]
    output = manifest(bucket, back, OUTPUT.format("job-1"))
    service.finish("job-1", output, TotalLabeled=2, HumanLabeled=2, Unlabeled=1)
    status, out, _ = run("label", "status", "job-1", "--wait")
    assert status == 0
    assert [word in out for word in ("Completed", "2 (67 %)", "0.16 USD", output)] == [True] * 4
    status, out, err = run("label", "fetch", "job-1", *s3)
    assert (status, out) == (0, "job-1.manifest: 2 labelled, 1 unlabelled\n")
    assert "output.manifest:2" in err
    assert "has no label" in err
    assert [json.loads(line) for line in (tmp_path / "job-1.manifest").read_text().splitlines()] == back
    status, out, _ = run("label", "fetch", "job-1", *s3)
    assert (status, "it was there already, the same" in out) == (0, True)
    status, out, err = run("label", "fetch", "job-1", "--strict", "--out", "strict.manifest", *s3)
    assert (status, out, (tmp_path / "strict.manifest").exists()) == (1, "", False)
    assert "output.manifest:2" in err
    (tmp_path / "job-1.manifest").write_text("mine\n")
    status, _, err = run("label", "fetch", "job-1", *s3)
    assert (status, "nothing is overwritten" in err) == (1, True)
    assert (tmp_path / "job-1.manifest").read_text() == "mine\n"
    status, out, _ = run("label", "fetch", "job-1", "--out", f"s3://{bucket.name}/labels.manifest", *s3)
    assert (status, keys(bucket, "labels")) == (0, ["labels.manifest"])


def test_a_dry_run_prints_the_request_and_touches_nothing(
    run: Run, service: GroundTruth, bucket: Any, config: Path, moto_endpoint: str
) -> None:
    """The exact request as JSON on standard output; nothing is stored, nobody is asked."""
    where = manifest(bucket, pictures(bucket, 2))
    arguments = ("label", "create", "job-1", "-m", where, "-c", config, "--endpoint-url", moto_endpoint)
    status, out, err = run(*arguments, "--dry-run")
    assert (status, service.calls, keys(bucket)) == (0, [], [])
    assert "would be stored" in err
    assert run(*arguments, "--yes")[0] == 0
    sent = service.jobs["job-1"]
    assert {name: sent[name] for name in json.loads(out)} == json.loads(out)


def test_a_local_manifest_goes_up_with_the_job(
    run: Run, service: GroundTruth, bucket: Any, config: Path, moto_endpoint: str, tmp_path: Path
) -> None:
    """A manifest on this machine is stored beside the template, under a name that changes with its bytes."""
    text = "".join(json.dumps(line) + "\n" for line in pictures(bucket, 2))
    (tmp_path / "in.manifest").write_text(text)
    arguments = ("label", "create", "j", "-m", "in.manifest", "-c", config, "--yes", "--endpoint-url", moto_endpoint)
    status, _, err = run(*arguments)
    assert (status, "bucket: is missing" in err) == (2, True)
    assert run(*arguments, "--bucket", f"s3://{bucket.name}")[0] == 0
    uri = service.jobs["j"]["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"]
    assert bucket.Object(uri.removeprefix(f"s3://{bucket.name}/")).get()["Body"].read().decode() == text


def test_nobody_is_paid_unasked(
    run: Run, service: GroundTruth, bucket: Any, config: Path, moto_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal and without --yes the estimate is shown and nothing starts; at one, a no is a no."""
    where = manifest(bucket, pictures(bucket, 2))
    arguments = ("label", "create", "job-1", "-m", where, "-c", config, "--endpoint-url", moto_endpoint)
    status, _, err = run(*arguments)
    assert (status, "estimate: 0.16 USD" in err, "give --yes" in err) == (2, True, True)
    status, _, err = run(*arguments, "--bucket", "s3://not-there-at-all")
    assert (status, "estimate" in err) == (1, False)  # nobody looks at the price of what cannot start
    for answer, calls in (("n", []), ("y", ["CreateLabelingJob"])):
        with _terminal(monkeypatch, answer):
            run(*arguments)
        assert service.calls == calls


@contextmanager
def _terminal(monkeypatch: pytest.MonkeyPatch, answer: str) -> Iterator[None]:
    """A real terminal as standard input, at which somebody types *answer*."""
    master, slave = os.openpty()
    try:
        os.write(master, f"{answer}\n".encode())
        with os.fdopen(slave) as typed, monkeypatch.context() as patched:
            patched.setattr(sys, "stdin", typed)
            yield
    finally:
        os.close(master)


def test_what_would_waste_money_is_refused(
    run: Run, service: GroundTruth, bucket: Any, tmp_path: Path, moto_endpoint: str
) -> None:
    """A key that labels would overwrite, a broken line, a bucket no page may load from, duplicates if --strict."""
    config = settings(tmp_path / "labelling.yaml")
    lines = pictures(bucket, 2)
    s3 = ("--yes", "--endpoint-url", moto_endpoint)
    cases: list[tuple[list[dict[str, object]], str, tuple[str, ...]]] = [
        ([{**lines[0], "bb": 1}], "which the job would overwrite", ()),
        ([lines[0], {"color": "red"}], "has neither 'source-ref' nor 'source'", ()),
        ([lines[0], lines[0]], "would be labelled, and paid for, twice", ("--strict",)),
        ([{"source-ref": "file:///x.jpg"}], "which Ground Truth cannot read", ()),
    ]
    for position, (content, told, options) in enumerate(cases):
        where = manifest(bucket, content, f"in{position}")
        status, out, err = run("label", "create", "job-1", "-m", where, "-c", config, *s3, *options)
        assert (status, out, told in err) == (1, "", True), err
    bucket.Cors().delete()
    where = manifest(bucket, lines)
    status, _, err = run("label", "create", "job-1", "-m", where, "-c", config, *s3)
    assert (status, "(CORS)" in err) == (2, True)
    assert (service.calls, keys(bucket)) == ([], [])


def test_job_and_data_in_two_regions_are_refused(
    run: Run, service: GroundTruth, bucket: Any, tmp_path: Path, moto_endpoint: str
) -> None:
    """A bucket of another region than the job's is named before anything is stored."""
    team = "arn:aws:sagemaker:eu-west-1:123456789012:workteam/private-crowd/team"
    config = settings(tmp_path / "labelling.yaml", region="eu-west-1", workers={"team": team})
    where = manifest(bucket, pictures(bucket, 1))
    status, _, err = run("label", "create", "j", "-m", where, "-c", config, "--yes", "--endpoint-url", moto_endpoint)
    assert (status, service.calls, keys(bucket)) == (2, [], [])
    assert "is in us-east-1, the job in eu-west-1" in err


def test_an_adjustment_follows_a_former_job(
    run: Run, service: GroundTruth, bucket: Any, tmp_path: Path, moto_endpoint: str
) -> None:
    """--from-job takes the former output and its attribute; its classes must all be there, a taken name is told."""
    s3 = ("--yes", "--endpoint-url", moto_endpoint)
    lines = pictures(bucket, 2)
    where = manifest(bucket, lines)
    first = settings(tmp_path / "first.yaml")
    assert run("label", "create", "first", "-m", where, "-c", first, *s3)[0] == 0
    second = settings(tmp_path / "second.yaml", task="adjustment", attribute="adjusted")
    status, _, err = run("label", "create", "second", "--from-job", "first", "-c", second, *s3)
    assert (status, "is InProgress; wait for its end" in err) == (2, True)
    done = [labelled(str(line["source-ref"]), label="crate") for line in lines]
    service.finish("first", manifest(bucket, done, "out.manifest"), TotalLabeled=2)
    status, _, err = run("label", "create", "second", "--from-job", "first", "-c", second, *s3)
    assert (status, "categories: lack 'crate'" in err) == (2, True)
    settings(second, task="adjustment", attribute="adjusted", categories=["crate", "bag"])
    assert run("label", "create", "second", "--from-job", "first", "-c", second, *s3)[0] == 0
    sent = service.jobs["second"]
    assert sent["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"] == f"s3://{bucket.name}/out.manifest"
    template = sent["HumanTaskConfig"]["UiConfig"]["UiTemplateS3Uri"].removeprefix(f"s3://{bucket.name}/")
    assert "task.input.manifestLine.bb.annotations" in bucket.Object(template).get()["Body"].read().decode()
    status, _, err = run("label", "create", "SECOND", "--from-job", "first", "-c", second, *s3)
    assert (status, "the name is taken; choose another" in err) == (1, True)


def test_a_closed_service_names_the_other_ways(
    run: Run, service: GroundTruth, bucket: Any, config: Path, moto_endpoint: str
) -> None:
    """Where AWS refuses, the one line says that it takes no new customers, and what to do instead."""
    where = manifest(bucket, pictures(bucket, 1))
    service.refuse = lambda _: ("AccessDeniedException", "You are not authorized")
    status, _, err = run("label", "create", "j", "-m", where, "-c", config, "--yes", "--endpoint-url", moto_endpoint)
    refusal = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (status, len(refusal)) == (1, 1)
    assert "no new Ground Truth customers since 2026-07-30" in refusal[0]
    assert "--to label-studio" in refusal[0]


def test_a_stopped_job_fails_the_command_and_still_gives_what_it_has(
    run: Run, service: GroundTruth, bucket: Any, config: Path, moto_endpoint: str
) -> None:
    """Status exits with 1 and the reason; fetch finds the partial output where the service leaves it."""
    lines = pictures(bucket, 2)
    where = manifest(bucket, lines)
    s3 = ("--endpoint-url", moto_endpoint)
    assert run("label", "create", "job-1", "-m", where, "-c", config, "--yes", *s3)[0] == 0
    manifest(bucket, [labelled(str(lines[0]["source-ref"]))], OUTPUT.format("job-1"))
    service.finish("job-1", None, "Stopped", TotalLabeled=1, Unlabeled=1)
    service.jobs["job-1"]["FailureReason"] = "stopped by hand"
    status, out, _ = run("label", "status", "job-1")
    assert (status, "stopped by hand" in out) == (1, True)
    status, out, err = run("label", "fetch", "job-1", *s3)
    assert (status, out) == (0, "job-1.manifest: 1 labelled, 1 missing\n")
    assert "did not come back" in err
    status, _, err = run("label", "status", "nobody")
    assert (status, "labelling job nobody: no such job" in err) == (1, True)


@pytest.mark.parametrize("tool", ["label-studio", "cvat"])
def test_a_task_set_goes_out_and_comes_back(run: Run, tmp_path: Path, tool: str) -> None:
    """Real boxes of the original project leave as a start for annotators, and come back as the same boxes."""
    images = tmp_path / "images"
    images.mkdir()
    lines = (JPEG / "blue-box-small.output.manifest").read_text().splitlines()
    for line in lines:
        (images / json.loads(line)["source-ref"].rpartition("/")[2]).write_bytes(_BLANK)
    sent = JPEG / "blue-box-small.output.manifest"
    config = settings(tmp_path / "l.yaml", task="adjustment", attribute="again", labels="bb", workers=None, role=None)
    arguments = ("label", "create", "j", "-m", sent, "-c", config, "--to", tool, "--images", images, "--out", "set")
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    assert f"set: {len(lines)} pictures" in out
    assert len(list((tmp_path / "set/images").iterdir())) == len(lines)
    export = _answered(tmp_path / "set", tool)
    back = ("label", "fetch", "j", "--from", tool, "--export", export, "-m", sent, "--attribute", "again")
    status, out, err = run(*back)
    assert (status, out, err) == (0, f"j.manifest: {len(lines)} labelled\n", "")
    for before, after in zip(lines, (tmp_path / "j.manifest").read_text().splitlines(), strict=True):
        old, new = json.loads(before), json.loads(after)
        assert {key: new[key] for key in old} == old
        places = [{key: value for key, value in box.items() if key != "class_id"} for box in old["bb"]["annotations"]]
        assert [{k: v for k, v in box.items() if k != "class_id"} for box in new["again"]["annotations"]] == places
        assert new["again-metadata"]["type"] == "groundtruth/object-detection"
        assert new["again-metadata"]["human-annotated"] == "yes"
    status, _, err = run(*arguments)
    assert (status, "is there already" in err) == (1, True)


def test_a_task_set_tells_which_pictures_it_lacks(run: Run, tmp_path: Path) -> None:
    """A picture that is not there is a fault, one of this machine is none; with --strict no set is made."""
    (tmp_path / "a.jpg").write_bytes(_BLANK)
    (tmp_path / "page.jpg").write_text("<html>")
    sources = ["a.jpg", "gone.jpg", "page.jpg", f"{'long' * 100}.jpg"]
    sent = tmp_path / "in.manifest"
    sent.write_text("".join(json.dumps({"source-ref": (tmp_path / each).as_uri()}) + "\n" for each in sources))
    config = settings(tmp_path / "l.yaml", workers=None, role=None)
    arguments = ("label", "create", "j", "-m", sent, "-c", config, "--images", tmp_path, "--to", "cvat", "--out", "set")
    status, _, err = run(*arguments, "--strict")
    assert (status, (tmp_path / "set").exists()) == (1, False)
    assert "error: --strict: 2 × broken picture, 1 × missing picture" in err
    status, out, err = run(*arguments)
    assert (status, "set: 1 picture; 3 left out" in out) == (0, True)
    assert [line.partition(": its picture")[0] for line in err.splitlines()] == [f"{sent}:{n}" for n in (2, 3, 4)]
    assert f"-m {sent} --attribute bb" in out


@pytest.mark.parametrize("tool", ["label-studio", "cvat"])
def test_a_task_set_of_linked_pictures_holds_the_pictures(run: Run, tmp_path: Path, tool: str) -> None:
    """Where the pictures are symbolic links, as in a store that keeps versions, the set has files of their bytes."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a.jpg").write_bytes(_BLANK)
    sent = tmp_path / "in.manifest"
    with sent.open("w") as lines:
        for name in ("a.jpg", "b.jpg"):
            (tmp_path / name).symlink_to("real/a.jpg")
            lines.write(json.dumps({"source-ref": (tmp_path / name).as_uri()}) + "\n")
    config = settings(tmp_path / "l.yaml", workers=None, role=None)
    status, out, err = run("label", "create", "j", "-m", sent, "-c", config, "--to", tool, "--out", "set")
    assert (status, "set: 2 pictures" in out, err) == (0, True, "")
    made = sorted((tmp_path / "set/images").iterdir())
    assert [(path.name, path.is_symlink(), path.read_bytes() == _BLANK) for path in made] == [
        ("a.jpg", False, True), ("b.jpg", False, True),
    ]  # fmt: skip


_BLANK = _jpeg(1920, 1080)


def _answered(directory: Path, tool: str) -> Path:
    """What the tool would export if somebody accepted every box that was suggested."""
    if tool == "cvat":
        return directory / "annotations.xml"
    tasks = json.loads((directory / "tasks.json").read_text())
    for task in tasks:
        task["annotations"] = task.pop("predictions")
    export = directory / "export.json"
    export.write_text(json.dumps(tasks))
    return export


def test_classes_of_pictures_come_back_from_label_studio(run: Run, tmp_path: Path) -> None:
    """One class each, nothing chosen, a picture nobody sent, and one nobody looked at: each is what it is."""
    images = [tmp_path / f"p{number}.jpg" for number in range(4)]
    for image in images:
        image.write_bytes(_jpeg(64, 48))
    sent = tmp_path / "in.manifest"
    sent.write_text("".join(json.dumps({"source-ref": image.as_uri()}) + "\n" for image in images))
    config = settings(tmp_path / "l.yaml", task="classification", categories=["cat", "dog"], workers=None, role=None)
    status, out, _ = run("label", "create", "j", "-m", sent, "-c", config, "--to", "label-studio", "--out", "set")
    assert (status, "set: 4 pictures" in out) == (0, True)
    tasks = json.loads((tmp_path / "set/tasks.json").read_text())
    chosen = {"type": "choices", "value": {"choices": ["dog"]}}
    tasks[0]["annotations"] = [{"result": [chosen]}]
    tasks[1]["annotations"] = [{"result": []}]
    tasks.append({"data": {"image": "/data/upload/stranger.jpg"}, "annotations": [{"result": [chosen]}]})
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    status, out, err = run("label", "fetch", "j", "--from", "label-studio", "--export", "export.json", "-m", sent)
    assert (status, out) == (0, "j.manifest: 1 labelled, 3 unlabelled\n")
    assert "stranger.jpg' is no picture of" in err
    first = json.loads((tmp_path / "j.manifest").read_text().splitlines()[0])
    assert first["labels-metadata"]["class-name"] == "dog"
    assert first["labels-metadata"]["type"] == "groundtruth/image-classification"


def test_the_preview_is_served_on_this_machine_alone(tmp_path: Path) -> None:
    """Page, style, template and pictures come from a loopback address, under a policy that runs no script."""
    from cloud.labeling.instructions import Example, Guide
    from cloud.review.web.server import Listen, serve_app

    guide = Guide("<p>short</p>", "<p>full</p>", (Example("good-1.jpg", b"picture", "image/jpeg", "so", True),))
    shown = Preview("job", "Look", guide, ["box"], Sample("s3://b/a.jpg", b"sample"), "<crowd-form>", ["1 object"])
    told, stop = list[str](), threading.Event()
    thread = threading.Thread(
        target=lambda: serve_app(page(shown), Listen(), frozenset(), tell=told.append, stop=stop), name="preview"
    )
    thread.start()
    try:
        url = until(lambda: "".join(told), "the page's address")
        assert url.startswith("http://127.0.0.1:")
        bodies = {}
        for path in ("", "preview.css", "icon.svg", "template", "sample", "example/good-1.jpg"):
            with urllib.request.urlopen(url + path, timeout=60) as answer:
                assert "default-src 'none'" in answer.headers["content-security-policy"]
                bodies[path] = answer.read()
        assert bodies["example/good-1.jpg"] == b"picture"
        assert bodies["sample"] == b"sample"
        assert bodies["template"] == b"<crowd-form>"
    finally:
        stop.set()
        thread.join(60)
