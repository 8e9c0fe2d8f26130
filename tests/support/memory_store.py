"""A store in memory, for schedules by the hundred; and one that is told, before and after each call, what happens."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from edge_agent.errors import ObjectExists, ObjectNotFound, PreconditionFailed
from edge_agent.store import ObjectInfo, StoredObject
from edge_agent.store.base import Checksum

R = TypeVar("R")
EPOCH = datetime(2026, 11, 22, tzinfo=UTC)


@dataclass
class MemoryStore:
    """Keeps the contract of an ObjectStore, but for objects in parts. Every put is a millisecond after the last."""

    name: str
    scratch: Path
    objects: dict[str, StoredObject] = field(default_factory=dict)
    _puts: int = 0
    _checkouts: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def uri(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def key_of(self, uri: str) -> str | None:
        head = f"s3://{self.name}/"
        return uri.removeprefix(head) if uri.startswith(head) else None

    def put(
        self, key: str, body: Any, *, content_type: str = "", metadata: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        assert isinstance(body, bytes)
        digest = hashlib.sha256(body).hexdigest()
        with self._lock:
            self._puts += 1
            moment = EPOCH + timedelta(milliseconds=self._puts)
            checksum = Checksum("SHA256", digest)
            info = ObjectInfo(key, len(body), digest, moment, content_type, dict(metadata or {}), checksum)
            self.objects[key] = StoredObject(info, body)
        return info

    def put_if_absent(self, key: str, body: Any, **known: Any) -> ObjectInfo:
        with self._lock:
            if key in self.objects:
                raise ObjectExists("the object exists already", where=self.uri(key))
            return self.put(key, body, **known)

    def put_if_match(self, key: str, body: Any, etag: str, **known: Any) -> ObjectInfo:
        with self._lock:
            if key not in self.objects or self.objects[key].info.etag != etag:
                raise PreconditionFailed("the object was changed by somebody else", where=self.uri(key))
            return self.put(key, body, **known)

    def get(self, key: str) -> StoredObject:
        with self._lock:
            if key not in self.objects:
                raise ObjectNotFound("no such object", where=self.uri(key))
            return self.objects[key]

    def head(self, key: str) -> ObjectInfo:
        return self.get(key).info

    @contextmanager
    def checkout(self, key: str) -> Iterator[Path]:
        with self._lock:
            self._checkouts += 1
            path = self.scratch / f"{self.name}-{self._checkouts}"
        path.write_bytes(self.get(key).body)
        try:
            yield path
        finally:
            path.unlink()

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        with self._lock:
            return iter([self.objects[key].info for key in sorted(self.objects) if key.startswith(prefix)])

    def delete(self, key: str) -> None:
        with self._lock:
            self.objects.pop(key, None)


class Told:
    """Another store, of which every call is reported: *around* gets its name and makes it."""

    def __init__(self, store: Any, around: Callable[[str, Callable[[], Any]], Any]) -> None:
        self._store, self._around = store, around
        self.name = store.name
        self.uri, self.key_of = store.uri, store.key_of

    def __getattr__(self, call: str) -> Callable[..., Any]:
        real = getattr(self._store, call)
        if call == "list":
            return lambda prefix="": self._around(call, lambda: iter([*real(prefix)]))
        if call == "checkout":
            return self._checkout
        return lambda *args, **known: self._around(call, lambda: real(*args, **known))

    @contextmanager
    def _checkout(self, key: str) -> Iterator[Path]:
        manager = self._around("checkout", lambda: self._store.checkout(key))
        with manager as path:
            yield path
