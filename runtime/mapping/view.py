"""What is known around the robot, cut out so that another thread may draw it while the map goes on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .geometry import Points, Pose
from .grid import OccupancyGrid
from .mapfile import UNKNOWN, shades
from .mapper import Mapper

SIDE_M = 8.0
"""The mapper's range to every side: all that the robot can see from where it is, and a small map as a whole."""
LONGEST_PATH = 1000


@dataclass(frozen=True, slots=True)
class MapView:
    """A square of the map with the robot in its middle; nothing in it changes any more.

    `cells` (n, n) uint8 are OCCUPIED, FREE, UNKNOWN as in the map's file, row 0 being the largest y; `corner` is the
    (x, y) in metres of its lower left corner. `path` (k, 2), `goal` and `arc` (m, 2), the way that is planned, are
    in metres of the map too, and may reach beyond the square.
    """

    cells: NDArray[np.uint8]
    corner: tuple[float, float]
    resolution_m: float
    pose: Pose
    path: Points
    goal: tuple[float, float] | None = None
    arc: Points | None = None

    @property
    def side_m(self) -> float:
        """Metres along a side."""
        return len(self.cells) * self.resolution_m


def view_of(mapper: Mapper, goal: tuple[float, float] | None = None, arc: Points | None = None) -> MapView:
    """The map around the robot as it is now; `arc` is in the robot's frame."""
    pose = mapper.pose
    cells, corner = _cut(mapper.grid, pose)
    step = mapper.grid.options.resolution_m
    path = mapper.path[-LONGEST_PATH:]
    return MapView(cells, corner, step, pose, path, goal, None if arc is None else pose.to_world(arc))


def _cut(grid: OccupancyGrid, pose: Pose) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    step = grid.options.resolution_m
    side = round(SIDE_M / step)
    ((row, column),) = grid.cell(np.array([[pose.x_m, pose.y_m]]))
    top, left = int(row) - side // 2, int(column) - side // 2
    cells = np.full((side, side), UNKNOWN, np.uint8)
    known = grid.log_odds[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)]
    at = max(0, -top), max(0, -left)
    cells[at[0] : at[0] + known.shape[0], at[1] : at[1] + known.shape[1]] = shades(known)
    return cells[::-1], (grid.origin[0] + left * step, grid.origin[1] + top * step)
