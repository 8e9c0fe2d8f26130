"""The page a worker sees, as the service wants it: Crowd HTML elements in a Liquid template.

Elements and attributes: developer guide, "Crowd HTML Elements Reference" and the page of each task type. The page of a
verification or adjustment shows the boxes a former job left in the line, under the key ``labels``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cloud.labeling.instructions import Guide, text_html
from cloud.labeling.tasks import FACTS, Task

SCRIPT = "https://assets.crowd.aws/crowd-html-elements.js"
_PICTURE = "{{ task.input.taskObject | grant_read_access }}"
_CATEGORIES = "{{ task.input.labels | to_json | escape }}"

# Names of attributes are letters, digits and hyphens (checked with the settings), so they can stand here as they are.
_FORMER_BOXES = """[
      {% for box in task.input.manifestLine.ATTRIBUTE.annotations %}
      {% capture class_id %}{{ box.class_id }}{% endcapture %}
      {% assign label = task.input.manifestLine.ATTRIBUTE-metadata.class-map[class_id] %}
      {"label": {{ label | to_json | escape }}, "left": {{ box.left }}, "top": {{ box.top }},
       "width": {{ box.width }}, "height": {{ box.height }}}{% unless forloop.last %},{% endunless %}
      {% endfor %}
    ]""".replace('"', "&quot;")  # it stands in an attribute


@dataclass(frozen=True, slots=True)
class Page:
    """What goes into the template. ``labels`` and ``classes`` are of the former job, where there is one."""

    task: Task
    header: str
    guide: Guide
    labels: str | None = None
    classes: Sequence[str] = ()


def build(page: Page, uri_of: Callable[[str], str]) -> str:
    """The template; *uri_of* says at which ``s3://`` URI the example picture of a name lies. Pure."""
    facts = FACTS[page.task]
    selection = "labels" if facts.element == "crowd-bounding-box" else "categories"
    attributes = [
        f'name="{facts.name}"',
        f'src="{_PICTURE}"',
        f'header="{text_html(page.header)}"',
        f'{selection}="{_CATEGORIES}"',
        *_former(page),
    ]
    shown = "\n    ".join(attributes)
    short = page.guide.short + examples(page.guide, _granted(uri_of))
    return (
        f'<script src="{SCRIPT}"></script>\n'
        f"<crowd-form>\n  <{facts.element}\n    {shown}\n  >\n"
        f'    <full-instructions header="{text_html(page.header)}">\n{page.guide.full}    </full-instructions>\n'
        f"    <short-instructions>\n{short}    </short-instructions>\n"
        f"{_comment(page.task)}  </{facts.element}>\n</crowd-form>\n"
    )


def examples(guide: Guide, address: Callable[[str], str]) -> str:
    """The good and the bad examples as HTML; *address* says what stands as the source of a picture. Pure."""
    parts = []
    for good, title, colour in ((True, "Good example", "#008a00"), (False, "Bad example", "#e60000")):
        shown = [example for example in guide.examples if example.good is good]
        for position, example in enumerate(shown, 1):
            number = f" {position}" if len(shown) > 1 else ""
            parts.append(
                f'<h3 style="color: {colour}">{title}{number}</h3>\n<p>{text_html(example.text)}</p>\n'
                f'<p><img src="{address(example.name)}" alt="{title}{number}" style="max-width: 100%"></p>\n'
            )
    return "".join(parts)


def categories_file(categories: Sequence[str]) -> bytes:
    """The label category file of CreateLabelingJob."""
    document = {"document-version": "2018-11-28", "labels": [{"label": category} for category in categories]}
    return (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode()


def _granted(uri_of: Callable[[str], str]) -> Callable[[str], str]:
    return lambda name: f"{{{{ '{uri_of(name)}' | grant_read_access }}}}"


def _former(page: Page) -> list[str]:
    if page.labels is None:
        return []
    boxes = _FORMER_BOXES.replace("ATTRIBUTE", page.labels)
    if page.task is Task.ADJUSTMENT:
        return [f'initial-value="{boxes}"']
    known = text_html(json.dumps(list(page.classes), ensure_ascii=False))
    return [f'overlay="{{&quot;boundingBox&quot;: {{&quot;labels&quot;: {known}, &quot;value&quot;: {boxes}}}}}"']


def _comment(task: Task) -> str:
    if task is not Task.VERIFICATION:
        return ""
    return '    <worker-comment header="What is wrong?" link-text="Add a comment"></worker-comment>\n'
