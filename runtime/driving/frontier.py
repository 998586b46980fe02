"""Where a way may go on that was not seen yet: the frontiers of the map that the robot can get to.

A frontier is the edge of the known free floor towards what nobody has seen (Yamauchi 1997, A frontier-based approach
for autonomous exploration). Each is worth the unseen area behind it, less the way there and the turn to it; those
beside the way that the robot came are none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import need
from ..mapping.geometry import Points, Pose
from ..mapping.grid import OccupancyGrid
from .waves import spread

Mask = NDArray[np.uint8]
AROUND: Mask = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class FrontierOptions:
    """Within `reach_m` of the robot; `free` and `occupied` are log-odds. The robot's radius and `margin_m` are kept
    from what stands, and what is not known counts as free within `near_m`.

    A frontier is at least `least_m` long and `apart_m` from where the robot came. The worth of one is its unseen area
    in square metres within `beyond_m`, less `way_cost` a metre of way and `turn_cost` a radian of turn
    from the way so far, and `steer_worth` times the network's steering to its side.
    """

    reach_m: float = 3.5
    free: float = -0.3
    occupied: float = 0.4
    margin_m: float = 0.05
    near_m: float = 0.5
    least_m: float = 0.3
    apart_m: float = 1.0
    beyond_m: float = 0.6
    way_cost: float = 0.1
    turn_cost: float = 0.5
    steer_worth: float = 0.3


class Frontiers:
    """Finds the frontier to go to."""

    def __init__(self, radius_m: float, options: FrontierOptions = FrontierOptions()) -> None:
        self._cv2: Any = need("cv2", "cpu")
        self.options = options
        self._room_m = radius_m + options.margin_m

    def best(
        self, grid: OccupancyGrid, pose: Pose, travel_rad: float, driven: Points, steer: float
    ) -> tuple[float, float] | None:
        """The (x, y) on the map of the frontier to go to, None where there is none.

        `travel_rad` is the heading of the way so far, `driven` (n, 2) where the robot was, `steer` -1..1 what the
        network would do.
        """
        options, step = self.options, grid.options.resolution_m
        part = grid.around(pose, options.reach_m)
        edge, unseen, way_m = self._edges(part, driven)
        size = 2 * round(options.beyond_m / step) + 1
        share = self._cv2.blur(unseen.astype(np.float32), (size, size), borderType=self._cv2.BORDER_CONSTANT)
        worth = share * (size * step) ** 2 - options.way_cost * way_m
        count, labels = self._cv2.connectedComponents(edge, connectivity=8)
        found: list[tuple[float, tuple[float, float]]] = []
        for label in range(1, count):
            rows, columns = np.nonzero(labels == label)
            if len(rows) * step < options.least_m:
                continue
            at = int(worth[rows, columns].argmax())
            x, y = (part.origin + (np.array([columns[at], rows[at]]) + 0.5) * step).tolist()
            bearing = math.atan2(y - pose.y_m, x - pose.x_m)
            turn = abs(math.remainder(bearing - travel_rad, math.tau))
            sided = options.steer_worth * steer * math.sin(bearing - pose.yaw_rad) - options.turn_cost * turn
            found.append((float(worth[rows[at], columns[at]]) + sided, (x, y)))
        return max(found)[1] if found else None

    def _edges(self, part: OccupancyGrid, driven: Points) -> tuple[Mask, Mask, NDArray[np.float32]]:
        """Of the map around the robot: frontiers, what is not seen, and the metres of way there from its middle."""
        cv2, options, step = self._cv2, self.options, part.options.resolution_m
        log_odds, middle = part.log_odds, len(part.log_odds) // 2
        taken = (log_odds > options.occupied).astype(np.uint8)
        room = cv2.distanceTransform(1 - taken, cv2.DIST_L2, 3) * step > self._room_m
        here = self._discs(log_odds.shape, [(middle, middle)], options.near_m / step)
        free = (log_odds < options.free).astype(np.uint8) | here
        passable = (room & (free > 0)).astype(np.uint8) | self._discs(log_odds.shape, [(middle, middle)], 2)
        way_m = spread(cv2, passable, (middle, middle)) * np.float32(step)
        unseen = cv2.morphologyEx(1 - (free | taken), cv2.MORPH_OPEN, AROUND)
        edge = cv2.dilate(unseen, AROUND) & (np.isfinite(way_m) & room)
        spots = part.cell(driven)[:, ::-1].clip(-len(log_odds), 2 * len(log_odds))
        edge[self._discs(log_odds.shape, spots.tolist(), options.apart_m / step) > 0] = 0
        return edge, unseen, way_m

    def _discs(self, shape: tuple[int, ...], spots: list[Any], radius: float) -> Mask:
        """1 within `radius` cells of the spots (column, row)."""
        out: Mask = np.zeros(shape, np.uint8)
        for spot in spots:
            self._cv2.circle(out, tuple(spot), round(radius), 1, -1)
        return out
