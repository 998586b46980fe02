"""How far the way ahead is open, by the map; what was not seen yet is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import need
from ..mapping.geometry import Points, Pose
from ..mapping.grid import OccupancyGrid

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OutlookOptions:
    """Rays every `step_rad` within `ahead_rad` of straight on, `reach_m` long, end at cells above `occupied` log-odds,
    grown by `grow_m`. The way ends where none is open for `end_m`.
    """

    step_rad: float = math.radians(5)
    ahead_rad: float = math.radians(35)
    reach_m: float = 3.0
    occupied: float = 0.4
    grow_m: float = 0.12
    end_m: float = 1.0


class Outlook:
    """Looks ahead on a map."""

    def __init__(self, options: OutlookOptions = OutlookOptions()) -> None:
        self._cv2: Any = need("cv2", "cpu")
        self.options = options
        count = round(options.ahead_rad / options.step_rad)
        self.bearings: Array = options.step_rad * np.arange(-count, count + 1, dtype=float)

    def open_m(self, grid: OccupancyGrid, pose: Pose) -> Array:
        """(bearings,) metres that are open from `pose` along each of `bearings`, relative to its heading."""
        step = grid.options.resolution_m
        along: Array = step * np.arange(1, round(self.options.reach_m / step) + 1, dtype=float)
        if not grid.log_odds.size:
            return np.full(len(self.bearings), self.options.reach_m)
        angle = pose.yaw_rad + self.bearings[:, None]
        points = np.stack([pose.x_m + along * np.cos(angle), pose.y_m + along * np.sin(angle)], -1)
        taken = self._taken(grid, points.reshape(-1, 2)).reshape(len(self.bearings), -1)
        taken &= along > self.options.grow_m + 0.1  # what touches the robot itself is the planner's to see
        return np.where(taken.any(1), along[taken.argmax(1)], self.options.reach_m)

    def open_ahead(self, grid: OccupancyGrid, pose: Pose) -> float:
        """Metres that are open in the best direction nearly straight on."""
        return float(self.open_m(grid, pose).max())

    def ended(self, grid: OccupancyGrid, pose: Pose) -> bool:
        """True where the way ends ahead."""
        return self.open_ahead(grid, pose) < self.options.end_m

    def _taken(self, grid: OccupancyGrid, points: Points) -> NDArray[np.bool_]:
        cells = grid.cell(points)
        low, high = cells.min(0), cells.max(0) + 1
        top, left = max(0, int(low[0])), max(0, int(low[1]))
        window = grid.log_odds[top : max(0, int(high[0])), left : max(0, int(high[1]))]
        if not window.size:
            return np.zeros(len(points), bool)
        size = 2 * round(self.options.grow_m / grid.options.resolution_m) + 1
        grown = self._cv2.dilate((window > self.options.occupied).astype(np.uint8), np.ones((size, size), np.uint8))
        cells = cells - (top, left)
        inside = ((cells >= 0) & (cells < grown.shape)).all(1)
        taken = np.zeros(len(points), bool)
        taken[inside] = grown[cells[inside, 0], cells[inside, 1]] > 0
        return taken
