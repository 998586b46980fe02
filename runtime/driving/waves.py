"""A wave through the open cells of a raster: how many steps each is from where it begins."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def spread(cv2: Any, open_: NDArray[np.uint8], start: tuple[int, int]) -> NDArray[np.float32]:
    """Steps from `start` through the open cells; diagonal steps every other wave, so that waves are octagons."""
    steps = np.full(open_.shape, np.inf, np.float32)
    reached = np.zeros_like(open_)
    reached[start] = open_[start]
    kernels = (np.ones((3, 3), np.uint8), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
    steps[reached > 0] = 0
    for wave in range(1, open_.size):
        grown = cv2.dilate(reached, kernels[wave % 2]) & open_
        new = grown > reached
        if not new.any() and wave > 1 and not (cv2.dilate(reached, kernels[0]) & open_ > reached).any():
            break
        steps[new] = wave
        reached = grown
    return steps
