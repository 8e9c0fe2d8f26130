"""Writers to a directory store that run as processes of their own: ``python -m tests.support.store_writers …``."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from edge_agent.errors import PreconditionFailed
from edge_agent.store import ObjectStore
from edge_agent.store.directory import DirectoryStore


def count(store: ObjectStore, key: str, times: int) -> None:
    """Add one to the number in *key*, *times* times, by compare-and-swap."""
    for _ in range(times):
        while True:
            found = store.get(key)
            try:
                store.put_if_match(key, str(int(found.body) + 1).encode(), found.info.etag)
                break
            except PreconditionFailed:
                continue


def put_for_ever(store: ObjectStore) -> None:
    """Overwrite a few keys with bodies of random length, each of one repeated letter; print a line after each put."""
    while True:
        letter = random.choice("abcdefgh")
        body = letter.encode() * random.randrange(1, 300_000)
        store.put(f"videos/{random.randrange(4)}.mp4", body, metadata={"letter": letter, "size": str(len(body))})
        print("put", flush=True)


if __name__ == "__main__":
    root = DirectoryStore(Path(sys.argv[2]))
    if sys.argv[1] == "count":
        count(root, sys.argv[3], int(sys.argv[4]))
    else:
        put_for_ever(root)
