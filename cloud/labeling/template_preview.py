"""What workers will see, on a page of this machine and without the service's script: words, categories, a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from cloud.labeling.instructions import Guide
from cloud.labeling.labels import Box

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

CSS, ICON = "/preview.css", "/icon.svg"
_ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><path fill="#ff7f0e" d="M1 1h6v6H1z"/></svg>'
_STATIC = Path(__file__).with_name("template_preview.css")
_NOTE = (
    "A preview without the labelling tool itself: workers draw with crowd-html-elements.js, which the service loads. "
    "Words, examples, categories and the sample are those of the job."
)


@dataclass(frozen=True, slots=True)
class Sample:
    """The first picture of the manifest, with the boxes of a former job; ``body`` None: it could not be read."""

    source: str
    body: bytes | None
    content_type: str = "image/jpeg"
    width: int = 0
    height: int = 0
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """All that the page shows. ``facts`` are lines about the job: what it costs, who labels."""

    title: str
    header: str
    guide: Guide
    categories: Sequence[str]
    sample: Sample
    template: str
    facts: Sequence[str] = ()


def page(preview: Preview) -> Starlette:
    """The application: the page, its style, the pictures, and the template's own text."""
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse, PlainTextResponse, Response
    from starlette.routing import Route

    pictures = {f"/example/{example.name}": (example.body, example.content_type) for example in preview.guide.examples}
    if preview.sample.body is not None:
        pictures["/sample"] = (preview.sample.body, preview.sample.content_type)

    def picture(request: Request) -> Response:
        found = pictures.get(request.url.path)
        if found is None:
            return PlainTextResponse("no such picture", 404)
        return Response(found[0], media_type=found[1])

    return Starlette(
        routes=[
            Route("/", lambda _: HTMLResponse(html(preview))),
            Route(CSS, lambda _: Response(_STATIC.read_bytes(), media_type="text/css")),
            Route(ICON, lambda _: Response(_ICON, media_type="image/svg+xml")),
            Route("/template", lambda _: PlainTextResponse(preview.template)),
            Route("/sample", picture),
            Route("/example/{name}", picture),
        ]
    )


def html(preview: Preview) -> str:
    """The page. Pure; whatever comes from settings or manifest is escaped."""
    categories = "".join(f"<li>{escape(category)}</li>" for category in preview.categories)
    facts = "".join(f"<li>{escape(fact)}</li>" for fact in preview.facts)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(preview.title)}</title><link rel="stylesheet" href="{CSS}"><link rel="icon" href="{ICON}">
</head><body>
<p class="note">{_NOTE} <a href="/template">The template itself</a></p>
<main>
<aside aria-label="Instructions"><h2>Instructions</h2>{preview.guide.short}{_examples(preview.guide)}
<details><summary>Full instructions</summary>{preview.guide.full}</details></aside>
<section><h1>{escape(preview.header)}</h1>{_sample(preview.sample)}
<p class="source">{escape(preview.sample.source)}</p></section>
<aside class="choices" aria-label="Categories"><h2>Categories</h2><ul>{categories}</ul>
<h2>The job</h2><ul class="facts">{facts}</ul></aside>
</main></body></html>
"""


def _examples(guide: Guide) -> str:
    parts = []
    for kind in ("good", "bad"):
        for example in guide.examples:
            if example.good is (kind == "good"):
                name, text = escape(example.name), escape(example.text)
                parts.append(
                    f'<figure class="{kind}"><figcaption>{kind.title()} example</figcaption>'
                    f'<p>{text}</p><img src="/example/{name}" alt="{kind.title()} example: {text}"></figure>'
                )
    return "".join(parts)


def _sample(sample: Sample) -> str:
    if sample.body is None:
        return '<p class="absent">The first picture of the manifest cannot be read from here; workers see it.</p>'
    shapes = "".join(
        f'<rect x="{box.left:g}" y="{box.top:g}" width="{box.width:g}" height="{box.height:g}">'
        f"<title>{escape(box.label)}</title></rect>"
        for box in sample.boxes
    )
    over = (
        f'<svg viewBox="0 0 {sample.width} {sample.height}" preserveAspectRatio="none" role="img">{shapes}</svg>'
        if sample.boxes
        else ""
    )
    return f'<div class="picture"><img src="/sample" alt="First picture of the manifest">{over}</div>'
