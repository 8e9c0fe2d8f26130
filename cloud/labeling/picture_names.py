"""What pictures of others are called in a directory of ours: safe file names, unique, the same each time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

from cloud.dataset.lines import Line

_MAX_STEM = 150  # with a split, a class, a checksum and ".part" far below NAME_MAX
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}")


def parts_of(source: str) -> tuple[str, str]:
    """The scheme ("" for a plain path) and the path of *source*, or of a URI that is none all that is behind it.

    What looks like a query may be part of an S3 key: it stays.
    """
    scheme, mark, rest = source.partition("://")
    if not mark:
        return "", source
    scheme, path = scheme.lower(), "/" + rest.partition("/")[2]
    return scheme, path if scheme == "s3" else unquote(path)


def wished(source: str, *, dotless: bool) -> tuple[str, str]:
    """The stem and the suffix that the picture at *source* would have if nobody else wanted them. Pure.

    Whatever a file system, a shell or a list of names might stumble over becomes a hyphen.
    """
    name = parts_of(source)[1].rpartition("/")[2]
    stem, dot, ending = name.rpartition(".")
    suffix = (dot + ending).lower()
    if not dot or not _SUFFIX.fullmatch(suffix):
        stem, suffix = name, ".jpg"
    safe = _UNSAFE.sub("-", stem).strip(".-")
    safe = safe.replace(".", "-") if dotless else safe
    return safe[:_MAX_STEM] or "picture", suffix


def hash_of(source: str) -> str:
    """What tells two pictures apart that wish the same name, in hexadecimal."""
    return hashlib.sha256(source.encode(errors="surrogatepass")).hexdigest()


@dataclass(slots=True)
class Names:
    """The names of a task set, in memory: a job has 100,000 pictures at most (an export asks its ledger).

    Of two sources that wish one name the later gets its hash added.
    """

    _taken: dict[str, str] = field(default_factory=dict)

    def of(self, source: str) -> str:
        stem, suffix = wished(source, dotless=False)
        name = stem + suffix
        if self._taken.get(name.lower(), source) != source:
            name = f"{stem}-{hash_of(source)[:12]}{suffix}"
        self._taken[name.lower()] = source
        return name


def named(lines: Iterable[Line]) -> Iterator[tuple[Line, str]]:
    """Each line of a manifest with the name of its picture; a picture of two lines has one name."""
    names = Names()
    for line in lines:
        yield line, names.of(line.source)
