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

from edge_agent import __version__
from tests.support.agent import ROOT

UNITS = sorted((ROOT / "config" / "systemd").glob("*.service"))


def _build(out: Path) -> dict[str, bytes]:
    """What the build makes below *out*, as a person or gdk calls it, by path."""
    script = ROOT / "greengrass" / "build.py"
    done = subprocess.run(
        [sys.executable, script, "--bucket", "components", "--out", out], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_the_same_source_gives_the_same_component(tmp_path: Path) -> None:
    """Building twice gives the same bytes, laid out for a local deployment, with no wheel and no clip in them."""
    first, second = _build(tmp_path / "one"), _build(tmp_path / "two")
    assert first == second
    name = f"io.github.edge-capture.EdgeAgent/{__version__}"
    assert set(first) == {f"artifacts/{name}/edge-agent.zip", f"recipes/{name.replace('/', '-')}.json"}
    with zipfile.ZipFile(tmp_path / "one" / "artifacts" / name / "edge-agent.zip") as archive:
        names = archive.namelist()
    assert {"edge_agent/cli.py", "requirements-edge.txt", "LICENSE"} <= set(names)
    assert not [name for name in names if name.endswith((".whl", ".mp4", ".pyc")) or "cloud" in name]
    recipe = json.loads(first[f"recipes/{name.replace('/', '-')}.json"])
    (artifact,) = recipe["Manifests"][0]["Artifacts"]
    assert artifact == {"Uri": f"s3://components/{name}/edge-agent.zip", "Unarchive": "ZIP"}


def test_every_pinned_requirement_has_its_hashes() -> None:
    """A box installs exactly what was locked."""
    for name in ("requirements-edge.txt", "requirements-cloud.txt"):
        text = (ROOT / "config" / name).read_text().replace("\\\n", " ")
        pinned = [line for line in text.splitlines() if re.match(r"[a-z0-9]", line)]
        assert len(pinned) > 10
        assert all("==" in line and "--hash=sha256:" in line for line in pinned)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze on this machine")
@pytest.mark.parametrize("shipped", UNITS, ids=lambda path: path.stem)
def test_a_unit_is_sound_and_hardened(shipped: Path, tmp_path: Path) -> None:
    """systemd finds nothing to say about the unit, and rates its exposure at most 2.0."""
    unit = tmp_path / shipped.name
    unit.write_text(shipped.read_text().replace("/opt/edge-agent/bin/edge-agent", "/bin/true"))
    checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert rated.returncode == 0, rated.stdout
