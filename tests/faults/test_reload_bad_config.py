"""A settings file with faults changes nothing, whatever the fault."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.test_reload import Running, agent


@contextmanager
def asked_to_reload(running: Running) -> Iterator[None]:
    """Have the agent hear of what the block does to its settings by a signal, before it can find out by itself."""
    running.process.send_signal(signal.SIGSTOP)
    yield
    running.process.send_signal(signal.SIGHUP)
    running.process.send_signal(signal.SIGCONT)


def test_reload_bad_config(tmp_path: Path, account: Callable[..., None]) -> None:
    """Broken YAML, wrong values, a file that is gone and what needs a restart are refused, a line for each fault."""
    with agent(tmp_path, "capture") as running:
        before = running.pids()
        good = running.config.read_text()
        bad = {
            "broken": (good + "\n  - : :", 1),
            "two faults": (good.replace("device: dock7", "device: 'a b'") + "nonsense: 1\n", 2),
            "another device": (good.replace("dock7", "dock8"), 1),
            "empty": ("", 1),
        }
        lines = 0
        for text, faults in bad.values():
            with asked_to_reload(running):
                running.config.write_text(text)
            lines += faults
            running.wait_for("reload_refused", lines)
        with asked_to_reload(running):
            running.config.unlink()
        running.wait_for("reload_refused", lines + 1)
        assert len(running.said("reload_refused")) == lines + 1
        with asked_to_reload(running):
            running.config.write_text(good)
        done = running.wait_for("settings_reloaded")
        assert (done["stopped"], done["started"]) == ([], [])
        assert running.pids() == before
        assert not running.said("segment_closed")
    account(f"{len(bad) + 1} bad files", "nothing", f"{lines + 1} lines, no process restarted, no segment cut")
