"""The way to a goal on the map: how far each known place is from it, around everything that stands in between.

A wave from the goal through the cells that the robot fits into gives each cell its distance (a navigation function,
Barraquand, Langlois and Latombe 1992, NF1; driven by as in Brock and Khatib 1999). Unknown cells count as free, so that
a goal beyond what was seen can be driven to; the wave is made anew while the map grows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import UsageError, need
from ..mapping.geometry import Points, Pose
from ..mapping.grid import OccupancyGrid
from .waves import spread

REACHED_M = 0.25
"""The goal is reached when the robot is this near."""
WEIGHT = 3.0
"""What a metre nearer to the goal is worth, beside the planner's weights."""
MARGIN_M = 2.0
"""How far around what is known the way may lead."""
EVERY = 5
"""Frames from one wave to the next."""
NO_WAY = -10.0
"""What a place is worth that the wave does not reach."""
FARTHEST_M = 30.0
"""The most that a goal may be away at the start: the wave's cost grows with the area, and here it takes 0.2 s."""
NEAR_CELLS = 3
Values = NDArray[np.float64]


def check_goal(goal: tuple[float, float]) -> tuple[float, float]:
    """The goal of a drive that begins; raises UsageError for one that is too far away, or no place."""
    if not math.hypot(*goal) <= FARTHEST_M:  # nor is NaN
        raise UsageError(
            f"--goal {goal[0]},{goal[1]}: expected two numbers, metres ahead and to the left, at most "
            f"{FARTHEST_M:g} m away: the map that is made on the way holds no more"
        )
    return goal


class Route:
    """A goal (x, y) in metres of the map, whose origin is the robot's first pose: x ahead, y to the left."""

    def __init__(self, goal: tuple[float, float], radius_m: float = 0.17, occupied: float = 0.4) -> None:
        self._cv2: Any = need("cv2", "cpu")
        self.goal = goal
        self._radius_m, self._occupied = radius_m, occupied
        self._frames = 0
        self._field: tuple[NDArray[np.float32], tuple[float, float], float] | None = None
        self.unreachable = False
        self.taken = False

    def __str__(self) -> str:
        return f"{self.goal[0]:g},{self.goal[1]:g}"

    def renew(self) -> None:
        """Say that the map moved: its way is found anew at the next look. The goal is a place of the map as it is."""
        self._field = None

    def reached(self, pose: Pose) -> bool:
        """True where the robot is at the goal."""
        return math.hypot(pose.x_m - self.goal[0], pose.y_m - self.goal[1]) < REACHED_M

    def worth(self, grid: OccupancyGrid, pose: Pose) -> Callable[[Points], Values]:
        """What floor points (n, 2) are worth at `pose`; `unreachable` says whether the goal is walled off, and `taken`
        whether something stands there."""
        if self._field is None or self._frames % EVERY == 0:
            self._field = self._wave(grid, pose)
        self._frames += 1
        field, origin, step = self._field
        here = self._distance(np.array([pose.x_m, pose.y_m]))
        self.unreachable = not math.isfinite(here)

        def worth(points: Points) -> Values:
            there = _look_up(field, origin, step, points)
            known = np.isfinite(there) & math.isfinite(here)
            return np.where(known, WEIGHT * (here - np.where(known, there, 0.0)), NO_WAY)

        return worth

    def _distance(self, position: NDArray[np.float64]) -> float:
        """Metres to the goal from `position` (2,); from near by where something is nearer than the wave goes."""
        assert self._field is not None
        _, _, step = self._field
        here = float(_look_up(*self._field, position[None])[0])
        if math.isfinite(here):
            return here
        around = np.mgrid[-NEAR_CELLS : NEAR_CELLS + 1, -NEAR_CELLS : NEAR_CELLS + 1].reshape(2, -1).T * step
        return float(_look_up(*self._field, position + around).min())

    def _wave(self, grid: OccupancyGrid, pose: Pose) -> tuple[NDArray[np.float32], tuple[float, float], float]:
        """Metres to the goal (rows, columns), inf where there is no way, with the origin and the size of its cells."""
        step = grid.options.resolution_m
        rows, columns = grid.log_odds.shape
        xs = [self.goal[0], pose.x_m, grid.origin[0], grid.origin[0] + columns * step]
        ys = [self.goal[1], pose.y_m, grid.origin[1], grid.origin[1] + rows * step]
        left, low = math.floor((min(xs) - MARGIN_M) / step), math.floor((min(ys) - MARGIN_M) / step)
        wide, high = math.ceil((max(xs) + MARGIN_M) / step) - left, math.ceil((max(ys) + MARGIN_M) / step) - low
        occupied = np.zeros((high, wide), np.uint8)
        if grid.log_odds.size:
            top, at = round(grid.origin[1] / step) - low, round(grid.origin[0] / step) - left
            occupied[top : top + rows, at : at + columns] = grid.log_odds > self._occupied
        distance = self._cv2.distanceTransform(1 - occupied, self._cv2.DIST_L2, 3) * step
        origin = (left * step, low * step)
        open_ = (distance > self._radius_m).astype(np.uint8)
        start = int((self.goal[1] - origin[1]) / step), int((self.goal[0] - origin[0]) / step)
        self.taken = not open_[start]
        return spread(self._cv2, open_, start) * np.float32(step), origin, step


def _look_up(field: NDArray[np.float32], origin: tuple[float, float], step: float, points: Points) -> Values:
    cells = np.floor((points[:, ::-1] - origin[::-1]) / step).astype(np.intp)
    cells = np.clip(cells, 0, np.array(field.shape) - 1)
    return np.asarray(field[cells[:, 0], cells[:, 1]], np.float64)
