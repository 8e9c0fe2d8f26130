"""What a nucleus does with a recipe: unpack the artifact, put values for the variables, run a phase with /bin/sh."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greengrass import build

PATH = "/usr/local/bin:/usr/bin:/bin"
STOP_SECONDS = 5.0  # what both nuclei leave a component


@dataclass(frozen=True)
class Deployed:
    """A component's directories below *root*, laid out as nucleus lite does (ggdeploymentd, recipe-runner)."""

    root: Path
    recipe: Mapping[str, Any]

    @classmethod
    def build(cls, root: Path) -> Deployed:
        """Build the component and unpack it."""
        artifact, written = build.build("components", root / "built", gdk=False)
        deployed = cls(root, json.loads(written.read_text()))
        deployed.work.mkdir(parents=True)
        with zipfile.ZipFile(artifact) as archive:
            archive.extractall(deployed.unpacked / artifact.stem)
        return deployed

    @property
    def work(self) -> Path:
        return self.root / "work" / str(self.recipe["ComponentName"])

    @property
    def unpacked(self) -> Path:
        name, version = str(self.recipe["ComponentName"]), str(self.recipe["ComponentVersion"])
        return self.root / "packages" / "artifacts-unarchived" / name / version

    def script(self, phase: str) -> str:
        """The phase's script, variables replaced; an unknown one is a KeyError."""
        section = self.recipe["Manifests"][0]["Lifecycle"][phase]
        text = section if isinstance(section, str) else section["Script"]
        values = {"work:path": f"{self.work}/", "artifacts:decompressedPath": f"{self.unpacked}/"}
        return re.sub(r"\{([^{}]*)\}", lambda found: values[found[1]], text)

    def start(self, phase: str, **environment: str) -> subprocess.Popen[str]:
        """Run *phase* as the nucleus does: a shell reads the script; its output is kept for ``communicate``."""
        return subprocess.Popen(
            ["/bin/sh", "-c", self.script(phase)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.work,
            env={"PATH": PATH, **environment},
        )

    def borrow_environment(self) -> None:
        """Stand this test's own virtual environment where the install phase would have made one."""
        (self.work / "venv").symlink_to(sys.prefix)
