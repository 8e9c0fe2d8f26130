"""One manifest from the partitions of a dataset store: filter, apply review decisions, thin, balance, split."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cloud.dataset.compose import Composed, Rules, Tally, compose
from cloud.dataset.entries import Entry, Rebase, take_of
from cloud.dataset.findings import Finding
from cloud.dataset.gather import knowledge, partitions, read_partitions, reviewed
from cloud.dataset.select import Wanted
from cloud.dataset.settle import Asked, Settled, settle
from cloud.dataset.twins import repeats
from edge_agent.store import ObjectStore

TWINS = "twins of frames of other videos"


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be built. ``twins``: from which likeness on a frame of another video is taken out; None: never.

    ``extra`` are keys to add to lines; ``usual`` those of settings ``lines.extra``, for lines that a reviewer brings
    back.
    """

    wanted: Wanted = Wanted()
    rules: Rules = Rules()
    twins: float | None = None
    extra: tuple[str, ...] = ()
    usual: tuple[str, ...] = ()
    rebase: tuple[Rebase, ...] = ()
    class_fields: tuple[str, ...] = ("color", "object")


def build(store: ObjectStore, request: Request, tally: Tally) -> Composed:
    """The lines *request* asks of *store*; the same for the same store, whatever order things came in.

    Only videos whose index is needed have it read. Raises ObjectConflict when a reviewer's file is damaged, and what
    the store raises.
    """
    videos = _listed(store, request, tally)
    decided = {stem for stem in reviewed(store) if request.wanted.has_stem(stem) is not False}
    stems = sorted(videos.keys() | decided)
    wanted, rules = request.wanted, request.rules
    uri = store.uri
    looks = request.twins is not None
    extra, usual = request.extra, request.usual
    asked = Asked(uri, wanted, rules.every, request.class_fields, extra, usual, request.rebase, looks)
    needed = [stem for stem in stems if _needs_index(stem, request, decided)]
    read, seen = iter(knowledge(store, needed, decided)), hashlib.sha256()
    settled: list[Settled] = []
    waiting = set(needed)
    for stem in stems:
        known = None
        if stem in waiting:
            _, known = next(read)
            for etag in known.etags:
                seen.update(f"{etag}\n".encode())
        settled += settle(stem, videos.pop(stem, ()), known, asked, tally)
    if needed:
        tally.inputs.append({"uri": uri("index"), "videos": len(needed), "sha256": seen.hexdigest()})
    return compose(_without_twins(settled, request.twins, tally), rules, tally)


def _listed(store: ObjectStore, request: Request, tally: Tally) -> dict[str, list[Entry]]:
    """The lines that are wanted by name, by video, each picture once."""
    videos: dict[str, list[Entry]] = {}
    pictures: set[str] = set()
    found = partitions(store, request.wanted, tally.findings)
    parts = read_partitions(store, found, request.wanted, request.class_fields, request.rebase, tally.findings)
    for part in parts:
        where = store.uri(part.info.key)
        tally.read += part.lines
        tally.inputs.append({"uri": where, "etag": part.info.etag, "lines": part.lines})
        for entry in part.entries:
            if entry.source in pictures:
                what = f"lists {ascii(entry.source)[:200]} again; the first line counts"
                fix = "edge-cloud fsck --repair"
                tally.findings.add(Finding("duplicate_line", where, None, what, fix, dropped=True))
                continue
            pictures.add(entry.source)
            videos.setdefault(entry.video, []).append(entry)
    return videos


def _needs_index(stem: str, request: Request, decided: set[str]) -> bool:
    if request.twins is not None or request.extra or request.wanted.timed or stem in decided:
        return True
    by_camera = bool(request.wanted.devices) or "camera" in request.rules.balance
    return by_camera and take_of(stem) is None


def _without_twins(settled: Sequence[Settled], threshold: float | None, tally: Tally) -> list[Entry]:
    if threshold is None:
        return [one.entry for one in settled]
    classes: dict[str, list[Settled]] = {}
    stays: list[Entry] = []
    for one in settled:
        if one.look is None:
            what = "has no look to compare: it was extracted without, or with every judge off"
            tally.findings.add(Finding("no_look", one.entry.source, None, what, "extract its video again"))
            stays.append(one.entry)
        else:
            classes.setdefault(one.entry.tag, []).append(one)
    for members in classes.values():
        members.sort(key=lambda one: (not one.pinned, one.entry.order))  # a person's choice is the one that stays
        found = repeats(
            [one.look or b"" for one in members],
            [one.entry.video for one in members],
            [one.pinned for one in members],
            threshold,
        )
        stays += [one.entry for number, one in enumerate(members) if found[number] == number]
    tally.take_out(TWINS, [one.entry for one in settled], stays)
    return stays


def described(request: Request) -> Mapping[str, object]:
    """The rules of *request* for a report."""
    wanted, rules = request.wanted, request.rules
    shares = rules.shares
    return {
        "classes": list(wanted.classes),
        "devices": list(wanted.devices),
        "stems": list(wanted.stems),
        "from": wanted.since.isoformat() if wanted.since else None,
        "until": wanted.until.isoformat() if wanted.until else None,
        "every": rules.every,
        "total": rules.total,
        "balance": list(rules.balance),
        "split": list(shares.of_one) if shares else None,
        "seed": rules.seed,
        "twins": request.twins,
        "extra": list(request.extra),
        "usual": list(request.usual),
        "rebase": [[rule.old, rule.new] for rule in request.rebase],
        "fields": list(request.class_fields),
    }
