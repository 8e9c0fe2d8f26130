"""A real LocalStack in a process of its own, on a free loopback port: it verifies checksums and conditions as S3 does.

It lives in a virtual environment of its own, which ``make localstack`` makes: its requirements are not ours.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import moto_server
from tests.support.ports import free_port
from tests.support.wait import until

ENVIRONMENT = Path(os.environ.get("EDGE_CAPTURE_LOCALSTACK") or Path(__file__).parents[2] / ".localstack")
START_SECONDS = 100  # it takes three on a quiet machine
STOP_SECONDS = 10

# LocalStack 4.4 listens on every interface whatever GATEWAY_LISTEN says ("TODO: interface = host?" in its source).
LAUNCHER = """
import functools
from twisted.internet import endpoints
endpoints.TCP4ServerEndpoint = functools.partial(endpoints.TCP4ServerEndpoint, interface="127.0.0.1")
from localstack.runtime.main import main
main()
"""


def missing() -> str:
    """Why no LocalStack can be started here; "" when it can."""
    python = ENVIRONMENT / "bin/python"
    return "" if python.exists() else "no LocalStack here: run make localstack, or set EDGE_CAPTURE_LOCALSTACK"


@contextmanager
def localstack(directory: Path) -> Iterator[str]:
    """The endpoint URL of a server that keeps its files in *directory* and runs as long as the block lasts."""
    port = free_port()
    environment = {
        "PATH": f"{ENVIRONMENT / 'bin'}:/usr/bin:/bin",
        "HOME": str(directory),
        "FILESYSTEM_ROOT": str(directory),
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "SERVICES": "s3",
        "STRICT_SERVICE_LOADING": "1",
        # Nothing leaves this machine: no telemetry, no certificate to fetch, no name server to run.
        "DISABLE_EVENTS": "1",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "DNS_ADDRESS": "0",
        "NO_PROXY": "*",
    }
    log = directory / "localstack.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [ENVIRONMENT / "bin/python", "-c", LAUNCHER], env=environment, stdout=output, stderr=subprocess.STDOUT
        ) as process,
    ):
        moto_server.running.add(process.pid)
        try:
            _wait_until_ready(process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            moto_server.running.discard(process.pid)


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    def ready() -> bool:
        said = log.read_text(errors="replace")
        assert process.poll() is None, f"LocalStack did not start:\n{said}"
        return re.search(r"^Ready\.", said, re.MULTILINE) is not None

    until(ready, "LocalStack to be ready", START_SECONDS)
