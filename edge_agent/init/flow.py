"""The questions, one after the other, each camera tried at once; then the file."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import typer

from edge_agent.capture.job import CaptureJob
from edge_agent.config import load
from edge_agent.durable import fsync_directory, move_durably, os_errors
from edge_agent.errors import ConfigInvalid, EdgeCaptureError
from edge_agent.glance import glance
from edge_agent.init.answers import (
    Answers,
    check_store,
    check_url,
    device_of,
    lacks_password,
    parse_camera,
    parse_tag,
    settings_text,
    with_password,
)
from edge_agent.init.devices import Device, devices
from edge_agent.redact import redact
from edge_agent.segment import DEFAULT_FIELDS, ClassTag, check_device
from edge_agent.shell import DEFAULT_CONFIG

T = TypeVar("T")
_SERVICE_HOME = Path("/var/lib/edge-agent")  # StateDirectory= of the systemd unit


@dataclass(frozen=True, slots=True)
class Given:
    """What options said; None (or no cameras): to be asked, or the default. ``cameras`` are ``NAME=URL``."""

    device: str | None = None
    store: str | None = None
    region: str | None = None
    endpoint_url: str | None = None
    cameras: tuple[str, ...] = ()
    tag: str | None = None

    def __repr__(self) -> str:
        return "Given()"


def initialise(path: Path, given: Given, *, ask: bool, force: bool) -> None:
    """Write the settings file *path*, and say how to go on. Raises InvalidInput, nothing written, and SpoolError.

    With *ask* what *given* leaves out is asked on the terminal; else it gets its default.
    """
    _refuse_overwriting(path, force)
    _refuse_unwritable(path)
    if ask and not sys.stdin.isatty():
        raise ConfigInvalid("nobody can be asked: this is no terminal", where="init", fix="add --yes, and options")
    answers = _answers(path, given, ask)
    write_settings(path, settings_text(answers), force=force)
    _make_store(answers.store)
    option = "" if path == DEFAULT_CONFIG else f" -c {path}"
    typer.echo(f"{path}: written, for you alone to read. Next:\n  edge-agent doctor{option}\n  edge-agent run{option}")


def write_settings(path: Path, text: str, *, force: bool) -> None:
    """Put *text* at *path*, whole, durable and for its owner alone, if it passes check-config.

    Raises ConfigInvalid when it does not, or *path* exists and *force* does not allow to replace it.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        _check(scratch, path)
        if force:
            scratch.replace(path)
            fsync_directory(path.parent)
        else:
            move_durably(scratch, path)
    except OSError as error:
        _refuse_overwriting(path, force)  # somebody else has made it meanwhile
        raise ConfigInvalid(
            f"cannot be written: {error.strerror}", where=str(path), fix="use sudo, or name another file with -c"
        ) from error
    finally:
        with suppress(OSError):
            scratch.unlink()


def _check(scratch: Path, path: Path) -> None:
    """Raise ConfigInvalid, in the name of *path*, when *scratch* does not pass check-config."""
    try:
        load(scratch)
    except ConfigInvalid as error:
        raise ConfigInvalid(str(error).replace(str(scratch), str(path))) from error


def _refuse_overwriting(path: Path, force: bool) -> None:
    if os.path.lexists(path) and not force:
        raise ConfigInvalid("exists already", where=str(path), fix="--force replaces it; or name another file with -c")


def _refuse_unwritable(path: Path) -> None:
    """Say so before the first question, not after the last."""
    above = path.parent
    while not above.exists():
        above = above.parent
    if not os.access(above, os.W_OK | os.X_OK):
        raise ConfigInvalid(f"{above} is not writable", where=str(path), fix="use sudo, or name another file with -c")


def _answers(path: Path, given: Given, ask: bool) -> Answers:
    """All that the file needs, given, asked or by default. Raises InvalidInput."""
    home = _SERVICE_HOME if path == DEFAULT_CONFIG else path.parent.resolve()
    host = device_of(socket.gethostname())
    device = _one("Name of this box", given.device, host, check_device, ask)
    store = _one("Store: s3://bucket, or a directory", given.store, str(home / "store"), check_store, ask)
    if "://" not in store:
        store = str(Path(store).expanduser().absolute())  # wherever the agent is started
    region = given.region
    if ask and region is None and store.startswith("s3://") and given.endpoint_url is None:
        region = _one("AWS region of the bucket (empty: as the environment says)", None, "", str.strip, ask) or None
    cameras = _given_cameras(given.cameras, ask) or (_asked_cameras() if ask else _plugged_in())
    hint = "Class of what is shown first, as in color=yellow object=box (empty: none yet)"
    tag: ClassTag | None = _one(hint, given.tag, "", lambda text: parse_tag(text, device), ask)
    return Answers(device, home / "spool", store, region, given.endpoint_url, cameras, tag)


def _one(question: str, given: str | None, default: str, check: Callable[[str], T], ask: bool) -> T:
    """The checked answer to *question*. One that was given and is wrong raises; one that was typed is asked again."""
    if given is not None or not ask:
        return check(default if given is None else given)
    while True:
        try:
            return check(str(typer.prompt(question, default=default, show_default=bool(default))))
        except EdgeCaptureError as error:
            typer.echo(f"  {error}")


def _given_cameras(texts: tuple[str, ...], ask: bool) -> dict[str, str]:
    """The cameras of the options, each tried; one that does not answer is taken even so: it may not be there yet."""
    cameras: dict[str, str] = {}
    for text in texts:
        name, url = parse_camera(text)
        if name in cameras:
            raise ConfigInvalid(f"'{name}' stands here twice", where="--camera", fix="give each camera its own name")
        cameras[name] = _with_login(url) if ask else url
    for name, url in cameras.items():
        _tried(name, url)
    return cameras


def _plugged_in() -> dict[str, str]:
    """The V4L2 cameras of this box, each tried. Raises ConfigInvalid when there is none."""
    cameras = {f"cam{number}": device.url for number, device in enumerate(devices(), start=1)}
    if not cameras:
        raise ConfigInvalid("no camera is plugged in", where="init", fix="add --camera cam1=rtsp://user@host/path")
    for name, url in cameras.items():
        _tried(name, url)
    return cameras


def _asked_cameras() -> dict[str, str]:
    """One camera at least, until no more is named."""
    found = devices()
    if found:
        typer.echo("Cameras that are plugged in:")
    for number, device in enumerate(found, start=1):
        typer.echo(f"  {number}  {device.card} ({device.path})")
    choice = "its number above, or its URL" if found else "its URL, as in"
    cameras: dict[str, str] = {}
    while True:
        name = f"cam{len(cameras) + 1}"
        question = f"{name}: {choice} rtsp://user@192.168.1.20/stream1" if not cameras else f"{name} (empty: no more)"
        answer = str(typer.prompt(question, default="", show_default=False)).strip()
        if not answer and cameras:
            return cameras
        try:
            url = _with_login(_chosen(answer, found))
        except EdgeCaptureError as error:
            typer.echo(f"  {error}")
            continue
        if _tried(name, url) or typer.confirm("  Use it even so?", default=False):
            cameras[name] = url


def _chosen(answer: str, found: list[Device]) -> str:
    if answer.isascii() and answer.isdigit() and 1 <= int(answer) <= len(found):
        return found[int(answer) - 1].url
    return check_url(answer)


def _with_login(url: str) -> str:
    """*url*, with the password that is asked for, and not shown, where only its user is named."""
    if not (user := lacks_password(url)):
        return url
    password = str(typer.prompt(f"  Password of {user} (not shown)", default="", hide_input=True, show_default=False))
    return check_url(with_password(url, password))


def _tried(name: str, url: str) -> bool:
    """Whether the camera delivers; what, or why not, is said."""
    typer.echo(f"  {redact(url)} …")
    job = CaptureJob(device="init", camera=name, fields=DEFAULT_FIELDS, source=url, tag=None, spool="", state="")
    try:
        typer.echo(f"  {name}: {glance(job)}")
    except EdgeCaptureError as error:
        typer.echo(f"  {name}: {error}")
        return False
    return True


def _make_store(url: str) -> None:
    """A directory that is to be the store is made here: a running agent makes none, for it may be a disk's mount."""
    if "://" not in url:
        with os_errors(url):
            Path(url).mkdir(parents=True, exist_ok=True)
