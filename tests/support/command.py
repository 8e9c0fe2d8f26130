"""The command edge-cloud in this process."""

from __future__ import annotations

import os
import sys

import pytest
import structlog

from cloud import cli


class Run:
    """Runs ``edge-cloud`` with the words of *head* and those it is called with; no setting of the caller's counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *head: str) -> None:
        self._monkeypatch, self._capsys, self._head = monkeypatch, capsys, head
        for variable in [name for name in os.environ if name.startswith("EDGE_CLOUD_")]:
            monkeypatch.delenv(variable)

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        """Exit status, standard output, standard error."""
        self._monkeypatch.setattr(sys, "argv", ["edge-cloud", *self._head, *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = self._capsys.readouterr()
        assert "Traceback" not in out + err
        structlog.reset_defaults()
        return (caught.value.code if isinstance(caught.value.code, int) else 0), out, err
