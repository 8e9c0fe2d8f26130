"""Videos named on a command line, one after the other: files, directories, S3 objects and prefixes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cloud.events import ObjectRef
from cloud.local import LocalVideos
from cloud.origin import is_video
from cloud.pipeline import Progress, Result, Videos, process
from cloud.settings import Settings
from edge_agent.clock import Clock
from edge_agent.errors import ConfigInvalid, EdgeCaptureError, Scope
from edge_agent.store import ObjectStore, open_store


@dataclass(frozen=True, slots=True)
class Target:
    """A video to extract: where it is read from, and its key there."""

    store: Videos
    key: str

    @property
    def label(self) -> str:
        return self.key.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Failure:
    """A video that could not be extracted, and why."""

    target: Target
    error: EdgeCaptureError


def find(arguments: Sequence[str], endpoint_url: str | None = None) -> list[Target]:
    """The videos that *arguments* name, each once, in the order given. Raises ConfigInvalid when one names none."""
    found: dict[tuple[str, str], Target] = {}
    for argument in arguments:
        targets = list(_s3(argument, endpoint_url) if argument.startswith("s3://") else _local(argument))
        if not targets:
            raise ConfigInvalid("holds no video", where=argument, fix="name videos, directories or prefixes")
        found.update({(target.store.uri(target.key), target.key): target for target in targets})
    return list(found.values())


def extract(
    targets: Sequence[Target],
    dataset: ObjectStore,
    settings: Settings,
    clock: Clock,
    started: Callable[[Target], Callable[[Progress], None] | None],
) -> tuple[list[Result], list[Failure]]:
    """Process *targets* in order; a bad video holds up no other. *started* hears of each, and may give its listener.

    Raises errors of the link (an unreachable store, refused credentials) at once: no other video would fare better.
    """
    results: list[Result] = []
    failures: list[Failure] = []
    for target in targets:
        listener = started(target)
        try:
            results.append(process(ObjectRef("", target.key), target.store, dataset, settings, clock, listener))
        except EdgeCaptureError as error:
            if error.scope is Scope.LINK:
                raise
            failures.append(Failure(target, error))
    return results, failures


def _s3(uri: str, endpoint_url: str | None) -> Iterator[Target]:
    parts = urlsplit(uri)
    if not parts.netloc:
        raise ConfigInvalid("names no bucket", where=uri, fix="write s3://bucket/key or s3://bucket/prefix/")
    store = open_store(f"s3://{parts.netloc}", endpoint_url=endpoint_url)
    wanted = parts.path.removeprefix("/")
    keys = [info.key for info in store.list(wanted)]
    if wanted in keys:
        keys = [wanted]
    return (Target(store, key) for key in keys if key == wanted or is_video(key))


def _local(argument: str) -> Iterator[Target]:
    path = Path(unquote(urlsplit(argument).path) if argument.startswith("file://") else argument).expanduser()
    try:
        path = path.resolve(strict=True)
    except OSError as error:
        raise ConfigInvalid("no such file or directory", where=argument, fix="check the path") from error
    videos = LocalVideos()
    if not path.is_dir():
        return iter([Target(videos, str(path))])
    inside = (found for found in sorted(path.rglob("*")) if is_video(found.name) and found.is_file())
    visible = (found for found in inside if not any(part.startswith(".") for part in found.relative_to(path).parts))
    return (Target(videos, str(found)) for found in visible)
