"""What the store had when nobody knew: one listing instead of a question for each file of a ledger begun anew."""

from __future__ import annotations

import threading
from collections import OrderedDict
from itertools import islice

from edge_agent.errors import CredentialsRefused, StoreError
from edge_agent.store.base import ObjectStore
from edge_agent.upload.retry import Fate, fate_of

MOST_KEYS = 10_000  # of one directory, ten requests to S3: where more is there, each is asked for by itself
MOST_DIRECTORIES = 8  # a directory is a day of a device; the two lanes work on two of them


class Catalogue:
    """Lists the directories of *store* that it is asked about, each once. For several threads."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._listed: OrderedDict[str, frozenset[int] | None] = OrderedDict()
        self._refused = False

    def lacks(self, key: str) -> bool:
        """Whether *key* was not there when its directory was first asked about; False: nobody knows.

        That it is not there now either is for who asks to know: nobody may have put it since but by a conditional put
        that tells. Raises StoreError when the store cannot be reached; that it lets nobody list is no error.
        """
        directory = key.rpartition("/")[0] + "/"
        with self._lock:
            if self._refused:
                return False
            if directory not in self._listed:
                self._list(directory)
            self._listed.move_to_end(directory)
            there = self._listed[directory]
        return there is not None and hash(key) not in there

    def _list(self, directory: str) -> None:
        there: frozenset[int] | None = None
        try:
            # Hashes take a third of the memory of keys; two keys with the same one cost a question.
            found = frozenset(hash(info.key) for info in islice(self._store.list(directory), MOST_KEYS + 1))
            there = found if len(found) <= MOST_KEYS else None
        except StoreError as error:
            # A device's role need not let it list; a role that lets it do nothing is told by the put that follows.
            if fate_of(error) is Fate.RETRY_ALL and not isinstance(error, CredentialsRefused):
                raise
            self._refused = True
        self._listed[directory] = there
        if len(self._listed) > MOST_DIRECTORIES:
            self._listed.popitem(last=False)
