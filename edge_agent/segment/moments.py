"""Moments as names and sidecars spell them: UTC, whole milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_milliseconds(moment: datetime) -> datetime:
    """*moment* in UTC, cut to whole milliseconds, as names and sidecars carry it."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def format_moment(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds: ``2026-11-22T14:31:05.123Z``."""
    return utc_milliseconds(moment).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_moment(text: str) -> datetime:
    """The inverse of :func:`format_moment`. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text!r} is out of range") from error
