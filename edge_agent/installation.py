"""What ``edge-agent install`` and ``uninstall`` do to a machine with systemd: pure plans over what was found there."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import ConfigInvalid, NameInvalid
from edge_agent.segment import check_device
from edge_agent.steps import Directory, InstallFailed, Keep, Remove, Run, Say, Step, Write, within

SHIPPED = Path(__file__).with_name("shipped")  # links to config/ in a checkout, copies in an installed package
USER = "edge-agent"
PREFIX = Path("/opt/edge-agent")  # as the shipped units spell it
SETTINGS = Path("/etc/edge-agent/edge-agent.yaml")
DATA = Path("/var/lib/edge-agent")
USERS = Path("/etc/sysusers.d/edge-agent.conf")
UNITS = Path("/etc/systemd/system")
WHOLE = ("edge-agent.service",)
SPLIT = ("edge-agent-capture.service", "edge-agent-upload.service")
HIDDEN = tuple(Path(path) for path in ("/home", "/root", "/run/user", "/tmp", "/var/tmp"))  # noqa: S108 - by the units


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine whose files are below *root*, as it was found.

    ``booted``: systemd runs there, and it is this one. ``files``: what is there of what plans write or remove.
    """

    root: Path
    booted: bool
    device: str
    files: Mapping[Path, bytes]

    def systemctl(self, *words: str) -> Run:
        where = () if self.root == Path("/") else (f"--root={self.root}",)
        return Run(("systemctl", *where, *words))


@dataclass(frozen=True, slots=True)
class Footage:
    """Where segments and the agent's state lie, and how many segments were not uploaded."""

    spool: Path
    state: Path
    waiting: int


def look(root: Path) -> Machine:
    """What is there. A file that this user may not read is there and empty."""
    units = (*WHOLE, *SPLIT)
    places = [USERS, SETTINGS, *(UNITS / unit for unit in units), *(_places_file(unit) for unit in units)]
    files: dict[Path, bytes] = {}
    for path in places:
        try:
            files[path] = within(root, path).read_bytes()
        except PermissionError:
            files[path] = b""
        except (FileNotFoundError, NotADirectoryError):
            continue
    booted = root == Path("/") and Path("/run/systemd/system").is_dir()
    return Machine(root, booted, _device_name(root), files)


def check_prefix(prefix: Path, root: Path) -> None:
    """Raise ConfigInvalid when the units could not start ``edge-agent`` from *prefix* of the machine below *root*."""
    program = prefix / "bin" / "edge-agent"
    if not prefix.is_absolute() or not within(root, program).is_file():
        raise ConfigInvalid("there is no edge-agent", where=str(program), fix=f"install the agent into {PREFIX}")
    used = {prefix} if root != Path("/") else {prefix, program.resolve(), (prefix / "bin" / "python").resolve()}
    for path in sorted(used):
        if any(path.is_relative_to(hidden) for hidden in HIDDEN):
            fix = f"make the virtual environment {PREFIX} with the system's python3, and run this from there"
            raise ConfigInvalid("lies where a service does not see it", where=str(path), fix=fix)


def outside(root: Path) -> list[Path]:
    """The places the settings name that the units do not open by themselves: the spool's and the state's.

    Raises ConfigInvalid when there are settings that the agent would refuse; nothing has been changed by then.
    """
    from edge_agent.config import load

    path = within(root, SETTINGS)
    if not os.access(path, os.R_OK):
        return []
    settings = load(path)
    places = [DATA / settings.spool, DATA / settings.state_directory]
    found = [place for place in places if not place.is_relative_to(DATA)]
    return [place for place in found if not any(place != other and place.is_relative_to(other) for other in found)]


def places_text(places: Sequence[Path]) -> bytes:
    """An addition to a unit: these directories are the agent's, on whatever disk, and not before that is mounted."""
    names = ['"{}"'.format(str(place).replace("%", "%%")) for place in dict.fromkeys(places)]
    lines = ["# Written by edge-agent install: what the settings name outside " + str(DATA), "[Unit]"]
    lines += [f"RequiresMountsFor={name}" for name in names]
    lines += ["", "[Service]"]
    lines += [f"ExecStartPre=+/usr/bin/install -d -o {USER} -g {USER} -m 0700 {name}" for name in names]
    lines += [f"ReadWritePaths=-{name}" for name in names]
    return ("\n".join(lines) + "\n").encode()


def unit_text(unit: str, prefix: Path) -> bytes:
    """The shipped *unit*, starting the agent from *prefix*."""
    text = (SHIPPED / unit).read_text(encoding="utf-8")
    return text.replace(f"ExecStart={PREFIX}/", f"ExecStart={prefix}/").encode()


def settings_text(device: str) -> bytes:
    """The commented example, its places and name as a service needs them."""
    text = (SHIPPED / SETTINGS.name).read_text(encoding="utf-8")
    for name, value in (("device", device), ("spool", str(DATA / "spool")), ("  url", str(DATA / "store"))):
        text = re.sub(rf"(?m)^{name}: .*$", f"{name}: {value}", text, count=1)  # no backslash can be in these
    return text.encode()


def install_plan(machine: Machine, prefix: Path, *, split: bool, places: Sequence[Path] = ()) -> list[Step]:
    """User, directory, settings, units that may write to *places*, too.

    Then they are enabled, and started where somebody wrote the settings.
    """
    wanted, others = (SPLIT, WHOLE) if split else (WHOLE, SPLIT)
    at_root = () if machine.root == Path("/") else (f"--root={machine.root}",)
    steps: list[Step] = [
        *_write(machine, USERS, (SHIPPED / USERS.name).read_bytes()),
        Run(("systemd-sysusers", *at_root, USERS.name)),
        Directory(SETTINGS.parent, USER),
        Keep(SETTINGS, USER) if SETTINGS in machine.files else Write(SETTINGS, settings_text(machine.device), USER),
        *_withdraw(machine, others),
    ]
    for unit in wanted:
        steps += _write(machine, UNITS / unit, unit_text(unit, prefix))
        if places:
            steps += _write(machine, _places_file(unit), places_text(places))
        elif _places_file(unit) in machine.files:
            steps.append(Remove(_places_file(unit)))
    if machine.booted:
        steps.append(machine.systemctl("daemon-reload"))
    begins = machine.booted and SETTINGS in machine.files
    steps.append(machine.systemctl("enable", *(["--now"] if begins else []), *wanted))
    changed = [unit for unit in wanted if _differs(machine, unit, unit_text(unit, prefix), places)]
    if begins and changed:
        steps.append(machine.systemctl("restart", *changed))
    return [*steps, Say(_next_word(machine, wanted, begins=begins))]


def uninstall_plan(machine: Machine, footage: Footage | None, *, purge: bool) -> list[Step]:
    """Units and user go, settings and footage stay; *purge*: they go, too."""
    steps = _withdraw(machine, (*WHOLE, *SPLIT))
    if machine.booted and steps:
        steps.append(machine.systemctl("daemon-reload"))
    if not purge:
        kept = DATA if footage is None else footage.spool
        waits = f", {footage.waiting} segments of it not uploaded" if footage else ""
        steps.append(Say(f"kept: {SETTINGS.parent}, user {USER}, and the footage in {kept}{waits}"))
        return [*steps, Say("to remove these, too: edge-agent uninstall --purge")]
    if footage is None:
        steps.append(Say(f"{SETTINGS} cannot be read: footage elsewhere than in {DATA} stays"))
    elif not footage.spool.is_relative_to(DATA):
        steps += [Remove(footage.spool / part) for part in ("recording", "ready", "uploaded", "failed", "state")]
    if footage is not None and not footage.state.is_relative_to(DATA) and footage.state.parent != footage.spool:
        steps.append(Say(f"kept: {footage.state}, which may hold more than the agent's"))
    steps += [Remove(DATA), Remove(SETTINGS.parent)]
    if USERS in machine.files:
        at_root = () if machine.root == Path("/") else ("--prefix", str(machine.root))
        steps += [Run(("userdel", *at_root, USER)), Remove(USERS)]
    return steps


def find_footage(root: Path) -> Footage | None:
    """Where the settings of the machine below *root* put it; None when they cannot be read."""
    from edge_agent.config import load
    from edge_agent.spool import VIDEO_SUFFIX

    try:
        settings = load(within(root, SETTINGS))
    except ConfigInvalid:
        return None
    spool, state = DATA / settings.spool, DATA / settings.state_directory
    try:
        waiting = sum(path.suffix == VIDEO_SUFFIX for path in within(root, spool / "ready").iterdir())
    except OSError:
        waiting = 0
    return Footage(spool, state, waiting)


def require_root(user_id: int) -> None:
    """Raise InstallFailed for anybody else."""
    if user_id != 0:
        command = " ".join(["sudo", *sys.argv])
        raise InstallFailed("users and units are root's to change", fix=f"run: {command}, or add --dry-run")


def _places_file(unit: str) -> Path:
    return UNITS / f"{unit}.d" / "edge-agent-places.conf"


def _differs(machine: Machine, unit: str, text: bytes, places: Sequence[Path]) -> bool:
    """Whether *unit* is there and is to become another."""
    if UNITS / unit not in machine.files:
        return False
    added = places_text(places) if places else None
    return machine.files[UNITS / unit] != text or machine.files.get(_places_file(unit)) != added


def _write(machine: Machine, path: Path, content: bytes) -> list[Step]:
    return [Say(f"unchanged {path}") if machine.files.get(path) == content else Write(path, content)]


def _withdraw(machine: Machine, units: tuple[str, ...]) -> list[Step]:
    """Stop and remove those of *units* that are there."""
    there = [unit for unit in units if UNITS / unit in machine.files]
    if not there:
        return []
    now = ["--now"] if machine.booted else []
    files = [path for unit in there for path in (UNITS / unit, _places_file(unit)) if path in machine.files]
    return [machine.systemctl("disable", *now, *there), *(Remove(path) for path in files)]


def _next_word(machine: Machine, units: tuple[str, ...], *, begins: bool) -> str:
    if begins:
        return f"started: see 'systemctl status {' '.join(units)}' and 'journalctl -u {units[0]} -f'"
    if SETTINGS in machine.files:
        return "systemd does not run here: the agent starts with the next boot"
    return f"next: name cameras, classes and store in {SETTINGS}, then: sudo systemctl start {' '.join(units)}"


def _device_name(root: Path) -> str:
    """The machine's name where it can stand in a segment's name, else the example's."""
    try:
        named = socket.gethostname() if root == Path("/") else within(root, Path("/etc/hostname")).read_text()
        return check_device(named.strip())
    except (OSError, NameInvalid):
        return "dock7"
