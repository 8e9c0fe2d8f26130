"""One video's lines in the light of its index and of what reviewers decided. Pure, but for what is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic_core import from_json

from cloud.dataset.compose import Tally
from cloud.dataset.entries import Entry, Rebase, entry_of, rebased, text_of
from cloud.dataset.findings import Finding
from cloud.dataset.gather import Known
from cloud.dataset.index import FrameFacts, VideoIndex
from cloud.dataset.lines import REFERENCE
from cloud.dataset.manifest import extras_of
from cloud.dataset.overrides import Decision
from cloud.dataset.select import Wanted, is_nth
from cloud.judge.looks import unpacked
from cloud.origin import place

_ANEW = "process the video again"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of every video. ``uri`` of a key is where its object stands; ``extra`` keys are added to lines.

    ``usual`` are those of settings ``lines.extra``, which lines have since they were extracted.
    """

    uri: Callable[[str], str]
    wanted: Wanted
    every: int
    class_fields: Sequence[str]
    extra: Sequence[str] = ()
    usual: Sequence[str] = ()
    rebase: Sequence[Rebase] = ()
    looks: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """A line that stays so far. ``pinned``: a person asked for it; ``look`` where it was asked for and is known."""

    entry: Entry
    pinned: bool = False
    look: bytes | None = None


def settle(stem: str, entries: Sequence[Entry], known: Known | None, asked: Asked, tally: Tally) -> list[Settled]:
    """What stays of the video's *entries*, as its partition lists them, and what a reviewer adds.

    Without *known*, nothing that is asked for needs to know the video better than its name does.
    """
    entries = sorted(entries, key=lambda entry: entry.order)
    listed = [entry.ordinal for entry in entries]
    index = known.index if known else None
    if known is not None and index is None:
        unknown = asked.wanted.has_stem(stem) is None
        what = "has no index: neither its device, time and looks nor what was decided about it are known"
        tally.findings.add(Finding("no_index", stem, None, what, _ANEW, dropped=unknown))
        if unknown:
            return []
    if index is not None and not asked.wanted.has_device(index.segment.device):
        return []
    decisions = _decisions(stem, known, tally)
    frames = {frame.index: frame for frame in index.frames} if index else {}
    stays = [entry for entry in entries if not _said(decisions, entry.ordinal, "drop")]
    tally.take_out("dropped by a reviewer", entries, stays)
    if index is not None:
        back = list(_restored(index, decisions, set(listed), asked))
        tally.restored += len(back)
        stays = sorted([*stays, *back], key=lambda entry: entry.order)
    if asked.wanted.timed:
        before, stays = stays, [entry for entry in stays if _in_time(entry, frames, asked.wanted, tally)]
        tally.take_out("outside of the time", before, stays)
    nth = [entry for entry in stays if is_nth(entry.ordinal, listed, asked.every)]
    tally.take_out(f"not one in {asked.every}", stays, nth)
    return [_settled(entry, index, frames, decisions, asked) for entry in nth]


def _decisions(stem: str, known: Known | None, tally: Tally) -> Mapping[int, Decision]:
    if known is None or known.decided is None or not known.decided.decisions or known.index is None:
        return {}
    if known.decided.video != known.index.video.etag:
        number = len(known.decided.decisions)
        what = f"{number} decisions are about another version of the video, and say nothing"
        tally.findings.add(Finding("decisions_on_another_version", stem, None, what, "review it again"))
        return {}
    frames = {frame.index for frame in known.index.frames}
    for ordinal in sorted(known.decided.decisions.keys() - frames):
        what = f"a decision is about frame {ordinal}, which is not sampled any more"
        tally.findings.add(Finding("decision_on_no_frame", stem, None, what, "review it again"))
    return known.decided.decisions


def _said(decisions: Mapping[int, Decision], ordinal: int, word: str) -> bool:
    return ordinal in decisions and decisions[ordinal].decision == word


def _restored(index: VideoIndex, decisions: Mapping[int, Decision], listed: set[int], asked: Asked) -> Iterator[Entry]:
    """The lines of frames that a reviewer kept though they were rejected."""
    for frame in index.frames:
        if frame.verdict == "rejected" and frame.index not in listed and _said(decisions, frame.index, "keep"):
            extra = extras_of(index.segment, frame, asked.usual)
            fields = rebased({REFERENCE: asked.uri(frame.key), **index.segment.class_, **extra}, asked.rebase)
            yield entry_of(fields, text_of(fields), asked.class_fields)


def _in_time(entry: Entry, frames: Mapping[int, FrameFacts], wanted: Wanted, tally: Tally) -> bool:
    frame = frames.get(entry.ordinal)
    if frame is None or frame.at is None:
        what = "has no known time, and is left out"
        tally.findings.add(Finding("no_time", entry.source, None, what, "leave --from and --until out", dropped=True))
        return False
    return wanted.has_moment(datetime.fromisoformat(frame.at))


def _settled(
    entry: Entry,
    index: VideoIndex | None,
    frames: Mapping[int, FrameFacts],
    decisions: Mapping[int, Decision],
    asked: Asked,
) -> Settled:
    frame = frames.get(entry.ordinal)
    if index is not None and frame is not None:
        if not entry.camera:
            entry = replace(entry, camera=place(index.segment.device, index.segment.camera))
        extra = extras_of(index.segment, frame, asked.extra)
        if extra:
            fields = from_json(entry.text)
            entry = replace(entry, text=text_of({**fields, **{key: extra[key] for key in extra if key not in fields}}))
    look = unpacked(frame.look) if asked.looks and frame is not None and frame.look is not None else None
    return Settled(entry, _said(decisions, entry.ordinal, "keep"), look)
