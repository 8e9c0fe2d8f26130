"""The object store: one protocol, an S3 adapter and a directory adapter with the same semantics."""

from __future__ import annotations

from edge_agent.store.base import Body, Checksum, ObjectInfo, ObjectStore, StoredObject
from edge_agent.store.opening import open_store

__all__ = ["Body", "Checksum", "ObjectInfo", "ObjectStore", "StoredObject", "open_store"]
