"""What workers read, from Markdown to HTML, with pictures of what is right and what is wrong.

Raw HTML in the Markdown is shown as text, and nothing of it is taken for the template language.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from html import escape
from pathlib import Path

from cloud.labeling.job import Instructions, Picture
from edge_agent.errors import ConfigInvalid

TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png"}
MAX_PICTURE = 5_000_000  # bytes; each worker loads it with each task


@dataclass(frozen=True, slots=True)
class Example:
    """A picture of what is right, or wrong. ``name`` is unique by its content and safe in keys and URLs."""

    name: str
    body: bytes
    content_type: str
    text: str
    good: bool


@dataclass(frozen=True, slots=True)
class Guide:
    """Instructions, read: HTML of the short and the full ones, and the examples."""

    short: str
    full: str
    examples: tuple[Example, ...] = ()


def read(instructions: Instructions, beside: Path) -> Guide:
    """The instructions of a settings file in the directory *beside*. Raises ConfigInvalid."""
    examples = [
        _example(picture, beside, good=good)
        for good, pictures in ((True, instructions.good), (False, instructions.bad))
        for picture in pictures
    ]
    short, full = (to_html(_text(each, beside)) for each in (instructions.short, instructions.full))
    return Guide(short, full, tuple(examples))


def to_html(markdown: str) -> str:
    """*markdown* (CommonMark and tables) as HTML that a Liquid template passes through unchanged."""
    from markdown_it import MarkdownIt

    rendered: str = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return without_liquid(rendered)


def without_liquid(html: str) -> str:
    """*html* with braces as character references: as such the template language does not see them."""
    return html.replace("{", "&#123;").replace("}", "&#125;")


def text_html(text: str) -> str:
    """Plain *text* as HTML, safe in an attribute too, and to the template language."""
    return without_liquid(escape(text))


def _text(given: str, beside: Path) -> str:
    if "\n" in given or not given.endswith(".md"):
        return given
    path = beside / given
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid("instructions: cannot be read as UTF-8 text", where=str(path)) from error


def _example(picture: Picture, beside: Path, *, good: bool) -> Example:
    path = beside / picture.picture
    content_type = TYPES.get(path.suffix.lower())
    if content_type is None:
        raise ConfigInvalid("is no picture of a known kind", where=str(path), fix="use a .jpg or .png file")
    try:
        with path.open("rb") as file:
            body = file.read(MAX_PICTURE + 1)
    except OSError as error:
        raise ConfigInvalid(f"cannot be read: {error.strerror}", where=str(path)) from error
    if len(body) > MAX_PICTURE:
        raise ConfigInvalid(
            f"is over {MAX_PICTURE:,} bytes", where=str(path), fix="shrink it: workers load it each time"
        )
    kind = "good" if good else "bad"
    name = f"{kind}-{hashlib.sha256(body).hexdigest()[:12]}{path.suffix.lower()}"
    return Example(name, body, content_type, picture.text, good)
