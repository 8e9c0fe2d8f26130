"""What the shadow document ``capture`` wants of this box: read as hostile input, decided field by field. Pure.

A delta tells only what differs, and only that something does; so orders are always read from the whole document (the
answer to a ``get``). Each of them is one of five *subjects*: a camera's class (with its ``until``), whether it records,
its sampling; whether uploads are paused (with ``until``), and their bandwidth. A subject is obeyed once for each time
somebody writes it; docs/decisions/0006-last-writer-wins.md says why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edge_agent.bandwidth import parse_rate
from edge_agent.control.commands import (
    ClearClass,
    Order,
    PauseUpload,
    ResumeUpload,
    SetBandwidth,
    SetClass,
    SetSampling,
    StartRecording,
    StopRecording,
)
from edge_agent.control.shadow_document import (
    DEFAULT,
    CameraWish,
    Document,
    UploadWish,
    below,
    checked,
    newest_stamp,
    path_of,
    short,
)
from edge_agent.errors import EdgeCaptureError, EventInvalid
from edge_agent.segment import ClassTag, check_name_length, parse_moment

MAX_REFUSALS = 16
STAMP_SECONDS = 1.0  # the shadow's time stamps are whole seconds


@dataclass(frozen=True, slots=True)
class Box:
    """What orders are checked against. ``sampling_fault``: why a camera cannot keep 1 packet in N; "" when it can."""

    device: str
    fields: tuple[str, ...]
    cameras: tuple[str, ...]
    sampling_fault: Callable[[str, int], str]


@dataclass(frozen=True, slots=True)
class Handled:
    """What became of a subject: written when (the shadow's epoch seconds), as what, and why it was not obeyed."""

    stamp: float
    value: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """``orders`` to obey now, by subject; what is ``refused``, by path; what is ``handled`` once they are obeyed."""

    orders: Mapping[str, Order]
    refused: Mapping[str, str]
    handled: Mapping[str, Handled]


@dataclass(frozen=True, slots=True)
class _Asked:
    """One subject as the document has it."""

    subject: str
    value: str
    stamp: float
    make: Callable[[], Order]


def decide(
    document: Document,
    box: Box,
    handled: Mapping[str, Handled],
    changed_here: Mapping[str, tuple[datetime, str]],
    now: datetime,
    *,
    clock_is_right: bool,
) -> Decision:
    """What to do about *document*.

    *changed_here*: subjects that were last set on the box itself: when, and by whom. Where that is later than the
    shadow's word, it stands; a clock that nobody vouches for (not *clock_is_right*) never makes it later.
    """
    refused: dict[str, str] = {}
    orders: dict[str, Order] = {}
    seen: dict[str, Handled] = {}
    for asked in _asked(document, box, now, refused):
        known = handled.get(asked.subject)
        if known is not None and not _is_news(asked, known):
            seen[asked.subject] = known
            if known.reason:
                refused[asked.subject] = known.reason
            continue
        here = changed_here.get(asked.subject)
        if clock_is_right and here is not None and here[0].timestamp() > asked.stamp + STAMP_SECONDS:
            reason = short(f"was set later on the box itself, by {here[1]}; write it again to override")
            refused[asked.subject] = reason
            seen[asked.subject] = Handled(asked.stamp, asked.value, reason)
            continue
        try:
            orders[asked.subject] = asked.make()
        except EdgeCaptureError as error:
            refused[asked.subject] = short(str(error))
        else:
            seen[asked.subject] = Handled(asked.stamp, asked.value)
    return Decision(orders, _bounded(refused), seen)


def _is_news(asked: _Asked, known: Handled) -> bool:
    """Whether somebody has written the subject since; an older word is one that was overtaken on its way."""
    return asked.stamp > known.stamp or (asked.stamp == known.stamp and asked.value != known.value)


def _asked(document: Document, box: Box, now: datetime, refused: dict[str, str]) -> Iterator[_Asked]:
    """The subjects *document* speaks of; what is none goes into *refused*."""
    desired = document.desired
    if not isinstance(desired, dict):
        refused["desired"] = "is no object"
        return
    for key in desired:
        if key not in ("cameras", "upload"):
            refused[path_of(key)] = "is unknown; there are cameras and upload"
    cameras = desired.get("cameras", {})
    if not isinstance(cameras, dict):
        refused["cameras"] = "is no object"
        cameras = {}
    for name, section in cameras.items():
        path = path_of("cameras", name)
        if name not in box.cameras:
            refused[path] = short(f"no camera is called so; there is {', '.join(box.cameras)}")
        else:
            wish = checked(CameraWish, section, path, refused)
            if wish is not None:
                yield from _asked_of_camera(name, wish, below(document.stamps, "cameras", name), box, now)
    if "upload" in desired:
        upload = checked(UploadWish, desired["upload"], "upload", refused)
        if upload is not None:
            yield from _asked_of_upload(upload, below(document.stamps, "upload"), now)


def _asked_of_camera(name: str, wish: CameraWish, stamps: Any, box: Box, now: datetime) -> Iterator[_Asked]:
    path = f"cameras.{name}"
    if wish.class_ is not None:
        stamp, until = _with_until(stamps, "class", wish.until)
        value = json.dumps([wish.class_, until], sort_keys=True)
        yield _Asked(f"{path}.class", value, stamp, lambda: _class_order(name, wish, until, box, now))
    if wish.recording is not None:
        make = StartRecording if wish.recording else StopRecording
        stamp = newest_stamp(below(stamps, "recording"))
        yield _Asked(f"{path}.recording", json.dumps(wish.recording), stamp, lambda: make(name))
    every = wish.sampling.keep_every
    if every is not None:
        stamp = newest_stamp(below(stamps, "sampling"))
        yield _Asked(f"{path}.sampling", json.dumps(every), stamp, lambda: _sampling_order(name, every, box))


def _asked_of_upload(wish: UploadWish, stamps: Any, now: datetime) -> Iterator[_Asked]:
    if wish.paused is not None:
        stamp, until = _with_until(stamps, "paused", wish.until)
        make = PauseUpload if wish.paused else ResumeUpload
        yield _Asked("upload.paused", json.dumps([wish.paused, until]), stamp, lambda: make(_end(until, now)))
    if wish.bandwidth is not None:
        rate = wish.bandwidth
        stamp = newest_stamp(below(stamps, "bandwidth"))
        yield _Asked("upload.bandwidth", json.dumps(rate), stamp, lambda: _bandwidth_order(rate))


def _with_until(stamps: Any, key: str, until: str | None) -> tuple[float, str | None]:
    """When an order with an end was written, and that end: one that is older than the order belongs to another."""
    written, ends = newest_stamp(below(stamps, key)), newest_stamp(below(stamps, "until"))
    if until is None or ends < written:
        return written, None
    return ends, until


def _class_order(name: str, wish: CameraWish, until: str | None, box: Box, now: datetime) -> Order:
    if not isinstance(wish.class_, dict):
        return ClearClass(name)
    tag = ClassTag.of(wish.class_, box.fields)
    check_name_length(tag, box.device, name)
    return SetClass(name, tag, _end(until, now))


def _sampling_order(name: str, every: int | str, box: Box) -> Order:
    if not isinstance(every, int):
        return SetSampling(name, None)
    if fault := box.sampling_fault(name, every):
        raise EventInvalid(fault)
    return SetSampling(name, every)


def _bandwidth_order(rate: float | str) -> Order:
    return SetBandwidth(True) if rate == DEFAULT else SetBandwidth(False, parse_rate(rate))


def _end(until: str | None, now: datetime) -> datetime | None:
    if until is None:
        return None
    try:
        moment = parse_moment(until)
    except (ValueError, OverflowError) as error:
        raise EventInvalid("until is no time", fix="write it as 2026-11-22T18:30:00.000Z") from error
    if moment <= now:
        raise EventInvalid("until is past", fix="name a moment to come, or null")
    return moment


def _bounded(refused: Mapping[str, str]) -> dict[str, str]:
    """At most MAX_REFUSALS of them: what is reported has a bound, whatever was asked."""
    kept = dict(list(refused.items())[:MAX_REFUSALS])
    if len(kept) < len(refused):
        kept["more"] = f"{len(refused) - len(kept)} more are refused"
    return kept
