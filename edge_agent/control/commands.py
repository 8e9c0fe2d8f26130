"""What an operator may ask of a camera, and what is wanted of it after that. Pure.

A command changes the desired state of one camera. Which class is in force follows from that, the configured default and
the time: a tag that has run out is as good as none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta, tzinfo

from edge_agent.errors import ConfigInvalid
from edge_agent.segment import ClassTag, format_moment
from edge_agent.span import parse_span
from edge_agent.upload.limits import UploadOrder


@dataclass(frozen=True, slots=True)
class TagChoice:
    """A class, who set it and when (ISO 8601, empty for the configured default), and when it ends by itself."""

    tag: ClassTag
    set_by: str = "config"
    set_at: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Switch:
    """Whether a camera was started or stopped, by whom and when (ISO 8601)."""

    on: bool
    set_by: str
    set_at: str


@dataclass(frozen=True, slots=True)
class Desired:
    """What is wanted of one camera; None where nobody said anything."""

    choice: TagChoice | None = None
    recording: Switch | None = None


@dataclass(frozen=True, slots=True)
class SetClass:
    """Record under *tag*, until then (aware) or until another is set."""

    camera: str
    tag: ClassTag
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ClearClass:
    """Record under the configured default again, or not at all where there is none."""

    camera: str


@dataclass(frozen=True, slots=True)
class StartRecording:
    """Let an ``on_demand`` camera record; end the pause of any other."""

    camera: str


@dataclass(frozen=True, slots=True)
class StopRecording:
    """Let a camera record nothing, whatever its mode, until it is started again."""

    camera: str


Command = SetClass | ClearClass | StartRecording | StopRecording


@dataclass(frozen=True, slots=True)
class PauseUpload:
    """Upload nothing, until then (aware) or until it is resumed."""

    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ResumeUpload:
    """End a pause; where uploads are on demand, let them go on, until then (aware) or until they are paused."""

    until: datetime | None = None


UploadCommand = PauseUpload | ResumeUpload


@dataclass(frozen=True, slots=True)
class SetSampling:
    """Of *camera*'s stream keep one packet in *keep_every*; None: as the settings say."""

    camera: str
    keep_every: int | None


@dataclass(frozen=True, slots=True)
class SetBandwidth:
    """Upload at most *rate* bytes a second where no window rules (None: no limit); or again *as_configured*."""

    as_configured: bool
    rate: float | None = None


TuneCommand = SetSampling | SetBandwidth
Order = Command | UploadCommand | TuneCommand


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was ordered in place of settings: ``keep_every`` by camera, and a ``bandwidth``, None for none ordered."""

    keep_every: Mapping[str, int] = field(default_factory=dict)
    bandwidth: SetBandwidth | None = None


def upload_order(command: UploadCommand, set_by: str, now: datetime) -> UploadOrder:
    """What holds for uploads after *command*, given by *set_by* at *now*."""
    return UploadOrder(isinstance(command, ResumeUpload), set_by, format_moment(now), command.until)


def apply(desired: Desired, command: Command, set_by: str, now: datetime) -> Desired:
    """What is wanted after *command*, given by *set_by* at *now*."""
    set_at = format_moment(now)
    match command:
        case SetClass(tag=tag, until=until):
            return replace(desired, choice=TagChoice(tag, set_by, set_at, until))
        case ClearClass():
            return replace(desired, choice=None)
        case StartRecording():
            return replace(desired, recording=Switch(True, set_by, set_at))
        case StopRecording():
            return replace(desired, recording=Switch(False, set_by, set_at))


def in_force(desired: Desired, default: TagChoice | None, now: datetime) -> TagChoice | None:
    """The class to record under at *now*, or None: nothing is recorded."""
    choice = desired.choice
    if choice is None or (choice.until is not None and now >= choice.until):
        return default
    return choice


_CLOCK = re.compile(r"(\d{1,2}):(\d{2})", re.ASCII)


def parse_for(text: str, now: datetime) -> datetime:
    """When a tag ends that is set at *now* for ``90s``, ``10m``, ``1h30m`` or ``2d``. Raises ConfigInvalid."""
    try:
        return _later(now + timedelta(seconds=parse_span(text, "--for")), now, "--for")
    except OverflowError as error:
        raise ConfigInvalid(f"{text} has no end", where="--for", fix="leave it away") from error


def parse_until(text: str, now: datetime, zone: tzinfo | None = None) -> datetime:
    """The moment ``18:30`` (the next one) or an ISO 8601 date and time means; without an offset in *zone*.

    *zone* None is the box's local time. Raises ConfigInvalid, also for a moment that is past.
    """
    if clock := _CLOCK.fullmatch(text):
        hour, minute = map(int, clock.groups())
        if hour < 24 and minute < 60:
            local = now.astimezone(zone)
            found = _aware(datetime.combine(local.date(), time(hour, minute)), zone)
            if found <= now:
                found = _aware(datetime.combine(local.date() + timedelta(days=1), time(hour, minute)), zone)
            return found
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else _aware(moment, zone)
    except (ValueError, OverflowError) as error:
        raise ConfigInvalid(
            f"{text[:40]!a} is no time", where="--until", fix="write 18:30 or 2026-11-22T18:30"
        ) from error
    return _later(moment, now, "--until")


def _aware(local: datetime, zone: tzinfo | None) -> datetime:
    return (local.replace(tzinfo=zone) if zone else local).astimezone(UTC)


def _later(moment: datetime, now: datetime, option: str) -> datetime:
    if moment <= now:
        raise ConfigInvalid(f"{format_moment(moment)} is past", where=option, fix="name a moment to come")
    return moment
