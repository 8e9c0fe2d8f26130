"""What this user may do with the files the agent lives on, and whom they are open to."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from edge_agent.doctor.disk import existing
from edge_agent.doctor.examination import Patient
from edge_agent.doctor.finding import Finding, fault, ok, warning
from edge_agent.errors import CredentialsRefused
from edge_agent.identity import unseen_files
from edge_agent.redact import redact
from edge_agent.source_url import check_source
from edge_agent.spool import Spool

DIRECTORIES, FILES = "directories", "secrets"
_OPEN_TO_OTHERS = 0o077


def directories(patient: Patient) -> Iterator[Finding]:
    """Spool and state: there, or to be made, and writable."""
    spool = Spool(patient.settings.spool)
    wanted = (
        spool.root,
        spool.recording,
        spool.ready,
        spool.uploaded,
        spool.failed,
        patient.settings.state_directory,
    )
    for path in wanted:
        if problem := unusable(path):
            yield fault(DIRECTORIES, problem, f"let {user()} write there: chown, or another `spool:`")
            return
    drops = [str(drop.path) for drop in patient.settings.foreign if not os.access(drop.path, os.R_OK | os.W_OK)]
    if drops:
        fix = f"make it, and let {user()} read and write there"
        yield fault(DIRECTORIES, f"foreign: {', '.join(drops)} cannot be read and emptied", fix)
        return
    there = "" if spool.root.is_dir() else " (made at the first start)"
    yield ok(DIRECTORIES, f"{spool.root}{there} is writable for {user()}{_as_root()}")


def unusable(path: Path) -> str:
    """Why nothing can be put into the directory *path*, there or not yet; "" when it can."""
    above = existing(path)
    if not above.is_dir():
        return f"{above} is no directory"
    if not os.access(above, os.R_OK | os.W_OK | os.X_OK):
        read_only = os.statvfs(above).f_flag & os.ST_RDONLY
        return f"{above} is on a disk mounted read-only" if read_only else f"{above} is not writable"
    return ""


def secrets(patient: Patient) -> Iterator[Finding]:
    """The private key and a settings file with passwords are for their owner alone."""
    iot = patient.settings.store.iot
    unseen: list[str] = []
    if iot is not None:
        try:
            unseen = unseen_files(iot)
        except CredentialsRefused as error:
            yield fault(FILES, f"{error.where}: {error.what}", error.fix)
            return
    mode = stat.S_IMODE(patient.path.stat().st_mode) if patient.path.exists() else 0
    if mode & _OPEN_TO_OTHERS and _holds_password(patient):
        seen = f"{patient.path} holds a password and is open to others (mode {mode:04o})"
        yield fault(FILES, seen, f"chmod 600 {patient.path}")
    elif unseen:
        fix = "correct the paths below store.iot, or run doctor as the agent's user"
        yield warning(FILES, f"not there for {user()} to look at: {', '.join(unseen)}", fix)
    else:
        yield ok(FILES, "private key and passwords are for their owner alone" if iot else "nothing is open to others")


def device(name: str, source: str) -> Finding | None:
    """The fault that this user may not use the V4L2 camera of *source*; None when it may, or *source* is none."""
    parsed = check_source(source)
    path = Path(parsed.target)
    if parsed.kind != "v4l2" or not path.exists() or os.access(path, os.R_OK | os.W_OK):
        return None
    group = _group_of(path)
    return fault(name, f"{path}: permission denied for {user()}", f"usermod -aG {group} {user()}, and log in anew")


def user() -> str:
    """Who runs this: a container's user need not have a name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"


def _as_root() -> str:
    return ", which says nothing of the agent's user" if os.geteuid() == 0 else ""


def _group_of(path: Path) -> str:
    number = path.stat().st_gid
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _holds_password(patient: Patient) -> bool:
    sources = [camera.source.get_secret_value() for camera in patient.settings.cameras.values()]
    return any(redact(source) != source for source in sources)
