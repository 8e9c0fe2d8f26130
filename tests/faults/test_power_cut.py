"""Power cuts: from the log of what was done to the disk, every state a cut may leave is rebuilt and opened.

The model is harsher than a journalling file system: of what was written since the last sync, any page may be on the
disk and any other not; of the names changed in a directory since its last sync, any may be changed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import av
import pytest

from edge_agent.capture import sink
from edge_agent.capture.salvage import salvage
from edge_agent.capture.writer import FRAGMENT_SECONDS, SegmentWriter
from edge_agent.segment import ClassTag, Segment
from edge_agent.store.checksum import crc64nvme
from tests.support.capture import FIELDS, recorded_in
from tests.support.clips import look, make_clip
from tests.support.upload import fresh_spool, names_in

FPS = 25
PAGE = 4096
START = datetime(2026, 11, 22, 14, 31, 5, 123000, UTC)
TAG = ClassTag(FIELDS, ("black", "cup"))


@dataclass
class FileLog:
    """What was done to one file: the pages written since each sync, and how many packets the writer had by then."""

    windows: list[list[tuple[int, bytes]]] = field(default_factory=lambda: [[]])
    packets: list[int] = field(default_factory=lambda: [0])

    def install(self, patch: pytest.MonkeyPatch) -> None:
        write, fdatasync = sink.DurableFile.write, os.fdatasync

        def logging_write(file: sink.DurableFile, data: bytes) -> int:
            position = file.tell()
            count = write(file, data)  # may sync first
            content = bytes(data)
            while content:
                room = PAGE - position % PAGE
                self.windows[-1].append((position, content[:room]))
                position, content = position + room, content[room:]
            return count

        def logging_sync(descriptor: int) -> None:
            fdatasync(descriptor)
            self.windows.append([])
            self.packets.append(self.packets[-1])

        patch.setattr(sink.DurableFile, "write", logging_write)
        patch.setattr(os, "fdatasync", logging_sync)

    def states(self, chance: random.Random, each: int) -> Iterator[tuple[int, bytes]]:
        """The number of the last sync, and a content a cut after it may leave; first that with nothing unsynced."""
        durable = bytearray()
        for number, window in enumerate(self.windows):
            for kept in _subsets(window, chance, each):
                yield number, _applied(durable, kept)
            durable = bytearray(_applied(durable, window))


def _subsets(pages: list[tuple[int, bytes]], chance: random.Random, each: int) -> Iterator[list[tuple[int, bytes]]]:
    """None, all, all but one, only one, and *each* random choices among *pages*, in the order they were written."""
    yield []
    yield pages
    for _ in range(min(each, len(pages))):
        one = chance.randrange(len(pages))
        yield [page for number, page in enumerate(pages) if number != one]
        yield [pages[one]]
        yield pages[:one]
        yield [page for page in pages if chance.random() < 0.5]


def _applied(content: bytes | bytearray, pages: list[tuple[int, bytes]]) -> bytes:
    """*content* with *pages* written; what was never written in between reads as zeros."""
    changed = bytearray(content)
    for position, data in pages:
        changed.extend(bytes(max(0, position + len(data) - len(changed))))
        changed[position : position + len(data)] = data
    return bytes(changed)


KINDS = {
    "short GOP": {"gop": 10},
    "long GOP": {"gop": 250},
    "B-frames": {"gop": 25, "b_frames": 3},
    "MJPEG": {"codec": "mjpeg", "pixels": "yuvj420p"},
}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", KINDS)
def test_power_cut(
    tmp_path: Path, kind: str, storm: bool, monkeypatch: pytest.MonkeyPatch, account: Callable[..., None]
) -> None:
    """Whatever part of the unsynced pages a cut leaves, salvage reads all that was synced, at most a fragment short."""
    suffix = "avi" if kind == "MJPEG" else "mp4"
    clip = make_clip(tmp_path / f"clip.{suffix}", frames=4 * FPS, **KINDS[kind])  # type: ignore[arg-type]
    was = look(clip, decode=False)
    log = FileLog()
    part = tmp_path / "segment.mp4.part"
    part.touch()
    with monkeypatch.context() as patch, av.open(str(clip)) as container:
        log.install(patch)
        writer = SegmentWriter(part, container.streams.video[0])
        for packet in container.demux(video=0):
            if packet.size:
                log.packets[-1] += 1
                writer.write(packet)
        writer.close()
    assert part.read_bytes() == _applied(b"", [page for window in log.windows for page in window])
    durable: dict[int, int] = {}  # packets in the file by the number of the last sync
    tried = longest = torn = 0
    for number, content in log.states(random.Random(7), 40 if storm else 2):
        kept = _salvaged(tmp_path / str(tried), content)
        tried += 1
        synced = durable.setdefault(number, len(kept))
        assert kept[:synced] == was.packets[:synced]
        torn += kept != was.packets[: len(kept)]  # a picture with a page missing, where the disk kept none of the order
        short = log.packets[number] - len(kept)
        assert short <= FRAGMENT_SECONDS * FPS, f"state {tried}: {short} of {log.packets[number]} frames short"
        longest = max(longest, short)
    assert kept == was.packets
    seen = f"{torn} states with torn pictures among the unsynced"
    account(f"{tried} states, {len(log.windows)} syncs", f"at most {longest} frames", seen)


def _salvaged(root: Path, content: bytes) -> list[bytes]:
    """The packets a start after the cut publishes of a part file with *content*."""
    spool = fresh_spool(root)
    name, part = spool.reserve(TAG, "dock7", "cam1", START)
    spool.note(Segment(name, "dock7", "cam1", START, 0.0, 0, "h264", 160, 120))
    part.write_bytes(content)
    salvage(spool, FIELDS, "dock7", lambda _: True)
    return recorded_in(spool, decode=False).packets


@dataclass
class NameLog:
    """The names in two directories: what was changed since each was synced, and every state a cut may leave."""

    names: dict[tuple[Path, str], bytes] = field(default_factory=dict)  # durable
    pending: list[tuple[Path, str, bytes | None]] = field(default_factory=list)  # None: the name is gone
    states: list[dict[tuple[Path, str], bytes]] = field(default_factory=list)

    def begin(self, *directories: Path) -> None:
        for path in (path for directory in directories for path in directory.iterdir()):
            self.names[path.parent, path.name] = path.read_bytes()

    def changed(self, path: Path, content: bytes | None) -> None:
        self.pending.append((path.parent, path.name, content))
        for kept in range(1 << len(self.pending)):
            state = dict(self.names)
            for number, (directory, name, what) in enumerate(self.pending):
                if kept >> number & 1:
                    state.pop((directory, name), None)
                    if what is not None:
                        state[directory, name] = what
            self.states.append(state)

    def synced(self, directory: Path) -> None:
        for where, name, what in self.pending:
            if where == directory:
                self.names.pop((where, name), None)
                if what is not None:
                    self.names[where, name] = what
        self.pending = [change for change in self.pending if change[0] != directory]

    def install(self, patch: pytest.MonkeyPatch) -> None:
        link, fsync, replace, unlink = os.link, os.fsync, Path.replace, Path.unlink

        def logging_link(source: Path, target: Path) -> None:
            link(source, target)
            self.changed(target, target.read_bytes())

        def logging_fsync(descriptor: int) -> None:
            fsync(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").resolve()
            if path.is_dir():
                self.synced(path)

        def logging_replace(source: Path, target: Path) -> Path:
            moved = replace(source, target)
            self.changed(target, target.read_bytes())
            return moved

        def logging_unlink(path: Path, missing_ok: bool = False) -> None:
            unlink(path, missing_ok=missing_ok)
            self.changed(path, None)

        patch.setattr(os, "link", logging_link)
        patch.setattr(os, "fsync", logging_fsync)
        patch.setattr(Path, "replace", logging_replace)
        patch.setattr(Path, "unlink", logging_unlink)


def test_power_cut_while_publishing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, account: Callable[..., None]
) -> None:
    """Whichever names a cut leaves of a segment that was being published, the next start has it once, and whole."""
    clip = make_clip(tmp_path / "clip.mp4")
    spool = fresh_spool(tmp_path / "spool")
    name, part = spool.reserve(TAG, "dock7", "cam1", START)
    known = Segment(name, "dock7", "cam1", START, 2.0, 50, "h264", 160, 120)
    spool.note(known)
    part.write_bytes(clip.read_bytes())
    log = NameLog()
    log.begin(spool.recording, spool.ready)
    with monkeypatch.context() as patch:
        log.install(patch)
        spool.finish(part, known.with_file(part.stat().st_size, crc64nvme(part).value))
    for number, state in enumerate(log.states):
        again = fresh_spool(tmp_path / f"state-{number}")
        for (directory, found), content in state.items():
            (again.root / directory.name / found).write_bytes(content)
        salvage(again, FIELDS, "dock7", lambda _: True)
        recorded = recorded_in(again)
        assert [segment.name for segment in recorded.segments] == [name], sorted(state)
        assert recorded.frames == [50]
        assert names_in(again.recording) == [] or names_in(again.recording) == [f"{name.stem}.json"]
        assert names_in(again.failed) == []
    account(f"{len(log.states)} states of the names", "nothing", "published once, whole")
