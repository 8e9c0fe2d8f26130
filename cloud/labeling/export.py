"""From a manifest to a data set in another tool's format: streaming, resumable, checksummed, whole or not there.

::

    .<out>.partial/lock, .ledger     who works on it, what was copied; goes with the last step
    .<out>.partial/data/             becomes <out> by one rename, when all of it is written
        sources.jsonl                which picture is which line, see formats/sidecar.py
        checksums.sha256             of every file, as sha256sum -c reads it

A run that is killed leaves the directory; the next one writes the label files anew and takes the copies that are whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from cloud.dataset.findings import Finding, Findings
from cloud.dataset.pictures import NOT_FOR_US
from cloud.dataset.pictures import Pictures as Reader
from cloud.dataset.whole import refused
from cloud.labeling.export_ledger import FILE as LEDGER
from cloud.labeling.export_ledger import Copy, Ledger
from cloud.labeling.export_pictures import Mode, Pictures
from cloud.labeling.export_plan import Chosen, Source, fitted, sorted_out
from cloud.labeling.formats import sidecar
from cloud.labeling.formats.base import Entry, Format, Writer
from cloud.labeling.output import Record
from edge_agent.errors import ConfigInvalid, EdgeCaptureError, Scope, WriteFailed

CHECKSUMS = "checksums.sha256"
THREADS = 16  # copying waits: for S3 about 50 ms a picture, whatever its size
_WINDOW = 4 * THREADS  # pictures on their way at once: a slow one holds up no thread, and memory stays flat


@dataclass(slots=True)
class Report:
    """What an export holds. ``copied``: pictures that had to be copied in this run."""

    out: Path
    pictures: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    negatives: int = 0
    copied: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """Where an export goes and how pictures get there. *nearby* is looked into before a picture's own place."""

    out: Path
    mode: Mode = "copy"
    nearby: Path | None = None
    endpoint_url: str | None = None

    @property
    def partial(self) -> Path:
        return self.out.with_name(f".{self.out.name}.partial")


def export(
    source: Source,
    form: Format,
    chosen: Chosen,
    target: Target,
    findings: Findings,
    *,
    strict: bool = False,
    progress: Callable[[int], object] = int,
) -> Report:
    """Make ``target.out`` of *source*; *progress* is told how many lines are done.

    Findings: those of ``output.read_labels``, ``export_plan.sorted_out`` and ``fitted``; ``duplicate_line``,
    ``picture_missing``, ``picture_refused`` (dropped), ``wrong_size``. With *strict* any of them keeps the export from
    being finished: FindingsPresent. Raises ConfigInvalid when ``out`` is there already or nothing is left to export,
    as ``whole.refused``, and what a store raises when it cannot be reached; then the next run goes on from here.
    """
    check_free(target.out)
    report = Report(target.out)
    with _errors(target.out), _working(target.partial) as data, Ledger(target.partial) as ledger:
        _sweep(data, ledger)
        base = source.path.absolute().parent
        reader = Reader(target.nearby, base, target.endpoint_url, NOT_FOR_US)
        pictures = Pictures(data, target.mode, ledger, reader)
        job = _Job(source, form, chosen, pictures, findings, report)
        with closing(reader), form.write(data, chosen.plan) as writer, (data / sidecar.FILE).open("wb") as origins:
            job.run(writer, origins, progress)
        report.copied = pictures.copied
        findings.raise_if_strict(strict)
        if report.pictures:
            _finish(data, ledger, target.out)
    shutil.rmtree(target.partial)
    if not report.pictures:
        raise ConfigInvalid("nothing is left to export", where=source.where, fix="see what was left out above")
    return report


def check_free(out: Path) -> None:
    """Raise ConfigInvalid when *out* is there already, and no empty directory."""
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() or not out.name:
        raise ConfigInvalid("is there already", where=str(out), fix="name another --out, or delete it first")


@dataclass(slots=True)
class _Job:
    source: Source
    form: Format
    chosen: Chosen
    pictures: Pictures
    findings: Findings
    report: Report

    def run(self, writer: Writer, origins: BinaryIO, progress: Callable[[int], object]) -> None:
        """Write every example in the order of the lines, with pictures fetched some way ahead."""
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="picture")
        pending: deque[tuple[Record, Entry, Future[Copy | None] | None]] = deque()
        try:
            for number, record in enumerate(self.source.records(self.findings), start=1):
                entry = self._entry(record)
                if entry is not None:
                    pending.append((record, entry, self._fetch(pool, entry)))
                while len(pending) > _WINDOW:
                    self._write(*pending.popleft(), writer, origins)
                progress(number)
            while pending:
                self._write(*pending.popleft(), writer, origins)
        finally:
            pool.shutdown(cancel_futures=True)

    def _entry(self, record: Record) -> Entry | None:
        example = sorted_out(record, self.chosen, self.findings)
        if example is None or example.split is None:
            return None
        name = self.pictures.ledger.name(example.source, dotless=self.form.dotless)
        if name is None:
            self._leave(record, "duplicate_line", "is the second line of its picture", "edge-cloud manifest merge")
            return None
        attribute = None if self.chosen.what == "tags" else record.attribute
        entry = Entry(record.line, attribute, example, example.split, name)
        return replace(entry, picture=self.form.place(self.chosen.plan, entry))

    def _fetch(self, pool: ThreadPoolExecutor, entry: Entry) -> Future[Copy | None] | None:
        needs_size = self.form.needs_size and (entry.example.width is None or entry.example.height is None)
        if self.pictures.mode == "none" and not needs_size:
            return None
        return pool.submit(self.pictures.fetch, entry.example.source, entry.picture, needs_size=needs_size)

    def _write(
        self, record: Record, entry: Entry, fetching: Future[Copy | None] | None, writer: Writer, origins: BinaryIO
    ) -> None:
        try:
            copy = fetching.result() if fetching is not None else None
        except EdgeCaptureError as error:
            if error.scope is not Scope.FILE:
                raise
            code = "picture_missing" if error.code == "ObjectNotFound" else "picture_refused"
            self._leave(record, code, f"its picture cannot be used: {error}")
            return
        entry = self._complete(record, entry, copy)
        writer.add(entry)
        origins.write(sidecar.row(entry, tagged=self.chosen.what == "tags"))
        self.report.pictures[entry.split] += 1
        labels = entry.example.boxes if self.chosen.plan.task == "boxes" else entry.example.labels
        self.report.labels.update(label.label for label in labels or ())
        self.report.negatives += not labels

    def _complete(self, record: Record, entry: Entry, copy: Copy | None) -> Entry:
        """*entry* with the picture's size and place, and its boxes as the format takes them."""
        example, file = entry.example, None
        if copy is not None and copy.width is not None:
            size = (copy.width, copy.height)
            if example.width is None or example.height is None:
                example = replace(example, width=copy.width, height=copy.height)
            elif (example.width, example.height) != size:
                said = f"says {example.width}x{example.height}; its picture is {size[0]}x{size[1]}"
                fix = "the line is believed; see which of them the labels are of"
                self.findings.add(Finding("wrong_size", record.line.where, record.line.number, said, fix))
        if copy is not None and copy.sha256:
            file = self.pictures.root / entry.picture
            self.pictures.ledger.use(entry.picture)
        return replace(entry, example=fitted(record, example, self.form, self.findings), file=file)

    def _leave(self, record: Record, code: str, what: str, fix: str = "") -> None:
        self.findings.add(Finding(code, record.line.where, record.line.number, what, fix, dropped=True))


@contextmanager
def _working(partial: Path) -> Iterator[Path]:
    """The directory ``data`` in *partial*, held against other runs; an error leaves it for the next one."""
    data = partial / "data"
    data.mkdir(parents=True, exist_ok=True)
    with (partial / "lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigInvalid("another export is writing it", where=str(partial), fix="wait for it") from error
        yield data


def _sweep(data: Path, ledger: Ledger) -> None:
    """Delete what an earlier run left, but the copies: label files are written anew, maybe in another format."""
    for path in _files(data):
        if not ledger.knows(path.relative_to(data).as_posix()):
            path.unlink()


def _files(directory: Path) -> Iterator[Path]:
    """All files below *directory*, in the order of their paths, a directory at a time."""
    for entry in sorted(directory.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            yield from _files(entry)
        else:
            yield entry


def _finish(data: Path, ledger: Ledger, out: Path) -> None:
    """Take out what is no part of the export, write the checksums, have it all on disk, and give it its name."""
    for picture in ledger.unused():
        (data / picture).unlink(missing_ok=True)
    shutil.rmtree(data / ".pictures", ignore_errors=True)  # inside archives by now
    with (data / CHECKSUMS).open("w", encoding="utf-8") as sums:
        for path in _files(data):
            name = path.relative_to(data).as_posix()
            if name != CHECKSUMS:
                sums.write(f"{ledger.checksum(name) or _digest(path)}  {name}\n")
    for directory, _, names in os.walk(data, topdown=False):
        if not names and directory != str(data) and not os.listdir(directory):  # noqa: PTH208 - names, not paths
            Path(directory).rmdir()
    os.sync()
    out.parent.mkdir(parents=True, exist_ok=True)
    data.rename(out)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _errors(out: Path) -> Iterator[None]:
    """Raise what the operating system refuses as one of ours."""
    import sqlite3

    try:
        yield
    except OSError as error:
        raise refused(error, error.filename or out) from error
    except sqlite3.Error as error:
        where = str(out.with_name(f".{out.name}.partial") / LEDGER)
        raise WriteFailed(
            f"cannot be used: {error}", where=where, fix="delete it: copies are then made anew"
        ) from error
