"""What can go wrong, and whether trying again helps.

::

    EdgeCaptureError
    ├── InvalidInput            never retried: a person must change something      exit status 2
    │   ├── ConfigInvalid           settings, command line
    │   ├── NameInvalid             a segment name, class tag, device or camera name
    │   ├── KeyInvalid              an object key or metadata the store must not take
    │   └── EventInvalid            a notification of a shape nobody knows
    ├── SourceError             retried with back-off: cameras come back
    │   ├── SourceUnreachable       no connection, refused, no such device, bad login
    │   ├── SourceStalled           connected, but nothing comes
    │   ├── SourceLost              was delivering, then failed
    │   └── SourceUnsupported       delivers something that cannot be stored; retried, slowly
    ├── SpoolError
    │   ├── SpoolUnusable           not there, not writable, not a directory: never retried
    │   ├── DiskFull                retried: space comes back
    │   └── WriteFailed             fsync or write failed: fatal for that segment, not for the next
    ├── ControlError            messages to and from the cloud; recording and uploads go on without
    │   ├── ControlUnreachable      no connection: retried
    │   └── ControlRefused          not permitted, or not configured as the broker wants it: never retried
    ├── VideoUnreadable         the file is no video or has no frame: never retried
    └── StoreError
        ├── ObjectNotFound          never retried
        ├── ObjectExists            create-if-absent found one; the caller compares
        ├── PreconditionFailed      compare-and-swap lost the race; the caller reads again
        ├── UploadGone              a multipart upload the store does not know (any more): begun anew
        ├── ObjectConflict          the key holds other bytes: kept, never overwritten
        ├── IntegrityMismatch       what arrived is not what was sent: retried
        ├── ContainerMissing        no such bucket or directory: retried, an operator may create it
        ├── CredentialsRefused      refused, expired or absent: retried, an operator may fix it
        ├── TransferStopped         told to pause or to stop in the middle: no failure, goes on later
        ├── StoreUnreachable        DNS, TLS, connection, time-out, 5xx: retried
        └── StoreThrottled          told to slow down: retried

An error is one line: where, what, what to do. ``scope`` says whom it counts against: the ``FILE`` at hand, or the
whole ``LINK`` (then no other file would fare better), or the ``CALLER``, who asked for something that cannot be.
Third-party exceptions are translated once, in the adapter that called the third party, with ``raise … from``.
"""

from __future__ import annotations

import enum
from typing import ClassVar


class Scope(enum.StrEnum):
    """Whom an error counts against."""

    FILE = "file"
    LINK = "link"
    CALLER = "caller"


class EdgeCaptureError(Exception):
    """Base of all errors this project raises on purpose; ``str()`` is one line fit for a person.

    ``what`` says what went wrong, ``where`` names the file, key, URL or setting, ``fix`` says what to do about it.
    """

    retryable: ClassVar[bool] = False
    scope: ClassVar[Scope] = Scope.CALLER
    exit_status: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what = what
        self.where = where
        self.fix = fix
        line = f"{where}: {what}" if where else what
        super().__init__(f"{line}; {fix}" if fix else line)

    @property
    def code(self) -> str:
        """The class name: stable, used in logs, ledgers and tests."""
        return type(self).__name__


class InvalidInput(EdgeCaptureError):
    exit_status = 2


class ConfigInvalid(InvalidInput):
    pass


class NameInvalid(InvalidInput):
    scope = Scope.FILE


class KeyInvalid(InvalidInput):
    scope = Scope.FILE


class EventInvalid(InvalidInput):
    pass


class SourceError(EdgeCaptureError):
    retryable = True
    scope = Scope.LINK


class SourceUnreachable(SourceError):
    pass


class SourceStalled(SourceError):
    pass


class SourceLost(SourceError):
    pass


class SourceUnsupported(SourceError):
    pass


class SpoolError(EdgeCaptureError):
    scope = Scope.LINK


class SpoolUnusable(SpoolError):
    pass


class DiskFull(SpoolError):
    retryable = True


class WriteFailed(SpoolError):
    retryable = True
    scope = Scope.FILE


class ControlError(EdgeCaptureError):
    scope = Scope.LINK


class ControlUnreachable(ControlError):
    retryable = True


class ControlRefused(ControlError):
    pass


class VideoUnreadable(EdgeCaptureError):
    scope = Scope.FILE


class StoreError(EdgeCaptureError):
    scope = Scope.FILE


class ObjectNotFound(StoreError):
    pass


class ObjectExists(StoreError):
    pass


class PreconditionFailed(StoreError):
    pass


class UploadGone(StoreError):
    pass


class ObjectConflict(StoreError):
    pass


class IntegrityMismatch(StoreError):
    retryable = True


class ContainerMissing(StoreError):
    retryable = True
    scope = Scope.LINK


class CredentialsRefused(StoreError):
    retryable = True
    scope = Scope.LINK


class StoreUnreachable(StoreError):
    retryable = True
    scope = Scope.LINK


class StoreThrottled(StoreError):
    retryable = True
    scope = Scope.LINK


class TransferStopped(StoreError):
    retryable = True
    scope = Scope.LINK
