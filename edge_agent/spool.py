"""The spool: the durable directory where capture and upload meet, and the only place where they do.

::

    recording/   <stem>.mp4.part being written, <stem>.json what is known of it so far
    ready/       <stem>.mp4 finished, whole, durable; <stem>.json its sidecar
    uploaded/    verified copies, kept until space or age takes them
    failed/      what needs a person, each with <name>.reason

**The rename into ready/ is the only "finished" signal.** Whoever finds ``<stem>.mp4`` there may trust it whole.
Nothing here ever overwrites: a name that is taken anywhere in the spool is not given out again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from edge_agent.durable import NameTaken, fsync_directory, move_durably, os_errors, write_durably
from edge_agent.errors import NameInvalid, SpoolUnusable
from edge_agent.segment import ClassTag, Segment, SegmentName, Take

VIDEO_SUFFIX = ".mp4"
PART_SUFFIX = ".mp4.part"
SIDECAR_SUFFIX = ".json"
REASON_SUFFIX = ".reason"

_LONGEST_REASONED = 240  # NAME_MAX of 255, less the suffix and what write_durably adds to a scratch file's name


class Spool:
    """The four directories under *root*. Safe to use from several processes; methods raise SpoolError."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.recording = root / "recording"
        self.ready = root / "ready"
        self.uploaded = root / "uploaded"
        self.failed = root / "failed"

    @classmethod
    def flat(cls, directory: Path) -> Spool:
        """A spool for single takes: finished videos lie in *directory* itself, parts in a hidden directory in it."""
        spool = cls(directory)
        spool.recording = directory / ".recording"
        spool.ready = spool.uploaded = spool.failed = directory
        return spool

    def remove_if_idle(self) -> None:
        """Remove ``recording/`` when nothing but locks is in it."""
        with contextlib.suppress(OSError):
            if all(path.name.startswith(".lock-") for path in self.recording.iterdir()):
                shutil.rmtree(self.recording)

    def prepare(self) -> None:
        """Create what is missing and prove that it can be written. Raises SpoolUnusable or DiskFull."""
        with os_errors(self.root):
            for directory in (self.recording, self.ready, self.uploaded, self.failed):
                directory.mkdir(parents=True, exist_ok=True)
                if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(directory))
            probe = self.recording / f".probe-{os.getpid()}"
            write_durably(probe, b"probe\n")
            probe.unlink()

    # -- recording -------------------------------------------------------------------------------------------------

    def reserve(self, tag: ClassTag, device: str, camera: str, start: datetime) -> tuple[SegmentName, Path]:
        """A fresh name for a segment that starts at *start*, and the part file that now holds it.

        Takes the next free millisecond when the name is taken, as happens after the clock stepped back.
        """
        while True:
            name = SegmentName(tag, str(Take(device, camera, start)))
            try:
                return name, self.reserve_name(name)
            except FileExistsError:
                start += timedelta(milliseconds=1)

    def reserve_name(self, name: SegmentName) -> Path:
        """The new, empty part file of exactly *name*. Raises FileExistsError when the spool has that name already."""
        part = self.recording / (name.stem + PART_SUFFIX)
        with os_errors(part):
            try:
                os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640))
            except FileExistsError as error:
                raise NameTaken(error.errno, "name is taken", str(part)) from error
        # Looked up after the reservation, so that a racing finish() of the same name cannot slip in between.
        if video := self.published(name.stem):
            part.unlink()
            raise NameTaken(errno.EEXIST, "name is taken", str(video))
        return part

    def published(self, stem: str) -> Path | None:
        """The finished video of that name, wherever it has got to, or None."""
        videos = (directory / (stem + VIDEO_SUFFIX) for directory in (self.ready, self.uploaded, self.failed))
        return next((video for video in videos if video.exists()), None)

    @contextmanager
    def only_one(self, who: str) -> Iterator[None]:
        """Hold *who* locked while the block lasts: two processes on one camera would each lose half of its packets.

        Raises SpoolUnusable when another process holds it.
        """
        path = self.recording / f".lock-{who}"
        with os_errors(path):
            file = path.open("w")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise SpoolUnusable(
                    "another process is recording this camera", where=str(path), fix="stop it first"
                ) from error
            yield

    def note(self, segment: Segment) -> None:
        """Write down what is known of a segment that is being recorded, for a salvage after a crash."""
        with os_errors(self.recording):
            write_durably(self.recording / (segment.name.stem + SIDECAR_SUFFIX), segment.to_json().encode())

    def finish(self, part: Path, segment: Segment) -> Path:
        """Publish *part* in ``ready/`` under the segment's name: file, sidecar, then the rename, each durable."""
        video = self.ready / (segment.name.stem + VIDEO_SUFFIX)
        with os_errors(part):
            descriptor = os.open(part, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            write_durably(video.with_suffix(SIDECAR_SUFFIX), segment.to_json().encode())
            move_durably(part, video)
            self.forget_note(segment.name.stem)
        return video

    def forget_note(self, stem: str) -> None:
        """Remove what :meth:`note` wrote."""
        with os_errors(self.recording):
            (self.recording / (stem + SIDECAR_SUFFIX)).unlink(missing_ok=True)

    def discard_empty(self, part: Path) -> None:
        """Give the name of a part file that never got a frame back."""
        with os_errors(part):
            part.unlink(missing_ok=True)
        self.forget_note(stem_of(part))

    def parts(self) -> list[Path]:
        """The part files in ``recording/``, oldest name first."""
        with os_errors(self.recording):
            return sorted(path for path in self.recording.iterdir() if path.name.endswith(PART_SUFFIX))

    def noted(self, part: Path) -> Segment | None:
        """What :meth:`note` wrote for *part*, or None when nothing readable is there."""
        try:
            return Segment.from_json((self.recording / (stem_of(part) + SIDECAR_SUFFIX)).read_text())
        except (OSError, UnicodeDecodeError, NameInvalid):
            return None

    # -- ready and after -------------------------------------------------------------------------------------------

    def ready_videos(self) -> list[Path]:
        """Everything in ``ready/`` that waits for upload, in name order: all files but sidecars and hidden ones."""
        with os_errors(self.ready), os.scandir(self.ready) as entries:
            names = sorted(e.name for e in entries if e.is_file(follow_symlinks=False))
        return [self.ready / n for n in names if not n.startswith(".") and not n.endswith(SIDECAR_SUFFIX)]

    def sidecar(self, video: Path) -> Segment | None:
        """The sidecar beside *video*, or None when there is none. Raises NameInvalid when it is malformed."""
        path = video.with_suffix(SIDECAR_SUFFIX)
        with os_errors(path):
            try:
                text = path.read_text(encoding="utf-8", errors="replace")
            except FileNotFoundError:
                return None
        return Segment.from_json(text)

    def write_sidecar(self, video: Path, segment: Segment) -> None:
        """Write the sidecar of a video that came without one."""
        with os_errors(video):
            write_durably(video.with_suffix(SIDECAR_SUFFIX), segment.to_json().encode())

    def rename_ready(self, video: Path, segment: Segment, announce: Callable[[SegmentName], object]) -> bool:
        """Call *video*, in ``ready/``, what *segment* is called; False, with nothing done, when that name is taken.

        Sidecar, link, *announce*, and only then is the old name given up: after a crash it is called again with the
        same segment, and goes on from there.
        """
        target = self.ready / (segment.name.stem + VIDEO_SUFFIX)
        part = self.recording / (segment.name.stem + PART_SUFFIX)
        with os_errors(video):
            taken = self.published(segment.name.stem)
            if part.exists() or (taken and not taken.samefile(video)):
                return False
            if not taken:
                write_durably(target.with_suffix(SIDECAR_SUFFIX), segment.to_json().encode())
                os.link(video, target)
                if part.exists():  # reserved in this moment; who reserved it before our link did not see it
                    target.unlink()
                    return False
                fsync_directory(self.ready)
            announce(segment.name)
            video.unlink()
            fsync_directory(self.ready)
            video.with_suffix(SIDECAR_SUFFIX).unlink(missing_ok=True)
        return True

    def keep_uploaded(self, video: Path) -> Path:
        """Move a verified *video* and its sidecar to ``uploaded/``; after a power cut they may be in both."""
        return self._move(video, self.uploaded)

    def fail(self, video: Path, reason: str) -> Path:
        """Move *video* (or a part) and its sidecar to ``failed/``, with *reason* beside it, for a person to look at."""
        return self._move(video, self.failed, reason)

    def sweep(self, step: int = 500) -> Iterator[None]:
        """Remove, in steps of *step*, what a crash in the middle of a move left: sidecars whose videos had gone on."""
        with os_errors(self.ready), os.scandir(self.ready) as entries:
            names = (entry.name for entry in entries if entry.name.endswith(SIDECAR_SUFFIX))
            for number, name in enumerate(names, start=1):
                if not number % step:
                    yield
                video = name.removesuffix(SIDECAR_SUFFIX) + VIDEO_SUFFIX
                # A video that is not there may also be about to come; but not one whose name is used up.
                if os.path.lexists(f"{self.ready}/{video}"):
                    continue
                moved = any((directory / video).exists() for directory in (self.uploaded, self.failed))
                if moved or self._is_renamed(self.ready / video):
                    (self.ready / name).unlink(missing_ok=True)

    def _is_renamed(self, video: Path) -> bool:
        """Whether the sidecar of *video* tells another start than its name: only :meth:`rename_ready` leaves that."""
        try:
            segment = self.sidecar(video)
        except NameInvalid:
            return False
        made = segment.name.made_by if segment else None
        return segment is not None and made is not None and made.start != segment.start

    def _move(self, video: Path, directory: Path, reason: str = "") -> Path:
        """All is in *directory* before anything goes from where it was: after a crash, the move is made again.

        Links rather than renames, so that nothing is overwritten, no space is needed, and the watcher of ``ready/``
        (which holds unpaired renames back for half a second) sees only a deletion.
        """
        is_part = video.name.endswith(PART_SUFFIX)
        stem, suffix = (stem_of(video), VIDEO_SUFFIX) if is_part else (video.stem, video.suffix)
        target = directory / (stem + suffix)
        with os_errors(directory):
            number = 0
            while target.exists() and not target.samefile(video):
                number += 1
                target = directory / f"{stem}.{number}{suffix}"
            sidecar, beside = video.with_name(stem + SIDECAR_SUFFIX), target.with_suffix(SIDECAR_SUFFIX)
            # x.mov has no claim on the sidecar of x.mp4. Unlike the method, the function bears names that are too long.
            paired = suffix == VIDEO_SUFFIX and os.path.exists(sidecar)  # noqa: PTH110
            if paired:
                beside.unlink(missing_ok=True)
                _link_or_rename(sidecar, beside)
            if not target.exists():
                _link_or_rename(video, target)
            if reason:
                write_durably(reason_for(target), f"{reason}\n".encode())
            fsync_directory(directory)
            video.unlink(missing_ok=True)
            if paired:
                sidecar.unlink(missing_ok=True)
            if directory != self.uploaded:
                fsync_directory(video.parent)
        return target


def reason_for(target: Path) -> Path:
    """Where the reason for *target* stands: beside it, under a name that is cut where NAME_MAX leaves no room."""
    return target.with_name(os.fsdecode(os.fsencode(target.name)[:_LONGEST_REASONED]) + REASON_SUFFIX)


def _link_or_rename(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except PermissionError:  # fs.protected_hardlinks forbids links to another user's file; a rename it allows
        source.replace(target)


def stem_of(path: Path) -> str:
    """The segment stem of a video, part or sidecar."""
    name = path.name
    for suffix in (PART_SUFFIX, VIDEO_SUFFIX, SIDECAR_SUFFIX):
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return path.stem
