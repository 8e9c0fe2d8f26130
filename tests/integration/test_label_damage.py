"""Labels of which some cannot be read, or were drawn on another picture: nothing broken goes on, none is invented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree

import pytest

from cloud import cli_label
from cloud.dataset.pictures import Pictures
from cloud.labeling.job_create import Prepared
from edge_agent.errors import ObjectNotFound, StoreError, StoreThrottled, StoreUnreachable
from edge_agent.store.s3 import S3Store
from tests.support.command import Run
from tests.support.labelled import HEIGHT, WIDTH, line, manifest, picture

BROKEN = {"class_id": 0, "left": 7, "top": 5, "width": -5, "height": 4}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    return Run(monkeypatch, capsys)


def broken(name: str, *places: tuple[str, float, float, float, float]) -> dict[str, Any]:
    """A line whose last box has a negative width, beside *places*; its picture is there."""
    fields: dict[str, Any] = line(picture(Path(name)).absolute().as_uri(), [*places, ("cup", 0, 0, 1, 1)])
    fields["bb"]["annotations"][-1] = dict(BROKEN)
    return fields


def whole(name: str) -> dict[str, Any]:
    return line(picture(Path(name)).absolute().as_uri(), [("cup", 10, 20, 30, 40)])


def test_a_clean_manifest_has_no_box_that_cannot_be_read(run: Run) -> None:
    """The broken box goes, with its confidence; a picture that had no other is left out, not called empty."""
    lines = [broken("a.jpg", ("cup", 10, 20, 30, 40)), broken("b.jpg"), whole("c.jpg")]
    sent = manifest(Path("in.manifest"), lines)
    status, out, err = run("label", "review", sent, "--out", "clean")
    assert status == 0
    assert "in.manifest:1: box 2 of 'bb': width -5" in err
    assert "3 lines, 2 labelled (0 with nothing in the picture), 0 unlabelled, 0 failed, 1 unreadable" in out
    assert "left out: 1 line, labels not readable\n" in out
    assert "left out: 1 label of lines that are kept, not readable\n" in out
    first, second = (json.loads(text) for text in Path("clean").read_text().splitlines())
    del lines[0]["bb"]["annotations"][1], lines[0]["bb-metadata"]["objects"][1]
    assert (first, second) == (lines[0], lines[2])
    assert run("label", "review", "clean", "--out", "again", "--strict")[0] == 0
    assert Path("again").read_bytes() == Path("clean").read_bytes()
    status, _, err = run("label", "review", sent, "--out", "strict", "--strict")
    assert (status, "--strict: 2 × bad box" in err, Path("strict").exists()) == (1, True, False)


def test_no_export_has_a_box_that_cannot_be_read_nor_an_empty_picture_for_it(run: Run) -> None:
    """Neither the manifest of a split nor COCO: the box is left out, and a picture with no other box as a whole."""
    manifest(Path("in"), [broken("a.jpg", ("cup", 10, 20, 30, 40)), broken("b.jpg"), whole("c.jpg")])
    for name in ("augmented", "coco"):
        status, out, err = run("export", name, "in", "--pictures", "none", "--out", name)
        assert (status, "3 left out" in out) == (0, True)  # two boxes and a line
        assert "in:2: has labels, and none that can be read; look at it with edge-cloud label review" in err
    lines = [json.loads(text) for text in Path("augmented/train.manifest").read_text().splitlines()]
    assert [[box["width"] for box in fields["bb"]["annotations"]] for fields in lines] == [[30], [30]]
    assert [len(fields["bb-metadata"]["objects"]) for fields in lines] == [1, 1]
    found = json.loads(Path("coco/annotations/instances_train.json").read_text())
    assert (len(found["images"]), [each["bbox"] for each in found["annotations"]]) == (2, [[10, 20, 30, 40]] * 2)


def settings(**changes: Any) -> Path:
    """An adjustment of the boxes under ``bb``."""
    document = {
        "task": "adjustment",
        "attribute": "again",
        "labels": "bb",
        "categories": ["cup"],
        "title": "Mend boxes",
        "description": "Mend boxes.",
        "instructions": {"short": "Draw **tight**.", "full": "Draw well."},
        "workers": {"team": "arn:aws:sagemaker:us-east-1:123456789012:workteam/private-crowd/team"},
        "role": "arn:aws:iam::123456789012:role/labelling",
        **changes,
    }
    path = Path("labelling.yaml")
    path.write_text(json.dumps(document))  # JSON is YAML
    return path


@pytest.mark.parametrize("tool", ["label-studio", "cvat"])
def test_a_start_is_drawn_where_the_object_is_in_the_picture_that_is_there(run: Run, tool: str) -> None:
    """The picture is half as large as the labelled one: told, and the boxes are scaled; broken ones are told, too."""
    small = whole("small.jpg")
    picture(Path("small.jpg"), WIDTH // 2, HEIGHT // 2)
    manifest(Path("in"), [small, broken("a.jpg", ("cup", 10, 20, 30, 40))])
    arguments = ("label", "create", "j", "-m", "in", "-c", settings(), "--to", tool, "--out", "set")
    status, out, err = run(*arguments)
    assert (status, "set: 2 pictures\n" in out) == (0, True)
    assert f"in:1: its picture has 48x32 pixels, the labelled one had {WIDTH}x{HEIGHT}; the boxes are scaled" in err
    assert err.count("in:2: box 2 of 'bb': width -5") == 1
    if tool == "cvat":
        images = ElementTree.parse("set/annotations.xml").getroot().iter("image")
        boxes = {each.get("name"): each[0].attrib for each in images}
        assert [float(boxes["small.jpg"][key]) for key in ("xtl", "ytl", "xbr", "ybr")] == [5, 10, 20, 30]
        assert [float(boxes["a.jpg"][key]) for key in ("xtl", "ytl", "xbr", "ybr")] == [10, 20, 40, 60]
    else:
        tasks = json.loads(Path("set/tasks.json").read_text())
        (first,), (second,) = (task["predictions"][0]["result"] for task in tasks)
        places = [[round(each["value"][key], 3) for key in ("x", "y", "width", "height")] for each in (first, second)]
        assert places == [[10.417, 31.25, 31.25, 62.5]] * 2
        assert (first["original_width"], second["original_width"]) == (48, 96)


@pytest.mark.parametrize(("damage", "told"), [("size", "--strict: 1 × wrong size"), ("box", "--strict: 1 × bad box")])
def test_strict_makes_no_task_set_of_labels_that_do_not_fit(run: Run, damage: str, told: str) -> None:
    """A picture of another size, and a box that cannot be read: each is an error, and there is no set."""
    fields = whole("a.jpg") if damage == "size" else broken("a.jpg", ("cup", 1, 2, 3, 4))
    picture(Path("a.jpg"), *((48, 32) if damage == "size" else (WIDTH, HEIGHT)))
    manifest(Path("in"), [fields])
    arguments = ("label", "create", "j", "-m", "in", "-c", settings(), "--to", "cvat", "--out", "set", "--strict")
    status, _, err = run(*arguments)
    assert (status, told in err, Path("set").exists()) == (1, True, False)


def test_a_dry_run_tells_of_labels_that_cannot_be_read(run: Run) -> None:
    """Before workers are asked to adjust them; with --strict it is an error."""
    fields = {**broken("a.jpg", ("cup", 1, 2, 3, 4)), "source-ref": "s3://bucket/a.jpg"}
    manifest(Path("in"), [fields])
    where = ("--region", "us-east-1", "--bucket", "s3://bucket")
    arguments = ("label", "create", "j", "-m", "in", "-c", settings(), "--dry-run", *where)
    status, out, err = run(*arguments)
    assert (status, json.loads(out)["LabelingJobName"], "in:1: box 2 of 'bb': width -5" in err) == (0, "j", True)
    status, out, err = run(*arguments, "--strict")
    assert (status, out, "--strict: 1 × bad box" in err) == (1, "", True)


def test_all_that_a_job_lacks_is_told_at_once(run: Run) -> None:
    """Neither bucket nor region: one error with a line for each."""
    manifest(Path("in"), [{**whole("a.jpg"), "source-ref": "s3://bucket/a.jpg"}])
    status, _, err = run("label", "create", "j", "-m", "in", "-c", settings(), "--dry-run")
    assert (status, "bucket: is missing" in err, "region: is missing" in err) == (2, True, True)
    status, _, err = run("label", "create", "j", "-m", "in", "-c", settings(), "--dry-run", "--region", "us-east-1")
    assert (status, "bucket: is missing" in err, "region" in err) == (2, True, False)


def test_a_preview_sends_nothing_so_pictures_may_be_on_this_machine(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a job would refuse is shown all the same; the job itself still refuses it."""
    shown: list[Prepared] = []
    monkeypatch.setattr(cli_label, "_preview", lambda prepared, *_: shown.append(prepared))
    manifest(Path("in"), [whole("a.jpg")])
    assert run("label", "create", "j", "-m", "in", "-c", settings(), "--preview")[0] == 0
    assert [prepared.input.items for prepared in shown] == [1]
    status, _, err = run("label", "create", "j", "-m", "in", "-c", settings(), "--dry-run")
    assert (status, "which Ground Truth cannot read" in err) == (1, True)


def test_the_verdict_on_pictures_of_this_machine_is_true(run: Run) -> None:
    """A manifest that Ground Truth cannot read and other tools can is not said to be one that it would take."""
    manifest(Path("in"), [whole("a.jpg")])
    status, out, _ = run("manifest", "validate", "in")
    assert status == 0
    assert out.splitlines()[-1] == (
        "1 item, 1 finding (1 × local pictures): Ground Truth cannot read its pictures; other tools do not mind"
    )


def test_an_export_goes_on_without_pictures_that_nobody_can_be_asked_for(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --images the directory is what counts: without credentials, what it lacks is told by line and left out."""
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    names = ["frames/here.jpg", "frames/there.jpg", "frames/an odd name.jpg"]
    picture(Path("frames/here.jpg"))
    manifest(Path("in"), [line(f"s3://bucket/{name}", [("cup", 1, 2, 3, 4)]) for name in names])
    status, out, err = run("export", "coco", "in", "--images", "frames", "--out", "set")
    assert (status, "1 picture" in out, "2 left out" in out) == (0, True, True)
    for number in (2, 3):
        assert f"in:{number}: its picture cannot be used: s3://bucket/{names[number - 1]}: is not in frames" in err
    assert len(json.loads(Path("set/annotations/instances_train.json").read_text())["images"]) == 1
    status, _, err = run("export", "coco", "in", "--images", "frames", "--out", "other", "--strict")
    assert (status, "--strict: 2 × picture missing" in err, Path("other").exists()) == (1, True, False)
    status, _, err = run("export", "coco", "in", "--out", "third")
    assert (status, "Unable to locate credentials" in err) == (1, True)


def test_a_bucket_that_answered_before_is_away_not_empty(tmp_path: Path) -> None:
    """An outage amid an export is an error, from which the next run goes on; only a bucket never reached is passed."""
    pictures = Pictures(tmp_path)
    with pictures.asking("s3://known/a.jpg", "known"):
        pass
    with pytest.raises(StoreUnreachable), pictures.asking("s3://known/b.jpg", "known"):
        raise StoreUnreachable("no route")
    for _ in range(2):
        with pytest.raises(ObjectNotFound), pictures.asking("s3://other/b.jpg", "other"):
            raise StoreUnreachable("no route")


@pytest.mark.parametrize("error", [StoreThrottled, StoreUnreachable])
def test_an_export_ends_where_asking_again_would_help(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: type[StoreError]
) -> None:
    """A bucket that is busy or away at the very first picture makes no finished export without the rest."""

    def away(*_: object) -> NoReturn:
        raise error("come again")

    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setattr(S3Store, "checkout", away)
    monkeypatch.setattr(Pictures, "_ranged", away)
    picture(Path("frames/here.jpg"))
    names = ["there.jpg", "an odd name.jpg", "here.jpg"]
    manifest(Path("in"), [line(f"s3://bucket/frames/{name}", [("cup", 1, 2, 3, 4)]) for name in names])
    status, _, err = run("export", "coco", "in", "--images", "frames", "--out", "set")
    assert (status, "come again" in err, Path("set").exists()) == (1, True, False)
