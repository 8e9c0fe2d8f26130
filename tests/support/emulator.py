"""The Lambda runtime emulator, without docker: the handler runs as Lambda runs it, behind the runtime's own protocol.

The emulator's binary comes inside the ``aws-sam-cli`` wheel, Lambda's Python runtime client is ``awslambdaric``; both
live in a virtual environment of their own, which ``make deploy-tools`` makes: their requirements are not ours.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.ports import free_port, listens
from tests.support.wait import until

ROOT = Path(__file__).parents[2]
ENVIRONMENT = Path(os.environ.get("EDGE_CAPTURE_DEPLOY") or ROOT / ".deploy")
SAM = ENVIRONMENT / "sam"
START_SECONDS = 60  # it takes a tenth of one on a quiet machine
STOP_SECONDS = 10
CALL_SECONDS = 60

# The handler's own libraries come first; of the tools' environment only the runtime client and what it needs are new.
_BOOTSTRAP = """
import sys
sys.path.append(sys.argv.pop(1))
from awslambdaric.__main__ import main
main(sys.argv)
"""
_ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


def _packages() -> Path:
    return SAM / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


def _binary() -> Path:
    return _packages() / f"samcli/local/rapid/aws-lambda-rie-{_ARCHITECTURES.get(platform.machine(), 'none')}"


def missing() -> str:
    """Why the emulator cannot run here; "" when it can."""
    there = _binary().exists() and (_packages() / "awslambdaric").is_dir()
    return "" if there else "no Lambda runtime emulator here: run make deploy-tools, or set EDGE_CAPTURE_DEPLOY"


@dataclass(frozen=True, slots=True)
class Emulator:
    """A function that takes events at *url*, and the file its log goes to."""

    url: str
    log: Path

    def invoke(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """What the function answers; an error it raised is an object with ``errorMessage`` and ``errorType``."""
        request = urllib.request.Request(self.url, json.dumps(event).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=CALL_SECONDS) as reply:
            answer: dict[str, Any] = json.load(reply)
        return answer

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The JSON lines of the log whose message or event is *event*."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith("{"):
                facts = json.loads(line)
                if event in (facts.get("message"), facts.get("event")):
                    found.append(facts)
        return found


@contextmanager
def emulator(handler: str, environment: Mapping[str, str], directory: Path) -> Iterator[Emulator]:
    """*handler* (``module.function``) under the emulator, on free loopback ports, with *environment* and no other.

    Its log goes to a file in *directory*, which is also its home.
    """
    front, runtime = free_port(), free_port()
    log = directory / "function.log"
    command = [str(_binary()), "--runtime-interface-emulator-address", f"127.0.0.1:{front}"]
    command += ["--runtime-api-address", f"127.0.0.1:{runtime}"]
    command += [sys.executable, "-c", _BOOTSTRAP, str(_packages()), handler]
    given = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(directory),
        "PYTHONPATH": str(ROOT),
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(CALL_SECONDS),
        "AWS_LAMBDA_FUNCTION_NAME": "extract",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        **environment,
    }
    with ExitStack() as stack:
        output = stack.enter_context(log.open("wb"))
        process = stack.enter_context(
            subprocess.Popen(
                command, env=given, cwd=directory, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        )
        stack.callback(_end, process)
        until(lambda: _listens(process, front, log), "the emulator to listen", START_SECONDS)
        yield Emulator(f"http://127.0.0.1:{front}/2015-03-31/functions/function/invocations", log)


def _listens(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    assert process.poll() is None, f"the emulator did not start:\n{log.read_text(errors='replace')}"
    return listens(port)


def _end(process: subprocess.Popen[bytes]) -> None:
    """The emulator ends its function when it is asked to end; its session goes with it if it does not."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
