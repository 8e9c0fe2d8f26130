"""Labels that came back, on the review page: pictures with their boxes, kept or dropped by hand.

Decisions are stored beside the manifest, as those on frames are (``overrides``): ``overrides/labels/<manifest>.json``,
by the number of the line, for one version of the manifest. A line of another manifest under the name may be any line,
so decisions on a former version are told of and not used.
"""

from __future__ import annotations

import copy
import hashlib
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from cloud.dataset import overrides
from cloud.dataset.findings import Finding, Findings
from cloud.dataset.lines import frame_of
from cloud.dataset.overrides import Decision, Overrides
from cloud.dataset.pictures import Pictures, media_type
from cloud.labeling.output import State
from cloud.labeling.review_pass import Judge, Judged, labels_of
from cloud.review.catalogue import Decided, Item, Word
from edge_agent.clock import Clock
from edge_agent.errors import ConfigInvalid, ObjectNotFound
from edge_agent.segment import format_moment
from edge_agent.store import ObjectStore, open_store
from edge_agent.store.uri import split_uri

_NOTHING = {
    State.LABELLED: "nothing in it",
    State.UNLABELLED: "unlabelled",
    State.FAILED: "failed",
    State.UNREADABLE: "unreadable",
}
_UNSAFE = re.compile(r"[^A-Za-z0-9._=-]+")


@dataclass(slots=True)
class Decisions:
    """The decisions on the manifest of ``version`` (its SHA-256), in ``store`` under ``stem``."""

    store: ObjectStore
    stem: str
    version: str

    @classmethod
    def beside(cls, location: str, path: Path, endpoint_url: str | None = None) -> Decisions:
        """Those on the manifest at *location*, of which *path* is the local copy. Raises ConfigInvalid."""
        parts = split_uri(location)
        if parts.scheme == "s3":
            store = open_store(f"s3://{parts.netloc}", endpoint_url=endpoint_url)
            name = parts.path.lstrip("/")
        else:
            local = Path(unquote(parts.path) if parts.scheme == "file" else location).expanduser().absolute()
            store, name = open_store(str(local.parent)), local.name
        try:
            with path.open("rb") as file:
                version = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ConfigInvalid(f"cannot be read: {error.strerror}", where=location) from error
        return cls(store, f"labels/{_safe(name)}", version)

    def where(self) -> str:
        return self.store.uri(overrides.key_of(self.stem))

    def load(self, findings: Findings) -> dict[int, Decided]:
        """What stands, by line number. Finding: ``outdated_decisions``. Raises ObjectConflict when it is damaged."""
        found = overrides.stored(self.store, self.stem)
        if found is None:
            return {}
        if found.video != self.version:
            if found.decisions:
                what = f"holds {len(found.decisions)} decisions on another version of the manifest"
                fix = "decide anew, or bring the former manifest back"
                findings.add(Finding("outdated_decisions", self.where(), None, what, fix, dropped=True))
            return {}
        return _decided(found)

    def decide(self, changes: Mapping[int, Decision | None]) -> dict[int, Decided]:
        return _decided(overrides.decide(self.store, self.stem, self.version, changes))


def _safe(name: str) -> str:
    """*name* as one part of a key; two names that differ never come out equal."""
    if not _UNSAFE.search(name):
        return name
    return f"{_UNSAFE.sub('-', name)[:80].strip('-.')}={hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _decided(found: Overrides) -> dict[int, Decided]:
    return {number: Decided(word.decision, word.by) for number, word in found.decisions.items()}


class LabelCatalogue:
    """The :class:`~cloud.review.catalogue.Catalogue` of a manifest's labels: an item is a line, a group a video."""

    def __init__(self, judge: Judge, decisions: Decisions, pictures: Pictures, clock: Clock) -> None:
        self._judge, self._decisions, self._pictures, self._clock = judge, decisions, pictures, clock
        self._lock = threading.Lock()
        self._findings = Findings()
        self._sources: dict[int, str] = {}
        self._groups: dict[int, str] = {}
        self._standing: dict[int, Decided] = {}

    @property
    def title(self) -> str:
        task = self._judge.task
        name = task.where.rstrip("/").rpartition("/")[2]
        return f"{name}: {task.choice.attribute}" if task.choice.attribute else name

    def findings(self) -> Findings:
        with self._lock:
            found = copy.deepcopy(self._judge.measured.findings)
            for finding in self._findings:
                found.add(finding)
        return found

    def groups(self) -> Iterator[Sequence[Item]]:
        with self._lock:
            self._standing = self._decisions.load(self._findings)
        groups: dict[str, list[Item]] = {}
        for judged in self._judge.all():
            line = judged.record.line
            group = _group(line.source)
            with self._lock:
                self._sources[line.number], self._groups[line.number] = line.source, group
                decision = self._standing.get(line.number)
            groups.setdefault(group, []).append(_item(judged, group, decision))
        yield from groups.values()

    def picture(self, item: str) -> tuple[bytes, str]:
        source = self._sources[self._number(item)]
        body = self._pictures.read(source)
        kind = media_type(body)
        if kind is None:
            raise ObjectNotFound("is no picture that can be shown", where=source)
        return body, kind

    def decide(self, changes: Mapping[str, Word | None], by: str) -> Mapping[str, Decided]:
        at = format_moment(self._clock.now())
        wanted = {
            self._number(item): None if word is None else Decision(decision=word, by=by, at=at)
            for item, word in changes.items()
        }
        after = self._decisions.decide(wanted)
        with self._lock:
            self._standing = after
            about = {self._groups[number] for number in wanted}
            return {str(number): word for number, word in after.items() if self._groups.get(number) in about}

    def news(self) -> Mapping[str, Decided | None]:
        after = self._decisions.load(Findings())
        with self._lock:
            before, self._standing = self._standing, after
            known = self._sources
            return {
                str(number): after.get(number)
                for number in sorted({*before, *after})
                if before.get(number) != after.get(number) and number in known
            }

    def _number(self, item: str) -> int:
        number = int(item) if item.isascii() and item.isdecimal() and len(item) < 12 else -1
        with self._lock:
            if number not in self._sources:
                raise ObjectNotFound("no such line", where=ascii(item)[:120])
        return number


def _group(source: str) -> str:
    """The video of a frame; of any other picture the folder it is in."""
    frame = frame_of(source)
    return frame[0] if frame else source.rpartition("/")[0] or "pictures"


def _item(judged: Judged, group: str, decision: Decided | None) -> Item:
    record = judged.record
    example, line = record.example, record.line
    return Item(
        id=str(line.number),
        group=group,
        name=line.source.rpartition("/")[2] or f"line {line.number}",
        tag=", ".join(sorted({label.label for label in labels_of(record)})) or _NOTHING[record.state],
        verdict=_verdict(judged),
        reasons=tuple(_reasons(judged)),
        scores=_scores(judged),
        decision=decision,
        boxes=judged.boxes,
        width=example.width,
        height=example.height,
    )


def _verdict(judged: Judged) -> Literal["kept", "rejected", "flagged"]:
    if judged.cleaned.left_out:
        return "rejected"
    return "flagged" if judged.suspected or judged.differences or judged.cleaned.dropped else "kept"


def _reasons(judged: Judged) -> Iterator[str]:
    """Why a person should look, each once."""
    if judged.cleaned.left_out:
        yield judged.cleaned.left_out
    reasons = [f"{suspect.why} box" for suspect in judged.suspected]
    reasons += [found.change for found in judged.differences]
    reasons += [f"verified as {said.word}" for said in judged.record.verifications]
    reasons += ["adjusted"] if judged.record.adjusted else []
    yield from dict.fromkeys(reasons)


def _scores(judged: Judged) -> dict[str, float]:
    """For the sliders: the higher, the worse."""
    scores = {"boxes": float(len(judged.record.example.boxes or ())), "suspicious": float(len(judged.suspected))}
    sure = [label.confidence for label in labels_of(judged.record) if label.confidence is not None]
    if sure:
        scores["unsure"] = round(1 - min(sure), 4)
    if judged.iou is not None:
        scores["moved"] = round(1 - judged.iou, 4)
    return scores
