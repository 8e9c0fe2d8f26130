"""Every error: whether it is retried, whom it counts against, how the command ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edge_agent import errors
from edge_agent.errors import EdgeCaptureError, Scope

# class: retried, counts against, exit status
TABLE: dict[str, tuple[bool, Scope, int]] = {
    "EdgeCaptureError": (False, Scope.CALLER, 1),
    "InvalidInput": (False, Scope.CALLER, 2),
    "ConfigInvalid": (False, Scope.CALLER, 2),
    "NameInvalid": (False, Scope.FILE, 2),
    "KeyInvalid": (False, Scope.FILE, 2),
    "EventInvalid": (False, Scope.CALLER, 2),
    "SourceError": (True, Scope.LINK, 1),
    "SourceUnreachable": (True, Scope.LINK, 1),
    "SourceStalled": (True, Scope.LINK, 1),
    "SourceLost": (True, Scope.LINK, 1),
    "SourceUnsupported": (True, Scope.LINK, 1),
    "SpoolError": (False, Scope.LINK, 1),
    "SpoolUnusable": (False, Scope.LINK, 1),
    "DiskFull": (True, Scope.LINK, 1),
    "WriteFailed": (True, Scope.FILE, 1),
    "ControlError": (False, Scope.LINK, 1),
    "ControlUnreachable": (True, Scope.LINK, 1),
    "ControlRefused": (False, Scope.LINK, 1),
    "VideoUnreadable": (False, Scope.FILE, 1),
    "StoreError": (False, Scope.FILE, 1),
    "ObjectNotFound": (False, Scope.FILE, 1),
    "ObjectExists": (False, Scope.FILE, 1),
    "PreconditionFailed": (False, Scope.FILE, 1),
    "UploadGone": (False, Scope.FILE, 1),
    "ObjectConflict": (False, Scope.FILE, 1),
    "IntegrityMismatch": (True, Scope.FILE, 1),
    "ContainerMissing": (True, Scope.LINK, 1),
    "CredentialsRefused": (True, Scope.LINK, 1),
    "StoreUnreachable": (True, Scope.LINK, 1),
    "StoreThrottled": (True, Scope.LINK, 1),
    "TransferStopped": (True, Scope.LINK, 1),
}


def tree(kind: type[EdgeCaptureError]) -> Iterator[type[EdgeCaptureError]]:
    if kind.__module__ == errors.__name__:
        yield kind
    for below in kind.__subclasses__():
        yield from tree(below)


@pytest.mark.parametrize("kind", sorted(tree(EdgeCaptureError), key=str))
def test_every_error_is_retried_counted_and_ends_as_the_table_says(kind: type[EdgeCaptureError]) -> None:
    """Nobody adds an error without deciding what it means."""
    error = kind("is wrong", where="this", fix="mend it")
    assert (kind.retryable, kind.scope, kind.exit_status) == TABLE[kind.__name__]
    assert str(error) == "this: is wrong; mend it"
    assert error.code == kind.__name__


def test_the_table_has_no_error_that_is_gone() -> None:
    """The table and the module name the same errors, and the module's docstring draws them all."""
    names = {kind.__name__ for kind in tree(EdgeCaptureError)}
    assert names == set(TABLE)
    assert all(name in (errors.__doc__ or "") for name in names)


def test_an_error_says_only_what_it_knows() -> None:
    """Without a place or a remedy the line is still whole."""
    assert str(EdgeCaptureError("is wrong")) == "is wrong"
    assert str(EdgeCaptureError("is wrong", where="this")) == "this: is wrong"
    assert str(EdgeCaptureError("is wrong", fix="mend it")) == "is wrong; mend it"
