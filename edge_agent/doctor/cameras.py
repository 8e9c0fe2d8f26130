"""Each camera, opened for a moment; one that the running agent holds is told from what the agent says of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edge_agent.doctor.examination import Check, Patient
from edge_agent.doctor.finding import Finding, fault, ok, warning
from edge_agent.doctor.rights import device
from edge_agent.glance import LIMIT_SECONDS, glance
from edge_agent.jobs import capture_job
from edge_agent.source_url import check_source

EXCLUSIVE = frozenset({"v4l2", "opencv", "exec"})  # kinds of which a second user would be refused, or disturb the first


def camera_check(camera: str) -> Check:
    """The check of one camera."""
    name = f"camera {camera}"

    def look(patient: Patient) -> Iterator[Finding]:
        source = patient.settings.cameras[camera].source.get_secret_value()
        if patient.agents.captures and check_source(source).kind in EXCLUSIVE:
            yield told(name, patient.agents.cameras.get(camera, {}))
            return
        if (refused := device(name, source)) is not None:
            yield refused
            return
        yield ok(name, str(glance(capture_job(patient.settings, camera))))

    return Check((name,), look, LIMIT_SECONDS + 5)


def told(name: str, status: dict[str, Any]) -> Finding:
    """What the running agent says of the camera it holds. Pure."""
    state = str(status.get("state") or "has not said anything yet")
    seen = f"the agent holds it: {state}" + (f", {status['format']}" if status.get("format") else "")
    if status.get("healthy"):
        return ok(name, seen)
    problem = status.get("problem")
    if problem:
        return fault(name, f"{seen}: {problem}", "see docs/operations/health.md")
    return warning(name, seen, "look again in some seconds: `edge-agent status`")
