"""One segment to the store: resumable, never overwriting, proved by checksum."""

from __future__ import annotations

from edge_agent.clock import Clock
from edge_agent.errors import EdgeCaptureError, ObjectExists
from edge_agent.store.base import BLOCK, Body, FileSlice, ObjectInfo, ObjectStore
from edge_agent.upload.comparison import found_instead, stored
from edge_agent.upload.goodput import Goodput, Pace
from edge_agent.upload.multipart import CONTENT_TYPE, InParts
from edge_agent.upload.parts import SMALLEST_PART, goes_in_parts
from edge_agent.upload.prepared import Prepared, changed, file_errors
from edge_agent.upload.stale import abort_stale
from edge_agent.upload.unfinished import UnfinishedUploads


class Transfer:
    """Stores segments in *store*; one serves all worker threads.

    *pace* is called with each number of bytes about to be sent; what it raises ends the upload at once, and the parts
    sent so far are kept for the next attempt.
    """

    def __init__(
        self, store: ObjectStore, unfinished: UnfinishedUploads, clock: Clock, pace: Pace | None = None
    ) -> None:
        self._store = store
        self._unfinished = unfinished
        self._clock = clock
        self._goodput = Goodput(pace)
        self._in_parts = InParts(store, unfinished, clock, self._goodput)

    @property
    def sent(self) -> int:
        """Bytes handed to the network so far, those of failed tries too."""
        return self._goodput.sent

    @property
    def rate(self) -> float | None:
        """Bytes/s of one stream, smoothed; None before there was anything to measure."""
        return self._goodput.rate

    def upload(self, stem: str, prepared: Prepared, *, perhaps_stored: bool = False) -> ObjectInfo:
        """Store *prepared*, *stem* to the ledger; returns only when the store has exactly these bytes.

        Goes on with what an earlier attempt began, whatever ended it. An object that is there already is compared:
        equal is success. *perhaps_stored* asks first, which spares sending again what an earlier attempt delivered.
        Raises ObjectConflict when the key holds other bytes, VideoUnreadable when the file is not what its sidecar
        says, IntegrityMismatch when what arrived, or the file while it was read, is not what was prepared, UploadGone
        when the store forgets what was begun again and again, StoreError, and SpoolError for the ledger.
        """
        with file_errors(prepared.video):
            large = prepared.size > SMALLEST_PART
            upload = self._in_parts.noted(stem, prepared) if large else None
            if upload is None and perhaps_stored:
                if info := stored(prepared, self._store):
                    return info
                upload = self._in_parts.adopted(stem, prepared) if large else None
            if upload is None and not goes_in_parts(prepared.size, self._goodput.rate):
                return self._put(prepared)
            return self._in_parts.send(stem, prepared, upload)

    def abort_stale(self, device: str) -> int:
        """Abort the uploads of *device* that nobody will go on with; how many. Raises StoreError, SpoolError."""
        return abort_stale(self._store, self._unfinished, device, self._clock.now())

    def _put(self, prepared: Prepared) -> ObjectInfo:
        prepared.ensure_unchanged()
        try:
            info = self._put_once(prepared)
        except ObjectExists:
            return found_instead(prepared, self._store)
        except EdgeCaptureError as error:
            if prepared.has_changed():  # a file that shrinks ends a put in many ways
                raise changed(prepared.video) from error
            raise
        prepared.ensure_unchanged()
        return info

    def _put_once(self, prepared: Prepared) -> ObjectInfo:
        started = self._clock.monotonic()
        body: Body = FileSlice(prepared.video, 0, prepared.size, self._goodput.passing)
        if prepared.content is not None:
            body = prepared.content
            for offset in range(0, len(body), BLOCK):
                self._goodput.passing(min(BLOCK, len(body) - offset))
        info = self._store.put_if_absent(
            prepared.key,
            body,
            content_type=CONTENT_TYPE,
            metadata=prepared.segment.to_metadata(),
            checksum=prepared.checksum,
        )
        self._goodput.measured(prepared.size, self._clock.monotonic() - started)
        return info
