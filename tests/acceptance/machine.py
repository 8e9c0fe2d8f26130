"""A guest machine for one run: boots the cached disks, does what it is told, and hands back what it wrote."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.acceptance import image
from tests.support.agent import ROOT

BOOT_SECONDS = 600  # it takes about 90 s; a machine whose cores are all busy gets the rest
OUT = "out"  # what a run leaves on its disk
SCRATCH_MIB = 256


class Unfinished(AssertionError):
    """The guest did not come to its end; the message holds the last it said on its console."""


def run(program: Path, directory: Path, seconds: float = BOOT_SECONDS) -> Path:
    """Run *program* as root in a guest with the agent's code and packages; what it left in ``/work/out``.

    All files of the run are put into *directory*. The guest has no network. Raises Unfinished, and what
    ``image.disks`` raises.
    """
    disks = image.disks()
    work = directory / "work.ext4"
    _prepare(program, directory / "work", work)
    console = directory / "console.log"
    command = ["qemu-system-x86_64", "-nodefaults", "-no-reboot", "-display", "none", "-nic", "none"]
    command += ["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048"]
    command += ["-serial", f"file:{console}", "-kernel", str(disks.kernel), "-initrd", str(disks.initrd)]
    command += ["-append", "root=LABEL=root rw fastboot console=ttyS0 loglevel=4 panic=-1 init=/sbin/acceptance-init"]
    for disk, snapshot in ((disks.root, "on"), (disks.packages, "on"), (work, "off")):
        command += ["-drive", f"file={disk},format=raw,if=virtio,cache=unsafe,snapshot={snapshot}"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as machine:
        try:
            _, complaint = machine.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise Unfinished(f"the guest did not end within {seconds:.0f} s\n{_tail(console)}") from error
        finally:
            machine.kill()
    if machine.returncode:
        raise Unfinished(f"qemu ended with {machine.returncode}: {complaint}")
    image.unpack(work, f"/{OUT}", directory)
    if not (directory / OUT / "finished").exists():
        raise Unfinished(f"the guest's program failed\n{_tail(console)}")
    return directory / OUT


def _prepare(program: Path, tree: Path, disk: Path) -> None:
    """The disk of one run: the working tree's code, *program*, and room for what it writes."""
    (tree / OUT).mkdir(parents=True)
    image.copy_code(ROOT / "edge_agent", tree / "code")
    (tree / "program.py").write_bytes(program.read_bytes())
    (tree / "main.sh").write_text(
        "export PYTHONPATH=/work/code:/packages PYTHONDONTWRITEBYTECODE=1 PATH=/usr/sbin:/usr/bin:/sbin:/bin\n"
        f"python3 -W error /work/program.py /work/{OUT} && : > /work/{OUT}/finished\n"
    )
    image.pack(tree, disk, "work", spare=SCRATCH_MIB)


def _tail(console: Path, lines: int = 60) -> str:
    """The last the guest said."""
    said = console.read_text(errors="replace").splitlines() if console.exists() else ["it said nothing"]
    return "\n".join(said[-lines:])
