"""What the pictures of a task set are called: safe file names, unique, and the same each time they are worked out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from cloud.dataset.lines import Line

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 120  # characters; file systems take 255 bytes


@dataclass(slots=True)
class Names:
    """Gives each source a name by its last part; of two with the same part the later one gets its checksum added."""

    _taken: dict[str, str] = field(default_factory=dict)

    def of(self, source: str) -> str:
        tail = unquote(urlsplit(source).path) if source.startswith("file://") else source
        head, dot, suffix = tail.rpartition("/")[2].rpartition(".")
        stem = _UNSAFE.sub("-", head or suffix).strip(".-")[:_LONGEST] or "picture"
        ending = f".{_UNSAFE.sub('', suffix).lower()[:8]}" if dot and head else ""
        name = stem + ending
        if self._taken.get(name.lower(), source) != source:
            name = f"{stem}-{hashlib.sha256(source.encode()).hexdigest()[:12]}{ending}"
        self._taken[name.lower()] = source
        return name


def named(lines: Iterable[Line]) -> Iterator[tuple[Line, str]]:
    """Each line of a manifest with the name of its picture; a picture of two lines has one name."""
    names = Names()
    for line in lines:
        yield line, names.of(line.source)
