"""A camera command's process: its output to be read, its last words, its end."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.errors import SourceUnreachable
from edge_agent.redact import redact

LAUNCHER = Path(__file__).with_name("launcher.py")
TICK = 0.1  # seconds; how late a stop is noticed
GRACE_SECONDS = 0.3  # from SIGTERM to SIGKILL; nothing is lost by it: the packets are read, and a stop must be quick
EXIT_SECONDS = 1.0  # a command that closed its output is given this long to tell its status
LAST_WORDS = 4096  # bytes of standard error that are kept


class Child:
    """A running command, read like a file. Used by one thread, the one that made it: the command ends with it."""

    def __init__(self, argv: list[str], clock: Clock, stop: threading.Event, patience: float) -> None:
        """Start *argv*; a read gives up after *patience* seconds without a byte. Raises SourceUnreachable."""
        if shutil.which(argv[0]) is None:
            raise SourceUnreachable("no such command", fix="install it, or write its full path")
        self._clock = clock
        self._stop = stop
        self._patience = patience
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # its own group, ended as a whole; Ctrl-C on our terminal is not for it
        )
        assert self._process.stdout is not None  # noqa: S101 - both are pipes
        assert self._process.stderr is not None  # noqa: S101
        self._out, self._err = self._process.stdout, self._process.stderr
        self._words = b""
        self._talks = True
        self._read = 0
        self._chunks: deque[tuple[int, float]] = deque()  # (bytes read until then, when)
        self.silent = False  # gave up waiting

    def read(self, size: int, /) -> bytes:
        """The next bytes; none when the command's output has ended, on a stop, or when nothing came for too long."""
        until = self._clock.monotonic() + self._patience
        while not self._stop.is_set():
            ready, _, _ = select.select([self._out, self._err] if self._talks else [self._out], [], [], TICK)
            if self._err in ready:
                self._listen()
            if self._out in ready:
                data = os.read(self._out.fileno(), size)
                self._read += len(data)
                self._chunks.append((self._read, self._clock.monotonic()))
                return data
            if self._clock.monotonic() > until:
                self.silent = True
                break
        return b""

    def arrival(self, position: int) -> float:
        """When (monotonic seconds) the *position*-th byte came; *position* never runs back."""
        while len(self._chunks) > 1 and self._chunks[0][0] < position:
            self._chunks.popleft()
        return self._chunks[0][1]

    def how_it_ended(self) -> str:
        """Why the output ended, for a person, with the last line the command said."""
        if self.silent:
            return f"command wrote nothing for {self._patience:.0f} s"
        try:
            status = self._process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            return "command closed its output"
        end = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        while self._talks and select.select([self._err], [], [], 0)[0]:
            self._listen()
        words = last_line(self._words)
        return f"command {end}: {words}" if words else f"command {end}"

    def close(self) -> None:
        """End the command and whatever it started, politely at first."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._signal(number)
            try:
                self._process.wait(GRACE_SECONDS if number == signal.SIGTERM else None)
            except subprocess.TimeoutExpired:
                continue
        self._out.close()
        self._err.close()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)  # children of a command that has ended are in its group, too
        except (ProcessLookupError, PermissionError):
            return

    def _listen(self) -> None:
        words = os.read(self._err.fileno(), LAST_WORDS)
        self._talks = bool(words)
        self._words = (self._words + words)[-LAST_WORDS:]


def last_line(words: bytes) -> str:
    """The last line of *words* that says something, printable and without passwords."""
    lines = [line.strip() for line in words.decode("utf-8", "replace").replace("\r", "\n").splitlines()]
    line = next((line for line in reversed(lines) if line), "")
    return redact("".join(letter if letter.isprintable() else " " for letter in line)).strip()[:200]
