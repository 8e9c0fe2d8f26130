"""Label files of other tools, damaged anywhere: what can be used is, all else is told, never by a traceback."""

from __future__ import annotations

import copy
import json
import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.dataset.findings import Findings
from cloud.dataset.lines import Line
from cloud.labeling import tasks_import
from cloud.labeling.formats.registry import Readable
from cloud.labeling.output import Choice, Kind, parse
from edge_agent.errors import EdgeCaptureError
from tests.support.label_files import COCO, DATA_SETS, LABEL_STUDIO, lay, lines_of

WORDS = ["", "foo", "cp932", "utf-16", "nan", "1e8", "-5", "87", "9" * 400, "0" * 5000, "0x" + "F" * 5000, "x" * 300]
WORDS += [
    "\0",
    "\udcff",
    "\ufeff",
    "&x;",
    "[" * 3000,
    "2026-13-45",
    "!!bool x",
    "!!int 0",
    "*a",
    "<a>",
    "</image>",
    "../",
]
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
ORPHANED = re.compile("names no image|of which there is none")
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


@st.composite
def torn(draw: st.DrawFn, files: dict[str, str]) -> dict[str, str]:
    """*files* with one word of one of them replaced."""
    name = draw(st.sampled_from([name for name, text in files.items() if text]))
    found = draw(st.sampled_from(list(re.finditer(r"[\w.-]+", files[name]))))
    word = draw(st.sampled_from(WORDS))
    return {**files, name: files[name][: found.start()] + word + files[name][found.end() :]}


def survives(form: Readable, files: dict[str, str]) -> None:
    """Reading *files* back gives a manifest that our own reader takes as it is, or an error in one line.

    A picture of which anything was dropped is not said to be empty; COCO's annotations of no picture are of none.
    """
    with tempfile.TemporaryDirectory() as scratch:
        root = lay(Path(scratch) / "set", files)
        try:
            lines = lines_of(form, root, findings := Findings())
        except EdgeCaptureError as error:
            assert str(error).isprintable()
            return
        for number, text in enumerate(lines, start=1):
            again, fields = Findings(), json.loads(text)
            example = parse(Line(number, "back", text, fields), Choice("labels", Kind.OTHER), again).example
            if "sources.jsonl" not in files:  # that one says what a line said, whatever it was
                assert not set(again.counts) - {"negative_position"}, list(again)
                lost = [each for each in findings if each.dropped and not ORPHANED.search(each.what)]
                assert () not in (example.boxes, example.labels) or not lost, lost


@settings(max_examples=60, deadline=None)
@given(damaged(LABEL_STUDIO))
def test_damaged_label_studio_tasks_are_told(document: Any) -> None:
    """Annotations that are no list, sizes that are none, names with a NUL: told, never a traceback."""
    survives(Readable.LABEL_STUDIO, {"tasks.json": json.dumps(document)})


@settings(max_examples=60, deadline=None)
@given(damaged(COCO))
def test_damaged_coco_files_are_told(document: Any) -> None:
    """The same of COCO, whose numbers refer to each other."""
    survives(Readable.COCO, {"instances_train.json": json.dumps(document)})


@pytest.mark.parametrize("form", list(Readable))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_torn_label_files_are_told(form: Readable, data: st.DataObject) -> None:
    """Any word of any file of any format, replaced by what no reader expects: no line that ours would refuse."""
    survives(form, data.draw(torn(DATA_SETS[form])))


@pytest.mark.parametrize("tool", [Readable.CVAT, Readable.LABEL_STUDIO])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_torn_answers_of_a_label_tool_are_told(tool: Readable, data: st.DataObject) -> None:
    """The same by ``label fetch --from``: every line that was sent stands in the manifest, or there is none."""
    files = data.draw(torn(DATA_SETS[tool]))
    with tempfile.TemporaryDirectory() as scratch:
        root, sent, made = Path(scratch) / "set", Path(scratch) / "sent", Path(scratch) / "made"
        lay(root, files)
        sent.write_text('{"source-ref":"s3://b/a.jpg"}\n')
        origin = tasks_import.Origin("j", "labels", datetime(2026, 1, 1, tzinfo=UTC))
        try:
            tasks_import.read_back(tool, root, str(sent), origin, str(made), findings := Findings(), None)
        except EdgeCaptureError as error:
            assert str(error).isprintable()
        else:
            (line,) = made.read_text().splitlines()
            assert json.loads(line)["source-ref"] == "s3://b/a.jpg"
            assert '"annotations":[]' not in line or not findings.dropped


@settings(max_examples=60, deadline=None)
@given(damaged(SIDECAR))
def test_a_damaged_sidecar_is_told(row: Any) -> None:
    """What a damaged row of sources.jsonl says of a picture is used as far as it goes."""
    survives(Readable.LABEL_STUDIO, {"tasks.json": json.dumps(LABEL_STUDIO), "sources.jsonl": json.dumps(row) + "\n"})


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
    survives(form, {file: json.dumps(document), **({"sources.jsonl": json.dumps(sidecar)} if sidecar else {})})
