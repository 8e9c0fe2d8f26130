"""Make the Greengrass component: the artifact zip, with the hash-locked requirements in it, and a JSON recipe.

The zip holds our own source and the list of requirements, no wheels: PyAV's wheel contains GPL code that we do not
redistribute, so the device installs its wheels itself. The same source gives the same bytes. What is made lies as the
local deployment of either nucleus wants it: ``recipes/<name>-<version>.json``, ``artifacts/<name>/<version>/<file>``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a script, also by gdk, from anywhere

from greengrass import lint  # noqa: E402 - see above

LICENSE = ROOT / "LICENSE"
PACKAGE = ROOT / "edge_agent"
REQUIREMENTS = ROOT / "config" / "requirements-edge.txt"
ARTIFACT = "edge-agent.zip"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip can carry


def version() -> str:
    """The package's version, as ``edge_agent.__version__`` spells it."""
    text = (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'__version__ = "([^"]+)"', text)
    if found is None:
        raise SystemExit("error: edge_agent/__init__.py names no version")
    return found[1]


def write_artifact(target: Path) -> None:
    """Write the zip. A nucleus unpacks it into a directory of its name, which goes on the Python path as it is."""
    files = {LICENSE.name: LICENSE, REQUIREMENTS.name: REQUIREMENTS}
    for path in PACKAGE.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".mp4":
            files[path.relative_to(ROOT).as_posix()] = path
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(files.items()):
            info = zipfile.ZipInfo(name, EPOCH)
            info.create_system = 3  # Unix, wherever it is built
            info.external_attr = 0o100644 << 16
            archive.writestr(info, path.read_bytes(), zipfile.ZIP_DEFLATED)


def recipe(bucket: str) -> dict[str, Any]:
    """The component's recipe for an artifact in *bucket*."""
    text = (ROOT / "greengrass" / "recipe.yaml").read_text(encoding="utf-8")
    name = yaml.safe_load(text)["ComponentName"]
    for placeholder, value in (("{VERSION}", version()), ("{BUCKET}", bucket), ("{NAME}", name)):
        text = text.replace(placeholder, value)
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def build(bucket: str, out: Path, *, gdk: bool) -> list[Path]:
    """Make everything below *out*; what was made. Ends the program with a line for each fault of the recipe."""
    document = recipe(bucket)
    if found := lint.faults(document, {ARTIFACT}):
        raise SystemExit("\n".join(f"error: greengrass/recipe.yaml: {fault}" for fault in found))
    name, number = document["ComponentName"], document["ComponentVersion"]
    artifact = out / "artifacts" / name / number / ARTIFACT
    # gdk looks for the recipe under its project's name, and publishes a copy with its bucket; JSON is YAML.
    written = out / "recipes" / ("recipe.yaml" if gdk else f"{name}-{number}.json")
    for path in (artifact, written):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_artifact(artifact)
    written.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return [artifact, written]


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the Greengrass component's artifact and recipe.")
    parser.add_argument("--bucket", default="bucket-name", help="bucket the artifact will be uploaded to")
    parser.add_argument("--out", type=Path, default=Path("greengrass-build"), help="directory for what is made")
    parser.add_argument("--gdk", action="store_true", help="lay the recipe out as `gdk component build` expects it")
    arguments = parser.parse_args()
    for path in build(arguments.bucket, arguments.out, gdk=arguments.gdk):
        print(path)


if __name__ == "__main__":
    main()
