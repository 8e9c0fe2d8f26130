"""A Debian that systemd boots in a container; the working tree's agent lies in it as if it were installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.acceptance import image
from tests.support import moto_server
from tests.support.agent import ROOT
from tests.support.wait import until

BOOT_SECONDS = 60  # it takes less than one
COMMAND_SECONDS = 100.0
PREFIX = Path("/opt/edge-agent")


@dataclass(frozen=True, slots=True)
class Container:
    """A booted guest. ``leader`` is its first process, as this machine numbers it."""

    leader: int

    def run(self, *command: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run to the end as root in the guest, with *given* on standard input."""
        enter = ["nsenter", "-t", str(self.leader), "-m", "-p", "-n", "-i", "-u", "-C"]
        return subprocess.run(
            [*enter, *command], input=given, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )

    def said(self, *command: str, given: str = "") -> str:
        """What a command that ends well prints."""
        done = self.run(*command, given=given)
        assert done.returncode == 0, f"{command} failed: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def write(self, path: str, text: str, mode: str = "644") -> None:
        self.said("sh", "-c", f"mkdir -p $(dirname {path}) && cat > {path} && chmod {mode} {path}", given=text)

    def shown(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.said("systemctl", "show", "-P", name, unit)


def why_not() -> str:
    """Why no container can be built or booted here, or nothing."""
    programs = ("systemd-nspawn", "mmdebstrap", "nsenter")
    if absent := [name for name in programs if shutil.which(name) is None]:
        return f"no {', '.join(absent)}; run: make acceptance as root, or install systemd-container mmdebstrap"
    if os.geteuid() != 0:
        return "a container needs root; run: sudo make acceptance"
    return image.other_python()


@contextmanager
def booted(directory: Path) -> Iterator[Container]:
    """A guest without network while the block lasts. Its files go to *directory*; its changes are lost."""
    root = image.container_root()
    prefix = _installed(directory / "prefix")
    packages = sysconfig.get_paths()["purelib"]
    console = directory / "console.log"
    command = [
        "systemd-nspawn",
        "-q",
        "-b",
        "-D",
        str(root),
        "--volatile=overlay",
        "--private-network",
        "--register=no",
    ]
    command += ["--keep-unit", "--console=pipe", f"--bind-ro={prefix}:{PREFIX}", f"--bind-ro={packages}:/packages"]
    command += [f"--bind-ro={ROOT / name}:/code/{name}" for name in ("edge_agent", "config")]
    command += ["--system-call-filter=adjtimex clock_adjtime"]  # a machine lets anybody ask; a container does not
    environment = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
    with console.open("wb") as log, _process(command, environment, log) as manager:
        (guest,) = until(lambda: _running(manager, console), "the boot", BOOT_SECONDS)
        yield guest


@contextmanager
def _process(command: list[str], environment: dict[str, str], log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The container's manager; when it is told to end it lets the guest power off."""
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
    ) as manager:
        moto_server.running.add(manager.pid)  # and all the guest's processes below it
        try:
            yield manager
        finally:
            moto_server.running.discard(manager.pid)
            manager.terminate()
            killer = threading.Timer(BOOT_SECONDS, manager.kill)
            killer.start()
            manager.wait()
            killer.cancel()
            killer.join()


def _running(manager: subprocess.Popen[bytes], console: Path) -> list[Container]:
    """The guest, once systemd has started what it starts; the manager's first child is only on the way there."""
    assert manager.poll() is None, f"the container ended: {console.read_text(errors='replace')}"
    for leader in Path(f"/proc/{manager.pid}/task/{manager.pid}/children").read_text().split():
        guest = Container(int(leader))
        if guest.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"):
            return [guest]
    return []


def _installed(prefix: Path) -> Path:
    """What a virtual environment looks like into which the agent was installed; its code is bound into the guest."""
    site = prefix / "lib" / "python{}.{}".format(*image.SUITE_PYTHON) / "site-packages"
    site.mkdir(parents=True)
    (site / "agent.pth").write_text("/code\n/packages\n")
    (prefix / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    (prefix / "bin").mkdir()
    (prefix / "bin" / "python").symlink_to("/usr/bin/python3")
    program = prefix / "bin" / "edge-agent"
    program.write_text(f"#!{PREFIX}/bin/python\nfrom edge_agent.cli import main\n\nmain()\n")
    program.chmod(0o755)
    for path in (prefix, *prefix.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    return prefix
