"""Numbers, and names that others chose, as messages show them."""

from __future__ import annotations

_MOST = 120  # characters


def quoted(name: str) -> str:
    """*name* in quotes, cut short, with nothing in it that a terminal or a log would take for a command or a line.

    It is cut in its middle: pictures are told apart by the ends of their names.
    """
    return repr(name if len(name) <= _MOST else f"{name[: _MOST // 2]}…{name[1 - _MOST // 2 :]}")


def plain(text: str, most: int = 200) -> str:
    """*text* as :func:`quoted` has it, without the quotes."""
    safe = "".join(letter if letter.isprintable() else "?" for letter in text[:most])
    return safe if len(text) <= most else f"{safe}…"


def counted(number: int, thing: str) -> str:
    """``1 line``, ``1,000 lines``."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
