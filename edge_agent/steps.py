"""What an installation is made of: steps that say in one line what they do, and then do it or leave it at that."""

from __future__ import annotations

import grp
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edge_agent.durable import write_durably
from edge_agent.errors import EdgeCaptureError

COMMAND_SECONDS = 120.0  # a unit that is started may take its TimeoutStartSec of 90 s


class InstallFailed(EdgeCaptureError):
    """This machine did not let itself be changed as it was to be; what was done before stands."""


@dataclass(frozen=True, slots=True)
class Write:
    """A file of root's, readable by all, or by *group* alone."""

    path: Path
    content: bytes
    group: str | None = None

    def line(self) -> str:
        return f"write {self.path}"

    def perform(self, root: Path) -> None:
        target = within(root, self.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_durably(target, self.content)
        _own(target, root, self.group, 0o644 if self.group is None else 0o640)


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory that is there, root's, and open to *group* alone."""

    path: Path
    group: str

    def line(self) -> str:
        return f"directory {self.path}, for root and group {self.group}"

    def perform(self, root: Path) -> None:
        target = within(root, self.path)
        target.mkdir(parents=True, exist_ok=True)
        _own(target, root, self.group, 0o750)


@dataclass(frozen=True, slots=True)
class Keep:
    """A file somebody has written before: only its readers are set."""

    path: Path
    group: str

    def line(self) -> str:
        return f"keep {self.path} as it is, readable for group {self.group}"

    def perform(self, root: Path) -> None:
        _own(within(root, self.path), root, self.group, 0o640)


@dataclass(frozen=True, slots=True)
class Run:
    """A program to run to its end."""

    command: tuple[str, ...]

    def line(self) -> str:
        return f"run {' '.join(self.command)}"

    def perform(self, _root: Path) -> None:
        where = self.line()
        try:
            done = subprocess.run(
                self.command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except FileNotFoundError as error:
            raise InstallFailed("is not installed", where=self.command[0], fix="this needs systemd") from error
        except subprocess.TimeoutExpired as error:
            raise InstallFailed(f"took longer than {COMMAND_SECONDS:.0f} s", where=where) from error
        if done.returncode:
            reason = " ".join(done.stderr.split()) or f"ended with {done.returncode}"
            raise InstallFailed(reason, where=where, fix="mend that and run it again: steps that are done stay done")


@dataclass(frozen=True, slots=True)
class Remove:
    """A file, or a directory with everything in it, that is not there any more."""

    path: Path

    def line(self) -> str:
        return f"remove {self.path}"

    def perform(self, root: Path) -> None:
        target = within(root, self.path)
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Say:
    """Something a person has to know, or to do."""

    text: str

    def line(self) -> str:
        return self.text

    def perform(self, _root: Path) -> None:
        """Said is done."""


Step = Write | Directory | Keep | Run | Remove | Say


def take(steps: Iterable[Step], root: Path, *, dry_run: bool) -> None:
    """Print each step, and do it below *root* unless *dry_run*. Raises InstallFailed; what was done before stands."""
    for step in steps:
        print(f"would {step.line()}" if dry_run and not isinstance(step, Say) else step.line(), flush=True)
        if not dry_run:
            try:
                step.perform(root)
            except OSError as error:
                reason = error.strerror or str(error)
                raise InstallFailed(reason, where=step.line(), fix="look at this path and run it again") from error


def within(root: Path, path: Path) -> Path:
    """Where the absolute *path* of the machine whose files are below *root* lies on this one."""
    return root / path.relative_to("/")


def _own(target: Path, root: Path, group: str | None, mode: int) -> None:
    os.chown(target, 0, 0 if group is None else _group_id(group, root))
    target.chmod(mode)


def _group_id(group: str, root: Path) -> int:
    """The number *group* has on the machine below *root*. Raises InstallFailed."""
    if root == Path("/"):
        try:
            return grp.getgrnam(group).gr_gid
        except KeyError as error:
            raise InstallFailed("there is no such group", where=group, fix="systemd-sysusers makes it") from error
    for line in within(root, Path("/etc/group")).read_text(encoding="utf-8").splitlines():
        name, _, rest = line.partition(":")
        if name == group:
            return int(rest.split(":")[1])
    raise InstallFailed("there is no such group", where=f"{group} below {root}", fix="systemd-sysusers makes it")
