"""One segment in parts: what a kill, a reboot or days offline interrupt goes on with the part that was under way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from edge_agent.clock import Clock
from edge_agent.errors import (
    CredentialsRefused,
    EdgeCaptureError,
    IntegrityMismatch,
    ObjectConflict,
    ObjectExists,
    StoreError,
    UploadGone,
    VideoUnreadable,
)
from edge_agent.store.base import Checksum, FileSlice, ObjectInfo, ObjectStore, Part
from edge_agent.store.checksum import ALGORITHM, crc64nvme
from edge_agent.upload.comparison import fits, found_instead, joined, stored
from edge_agent.upload.goodput import Goodput
from edge_agent.upload.parts import Span, part_size, part_size_of, spans
from edge_agent.upload.prepared import Prepared, changed, not_as_told
from edge_agent.upload.unfinished import Unfinished, UnfinishedUploads

CONTENT_TYPE = "video/mp4"


class InParts:
    """Sends segments in parts to *store*, and notes in *unfinished* what was begun. For several threads."""

    def __init__(self, store: ObjectStore, unfinished: UnfinishedUploads, clock: Clock, goodput: Goodput) -> None:
        self._store = store
        self._unfinished = unfinished
        self._clock = clock
        self._goodput = goodput

    # -- what an earlier attempt left ------------------------------------------------------------------------------

    def noted(self, stem: str, prepared: Prepared) -> Unfinished | None:
        """The upload that the ledger knows of; one of another file is given up."""
        upload = self._unfinished.of(stem)
        if upload is not None and upload.is_of(prepared):
            return upload if upload.upload_id else self._asked_for(upload)
        if upload is not None:
            self._give_up(upload)
        return None

    def adopted(self, stem: str, prepared: Prepared) -> Unfinished | None:
        """An upload that the ledger lost, found in the store: its parts, and there are some, are all the file's."""
        for upload_id, parts in self._pending(prepared.key):
            size = part_size_of(parts, prepared.size)
            if size is not None and _are_of(parts, size, prepared):
                return self._note(stem, prepared, upload_id, size)
        return None

    def _asked_for(self, upload: Unfinished) -> Unfinished | None:
        """*upload* as the store has begun it, of which nobody heard: one to its key, without any part.

        It may as well be another agent's who has just begun: nothing is aborted for that reason. With two of them in
        one upload, a completion is refused to whoever's parts were replaced, and he begins anew.
        """
        for upload_id, parts in self._pending(upload.key):
            if not parts and not self._unfinished.is_known(upload_id):
                found = replace(upload, upload_id=upload_id)
                self._unfinished.begun(found, self._now())
                return found
        return None

    def _pending(self, key: str) -> Iterator[tuple[str, Sequence[Part]]]:
        """Every upload to *key* in the store, the newest first, with its parts."""
        try:
            found = [upload for upload in self._store.list_multiparts(key) if upload.key == key]
        except CredentialsRefused:  # a device's role need not let it look; one that lets nothing else is told next
            return
        for pending in sorted(found, key=lambda upload: upload.initiated, reverse=True):
            with suppress(UploadGone):
                yield pending.upload_id, self._store.list_parts(pending.key, pending.upload_id)

    # -- sending ---------------------------------------------------------------------------------------------------

    def send(self, stem: str, prepared: Prepared, upload: Unfinished | None) -> ObjectInfo:
        """Store *prepared*, going on with *upload* if there is one. Raises as ``Transfer.upload`` does."""
        begun_before = upload is not None
        upload = upload or self._begin(stem, prepared)
        try:
            return self._send(prepared, upload, begun_before=begun_before)
        except UploadGone:
            # Completed, and nobody heard of it; else aborted or overtaken: then begun anew, once in an attempt.
            self._give_up(upload)
        if info := stored(prepared, self._store, upload.part_size):
            return info
        return self._send(prepared, self._begin(stem, prepared), begun_before=False)

    def _begin(self, stem: str, prepared: Prepared) -> Unfinished:
        size = part_size(prepared.size, self._goodput.rate)
        # Noted before, too: what the store begins and a kill keeps us from hearing of is looked for next time.
        self._note(stem, prepared, "", size)
        upload_id = self._store.create_multipart(
            prepared.key, content_type=CONTENT_TYPE, metadata=prepared.segment.to_metadata()
        )
        return self._note(stem, prepared, upload_id, size)

    def _send(self, prepared: Prepared, upload: Unfinished, *, begun_before: bool) -> ObjectInfo:
        there = self._store.list_parts(upload.key, upload.upload_id) if begun_before else []
        try:
            parts, whole = self._send_parts(prepared, upload, {part.number: part for part in there})
            self._ensure_whole(prepared, upload, whole)
            info = self._complete(prepared, upload, parts)
        except (VideoUnreadable, ObjectConflict):
            self._give_up(upload)
            raise
        except EdgeCaptureError as error:
            if not prepared.has_changed():
                raise
            self._give_up(upload)
            raise changed(prepared.video) from error
        self._unfinished.forgotten(upload.stem)
        return info

    def _send_parts(
        self, prepared: Prepared, upload: Unfinished, there: dict[int, Part]
    ) -> tuple[list[Part], Checksum]:
        """The parts that the store has then, and the checksum of all together."""
        parts, whole = [], crc64nvme(b"")
        untouched = upload.identity == prepared.identity
        for span in spans(prepared.size, upload.part_size):
            kept = there.get(span.number)
            # Of a file nobody touched since, the store's word is enough: all parts' checksums must make the file's.
            checksum = _told(kept, span) if untouched else None
            if kept is None or checksum is None:
                kept, checksum = self._ensure_part(prepared, upload, span, kept)
            parts.append(kept)
            whole = joined(whole, checksum, span.size)
        return parts, whole

    def _ensure_part(
        self, prepared: Prepared, upload: Unfinished, span: Span, kept: Part | None
    ) -> tuple[Part, Checksum]:
        """The part in the store, sent unless *kept* is it, and its checksum."""
        prepared.ensure_unchanged()
        body = FileSlice(prepared.video, span.offset, span.size)
        checksum = crc64nvme(body)
        part = kept if kept and fits(kept, body, checksum) else self._send_part(upload, span.number, body, checksum)
        prepared.ensure_unchanged()
        return part, checksum

    def _send_part(self, upload: Unfinished, number: int, body: FileSlice, checksum: Checksum) -> Part:
        started = self._clock.monotonic()
        paced = replace(body, pace=self._goodput.passing)
        part = self._store.upload_part(upload.key, upload.upload_id, number, paced, checksum=checksum)
        self._goodput.measured(body.size, self._clock.monotonic() - started)
        return part

    def _complete(self, prepared: Prepared, upload: Unfinished, parts: list[Part]) -> ObjectInfo:
        self._unfinished.completing(upload.stem, self._now())
        try:
            return self._store.complete_multipart(upload.key, upload.upload_id, parts, prepared.checksum)
        except ObjectExists:
            info = found_instead(prepared, self._store, upload.part_size)
        except IntegrityMismatch:
            self._give_up(upload)
            raise
        self._give_up(upload)
        return info

    def _ensure_whole(self, prepared: Prepared, upload: Unfinished, whole: Checksum) -> None:
        """Raise unless the parts together, *whole*, are the segment: who is wrong, a part or the file, is found out."""
        if whole == prepared.checksum:
            return
        self._give_up(upload)
        found = crc64nvme(prepared.video)
        prepared.ensure_unchanged()
        if found == prepared.checksum:
            raise IntegrityMismatch("the parts in the store are not those of the file", where=upload.key)
        raise not_as_told(prepared.video, prepared.segment, prepared.segment.with_file(prepared.size, found.value))

    # -- notes -----------------------------------------------------------------------------------------------------

    def _note(self, stem: str, prepared: Prepared, upload_id: str, part: int) -> Unfinished:
        upload = Unfinished(stem, prepared.key, upload_id, part, prepared.identity, prepared.segment.crc64nvme)
        self._unfinished.begun(upload, self._now())
        return upload

    def _give_up(self, upload: Unfinished) -> None:
        """Abort *upload*; as long as the store cannot be told, it stays noted, and is aborted later."""
        with suppress(StoreError):
            if upload.upload_id:
                self._store.abort_multipart(upload.key, upload.upload_id)
            self._unfinished.forgotten(upload.stem)

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _told(part: Part | None, span: Span) -> Checksum | None:
    """What the store says is the checksum of *part*, if it has the right size and the checksum is of our kind."""
    if part is None or part.size != span.size or part.checksum is None or part.checksum.algorithm != ALGORITHM:
        return None
    return part.checksum


def _are_of(parts: Iterable[Part], size: int, prepared: Prepared) -> bool:
    """Whether all *parts*, cut by *size*, have the file's bytes."""
    for part in parts:
        body = FileSlice(prepared.video, (part.number - 1) * size, part.size)
        if not fits(part, body, crc64nvme(body)):
            return False
    return True
