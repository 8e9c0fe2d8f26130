"""Label files of other tools, damaged anywhere: what can be used is, all else is told, never by a traceback."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.dataset.findings import Findings
from cloud.labeling.export_import import read_back, write_manifest
from cloud.labeling.formats.registry import Readable, format_of
from edge_agent.errors import EdgeCaptureError

LABEL_STUDIO = [
    {
        "id": 1,
        "data": {"image": "/data/local-files/?d=set/images/a.jpg", "source": "s3://b/a.jpg", "split": "train"},
        "annotations": [
            {
                "was_cancelled": False,
                "result": [
                    {
                        "type": "rectanglelabels",
                        "original_width": 640,
                        "original_height": 480,
                        "value": {"x": 1, "y": 1, "width": 2, "height": 3, "rotation": 0, "rectanglelabels": ["cup"]},
                        "score": 0.4,
                    },
                    {"type": "choices", "value": {"choices": ["blue"]}},
                ],
            }
        ],
    }
]
COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 10, "height": 10}],
    "categories": [{"id": 1, "name": "cup"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], "iscrowd": 0, "score": 0.3}],
}
SIDECAR = {
    "picture": "images/a.jpg",
    "attribute": "bb",
    "tag": ["color"],
    "line": {
        "source-ref": "s3://b/a.jpg",
        "color": "blue",
        "bb": {
            "annotations": [{"class_id": 0, "left": 1, "top": 1, "width": 2, "height": 2}],
            "image_size": [{"width": 10, "height": 10, "depth": 3}],
        },
        "bb-metadata": {
            "type": "groundtruth/object-detection",
            "class-map": {"0": "cup"},
            "objects": [{"confidence": 0.3}],
        },
    },
}
ODD: list[Any] = [None, 5, -1, 1.5, True, "", "x", "../../etc", "\0", "9" * 400, 10**30, [], {}, [[]], [None], {"a": 1}]


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in *document*, but that of its own."""
    if path:
        yield path
    parts = (
        document.items() if isinstance(document, dict) else enumerate(document if isinstance(document, list) else ())
    )
    for key, value in parts:
        yield from places(value, (*path, key))


@st.composite
def damaged(draw: st.DrawFn, document: Any) -> Any:
    """*document* with one value replaced or taken out."""
    made = copy.deepcopy(document)
    path = draw(st.sampled_from(list(places(made))))
    parent = made
    for key in path[:-1]:
        parent = parent[key]
    if isinstance(parent, dict) and draw(st.booleans()):
        del parent[path[-1]]
    else:
        parent[path[-1]] = copy.deepcopy(draw(st.sampled_from(ODD)))
    return made


def survives(form: Readable, file: str, document: Any, sidecar: Any = None) -> None:
    """Reading *document* back gives a manifest whose lines are JSON, or an error of ours."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        (directory / file).write_text(json.dumps(document))
        if sidecar is not None:
            (directory / "sources.jsonl").write_text(json.dumps(sidecar) + "\n")
        findings = Findings()
        try:
            outcome = write_manifest(read_back(format_of(form), directory, findings), directory / "back", findings)
        except EdgeCaptureError as error:
            assert "\n" not in str(error)
            return
        assert len([json.loads(line) for line in (directory / "back").read_text().splitlines()]) == outcome.lines


@settings(max_examples=60, deadline=None)
@given(damaged(LABEL_STUDIO))
def test_damaged_label_studio_tasks_are_told(document: Any) -> None:
    """Annotations that are no list, sizes that are none, names with a NUL: told, never a traceback."""
    survives(Readable.LABEL_STUDIO, "tasks.json", document)


@settings(max_examples=60, deadline=None)
@given(damaged(COCO))
def test_damaged_coco_files_are_told(document: Any) -> None:
    """The same of COCO, whose numbers refer to each other."""
    survives(Readable.COCO, "instances_train.json", document)


@settings(max_examples=60, deadline=None)
@given(damaged(SIDECAR))
def test_a_damaged_sidecar_is_told(row: Any) -> None:
    """What a damaged row of sources.jsonl says of a picture is used as far as it goes."""
    survives(Readable.LABEL_STUDIO, "tasks.json", LABEL_STUDIO, row)


@pytest.mark.parametrize(
    ("form", "file", "document", "sidecar"),
    [
        (Readable.LABEL_STUDIO, "tasks.json", [{**LABEL_STUDIO[0], "annotations": 5}], None),
        (Readable.COCO, "i.json", {**COCO, "images": [{**COCO["images"][0], "file_name": "a\0.jpg"}]}, None),
        (
            Readable.LABEL_STUDIO,
            "tasks.json",
            LABEL_STUDIO,
            {**SIDECAR, "line": {**SIDECAR["line"], "bb-metadata": {"class-map": {"0": {}}}}},  # type: ignore[dict-item]
        ),
    ],
    ids=["annotations", "nul", "class-map"],
)
def test_what_once_ended_in_a_traceback_is_told(form: Readable, file: str, document: Any, sidecar: Any) -> None:
    """Three files that damage found, kept."""
    survives(form, file, document, sidecar)
