"""The data set: where its parts stand, what they say, and ``open_dataset`` for notebooks (docs/notebook.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloud.dataset.notebook import Dataset, Frame, SheetImage, open_dataset

__all__ = ["Dataset", "Frame", "SheetImage", "open_dataset"]


def __getattr__(name: str) -> Any:
    """The names above, imported when they are asked for: what else imports this package needs none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cloud.dataset import notebook

    return getattr(notebook, name)
