"""Names that others chose, as messages show them."""

from __future__ import annotations

_MOST = 60  # characters


def quoted(name: str) -> str:
    """*name* in quotes, cut short, with nothing in it that a terminal or a log would take for a command or a line."""
    return repr(name if len(name) <= _MOST else f"{name[: _MOST - 1]}…")


def plain(text: str, most: int = 200) -> str:
    """*text* as :func:`quoted` has it, without the quotes."""
    safe = "".join(letter if letter.isprintable() else "?" for letter in text[:most])
    return safe if len(text) <= most else f"{safe}…"
