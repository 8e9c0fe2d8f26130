"""Make the Greengrass component: the artifact zip and a JSON recipe that points at it.

The zip holds our own source and the hash-locked requirements, no wheels: PyAV's wheel contains GPL code that we do not
redistribute, so the device installs its wheels itself. The same source gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("LICENSE",)
PACKAGES = ("edge_agent",)
REQUIREMENTS = ROOT / "config" / "requirements-edge.txt"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip can carry


def version() -> str:
    """The package's version, as ``edge_agent.__version__`` spells it."""
    text = (ROOT / "edge_agent" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'__version__ = "([^"]+)"', text)
    if found is None:
        raise SystemExit("error: edge_agent/__init__.py names no version")
    return found[1]


def write_artifact(target: Path) -> None:
    """Write the zip, whose one top-level directory ``edge-agent`` goes on the Python path as it is."""
    files = {name: ROOT / name for name in SOURCES}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".mp4":
                files[str(path.relative_to(ROOT))] = path
    files[REQUIREMENTS.name] = REQUIREMENTS
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(files.items()):
            info = zipfile.ZipInfo(f"edge-agent/{name}", EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, path.read_bytes(), zipfile.ZIP_DEFLATED)


def recipe(bucket: str) -> dict[str, Any]:
    """The component's recipe for an artifact in *bucket*."""
    text = (ROOT / "greengrass" / "recipe.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text.replace("{VERSION}", version()).replace("{BUCKET}", bucket))
    return document


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the Greengrass component's artifact and recipe.")
    parser.add_argument("--bucket", default="BUCKET_NAME", help="bucket the artifact will be uploaded to")
    parser.add_argument("--out", type=Path, default=ROOT / "greengrass-build", help="directory for both files")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    artifact = arguments.out / "edge-agent.zip"
    write_artifact(artifact)
    (arguments.out / "recipe.json").write_text(json.dumps(recipe(arguments.bucket), indent=2) + "\n", encoding="utf-8")
    print(f"{artifact}\n{arguments.out / 'recipe.json'}")


if __name__ == "__main__":
    main()
