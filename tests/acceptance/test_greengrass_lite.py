"""The component on a real nucleus lite, deployed locally; where there is none, it says so."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from greengrass import build
from tests.support.component import STOP_SECONDS
from tests.support.wait import until

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(not shutil.which("ggl-cli"), reason="no nucleus lite on this machine: ggl-cli is not installed"),
    pytest.mark.timeout(2400),  # the install phase loads wheels from the index
]


def _systemctl(*arguments: str) -> str:
    return subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False).stdout.strip()


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[str]:
    """The component, deployed with settings of its own; the name of its unit. Removed at the end."""
    tmp_path.chmod(0o777)  # the component's user is another
    settings = {
        "device": "dock7",
        "spool": "spool",
        "store": {"url": "store"},
        "cameras": {
            "cam1": {"source": "synthetic:", "class": {"color": "yellow", "object": "box"}, "segment_seconds": "2"}
        },
    }
    artifact, written = build.build("components", tmp_path, gdk=False)
    recipe = json.loads(written.read_text())
    recipe["ComponentConfiguration"]["DefaultConfiguration"]["Agent"] = settings
    written.unlink()
    written.with_suffix(".yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    name, version = recipe["ComponentName"], recipe["ComponentVersion"]
    recipes, artifacts = written.parent, artifact.parents[2]
    deploy = ["ggl-cli", "deploy", "--recipe-dir", str(recipes), "--artifacts-dir", str(artifacts)]
    subprocess.run([*deploy, "--add-component", f"{name}={version}"], check=True)
    yield f"ggl.{name}.service"
    subprocess.run(["ggl-cli", "deploy", "--remove-component", name], check=True)


def test_the_component_runs_and_stops_in_time(unit: str) -> None:
    """Deployed, it is installed and runs under systemd, records from its configuration, and stops within 5 s."""
    until(lambda: _systemctl("is-active", unit) == "active", "the component to run", 1800)
    work = Path(_systemctl("show", "-P", "WorkingDirectory", unit))
    until(lambda: list((work / "spool" / "uploaded").glob("*.mp4")), "a segment", 120)
    began = time.monotonic()
    _systemctl("stop", unit)
    assert time.monotonic() - began < STOP_SECONDS
    assert _systemctl("show", "-P", "Result", unit) == "success"
