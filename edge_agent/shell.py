"""What all commands of ``edge-agent`` share: their common options, and how signals end them."""

from __future__ import annotations

import errno
import os
import select
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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


def run_obeying(run: Callable[[], None], stop: Callable[[], None], reload: Callable[[], None]) -> None:
    """*run*, on a thread, while signals are obeyed as :func:`obey_signals` says. Raises what *run* raises.

    Python's handlers run on the main thread alone, and a signal that comes when that is just about to wait for a lock
    is not noticed before the wait ends. So it waits for nothing else here, on a pipe that signals write to.
    """
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    obey_signals(stop, reload)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    try:
        with ThreadPoolExecutor(1, "agent") as pool:
            running = pool.submit(run)
            running.add_done_callback(lambda _: os.write(wake, b"\0"))
            while not running.done():
                select.select([woken], [], [])
                os.read(woken, 512)
            running.result()
    finally:
        signal.set_wakeup_fd(-1)
        os.close(woken)
        os.close(wake)


def _terminal_is_gone() -> bool:
    """Whether this process was started on a terminal that has hung up since."""
    try:
        os.ttyname(0)
    except OSError as error:
        return error.errno == errno.EIO
    return False
