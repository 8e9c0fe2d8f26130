"""Source URLs: which there are, what may stand in them. Standard library only."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from edge_agent.errors import ConfigInvalid
from edge_agent.redact import redact

EXAMPLES = {
    "rtsp": "rtsp://user:password@host/path",
    "rtsps": "rtsps://user:password@host/path",
    "v4l2": "v4l2:///dev/video0",
    "opencv": "opencv://0",
    "exec": "exec:rpicam-vid -t 0 --inline -o -",
    "file": "file:clip.mp4?loop=true",
    "synthetic": "synthetic:?size=640x480&fps=25",
}

SOUNDING = frozenset({"rtsp", "rtsps", "exec"})  # what a camera's sound is recorded from
ENCODED = frozenset({"opencv", "synthetic"})  # always raw pictures

_RTSP_HINT = f"write {EXAMPLES['rtsp']}, with %40 for @, %2F for /, %20 for a blank in the password"

# What each kind takes behind '?': option -> what a value must look like.
_OPTIONS: dict[str, dict[str, str]] = {
    "v4l2": {"size": "WIDTHxHEIGHT, 16 to 16384 each", "fps": "number", "format": "mjpeg, h264 or a raw format"},
    "opencv": {"size": "WIDTHxHEIGHT, 16 to 16384 each", "fps": "number"},
    "file": {"loop": "true, false or a count from 1"},
    "synthetic": {"size": "WIDTHxHEIGHT, 16 to 16384 each", "fps": "number", "seconds": "number"},
}


@dataclass(frozen=True, slots=True)
class SourceUrl:
    """A checked source URL. ``target`` is what the kind opens: a path, an index, a command, the whole RTSP URL."""

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
        return f"SourceUrl({self.kind})"


def check_source(url: str) -> SourceUrl:
    """The parsed *url*. Raises ConfigInvalid, without ever quoting a password."""
    if url[:5].lower() == "exec:":  # a command line, whatever stands in it
        return SourceUrl("exec", _command(url[5:]), {})
    try:
        parts = urlsplit(url)
        port_fits = parts.port != 0
    except ValueError as error:  # which may quote the URL; ours does not: what is broken may not be found as a password
        raise ConfigInvalid("source is no URL, or its port is no number", fix=_RTSP_HINT) from error
    kind = parts.scheme.lower()
    if kind not in EXAMPLES:
        known = ", ".join(EXAMPLES.values())
        fault = f"unknown kind of source '{kind}'" if kind else "source names no kind"
        raise ConfigInvalid(fault, fix=f"use one of: {known}")
    if kind in ("rtsp", "rtsps"):
        if not parts.hostname or not port_fits:
            raise ConfigInvalid("RTSP source names no host", fix=f"write {EXAMPLES[kind]}")
        if not url.isprintable() or " " in url:
            raise ConfigInvalid("RTSP source holds blanks or control characters", fix=_RTSP_HINT)
        return SourceUrl(kind, url, {})
    if parts.fragment:
        raise ConfigInvalid("source holds a '#'", where=redact(url), fix="write %23 for one in a path")
    options = _options(kind, parts.query, redact(url))
    target = unquote(parts.netloc + parts.path)
    if not target and kind != "synthetic":
        raise ConfigInvalid("source names nothing to open", where=redact(url), fix=f"write {EXAMPLES[kind]}")
    if kind == "opencv" and not _is_whole(target.strip("/")):
        raise ConfigInvalid("an OpenCV source is a camera's number", where=redact(url), fix=f"write {EXAMPLES[kind]}")
    return SourceUrl(kind, target, options)


def check_settings(source: SourceUrl, *, transport: str, audio: bool, keep_every: int) -> None:
    """Raise ConfigInvalid where a camera's settings ask of *source* what its kind can never do."""
    if transport == "udp" and source.kind != "rtsp":
        raise ConfigInvalid("transport: udp is for rtsp:// sources", fix="leave transport out")
    if audio and source.kind not in SOUNDING:
        raise ConfigInvalid(f"audio: true, and {source.kind}: sources have no sound", fix="set audio: false")
    if keep_every > 1 and source.kind in ENCODED:
        raise ConfigInvalid(
            f"keep_every is for cameras that compress, {source.kind}: pictures are encoded here",
            fix="set encode.fps instead",
        )


def _options(kind: str, query: str, where: str) -> dict[str, str]:
    """What stands behind the '?', if it is what *kind* takes."""
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in options.items():
        expected = _OPTIONS[kind].get(name)
        if expected is None:
            known = ", ".join(_OPTIONS[kind])
            shown = f"option '{name}'" if name.isalnum() else "such option"
            raise ConfigInvalid(f"source has no {shown}", where=where, fix=f"known: {known}")
        if not _fits(name, value):
            raise ConfigInvalid(f"source option {name} is not {expected}", where=where)
    return options


def _command(text: str) -> str:
    """*text*, if a shell would read words in it. Never quoted: a command line may hold a password."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigInvalid("command of the exec source has an open quote", fix="close it") from error
    if not words or not words[0] or "\0" in text:
        raise ConfigInvalid("source names no command", fix=f"write {EXAMPLES['exec']}")
    return text


def _fits(name: str, value: str) -> bool:
    if name == "size":
        width, _, height = value.partition("x")
        return all(_is_whole(side) and 16 <= int(side) <= 16384 for side in (width, height))
    if name == "loop":
        return value in ("true", "false") or (_is_whole(value) and int(value) > 0)
    if name in ("fps", "seconds"):
        try:
            return 0 < float(value) <= 1e6
        except ValueError:
            return False
    return bool(value) and value.replace("_", "").isalnum()


def _is_whole(text: str) -> bool:
    """Digits that int() takes: str.isdigit() alone lets a superscript two pass."""
    return text.isascii() and text.isdigit() and len(text) <= 9
