"""Reading any labelling manifest, ours or not, line by line, from a file, a directory store or S3.

Memory does not grow with the manifest: lines are parsed as they are asked for. A line that cannot be used is a finding
with its number, never an end of the reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

from pydantic_core import from_json

from cloud.dataset.findings import Finding, Findings
from edge_agent.errors import ConfigInvalid
from edge_agent.store import open_store
from edge_agent.store.uri import split_uri

REFERENCE, INLINE = "source-ref", "source"
"""The key of a line that names its picture, and the one that holds a text to be labelled instead."""

MAX_READ = 10_000_000  # characters; a hundred times what the service takes: a longer line is no manifest's
_FRAME = re.compile(r"(?P<stem>.+)_(?P<index>\d{6,})")


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is a JSON object with a ``source-ref`` or a ``source``.

    ``number`` counts from 1 in ``where``, blank lines included; ``text`` is without line end.
    """

    number: int
    where: str
    text: str
    fields: Mapping[str, Any]

    @property
    def source(self) -> str:
        """The picture's URI; empty for a line that holds its text itself."""
        reference = self.fields.get(REFERENCE, "")
        return reference if isinstance(reference, str) else ""


@contextmanager
def local_copy(location: str, endpoint_url: str | None = None) -> Iterator[Path]:
    """The manifest (or any object) at *location*, a path, ``file://`` or ``s3://bucket/key``, as a file to read.

    Raises ConfigInvalid, ObjectNotFound and what a store raises.
    """
    parts = split_uri(location)
    if parts.scheme != "s3":
        yield Path(unquote(parts.path) if parts.scheme == "file" else location).expanduser()
        return
    key = parts.path.lstrip("/")
    if not parts.netloc or not key:
        raise ConfigInvalid("names no object", where=location, fix="write s3://bucket/key")
    with open_store(f"s3://{parts.netloc}", endpoint_url=endpoint_url).checkout(key) as path:
        yield path


def read_lines(path: Path, findings: Findings, where: str | None = None) -> Iterator[Line]:
    """The usable lines of the manifest *path*; *where* is what findings call it. Blank lines are passed over.

    Findings: ``broken_json``, ``not_utf8``, ``no_object``, ``no_source``, ``line_too_long``.
    Raises ConfigInvalid when the file cannot be read at all.
    """
    where = where or str(path)
    try:
        with path.open("rb") as file:
            yield from lines_in(file, findings, where)
    except OSError as error:
        raise ConfigInvalid(f"cannot be read: {error.strerror}", where=where) from error


def lines_in(file: BinaryIO, findings: Findings, where: str) -> Iterator[Line]:
    """The usable lines of an open manifest, as :func:`read_lines` gives them. Raises OSError."""
    number = 0
    while raw := file.readline(MAX_READ + 1):
        number += 1
        if len(raw) > MAX_READ:
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(MAX_READ)
            what = f"is over {MAX_READ:,} bytes long"
            findings.add(Finding("line_too_long", where, number, what, dropped=True))
            continue
        line = _parse(raw, number, where, findings)
        if line is not None:
            yield line


def _parse(raw: bytes, number: int, where: str, findings: Findings) -> Line | None:
    try:
        text = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        findings.add(Finding("not_utf8", where, number, "is not UTF-8 text", "save the file as UTF-8", dropped=True))
        return None
    if not text.strip():
        return None
    try:
        fields = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        what = f"is no JSON: {error}"
        findings.add(Finding("broken_json", where, number, what, "one whole JSON object a line", dropped=True))
        return None
    if not isinstance(fields, dict):
        what = f"holds a {type(fields).__name__}, not an object"
        findings.add(Finding("no_object", where, number, what, "one whole JSON object a line", dropped=True))
        return None
    if not any(isinstance(fields.get(key), str) and fields[key] for key in (REFERENCE, INLINE)):
        what = f"has neither '{REFERENCE}' nor '{INLINE}'"
        findings.add(Finding("no_source", where, number, what, "name the picture in 'source-ref'", dropped=True))
        return None
    return Line(number, where, text, fields)


def frame_of(source: str) -> tuple[str, int] | None:
    """The stem of the video and the ordinal, when *source* is named as our frames are; None for any other picture."""
    name = source.rpartition("/")[2].rpartition(".")[0]
    found = _FRAME.fullmatch(name)
    return (found["stem"], int(found["index"])) if found else None


def group_of(source: str) -> str:
    """What must stay on one side of a split: the video of a frame, else the picture itself."""
    frame = frame_of(source)
    return frame[0] if frame else source


def is_attribute_metadata(key: str) -> bool:
    """Whether *key* is what the service adds beside a label attribute."""
    return key.endswith("-metadata")
