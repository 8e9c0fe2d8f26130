"""What workers read and see: Markdown and pictures in a template that the service's own language can render."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from liquid import Environment

from cloud.labeling import instructions
from cloud.labeling.instructions import Guide, to_html
from cloud.labeling.job import Instructions
from cloud.labeling.tasks import FACTS, Task
from cloud.labeling.template import SCRIPT, Page, build, categories_file
from cloud.labeling.template_preview import Preview, Sample, html
from edge_agent.errors import ConfigInvalid

LINE = {
    "source-ref": "s3://data/a.jpg",
    "bb": {
        "annotations": [
            {"class_id": 0, "left": 1, "top": 2, "width": 3, "height": 4},
            {"class_id": 1, "left": 5, "top": 6, "width": 7, "height": 8},
        ]
    },
    "bb-metadata": {"class-map": {"0": "box", "1": 'a "bag" & <more>'}},
}
BOXES = [
    {"label": "box", "left": 1, "top": 2, "width": 3, "height": 4},
    {"label": 'a "bag" & <more>', "left": 5, "top": 6, "width": 7, "height": 8},
]
HOSTILE = '<script>alert(1)</script> {{ task.input }} {% raw %} "quoted"'


class Elements(HTMLParser):
    """Every element with its attributes, and the text in between."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def attributes(self, tag: str) -> dict[str, str | None]:
        return next(attributes for name, attributes in self.elements if name == tag)


def render(template: str, categories: list[str]) -> Elements:
    """The template as the service renders it, for one line of a manifest."""
    environment = Environment()
    environment.filters["grant_read_access"] = lambda uri: f"https://granted/{uri}"
    environment.filters["to_json"] = json.dumps
    task = {"input": {"taskObject": LINE["source-ref"], "labels": categories, "manifestLine": LINE}}
    return Elements(environment.from_string(template).render(task=task))


def page(task: Task, guide: Guide | None = None, header: str = "Look") -> Page:
    labels = "bb" if FACTS[task].chained else None
    return Page(task, header, guide or Guide("<p>s</p>", "<p>f</p>"), labels, ("box", "bag"))


@pytest.mark.parametrize("task", list(Task))
def test_each_task_renders_its_own_element(task: Task) -> None:
    """The element of the task has the picture's granted address and the categories, quotes and all."""
    categories = ["box", 'it\'s "<b>" & more']
    rendered = render(build(page(task), lambda name: name), categories)
    shown = rendered.attributes(FACTS[task].element)
    assert shown["src"] == "https://granted/s3://data/a.jpg"
    assert json.loads(shown.get("labels") or shown["categories"] or "") == categories
    names = [name for name, _ in rendered.elements]
    assert {"crowd-form", "full-instructions", "short-instructions"} <= set(names)
    assert [each["src"] for name, each in rendered.elements if name == "script"] == [SCRIPT]
    assert ("worker-comment" in names) is (task is Task.VERIFICATION)


def test_a_former_jobs_boxes_are_drawn_on_the_picture() -> None:
    """Adjustment starts from the boxes of the line, verification lays them over it, with whatever is in their names."""
    adjusted = render(build(page(Task.ADJUSTMENT), str), ["box"]).attributes("crowd-bounding-box")
    assert json.loads(adjusted["initial-value"] or "") == BOXES
    verified = render(build(page(Task.VERIFICATION), str), ["good"]).attributes("crowd-image-classifier")
    assert json.loads(verified["overlay"] or "") == {"boundingBox": {"labels": ["box", "bag"], "value": BOXES}}


def test_examples_are_pictures_the_service_grants_access_to(tmp_path: Path) -> None:
    """Good and bad pictures stand in the short instructions, each with its words, at the address where it is stored."""
    (tmp_path / "good.jpg").write_bytes(b"good")
    (tmp_path / "bad.png").write_bytes(b"bad")
    (tmp_path / "full.md").write_text("# All\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    given_ = {
        "short": "Draw **tight**.",
        "full": "full.md",
        "good": [{"picture": "good.jpg", "text": "So."}],
        "bad": [{"picture": "bad.png", "text": HOSTILE}],
    }
    guide = instructions.read(Instructions.model_validate(given_), tmp_path)
    rendered = render(build(page(Task.BOUNDING_BOX, guide), lambda name: f"s3://data/{name}"), ["box"])
    sources = [each["src"] for name, each in rendered.elements if name == "img"]
    assert sources == [f"https://granted/s3://data/{example.name}" for example in guide.examples]
    assert HOSTILE in rendered.words
    assert {"strong", "table", "h1"} <= {name for name, _ in rendered.elements}


@pytest.mark.parametrize(
    ("name", "told"), [("none.jpg", "No such file"), ("x.gif", "no picture of a known kind"), ("big.jpg", "over")]
)
def test_an_example_that_cannot_be_used_is_named(tmp_path: Path, name: str, told: str) -> None:
    """A picture that is not there, of another kind or too large is one line."""
    (tmp_path / "big.jpg").write_bytes(bytes(instructions.MAX_PICTURE + 1))
    wanted = Instructions.model_validate({"short": "s", "full": "f", "good": [{"picture": name}]})
    with pytest.raises(ConfigInvalid, match=told):
        instructions.read(wanted, tmp_path)


@given(st.text(max_size=60))
def test_no_words_reach_the_template_language_or_become_elements(text: str) -> None:
    """Whatever stands in Markdown, header or example leaves no Liquid and no script behind."""
    made = to_html(f"{text} {HOSTILE}")
    assert "{" not in made
    assert "script" not in {name for name, _ in Elements(made).elements}
    header = render(build(page(Task.CLASSIFICATION, header=f"x{text}{HOSTILE}"), str), ["a"])
    shown = header.attributes("crowd-image-classifier")["header"] or ""
    assert HOSTILE in shown


def test_the_category_file_is_the_services() -> None:
    """Its version, and each category in the order of the settings."""
    assert json.loads(categories_file(["b", "ä"])) == {
        "document-version": "2018-11-28",
        "labels": [{"label": "b"}, {"label": "ä"}],
    }


def test_the_preview_shows_hostile_words_as_words() -> None:
    """Title, header, categories, facts and the picture's name are escaped, boxes become shapes."""
    from cloud.labeling.labels import Box

    sample: Any = Sample(HOSTILE, b"x", "image/jpeg", 10, 10, (Box(HOSTILE, 1, 2, 3, 4),))
    shown = Elements(html(Preview(HOSTILE, HOSTILE, Guide("<p>s</p>", "<p>f</p>"), [HOSTILE], sample, "", [HOSTILE])))
    assert "script" not in {name for name, _ in shown.elements}
    assert shown.words.count(HOSTILE) == 6
    assert shown.attributes("rect") == {"x": "1", "y": "2", "width": "3", "height": "4"}
