"""What every error means for the queue, and how long it waits."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent import errors
from edge_agent.errors import EdgeCaptureError
from edge_agent.upload.retry import Fate, fate_of, file_delay, link_delay

FATES = {
    errors.EdgeCaptureError: Fate.STOP,
    errors.InvalidInput: Fate.STOP,
    errors.ConfigInvalid: Fate.STOP,
    errors.NameInvalid: Fate.QUARANTINE,
    errors.KeyInvalid: Fate.QUARANTINE,
    errors.EventInvalid: Fate.STOP,
    errors.SourceError: Fate.RETRY_ALL,
    errors.SourceUnreachable: Fate.RETRY_ALL,
    errors.SourceStalled: Fate.RETRY_ALL,
    errors.SourceLost: Fate.RETRY_ALL,
    errors.SourceUnsupported: Fate.RETRY_ALL,
    errors.SpoolError: Fate.STOP,
    errors.SpoolUnusable: Fate.STOP,
    errors.DiskFull: Fate.RETRY_ALL,
    errors.WriteFailed: Fate.RETRY_FILE,
    errors.VideoUnreadable: Fate.QUARANTINE,
    errors.StoreError: Fate.QUARANTINE,
    errors.ObjectNotFound: Fate.RETRY_FILE,
    errors.ObjectExists: Fate.RETRY_FILE,
    errors.PreconditionFailed: Fate.RETRY_FILE,
    errors.UploadGone: Fate.RETRY_FILE,
    errors.ObjectConflict: Fate.CONFLICT,
    errors.IntegrityMismatch: Fate.RETRY_FILE,
    errors.ContainerMissing: Fate.RETRY_ALL,
    errors.CredentialsRefused: Fate.RETRY_ALL,
    errors.StoreUnreachable: Fate.RETRY_ALL,
    errors.StoreThrottled: Fate.RETRY_ALL,
    errors.TransferStopped: Fate.RETURN,
    errors.ControlError: Fate.STOP,
    errors.ControlUnreachable: Fate.RETRY_ALL,
    errors.ControlRefused: Fate.STOP,
}
DECLARED = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.EdgeCaptureError)
]


@pytest.mark.parametrize("kind", DECLARED, ids=lambda kind: kind.__name__)
def test_every_error_has_a_fate_that_was_decided(kind: type[EdgeCaptureError]) -> None:
    """An error class that nobody thought about fails this test instead of losing footage."""
    assert fate_of(kind("something went wrong")) is FATES[kind]


@given(failures=st.integers(1, 10**9), draw=st.floats(0, 1, exclude_max=True))
def test_a_link_is_tried_again_within_thirty_seconds(failures: int, draw: float) -> None:
    """However long it was down, the store is tried again after 1 to 30 s, never sooner, never later."""
    assert 1.0 <= link_delay(failures, lambda: draw) <= 30.0


def test_a_fleet_spreads_its_probes_over_the_whole_back_off() -> None:
    """Boxes that were cut off together draw from the whole range, not from its end."""
    assert link_delay(10, lambda: 0.0) == 1.0
    assert link_delay(10, lambda: 0.5) == 15.5
    assert link_delay(1, lambda: 0.999) < link_delay(3, lambda: 0.999) < link_delay(9, lambda: 0.999)


def test_a_file_waits_two_seconds_doubling_to_five_minutes() -> None:
    """A file's own trouble costs it 2, 4, 8 … 300 s, and no more after years."""
    assert [file_delay(attempts) for attempts in (1, 2, 3, 8, 9, 10**6)] == [2, 4, 8, 256, 300, 300]
