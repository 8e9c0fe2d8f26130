"""The ledger forgets what is long over, so that it stays as small as what is still there."""

from __future__ import annotations

import os
from collections.abc import Callable

from edge_agent.upload.unfinished import Using

PAGE = 1000  # rows at a time: nobody else waits for the ledger for more than some milliseconds


class History:
    """Part of a :class:`~edge_agent.upload.ledger.Ledger`: durable, for several threads, raises SpoolError."""

    def __init__(self, using: Using, changing: Using) -> None:
        self._using = using
        self._changing = changing

    def prune(self, before: float, is_kept: Callable[[str], bool]) -> int:
        """Forget what arrived or was evicted before *before* (epoch seconds) and has no file any more; how many.

        *is_kept* tells for a file's name whether ``uploaded/`` still has it. A file that comes back under a forgotten
        name is compared with the object that its first upload left.
        """
        query = (
            "SELECT stem, file, changed FROM segments WHERE state IN ('verified', 'evicted') AND changed < ?"
            " AND (changed, stem) > (?, ?) ORDER BY changed, stem LIMIT ?"
        )
        last, count = (float("-inf"), ""), 0
        while True:
            with self._using() as connection:
                page = connection.execute(query, (before, *last, PAGE)).fetchall()
            gone = [(stem, changed) for stem, file, changed in page if not is_kept(os.fsdecode(file))]
            if gone:
                with self._changing() as connection:
                    # Unless something happened to it in this moment.
                    count += connection.executemany(
                        "DELETE FROM segments WHERE stem = ? AND changed = ?", gone
                    ).rowcount
            if len(page) < PAGE:
                return count
            last = (page[-1]["changed"], page[-1]["stem"])
