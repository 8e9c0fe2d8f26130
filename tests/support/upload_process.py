"""A real uploader in its own process, to be killed: ``python upload_process.py SPOOL STORE``; a line per upload."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from edge_agent.clock import SystemClock
from edge_agent.spool import Spool
from edge_agent.store.directory import DirectoryStore
from edge_agent.upload.ledger import LEDGER_FILE, Ledger
from edge_agent.upload.report import UploadEvent
from edge_agent.upload.uploader import Uploader


def main(spool: Spool, store: Path) -> None:
    with Ledger(spool.root / LEDGER_FILE) as ledger:
        uploader = Uploader(
            spool, DirectoryStore(store), ledger, SystemClock(), "dock7", ("color", "object"), on_event=tell
        )
        uploader.run(threading.Event(), until_empty=True)


def tell(event: UploadEvent) -> None:
    sys.stdout.write(f"{event.what} {event.stem}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Spool(Path(sys.argv[1])), Path(sys.argv[2]))
