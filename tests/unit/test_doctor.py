"""What the doctor makes of what it saw."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import SystemClock
from edge_agent.config import Settings
from edge_agent.doctor.cameras import told
from edge_agent.doctor.disk import room_finding, speed_finding
from edge_agent.doctor.examination import Check, Patient, examine
from edge_agent.doctor.finding import Finding, Verdict, fault, ok, report, warning
from edge_agent.doctor.network import Way, way_finding
from edge_agent.doctor.table import summary
from edge_agent.errors import StoreUnreachable
from edge_agent.quota import Disk, Held, Policy, plan

DAY = 86400.0
GB = 10**9


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    document = {
        "device": "dock7",
        "spool": tmp_path,
        "store": {"url": "store"},
        "cameras": {"cam1": {"source": "exec:x"}},
    }
    return Patient(Settings.model_validate(document), tmp_path / "edge-agent.yaml", SystemClock())


def test_a_check_that_hangs_is_a_fault_and_holds_nothing_up(patient: Patient) -> None:
    """What was found in time is told, what was not is named, and the other checks are complete."""
    release = threading.Event()

    def hangs(_: Patient) -> Iterator[Finding]:
        yield ok("first", "fine")
        release.wait()

    def works(_: Patient) -> Iterator[Finding]:
        yield ok("other", "fine")

    for seconds in (0.2, 2.0, 20.0):  # a machine that is held up for all of that time lets nobody find anything
        found = examine(patient, [Check(("first", "second"), hangs, seconds=seconds), Check(("other",), works)])
        if found[0].verdict is Verdict.OK:
            break
    release.set()
    assert [(finding.check, finding.verdict) for finding in found] == [
        ("first", Verdict.OK),
        ("second", Verdict.FAULT),
        ("other", Verdict.OK),
    ]
    assert "no answer within" in found[1].seen


def test_what_hangs_on_a_fault_is_not_looked_at(patient: Patient) -> None:
    """One cause is one fault; what could not be tried for it says so."""

    def breaks(_: Patient) -> Iterator[Finding]:
        yield ok("first", "fine")
        raise StoreUnreachable("gone", where="there", fix="plug it in")

    found = examine(patient, [Check(("first", "second", "third"), breaks)])
    assert [finding.verdict for finding in found] == [Verdict.OK, Verdict.FAULT, Verdict.WARNING]
    assert (found[1].seen, found[1].fix) == ("there: gone", "plug it in")


def test_a_report_is_well_unless_there_is_a_fault() -> None:
    """Warnings leave the exit status alone, one fault does not; both are counted."""
    some = [ok("a", "fine"), warning("b", "hm")]
    assert report(some)["ok"] is True
    assert report([*some, fault("c", "no")])["ok"] is False
    assert summary(some) == "1 warning"
    assert summary([*some, fault("c", "no"), fault("d", "no")]) == "2 faults, 1 warning"
    assert summary([ok("a", "fine")]) == "all is well"


def test_a_password_is_in_no_finding() -> None:
    """Whatever a check has seen, a URL's password is cut out of it."""
    for make in (ok, warning, fault):
        assert "s3cret" not in make("camera", "rtsp://bob:s3cret@host/x").seen


@given(
    now=st.floats(0, 4e9), before=st.floats(0, 1e9), after=st.floats(15 * DAY, 1e9), skew=st.floats(-59, 59),
)  # fmt: skip
def test_a_right_clock_and_a_valid_certificate_are_well(now: float, before: float, after: float, skew: float) -> None:
    """Within the certificate's time, and a minute of the server's, nothing is said against the clock."""
    end = min(now + after, 9e9)
    way = Way("host", "127.0.0.1", 3, "TLSv1.3", max(0.0, now - before), end, now + skew)
    assert way_finding(way, now).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("ahead", "verdict", "said"),
    [
        (0.0, Verdict.OK, "until"),
        (300.0, Verdict.WARNING, "300 s ahead"),
        (-300.0, Verdict.WARNING, "300 s behind"),
        (3600.0, Verdict.FAULT, "3,600 s ahead"),
        (-400 * DAY, Verdict.FAULT, "this clock says"),
    ],
)
def test_a_wrong_clock_is_found_by_the_server(ahead: float, verdict: Verdict, said: str) -> None:
    """Some minutes off is a warning, more than S3 takes is a fault, and a date outside the certificate's as well."""
    now = 1_800_000_000.0
    way = Way("host", "10.0.0.1", 3, "TLSv1.3", now - 90 * DAY, now + 90 * DAY, now)
    found = way_finding(way, now + ahead)
    assert found.verdict is verdict
    assert said in found.seen
    assert bool(found.fix) == (verdict is not Verdict.OK)


def test_a_certificate_that_ends_soon_is_a_warning() -> None:
    """Two weeks before its end somebody is told to renew it."""
    found = way_finding(Way("host", "10.0.0.1", 3, "TLSv1.3", 0.0, 20 * DAY), 10 * DAY)
    assert (found.verdict, "renew" in found.fix) == (Verdict.WARNING, True)


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        ([0.004] * 8, Verdict.OK),
        ([0.004] * 7 + [1.2], Verdict.WARNING),
        ([0.2] * 8, Verdict.WARNING),
        ([1.5] * 8, Verdict.FAULT),
    ],
)
def test_a_slow_disk_is_told_from_a_fast_one(seconds: list[float], verdict: Verdict) -> None:
    """A sync that takes as long as a fragment is a fault, a tenth of it a warning, as is a single very long one."""
    assert speed_finding(seconds).verdict is verdict


@pytest.mark.parametrize(
    ("disk", "policy", "verdict", "said"),
    [
        (Disk(0, 50 * GB, 64 * GB), Policy(free=GB), Verdict.OK, "50,000 MB free"),
        (Disk(0, GB // 2, 64 * GB), Policy(free=GB), Verdict.FAULT, "recording pauses"),
        (Disk(2 * GB, 50 * GB, 64 * GB), Policy(quota=GB, drop=True), Verdict.WARNING, "dropped unsent"),
        (Disk(0, 50 * GB, 64 * GB), Policy(quota=90 * GB, free=GB), Verdict.WARNING, "more than the disk"),
        (Disk(0, 50 * GB, 64 * GB), Policy(quota=20 * GB, free=GB), Verdict.OK, "20,000 MB used"),
    ],
)
def test_room_is_judged_as_retention_would(disk: Disk, policy: Policy, verdict: Verdict, said: str) -> None:
    """Pausing is a fault, footage that goes unsent a warning, and so is a quota that the disk cannot hold."""
    held = [Held("a_b_x", "a_b_x.mp4", 2 * GB, 0.0, verified=False)] if disk.used else []
    found = room_finding(disk, policy, plan(held, disk, policy))
    assert found.verdict is verdict
    assert said in found.seen


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ({"state": "recording", "healthy": True, "format": "mjpeg 1280x720"}, Verdict.OK),
        ({"state": "connecting", "healthy": False, "problem": "no such device"}, Verdict.FAULT),
        ({"state": "connecting", "healthy": False, "problem": ""}, Verdict.WARNING),
        ({}, Verdict.WARNING),
    ],
)
def test_a_camera_that_the_agent_holds_is_as_the_agent_says(status: dict[str, object], verdict: Verdict) -> None:
    """Healthy is well, a problem is a fault in the agent's words, and a start is waited for."""
    found = told("camera cam1", status)
    assert found.verdict is verdict
    assert str(status.get("problem", "")) in found.seen
