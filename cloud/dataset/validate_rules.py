"""The rules a labelling service holds a manifest's lines to, one line at a time. Limits are Ground Truth's.

https://docs.aws.amazon.com/sagemaker/latest/dg/sms-data-input.html and …/input-data-limits.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from cloud.dataset.findings import Finding
from cloud.dataset.lines import INLINE, REFERENCE, Line, is_attribute_metadata
from edge_agent.errors import ConfigInvalid

MAX_LINE = 100_000  # characters
MAX_ITEMS = 100_000  # lines a job
MAX_LABELS, MAX_LABEL = 50, 256  # a job; characters each
MAX_KEY = 1024  # S3: bytes of an object key
SUFFIXES = frozenset({"jpg", "jpeg", "png"})

REFUSED = frozenset({
    "broken_json", "not_utf8", "no_object", "no_source", "line_too_long", "byte_order_mark", "empty",
    "reserved_name", "two_sources", "mixed_kinds", "bad_reference", "bad_bucket", "key_too_long", "unknown_type",
    "too_many_items", "too_many_labels", "label_too_long", "mixed_regions",
    "missing_picture", "picture_too_large", "broken_picture", "wrong_type",
})  # fmt: skip
"""Findings with which a job does not start, or fails on the line. The others cost money or are likely a mistake."""

_ATTRIBUTE = re.compile(r"[a-zA-Z0-9](?:-*[a-zA-Z0-9]){0,126}")  # CreateLabelingJob: LabelAttributeName
_BUCKET = re.compile(r"(?!xn--|\d+\.\d+\.\d+\.\d+$)[a-z0-9](?!.*\.\.)[a-z0-9.-]{1,61}[a-z0-9]")
_KNOWN = 1000  # different sets of keys, places and labels that are remembered; a sane manifest has a handful

Fault = tuple[str, str, str]
"""Code, what, fix."""

Region = Callable[[str], str | None]
"""Of a bucket; None where it is not known."""


def check_attribute(name: str) -> str:
    """*name*, if a job can write its labels under it. Raises ConfigInvalid."""
    if not _ATTRIBUTE.fullmatch(name) or name.endswith("-metadata") or name in (INLINE, REFERENCE):
        raise ConfigInvalid(
            f"label attribute {ascii(name)[:80]} cannot be used",
            fix="use up to 127 letters, digits and '-'; not 'source', 'source-ref' or an end in '-metadata'",
        )
    return name


@dataclass(slots=True)
class LineRules:
    """Checks lines in their order. ``attribute`` is where the job is to write its labels.

    ``region`` tells the region of a bucket, None where nobody knows; without it, buckets are compared by name.
    """

    attribute: str | None = None
    region: Region | None = None
    local: int = 0
    """Lines so far whose picture is a file."""
    _first: tuple[str, int, str] | None = None
    _head: str = ""
    _kind: str = ""
    _keys: dict[tuple[str, ...], tuple[tuple[Fault, ...], tuple[str, ...]]] = field(default_factory=dict)
    _places: dict[str, tuple[Fault, ...]] = field(default_factory=dict)
    _labels: set[str] = field(default_factory=set)
    _told_labels: bool = False

    @property
    def buckets(self) -> list[str]:
        return [place for place in self._places if place != "files"]

    def faults(self, line: Line) -> Iterator[Fault]:
        """What is wrong with *line*, in the light of those before it."""
        fields, text = line.fields, line.text
        if len(text) > MAX_LINE:
            yield "line_too_long", f"has {len(text):,} characters of {MAX_LINE:,} allowed", "leave extra keys out of it"
        names = tuple(fields)
        known = self._keys.get(names)
        if known is None:
            known = self._keys_of(names)
        yield from known[0]
        for key in known[1]:
            yield from self._metadata(key, fields)
        if line.source:
            if text.count(f'"{REFERENCE}"') > 1 and _times(text, REFERENCE) > 1:
                yield "two_sources", f"has '{REFERENCE}' twice, and the last one counts", "name one picture a line"
            yield from self._reference(line.source, line.number)
        kind = REFERENCE if line.source else INLINE
        if kind != self._kind:
            if self._kind:
                yield "mixed_kinds", f"has '{kind}' where the first line has '{self._kind}'", "make a manifest of each"
            self._kind = self._kind or kind

    def _keys_of(self, names: tuple[str, ...]) -> tuple[tuple[Fault, ...], tuple[str, ...]]:
        metadata = tuple(name for name in names if is_attribute_metadata(name))
        found = tuple(name_faults(names, self.attribute)), metadata
        if len(self._keys) < _KNOWN:
            self._keys[names] = found
        return found

    def _metadata(self, key: str, fields: Mapping[str, Any]) -> Iterator[Fault]:
        """What is wrong with what a former job wrote under *key*."""
        found = fields[key]
        if key.removesuffix("-metadata") not in fields and not (isinstance(found, dict) and "job-name" in found):
            fix = "rename it: the service writes there"
            yield "reserved_name", f"has {_shown(key)} without {_shown(key.removesuffix('-metadata'))}", fix
        classes = found.get("class-map") if isinstance(found, dict) else None
        for label in classes.values() if isinstance(classes, dict) else ():
            if isinstance(label, str) and label not in self._labels:
                if len(label) > MAX_LABEL:
                    yield "label_too_long", f"label {_shown(label)} is over {MAX_LABEL} characters", "shorten it"
                if len(self._labels) < _KNOWN:
                    self._labels.add(label)
        if len(self._labels) > MAX_LABELS and not self._told_labels:
            self._told_labels = True
            what = f"is the line from which on there are more than {MAX_LABELS} different labels"
            yield "too_many_labels", what, "merge classes, or label in several jobs"

    def _reference(self, source: str, number: int) -> Iterator[Fault]:
        if source.rpartition(".")[2].lower() not in SUFFIXES:
            yield "unknown_type", f"{_shown(source)} is neither .jpg nor .png", "convert it"
        if not source.isprintable() or " " in source:
            yield "odd_name", f"{_shown(source)} has blanks or control characters in its name", "rename the object"
        if self._head and source.startswith(self._head) and len(source) < MAX_KEY // 4:
            return
        if source.startswith("file://"):
            self.local += 1
            place, rest = "files", source
        else:
            scheme, _, rest = source.partition("://")
            bucket, _, key = rest.partition("/")
            if scheme != "s3" or not bucket or not key:
                yield "bad_reference", f"{_shown(source)} is no s3://bucket/key", "manifest build --rebase s3://BUCKET"
                return
            place = bucket
            if len(key) > MAX_KEY // 4 and len(key.encode("utf-8", "replace")) > MAX_KEY:
                yield "key_too_long", f"its object key has more than {MAX_KEY} bytes", "rename the object"
        yield from self._place(place, number)
        if not self._head and self._first and place == self._first[0] and not self._places[place]:
            self._head = source[: -len(rest)] + f"{place}/" if place != "files" else ""

    def _place(self, place: str, number: int) -> Iterator[Fault]:
        if place not in self._places:
            faults = tuple(self._place_faults(place, number))
            if len(self._places) >= _KNOWN:
                yield from faults
                return
            self._places[place] = faults
        yield from self._places[place]

    def _place_faults(self, place: str, number: int) -> Iterator[Fault]:
        region = self.region(place) if self.region and place != "files" else None
        if place != "files" and not _BUCKET.fullmatch(place):
            yield "bad_bucket", f"{_shown(place)} is no bucket name", "correct it"
        if self._first is None:
            self._first = place, number, region or ""
            return
        first, where, home = self._first
        if not region or not home:
            fix = "job, data and manifest must be in one region: --pictures asks S3"
            yield "mixed_buckets", f"is in {_shown(place)}, line {where} in {_shown(first)}", fix
        elif region != home:
            what = f"is in {_shown(place)} in {region}, line {where} in {_shown(first)} in {home}"
            yield "mixed_regions", what, "make a manifest for each region, or copy the pictures"


def name_faults(names: Sequence[str], attribute: str | None) -> Iterator[Fault]:
    """What is wrong with the keys of a line, all but ``…-metadata``. Pure."""
    if REFERENCE in names and INLINE in names:
        yield "two_sources", f"has both '{REFERENCE}' and '{INLINE}'", "leave one of them out"
    for name in names:
        # Masks of semantic segmentation stand under a name in '-ref', with metadata beside it.
        mask = name.endswith("-ref") and name != REFERENCE and f"{name}-metadata" not in names
        if name.startswith("$") or mask:
            how = "starts with '$'" if name.startswith("$") else "ends in '-ref'"
            yield "reserved_name", f"key {_shown(name)} {how}, which the service keeps for itself", "rename it"
        if not name or len(name) > 127 or not name.isprintable():
            yield "odd_key", f"key {_shown(name)} is empty, longer than 127 characters or not printable", "rename it"
        if attribute and name in (attribute, f"{attribute}-metadata"):
            fix = "choose another label attribute, or rename the key"
            yield "overwritten_attribute", f"has {_shown(name)}, which the job would overwrite", fix


def finding(line: Line, fault: Fault) -> Finding:
    return Finding(fault[0], line.where, line.number, fault[1], fault[2])


def _times(text: str, key: str) -> int:
    """How often the outermost object of *text* has *key*."""
    counted = 0

    def pairs(found: list[tuple[str, Any]]) -> None:
        nonlocal counted
        counted = sum(name == key for name, _ in found)  # the outermost object is finished last

    json.loads(text, object_pairs_hook=pairs)
    return counted


def _shown(text: str) -> str:
    """*text* fit for one line, cut when very long."""
    text = ascii(unquote(text) if text.startswith("file://") else text)
    return text if len(text) <= 120 else f"{text[:100]}…'"
