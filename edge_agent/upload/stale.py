"""Uploads in parts that nobody will go on with: they cost storage that no listing of objects shows."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from edge_agent.errors import CredentialsRefused
from edge_agent.segment import check_device
from edge_agent.spool import VIDEO_SUFFIX
from edge_agent.store.base import ObjectStore, PendingUpload
from edge_agent.upload.schema import printable
from edge_agent.upload.unfinished import UnfinishedUploads

# A day, because another agent may be at work under the device's name: one that is set up anew beside the old one.
NOT_OURS_FOR = timedelta(days=1)
# What the ledger lost is found again when its segment's turn comes; by then, or it is not worth keeping.
TOO_OLD = timedelta(days=7)


def is_stale(pending: PendingUpload, now: datetime, *, waiting: bool) -> bool:
    """Whether an upload that the ledger does not know can go; *waiting*: its segment is still to be uploaded. Pure."""
    return now - pending.initiated > (TOO_OLD if waiting else NOT_OURS_FOR)


def abort_stale(store: ObjectStore, unfinished: UnfinishedUploads, device: str, now: datetime) -> int:
    """Abort what was begun for *device* and has no future; how many.

    What the ledger knows goes when its segment waits no more, however young; what it does not know, by
    :func:`is_stale`, where the store lets us look. Other devices' uploads are never touched. Raises StoreError and
    SpoolError.
    """
    log, count = structlog.get_logger(), 0

    def abort(key: str, upload_id: str) -> None:
        store.abort_multipart(key, upload_id)
        log.info("stale_upload_aborted", key=key, upload_id=upload_id)

    for upload in unfinished.ownerless():
        if not upload.upload_id:  # nobody knows whether it was begun: if it was, it is found below in its time
            unfinished.forgotten(upload.stem)
            continue
        abort(upload.key, upload.upload_id)
        unfinished.forgotten(upload.stem)
        count += 1
    try:
        pending = list(store.list_multiparts(f"videos/{check_device(device)}/"))
    except CredentialsRefused:  # a device's role need not be allowed to list: then the ledger's word must do
        return count
    for found in pending:
        stem = printable(found.key.rpartition("/")[2].removesuffix(VIDEO_SUFFIX))
        if not unfinished.is_known(found.upload_id) and is_stale(found, now, waiting=unfinished.is_waiting(stem)):
            abort(found.key, found.upload_id)
            count += 1
    return count
