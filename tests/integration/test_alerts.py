"""The alert rules and the dashboard, by what the agent tells: Prometheus's own promtool fires the rules, or not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge_agent.control.web.metrics import exposition
from tests.support.agent import ROOT

DOCS = ROOT / "docs" / "operations"
RULES = DOCS / "alerts.yaml"
BOX = "dock7.local:8080"
UP = f'up{{instance="{BOX}",job="edge-capture"}}'
BEGINS, LASTS = 5, 60  # the minute in which a trouble does, and for how many
WELL: dict[str, Any] = {
    "device": "dock7",
    "version": "1",
    "now": "2026-11-22T14:31:05.000Z",
    "running": True,
    "cameras": [{"name": "cam1", "status": {"healthy": True, "segment": "s"}, "stopped": False, "class": None}],
    "spool": {name: {"segments": 0, "bytes": 0} for name in ("ready", "failed")},
    "disk": {"paused": None, "lost_segments": 0},
    "upload": {"waiting": 0, "link": None, "paused": None, "oldest_waiting": None, "last_uploaded": None, "counts": {}},
}
CAMERA_AWAY = {**WELL["cameras"][0], "status": {"healthy": False}}
UPLOADS_WAIT = {**WELL["upload"], "waiting": 1, "oldest_waiting": "2026-11-22T13:31:04.000Z"}


@dataclass(frozen=True, slots=True)
class Case:
    """What a box that was well says from a minute on (None: it does not answer), and the one alert of it, if any.

    ``after``: so many minutes later, and no sooner. ``summary``: its words, after the box's name. ``labels``: besides
    those of any box.
    """

    trouble: Mapping[str, Any] | None
    alert: str = ""
    after: int = 30
    summary: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


GONE = ("EdgeCaptureGone", 5, ": the box or its agent does not answer")
DARK = ("EdgeCaptureCameraNotRecording", 2, " cam1: no footage lands", {"camera": "cam1"})
FULL = ("EdgeCaptureDiskPausesRecording", 1, ": recording waits for room on the disk")
LOST = ("EdgeCaptureFootageLost", 0, ": segments were dropped before they were uploaded")
STUCK = ("EdgeCaptureUploadsStuck", 10, ": a segment has waited for upload for more than an hour")
FAILED = ("EdgeCaptureQuarantine", 10, ": segments need a person: edge-agent quarantine list", {"directory": "failed"})
CASES = (
    Case(None, *GONE),
    Case({"running": False}, *GONE),
    Case({"cameras": [CAMERA_AWAY]}, *DARK),
    Case({"cameras": [{**CAMERA_AWAY, "stopped": True}]}),
    Case({"disk": {"paused": "no room", "lost_segments": 0}}, *FULL),
    Case({"disk": {"paused": None, "lost_segments": 3}}, *LOST),
    Case({"upload": UPLOADS_WAIT}, *STUCK),
    Case({"upload": {**UPLOADS_WAIT, "paused": "by command"}}),
    Case({"spool": {"failed": {"segments": 2, "bytes": 1}}}, *FAILED),
    Case({"spool": {"ready": {"segments": 2, "bytes": 1}}}),
)


def _scraped(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What Prometheus makes of a box's answer: each series with its name and labels, and the value."""
    yield UP, "1"
    for line in exposition(document).splitlines():
        if not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            name, _, labels = series.rstrip("}").partition("{")
            own = f'instance="{BOX}",job="edge-capture"'
            yield f"{name}{{{own}{',' if labels else ''}{labels}}}", value


def _unit_test(case: Case, alerts: list[str]) -> dict[str, Any]:
    """promtool's test of *case*: no alert a minute before, then that one alone."""
    before = dict(_scraped(WELL))
    later = {UP: "0"} if case.trouble is None else dict(_scraped({**WELL, **case.trouble}))
    series = [
        {"series": name, "values": " ".join([before.get(name, "_")] * BEGINS + [later.get(name, "stale")] * LASTS)}
        for name in sorted(before.keys() | later.keys())
    ]
    fires = {
        "exp_labels": {"instance": BOX, "job": "edge-capture", **case.labels},
        "exp_annotations": {"summary": f"{BOX}{case.summary}"},
    }
    asked = [
        {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": [fires] if expected == name else []}
        for minute, expected in ((BEGINS + case.after - 1, ""), (BEGINS + case.after, case.alert))
        for name in alerts
    ]
    return {"interval": "1m", "input_series": series, "alert_rule_test": asked}


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool: sh tests/system-packages.sh")
    return found


def test_dashboard_and_rules_name_documented_metrics() -> None:
    """What metrics.md does not list, which is what the agent tells, no panel shows and no alert waits for."""
    documented = set(re.findall(r"(?m)^\| `(\w+)`", (DOCS / "metrics.md").read_text()))
    for path in (RULES, DOCS / "grafana.json"):
        named = set(re.findall(r"\bedge_capture_\w+", path.read_text()))
        assert named, path.name
        assert named <= documented, path.name


def test_the_rules_are_well_formed(promtool: str) -> None:
    """Prometheus reads them all."""
    done = subprocess.run([promtool, "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_for_its_trouble_when_due_and_no_other_does(promtool: str, tmp_path: Path) -> None:
    """A camera somebody stopped, uploads somebody paused and segments that just wait are no trouble."""
    alerts = re.findall(r"alert: (\w+)", RULES.read_text())
    assert set(alerts) == {case.alert for case in CASES if case.alert}
    tests = tmp_path / "rules_test.yaml"  # JSON is YAML
    tests.write_text(
        json.dumps(
            {
                "rule_files": [str(RULES)],
                "evaluation_interval": "1m",
                "tests": [_unit_test(case, alerts) for case in CASES],
            }
        )
    )
    done = subprocess.run([promtool, "test", "rules", tests], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
