"""Rugs, runners and marks on the floor of training courses: an edge between two colours is not the end of the floor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .layout import Rect
from .looks import Surface

LEAST_M = 0.15


@dataclass(frozen=True, slots=True)
class Rug:
    """A flat rectangle around (`x`, `y`), `length_m` along `heading_rad`."""

    x: float
    y: float
    heading_rad: float
    length_m: float
    width_m: float
    surface: Surface


def lay(
    rng: np.random.Generator, rects: Sequence[Rect], surfaces: tuple[Surface, ...], share: float
) -> tuple[Rug, ...]:
    """One on the floor of a `share` of the rectangles, as they come; none reaches under a wall."""
    rugs = []
    for rect in rects:
        if rng.random() >= share:
            continue
        wide, deep = rect.x1 - rect.x0, rect.y1 - rect.y0
        surface = surfaces[rng.integers(len(surfaces))]
        if rng.random() < 0.5:  # along the walls, up to the whole floor
            length, width = rng.uniform(LEAST_M, wide), rng.uniform(LEAST_M, deep)
            x = rng.uniform(rect.x0 + length / 2, rect.x1 - length / 2)
            y = rng.uniform(rect.y0 + width / 2, rect.y1 - width / 2)
            heading = 0.0
        else:
            reach = rng.uniform(LEAST_M, min(wide, deep) / 2)
            slant, heading = rng.uniform(0.1, math.pi / 2 - 0.1), rng.uniform(0, math.pi)
            length, width = 2 * reach * math.cos(slant), 2 * reach * math.sin(slant)
            x, y = rng.uniform(rect.x0 + reach, rect.x1 - reach), rng.uniform(rect.y0 + reach, rect.y1 - reach)
        rugs.append(Rug(float(x), float(y), float(heading), float(length), float(width), surface))
    return tuple(rugs)
