"""Videos named on a command line, one after the other: files, directories, S3 objects and prefixes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from cloud.events import ObjectRef
from cloud.local import LocalVideos
from cloud.origin import is_video
from cloud.pipeline import Progress, Result, Videos, process
from cloud.settings import Settings, StoreSettings
from edge_agent.clock import Clock
from edge_agent.errors import ConfigInvalid, EdgeCaptureError, Scope
from edge_agent.store import ObjectStore
from edge_agent.store.uri import split_uri


@dataclass(frozen=True, slots=True)
class Target:
    """A video to extract: the store it is read from, None for a plain file, and its key there (a file's path)."""

    store: StoreSettings | None
    key: str

    @property
    def label(self) -> str:
        return self.key.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Failure:
    """A video that could not be extracted, and why."""

    target: Target
    error: EdgeCaptureError


@dataclass(slots=True)
class Extractor:
    """Processes targets into one data set; stores are opened at first use and kept."""

    settings: Settings
    dataset: ObjectStore
    clock: Clock
    _open: dict[StoreSettings | None, Videos] = field(default_factory=lambda: {None: LocalVideos()})

    def one(self, target: Target, listener: Callable[[Progress], None] | None = None) -> Result | Failure:
        """The result of *target*. Raises errors of the link, at which no other video would fare better."""
        try:
            if target.store is not None and target.store not in self._open:
                self._open[target.store] = target.store.open()
            videos, ref = self._open[target.store], ObjectRef("", target.key)
            return process(ref, videos, self.dataset, self.settings, self.clock, listener)
        except EdgeCaptureError as error:
            if error.scope is Scope.LINK:
                raise
            return Failure(target, error)


def find(arguments: Sequence[str], endpoint_url: str | None = None) -> list[Target]:
    """The videos that *arguments* name, each once, in the order given. Raises ConfigInvalid when one names none."""
    found: dict[Target, None] = {}
    for argument in arguments:
        targets = list(_s3(argument, endpoint_url) if argument.startswith("s3://") else _local(argument))
        if not targets:
            raise ConfigInvalid("holds no video", where=argument, fix="name videos, directories or prefixes")
        found.update(dict.fromkeys(targets))
    return list(found)


def extract(
    targets: Sequence[Target],
    extractor: Extractor,
    started: Callable[[Target], Callable[[Progress], None] | None],
) -> tuple[list[Result], list[Failure]]:
    """Process *targets* in order; a bad video holds up no other. *started* hears of each, and may give its listener.

    Raises errors of the link (an unreachable store, refused credentials) at once: no other video would fare better.
    """
    return sort_out([extractor.one(target, started(target)) for target in targets])


def sort_out(ended: Sequence[Result | Failure]) -> tuple[list[Result], list[Failure]]:
    """Results and failures, each in the order of *ended*."""
    results = [one for one in ended if isinstance(one, Result)]
    return results, [one for one in ended if isinstance(one, Failure)]


def bucket_and_key(uri: str) -> tuple[str, str]:
    """The two parts of ``s3://bucket/key``; the key may be empty. Raises ConfigInvalid."""
    parts = split_uri(uri)
    if parts.scheme != "s3" or not parts.netloc:
        raise ConfigInvalid("names no bucket", where=uri, fix="write s3://bucket/key or s3://bucket/prefix/")
    return parts.netloc, uri.removeprefix(f"s3://{parts.netloc}").removeprefix("/")


def _s3(uri: str, endpoint_url: str | None) -> Iterator[Target]:
    bucket, wanted = bucket_and_key(uri)
    settings = StoreSettings(url=f"s3://{bucket}", endpoint_url=endpoint_url)
    keys = [info.key for info in settings.open().list(wanted)]
    if wanted in keys:
        keys = [wanted]
    return (Target(settings, key) for key in keys if key == wanted or is_video(key))


def _local(argument: str) -> Iterator[Target]:
    path = Path(unquote(split_uri(argument).path) if argument.startswith("file://") else argument).expanduser()
    try:
        path = path.resolve(strict=True)
    except OSError as error:
        raise ConfigInvalid("no such file or directory", where=argument, fix="check the path") from error
    if not path.is_dir():
        return iter([Target(None, str(path))])
    inside = (found for found in sorted(path.rglob("*")) if is_video(found.name) and found.is_file())
    visible = (found for found in inside if not any(part.startswith(".") for part in found.relative_to(path).parts))
    return (Target(None, str(found)) for found in visible)
