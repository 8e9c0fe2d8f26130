"""A share of a sequence of unknown length, evenly spread over it, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Spread(Generic[T]):
    """``kept`` is every ``every``-th of the items ``seen``, from the first: at most ``most``, and at least half of it.

    Of each item :meth:`takes_next` is asked; one that is taken goes into ``kept``, so it is made only then.
    """

    most: int
    seen: int = 0
    every: int = 1
    kept: list[T] = field(default_factory=list)

    def takes_next(self) -> bool:
        """Whether the next item is to be kept; there is room for it then."""
        if self.seen % self.every == 0 and len(self.kept) == self.most:
            self.every *= 2
            del self.kept[1::2]
        self.seen += 1
        return (self.seen - 1) % self.every == 0
