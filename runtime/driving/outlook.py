"""Where the way may go on, by the map: how far each direction is open, what was not seen yet included.

One look through one camera does not show a door in the wall beside the robot, and a network that learnt to follow ways
says nothing certain there. Where the way ends ahead, the pilot turns to where most may be open and looks again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
    """Rays every `step_rad`, `reach_m` long, end at cells above `occupied` log-odds, grown by `grow_m`.

    The way ends where no ray within `ahead_rad` of straight on is open for `end_m`. The way that the robot came, within
    `back_rad` of where it was, is no way on, nor is what lies farther than `behind_rad` to a side. `turn_cost_m` is
    what turning by a radian costs in metres of open way.
    """

    step_rad: float = math.radians(5)
    reach_m: float = 3.0
    occupied: float = 0.4
    grow_m: float = 0.12
    ahead_rad: float = math.radians(35)
    end_m: float = 1.1
    back_rad: float = math.radians(25)
    behind_rad: float = math.radians(150)
    turn_cost_m: float = 0.3


class Outlook:
    """Looks around on a map."""

    def __init__(self, options: OutlookOptions = OutlookOptions()) -> None:
        self._cv2: Any = need("cv2", "cpu")
        self.options = options
        count = round(math.tau / options.step_rad)
        self.bearings: Array = options.step_rad * np.arange(-(count // 2), count - count // 2, dtype=float)

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

    def way_on(self, grid: OccupancyGrid, pose: Pose, came: Callable[[], Points]) -> float | None:
        """The bearing to turn to where the way ends ahead; None where it goes on, or goes on nowhere.

        `came` gives places (n, 2) on the map where the robot was; it is called only where the way ends.
        """
        options = self.options
        open_m = self.open_m(grid, pose)
        if open_m[np.abs(self.bearings) <= options.ahead_rad].max() >= options.end_m:
            return None
        worth = open_m - options.turn_cost_m * np.abs(self.bearings)
        worth[(open_m < options.end_m) | (np.abs(self.bearings) > options.behind_rad)] = -np.inf
        places = came()
        if len(places):
            back = np.arctan2(places[:, 1] - pose.y_m, places[:, 0] - pose.x_m) - pose.yaw_rad
            off = np.abs(np.remainder(self.bearings[:, None] - back + math.pi, math.tau) - math.pi)
            worth[(off < options.back_rad).any(1)] = -np.inf
        best = int(worth.argmax())
        return float(self.bearings[best]) if math.isfinite(worth[best]) else None

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
