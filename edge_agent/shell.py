"""What all commands of ``edge-agent`` share: their common options, and how signals end them."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="Settings file.", show_default=True, envvar="EDGE_AGENT_CONFIG")
]
DEFAULT_CONFIG = Path("/etc/edge-agent/edge-agent.yaml")
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM, Ctrl-C and a terminal that is closed set; the second one ends the process at once."""
    stop = threading.Event()
    obey_signals(stop.set, stop.set)
    return stop


def obey_signals(stop: Callable[[], None], reload: Callable[[], None]) -> None:
    """Let SIGTERM and Ctrl-C *stop*, a second one end the process at once, and SIGHUP *reload*.

    SIGHUP of a terminal that was closed stops: nobody is there to ask for a reload.
    """
    stopping = False

    def handle(number: int, _frame: object) -> None:
        nonlocal stopping
        if number == signal.SIGHUP and not _terminal_is_gone():
            reload()
            return
        if stopping:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stopping = True
        stop()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # else someone said nohup
        signal.signal(signal.SIGHUP, handle)


def _terminal_is_gone() -> bool:
    """Whether this process was started on a terminal that has hung up since."""
    try:
        os.ttyname(0)
    except OSError as error:
        return error.errno == errno.EIO
    return False
