"""What ``make deploy-check`` runs: the AWS template and the Dockerfile, seen by the tools that know AWS."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.emulator import ENVIRONMENT, ROOT, SAM

TEMPLATE = "cloud/template.yaml"
CHECKS = {
    "cfn-lint": (SAM / "bin/cfn-lint", [TEMPLATE]),
    "sam": (SAM / "bin/sam", ["validate", "--lint", "--template", TEMPLATE]),
    "checkov": (
        ENVIRONMENT / "checkov/bin/checkov",
        ["-d", "cloud", "--framework", "cloudformation", "dockerfile", "--skip-download", "--quiet", "--compact"],
    ),
}


@pytest.mark.parametrize("tool", CHECKS)
def test_nothing_is_found_fault_with(tool: str, tmp_path: Path) -> None:
    """Neither an error nor a warning; what checkov is not to look for says why, where it stands."""
    program, arguments = CHECKS[tool]
    if not program.exists():
        pytest.skip(f"no {tool} here: run make deploy-tools")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_DEFAULT_REGION": "eu-central-1",  # the rules differ by region; nothing is contacted
        "AWS_EC2_METADATA_DISABLED": "true",
        "SAM_CLI_TELEMETRY": "0",
        "LOG_LEVEL": "WARNING",
    }
    command = [str(program.absolute()), *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "Parsing errors" not in done.stdout
