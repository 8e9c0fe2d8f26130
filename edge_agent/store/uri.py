"""How places are written: ``s3://bucket/key``, ``file:///directory/file``, or a plain path."""

from __future__ import annotations

from typing import NamedTuple


class Uri(NamedTuple):
    """``scheme`` is in lower case, empty for a plain path; ``path`` is as it was written, escapes included."""

    scheme: str
    netloc: str
    path: str


def split_uri(text: str) -> Uri:
    """The parts of *text*, whatever it is. Object keys and file names are no web addresses.

    So ``?`` and ``#`` are letters like others, and a bracket is no IPv6 address that could be wrong: the standard
    library's ``urlsplit`` cuts keys at the former and raises ValueError for the latter.
    """
    scheme, mark, rest = text.partition("://")
    if not mark or not scheme.isalnum():
        return Uri("", "", text)
    netloc, slash, path = rest.partition("/")
    return Uri(scheme.lower(), netloc, slash + path)
