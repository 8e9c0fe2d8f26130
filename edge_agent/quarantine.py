"""``failed/``: what needs a person, why, and the way back into ``ready/`` once it was mended."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_agent.durable import fsync_directory, move_durably, os_errors, write_durably
from edge_agent.errors import NameInvalid, SpoolUnusable
from edge_agent.segment import format_moment
from edge_agent.spool import REASON_SUFFIX, SIDECAR_SUFFIX, VIDEO_SUFFIX, Spool, reason_for


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One file in ``failed/``. ``stem``: how to name it to release it; ``since``: seconds since the epoch."""

    stem: str
    file: str
    bytes: int
    since: float
    reason: str


def quarantined(spool: Spool) -> list[Quarantined]:
    """Everything in ``failed/``, in name order. Raises SpoolError."""
    with os_errors(spool.failed):
        if not spool.failed.exists():
            return []
        found = []
        for name in sorted(os.listdir(spool.failed)):  # noqa: PTH208 (names, not a path for each)
            path = spool.failed / name
            if name.startswith(".") or name.endswith((SIDECAR_SUFFIX, REASON_SUFFIX)) or not path.is_file():
                continue
            status = path.stat()
            stem = name.removesuffix(VIDEO_SUFFIX)
            found.append(Quarantined(stem, name, status.st_size, status.st_ctime, _reason(reason_for(path))))
        return found


def chosen(items: list[Quarantined], stems: Collection[str] | None) -> list[Quarantined]:
    """Those of *items* that are meant (None: all), by stem or file name. Raises NameInvalid for one not there."""
    if stems is None:
        return items
    known = {key: item for item in items for key in (item.stem, item.file)}
    if missing := [stem for stem in stems if stem not in known]:
        raise NameInvalid(
            "is not in failed/", where=", ".join(missing), fix="see 'edge-agent quarantine list' for what is"
        )
    return [known[stem] for stem in dict.fromkeys(stems)]


def release(spool: Spool, item: Quarantined) -> Path:
    """Put *item* back into ``ready/``, sidecar first; where it is now. The uploader begins anew with it.

    Every step can be the last: released again, it goes on from there. Raises SpoolUnusable when ``ready/`` has another
    file of that name, and SpoolError.
    """
    source = spool.failed / item.file
    target = spool.ready / item.file
    sidecar, beside = source.with_suffix(SIDECAR_SUFFIX), target.with_suffix(SIDECAR_SUFFIX)
    paired = item.file.endswith(VIDEO_SUFFIX) and sidecar.exists()
    with os_errors(source):
        done = _twin(spool, item.file, source)
        if done is None:
            if target.exists():
                fix = "wait until it is uploaded, or rename one of them"
                raise SpoolUnusable("ready/ has another file of that name", where=item.file, fix=fix)
            if paired:
                write_durably(beside, sidecar.read_bytes())
            move_durably(source, target)
        else:
            source.unlink()
            fsync_directory(source.parent)
        if paired:
            sidecar.unlink()
        reason_for(source).unlink(missing_ok=True)
    return done or target


def as_dict(item: Quarantined) -> dict[str, Any]:
    """JSON types: stem, file, bytes, since (ISO 8601), reason."""
    return {**asdict(item), "since": format_moment(datetime.fromtimestamp(item.since, UTC))}


def show(items: list[Quarantined]) -> None:
    """Print *items*, each with its reason below it, as wide as the terminal is."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    for item in items:
        since = datetime.fromtimestamp(item.since, UTC).astimezone()
        console.print(f"[bold]{escape(item.stem)}[/bold]", soft_wrap=True)
        console.print(f"  {item.bytes / 1e6:,.1f} MB, since {since:%Y-%m-%d %H:%M:%S}")
        console.print(f"  {escape(item.reason or 'no reason was noted')}", soft_wrap=True)
    if not items:
        console.print("nothing is set aside")


def _twin(spool: Spool, file: str, source: Path) -> Path | None:
    """The same file under its other name, where a release was cut off between the two."""
    for directory in (spool.ready, spool.uploaded):
        path = directory / file
        if path.exists() and path.samefile(source):
            return path
    return None


def _reason(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"reason cannot be read ({errno.errorcode.get(error.errno or 0, error)})"
