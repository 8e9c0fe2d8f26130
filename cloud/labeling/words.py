"""Soon gone: see :mod:`cloud.words`."""

from cloud.words import counted, plain, quoted

__all__ = ["counted", "plain", "quoted"]
