"""What an error means for the queue, and how long to wait. Pure.

============================================  ==============  ========================================================
error                                         fate            what happens
============================================  ==============  ========================================================
TransferStopped                               RETURN          no failure: it goes on when it may
scope LINK, retryable                         RETRY_ALL       the breaker opens: 1 to 30 s, full jitter, for every file
scope FILE, retryable                         RETRY_FILE      that file alone waits: 2 s, doubling, up to 5 min
lost race (exists, gone, precondition)        RETRY_FILE      the next attempt looks again
UploadGone                                    RETRY_FILE      the next attempt begins the upload anew
ObjectConflict                                CONFLICT        object and file are both kept; the file goes to failed/
scope FILE, not retryable                     QUARANTINE      the file goes to failed/ with its reason
anything else                                 STOP            configuration or the spool itself: the uploader ends
============================================  ==============  ========================================================
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable

from edge_agent.errors import (
    EdgeCaptureError,
    ObjectConflict,
    ObjectExists,
    ObjectNotFound,
    PreconditionFailed,
    Scope,
    TransferStopped,
    UploadGone,
)

LINK_SHORTEST = 1.0
LINK_LONGEST = 30.0
FILE_SHORTEST = 2.0
FILE_LONGEST = 300.0

_DOUBLINGS = 32  # beyond any cap above; keeps the power of two finite after years offline


class Fate(enum.StrEnum):
    """What becomes of the file at hand, and of all others."""

    RETURN = "return"
    RETRY_ALL = "retry_all"
    RETRY_FILE = "retry_file"
    QUARANTINE = "quarantine"
    CONFLICT = "conflict"
    STOP = "stop"


def fate_of(error: EdgeCaptureError) -> Fate:
    """What *error*, raised while one file was being uploaded, means."""
    if isinstance(error, TransferStopped):
        return Fate.RETURN
    if isinstance(error, ObjectConflict):
        return Fate.CONFLICT
    if isinstance(error, ObjectExists | ObjectNotFound | PreconditionFailed | UploadGone):
        return Fate.RETRY_FILE
    if error.scope is Scope.FILE:
        return Fate.RETRY_FILE if error.retryable else Fate.QUARANTINE
    if error.scope is Scope.LINK and error.retryable:
        return Fate.RETRY_ALL
    return Fate.STOP


def link_delay(failures: int, draw: Callable[[], float] = random.random) -> float:
    """Seconds until the link is tried again after *failures* (from 1) in a row.

    Full jitter over a ceiling that doubles, so that a fleet cut off together does not come back together. *draw*
    gives a number in [0, 1).
    """
    ceiling = min(LINK_LONGEST, LINK_SHORTEST * 2.0 ** min(failures, _DOUBLINGS))
    return LINK_SHORTEST + draw() * (ceiling - LINK_SHORTEST)


def file_delay(attempts: int) -> float:
    """Seconds until a file is tried again after its *attempts* (from 1) failed."""
    return min(FILE_LONGEST, FILE_SHORTEST * 2.0 ** min(attempts - 1, _DOUBLINGS))
