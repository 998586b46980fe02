"""Where the way ends or leads back: an aim on the map, where it may go on, and the way there until it is open again.

A network that learnt to follow ways says nothing certain there, and one look does not show a door beside the robot.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..mapping.geometry import Points, Pose
from ..mapping.grid import OccupancyGrid
from .frontier import Frontiers
from .outlook import Outlook
from .route import Route
from .trail import Trail

Worth = Callable[[Points], NDArray[np.float64]]
BEARINGS = np.radians(np.arange(-180.0, 180.0, 15.0))
RING_M = 0.45


@dataclass(frozen=True, slots=True)
class ExplorerOptions:
    """An aim is one for `aim_s`, on the map up to `reach_m`, or until the way to it is open for `open_m` within
    `facing_rad` of straight on; the next is sought after `rest_s`, and `retry_s` after none was found.
    """

    aim_s: float = 8.0
    reach_m: float = 4.5
    open_m: float = 1.4
    facing_rad: float = math.radians(25)
    rest_s: float = 2.0
    retry_s: float = 1.0


class Explorer:
    """Has an aim, or none."""

    def __init__(self, radius_m: float, options: ExplorerOptions = ExplorerOptions()) -> None:
        self.options = options
        self._radius_m = radius_m
        self._outlook, self._frontiers = Outlook(), Frontiers(radius_m)
        self._aim: tuple[Route, float] | None = None
        self._rests_until = -math.inf

    @property
    def seeking(self) -> bool:
        """True while it has an aim."""
        return self._aim is not None

    def worth(self, grid: OccupancyGrid, pose: Pose, time_s: float) -> Worth | None:
        """What floor points are worth on the way to the aim, as `Route.worth`; None without one."""
        if self._aim is None:
            return None
        route, until_s = self._aim
        worth = route.worth(grid.around(pose, self.options.reach_m), pose)
        ahead = abs(steepest(worth, pose)) < self.options.facing_rad
        open_ = ahead and self._outlook.open_ahead(grid, pose) > self.options.open_m
        if not (route.unreachable or route.reached(pose) or time_s > until_s or open_):
            return worth
        self._aim, self._rests_until = None, time_s + self.options.rest_s
        return None

    def seek(self, grid: OccupancyGrid, pose: Pose, trail: Trail, steer: float, time_s: float) -> None:
        """Take an aim, if there is one. `trail` is where the robot was, `steer` -1..1 what the network would do."""
        goal = self._goal(grid, pose, trail, steer, time_s)
        if goal is None:
            self._rests_until = time_s + self.options.retry_s
        else:
            self._aim = (Route(goal, self._radius_m), time_s + self.options.aim_s)

    def _goal(
        self, grid: OccupancyGrid, pose: Pose, trail: Trail, steer: float, time_s: float
    ) -> tuple[float, float] | None:
        return self._frontiers.best(grid, pose, trail.travel_rad(pose), trail.visited(time_s)[:, :2], steer)

    def correct(self, by: Pose) -> None:
        """What was at a place of the map is at `by.to_world(place)` now."""
        if self._aim is not None:
            route, until_s = self._aim
            ((x, y),) = by.to_world(np.array([route.goal])).tolist()
            self._aim = Route((x, y), self._radius_m), until_s

    def rests(self, time_s: float) -> bool:
        """True so soon after an aim, or after none was found, that it is left to the network."""
        return time_s <= self._rests_until

    def side(self, grid: OccupancyGrid, pose: Pose, trail: Trail, steer: float, time_s: float) -> float:
        """On which side lies the aim that it would take, 1 left and -1 right; where there is none, that of `steer`."""
        goal = self._goal(grid, pose, trail, steer, time_s)
        if goal is None:
            return math.copysign(1.0, steer)
        bearing = math.atan2(goal[1] - pose.y_m, goal[0] - pose.x_m) - pose.yaw_rad
        return math.copysign(1.0, math.sin(bearing))

    def open_ahead(self, grid: OccupancyGrid, pose: Pose) -> float:
        """Metres that are open nearly straight on."""
        return self._outlook.open_ahead(grid, pose)

    def ended(self, grid: OccupancyGrid, pose: Pose) -> bool:
        """True where the way ends ahead."""
        return self._outlook.ended(grid, pose)


def steepest(worth: Worth, pose: Pose) -> float:
    """The bearing from the robot's heading along which `worth` rises most."""
    around = np.stack([np.cos(BEARINGS), np.sin(BEARINGS)], 1) * RING_M
    return float(BEARINGS[worth(pose.to_world(around)).argmax()])
