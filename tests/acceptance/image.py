"""The guest machine's disks: a Debian root, the agent's dependencies, and a disk for one run; and a container's root.

The first two take minutes and stay in a cache, each under a name that says what it was made of; the third is made of
the working tree for every run. All are built as plain directories and packed by ``mke2fs -d``: nothing is mounted.
"""

from __future__ import annotations

import compileall
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.requirements import Requirement

SUITE = "bookworm"
SUITE_PYTHON = ("3", "11")  # compiled dependencies are copied from the tests' own environment: the versions must agree
PACKAGES = ("linux-image-amd64", "python3", "v4l-utils", "kmod", "udev", "util-linux")
BUILD_SECONDS = 900  # a mirror far away on a busy machine; 95 s when measured
CONTAINER_PACKAGES = ("systemd", "dbus", "python3")
EXTRA = "edge"  # the extra of setup.py that a camera box installs

# The guest's first process. The initial RAM disk has mounted /proc, /sys, /dev and /run; a run's disk says what to do.
INIT = """#!/bin/sh
mount -t tmpfs tmpfs /tmp
mkdir -p /packages /work
mount -o ro LABEL=packages /packages
mount LABEL=work /work
sh /work/main.sh </dev/null
sync
umount /work
echo o > /proc/sysrq-trigger
sleep 60
"""


@dataclass(frozen=True, slots=True)
class Disks:
    """What a machine boots from: files that it does not change."""

    kernel: Path
    initrd: Path
    root: Path
    packages: Path


def why_not() -> str:
    """Why no guest can be built or booted here, or nothing."""
    programs = ("qemu-system-x86_64", "mmdebstrap", "mke2fs", "debugfs")
    if absent := [name for name in programs if shutil.which(name, path=_path()) is None]:
        return f"no {', '.join(absent)}; run: make acceptance as root, or install qemu-system-x86 mmdebstrap e2fsprogs"
    if os.geteuid() != 0:
        return "building the guest's root needs root; run: sudo make acceptance"
    if platform.machine() != "x86_64":
        return f"the guest is an x86_64 machine, this is {platform.machine()}: its compiled packages do not fit"
    return other_python()


def other_python() -> str:
    """Why the packages installed here would not run in a guest, or nothing."""
    if platform.python_version_tuple()[:2] != SUITE_PYTHON:
        return f"the guest runs Python {'.'.join(SUITE_PYTHON)}, this is {platform.python_version()}"
    return ""


def cache() -> Path:
    """Where the two slow disks are kept."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "edge-capture" / "acceptance"


def disks() -> Disks:
    """The root and the packages, built where they are not in the cache. Raises CalledProcessError, TimeoutExpired."""
    dependencies = sorted(needed("edge-capture", EXTRA).values(), key=lambda found: found.name)
    versions = [f"{found.name} {found.version}" for found in dependencies]
    with _only_one(cache()):
        root = _kept("root", [SUITE, *PACKAGES, INIT], _build_root)
        packages = _kept("packages", versions, lambda scratch: _build_packages(scratch, dependencies))
    return Disks(root / "vmlinuz", root / "initrd", root / "root.ext4", packages / "packages.ext4")


def needed(name: str, extra: str) -> dict[str, Distribution]:
    """Everything *name* with *extra* requires, as it is installed here, *name* itself left out."""
    found: dict[str, Distribution] = {}
    waiting = [(Requirement(text), extra) for text in distribution(name).requires or []]
    while waiting:
        requirement, of = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": of}):
            continue
        if requirement.name.lower() not in found:
            found[requirement.name.lower()] = chosen = distribution(requirement.name)
            extras = ["", *requirement.extras]
            waiting += [(Requirement(text), one) for text in chosen.requires or [] for one in extras]
    return found


def pack(directory: Path, disk: Path, label: str, spare: int) -> None:
    """*directory* as an ext4 file system called *label*, with *spare* MiB left free."""
    used = sum(path.lstat().st_size + 4096 for path in directory.rglob("*"))
    size = (used * 11 // 10 >> 20) + spare
    _run(["mke2fs", "-q", "-t", "ext4", "-L", label, "-d", str(directory), str(disk), f"{size}M"])


def unpack(disk: Path, inside: str, into: Path) -> None:
    """Copy the directory *inside* of a file system to *into*."""
    _run(["debugfs", "-R", f'rdump "{inside}" "{into}"', str(disk)])


def copy_code(package: Path, into: Path) -> None:
    """A package of the working tree, compiled here: the guest has a tenth of this machine's speed."""
    target = into / package.name
    shutil.copytree(package, target, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(target, quiet=1)


def container_root() -> Path:
    """The root directory of a Debian with systemd and Python, built where it is not in the cache; not to be changed."""
    with _only_one(cache()):
        made_of = [SUITE, *CONTAINER_PACKAGES]
        kept = _kept("container", made_of, lambda scratch: _debian(scratch / "tree", CONTAINER_PACKAGES))
    return kept / "tree"


def _debian(tree: Path, packages: Iterable[str]) -> None:
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}", "--aptopt=APT::Sandbox::User root"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "man", "locale", "info")]
    _run([*command, SUITE, str(tree), *_own_sources()])
    (tree / "etc" / "hosts").write_text("127.0.0.1 localhost\n")


def _build_root(scratch: Path) -> None:
    tree = scratch / "tree"
    _debian(tree, PACKAGES)
    init = tree / "sbin" / "acceptance-init"
    init.write_text(INIT)
    init.chmod(0o755)
    for name, pattern in (("vmlinuz", "vmlinuz-*"), ("initrd", "initrd.img-*")):
        shutil.copy2(next((tree / "boot").glob(pattern)), scratch / name)
    pack(tree, scratch / "root.ext4", "root", spare=128)
    shutil.rmtree(tree)


def _own_sources() -> list[str]:
    """This machine's own package sources, where they hold the guest's release."""
    known = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d/debian.sources"))
    return [str(path) for path in known if path.exists() and SUITE in path.read_text()]


def _build_packages(scratch: Path, dependencies: list[Distribution]) -> None:
    tree = scratch / "tree"
    for dependency in dependencies:
        for file in dependency.files or []:
            if ".." in file.parts:  # a command in bin/
                continue
            source, target = Path(str(dependency.locate_file(file))), tree / file
            if source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)  # with its time: else what was compiled from it is stale
    pack(tree, scratch / "packages.ext4", "packages", spare=16)
    shutil.rmtree(tree)


def _kept(kind: str, made_of: list[str], build: Callable[[Path], None]) -> Path:
    """The cached directory of *kind* for *made_of*, built if it is not there; older ones of its kind go."""
    digest = hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:16]
    final = cache() / f"{kind}-{digest}"
    if not final.exists():
        with TemporaryDirectory(prefix=".build-", dir=cache()) as directory:
            scratch = Path(directory) / kind
            scratch.mkdir()
            build(scratch)
            for old in cache().glob(f"{kind}-*"):
                shutil.rmtree(old)
            scratch.rename(final)
    return final


@contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    """Keep two runs from building at once."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _path() -> str:
    """Where programs are looked for: an ordinary user's PATH lacks the file system tools."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def _run(command: list[str]) -> None:
    """Run to the end; what it said goes into the error. Raises RuntimeError, TimeoutExpired."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        env={**os.environ, "PATH": _path()},
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed ({done.returncode}):\n{done.stderr[-3000:]}")
