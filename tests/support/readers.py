"""The libraries that trainers load data sets with, in a virtual environment of their own: ``make readers``."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

ENVIRONMENT = Path(os.environ.get("EDGE_CAPTURE_READERS") or Path(__file__).parents[2] / ".readers")


def missing() -> str:
    """Why nothing can be read here; "" when it can."""
    python = ENVIRONMENT / "bin/python"
    return "" if python.exists() else "no readers here: run make readers, or set EDGE_CAPTURE_READERS"


def read(exports: Path, scratch: Path) -> dict[str, Any]:
    """What every reader finds in *exports*, a directory a format: ``{"coco: pycocotools": …}``.

    A value is ``{stem: {"size": [w, h], "split": …, "boxes": [[label, left, top, width, height], …]}}``, or what went
    wrong as text.
    """
    environment = {
        "PATH": f"{ENVIRONMENT / 'bin'}:/usr/bin:/bin",
        "HOME": str(scratch),
        # Nothing leaves this machine.
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": str(scratch / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "MPLCONFIGDIR": str(scratch),
    }
    script = Path(__file__).with_name("readers_script.py")
    ran = subprocess.run(
        [ENVIRONMENT / "bin/python", "-W", "ignore", script, exports, scratch],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found
