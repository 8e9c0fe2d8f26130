"""Source URLs: which there are, what may stand in them. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from edge_agent.errors import ConfigInvalid
from edge_agent.redact import redact

EXAMPLES = {
    "rtsp": "rtsp://user:password@host/path",
    "rtsps": "rtsps://user:password@host/path",
    "v4l2": "v4l2:///dev/video0",
    "opencv": "opencv://0",
    "file": "file:clip.mp4?loop=true",
    "synthetic": "synthetic:?size=640x480&fps=25",
}

# What each kind takes behind '?': option -> what a value must look like.
_OPTIONS: dict[str, dict[str, str]] = {
    "v4l2": {"size": "WIDTHxHEIGHT", "fps": "number", "format": "mjpeg, h264 or a raw format"},
    "opencv": {"size": "WIDTHxHEIGHT", "fps": "number"},
    "file": {"loop": "true, false or a count"},
    "synthetic": {"size": "WIDTHxHEIGHT", "fps": "number", "seconds": "number"},
}


@dataclass(frozen=True, slots=True)
class SourceUrl:
    """A checked source URL. ``target`` is what the kind opens: a path, an index, the whole RTSP URL."""

    kind: str
    target: str
    options: dict[str, str]

    def number(self, option: str, default: float) -> float:
        return float(self.options.get(option, default))

    def size(self, default: tuple[int, int]) -> tuple[int, int]:
        """Width and height in pixels."""
        if (text := self.options.get("size")) is None:
            return default
        width, _, height = text.partition("x")
        return int(width), int(height)

    def __repr__(self) -> str:
        return f"SourceUrl({redact(self.target)})"


def check_source(url: str) -> SourceUrl:
    """The parsed *url*. Raises ConfigInvalid, without ever quoting a password."""
    parts = urlsplit(url)
    kind = parts.scheme.lower()
    if kind not in EXAMPLES:
        known = ", ".join(EXAMPLES.values())
        raise ConfigInvalid(f"unknown kind of source '{kind or redact(url)}'", fix=f"use one of: {known}")
    if kind in ("rtsp", "rtsps"):
        if not parts.hostname:
            raise ConfigInvalid("RTSP source names no host", fix=f"write {EXAMPLES[kind]}")
        return SourceUrl(kind, url, {})
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name, value in options.items():
        expected = _OPTIONS[kind].get(name)
        if expected is None:
            known = ", ".join(_OPTIONS[kind])
            raise ConfigInvalid(f"source has no option '{name}'", where=redact(url), fix=f"known: {known}")
        if not _fits(name, value):
            raise ConfigInvalid(f"source option {name}={value} is not {expected}", where=redact(url))
    target = unquote(parts.netloc + parts.path)
    if not target and kind != "synthetic":
        raise ConfigInvalid("source names nothing to open", where=url, fix=f"write {EXAMPLES[kind]}")
    if kind == "opencv" and not target.strip("/").isdigit():
        raise ConfigInvalid("an OpenCV source is a camera's number", where=url, fix=f"write {EXAMPLES[kind]}")
    return SourceUrl(kind, target, options)


def _fits(name: str, value: str) -> bool:
    if name == "size":
        width, _, height = value.partition("x")
        return width.isdigit() and height.isdigit() and 0 < int(width) <= 16384 and 0 < int(height) <= 16384
    if name == "loop":
        return value in ("true", "false") or value.isdigit()
    if name in ("fps", "seconds"):
        try:
            return 0 < float(value) <= 1e6
        except ValueError:
            return False
    return bool(value) and value.replace("_", "").isalnum()
