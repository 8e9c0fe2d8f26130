"""What is shipped to a box: the Greengrass artifact and the systemd unit."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.agent import ROOT

UNIT = ROOT / "config" / "systemd" / "edge-agent.service"


def _build(out: Path) -> dict[str, bytes]:
    done = subprocess.run(
        [sys.executable, ROOT / "greengrass" / "build.py", "--bucket", "components", "--out", out],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_the_same_source_gives_the_same_component(tmp_path: Path) -> None:
    """Building twice gives the same bytes, with no wheel and no clip in them."""
    first, second = _build(tmp_path / "one"), _build(tmp_path / "two")
    assert first == second
    with zipfile.ZipFile(tmp_path / "one" / "edge-agent.zip") as archive:
        names = archive.namelist()
    assert "edge-agent/edge_agent/cli.py" in names
    assert "edge-agent/requirements-edge.txt" in names
    assert not [name for name in names if name.endswith((".whl", ".mp4", ".pyc")) or "cloud" in name]


def test_the_component_starts_from_its_artifact_alone(tmp_path: Path) -> None:
    """Unpacked and put on the Python path, as the recipe does it, the agent runs."""
    _build(tmp_path)
    with zipfile.ZipFile(tmp_path / "edge-agent.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent.cli", "check-config", "-c", ROOT / "config" / "edge-agent.yaml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "unpacked" / "edge-agent"), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr


def test_the_recipe_is_spelt_as_the_nucleus_reads_it(tmp_path: Path) -> None:
    """Placeholders are filled in, the artifact's name is the zip's, and it starts with exec."""
    recipe = json.loads(_build(tmp_path)["recipe.json"])
    (manifest,) = recipe["Manifests"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", recipe["ComponentVersion"])
    assert manifest["Artifacts"] == [
        {"Uri": f"s3://components/edge-agent/{recipe['ComponentVersion']}/edge-agent.zip", "Unarchive": "ZIP"}
    ]
    assert manifest["Platform"] == {"os": "linux", "runtime": "*"}
    assert set(manifest["Lifecycle"]) == {"install", "run"}
    assert manifest["Lifecycle"]["run"].startswith("exec ")
    assert "--require-hashes" in manifest["Lifecycle"]["install"]


def test_every_pinned_requirement_has_its_hashes() -> None:
    """A box installs exactly what was locked."""
    for name in ("requirements-edge.txt", "requirements-cloud.txt"):
        text = (ROOT / "config" / name).read_text().replace("\\\n", " ")
        pinned = [line for line in text.splitlines() if re.match(r"[a-z0-9]", line)]
        assert len(pinned) > 10
        assert all("==" in line and "--hash=sha256:" in line for line in pinned)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze on this machine")
def test_the_unit_is_sound_and_hardened(tmp_path: Path) -> None:
    """systemd finds nothing to say about the unit, and rates its exposure at most 2.0."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/edge-agent/bin/edge-agent", "/bin/true"))
    checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert rated.returncode == 0, rated.stdout
