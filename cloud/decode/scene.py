"""How much a picture differs from the one sampled before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloud.decode.sample import Grey


@dataclass(slots=True)
class Scene:
    """Samples the first picture, and each that differs from the one sampled before by ``threshold`` or more.

    Compared with the last sampled picture, not with the last picture: slow changes add up until they count.
    """

    threshold: float
    _sampled: Grey | None = field(default=None, init=False)

    def changed(self, grey: Grey) -> bool:
        """Whether to sample the picture whose small copy is *grey*."""
        if self._sampled is not None and difference(self._sampled, grey) < self.threshold:
            return False
        self._sampled = grey
        return True


def difference(one: Grey, other: Grey) -> float:
    """Mean difference of brightness, 0 to 1; pictures of different shapes have nothing in common. Pure."""
    import cv2

    if one.shape != other.shape:
        return 1.0
    return float(cv2.norm(one, other, cv2.NORM_L1)) / (one.size * 255)
