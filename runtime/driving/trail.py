"""Where the robot was lately: which way it came, and whether it drives back on it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..mapping.geometry import Points, Pose
from ..mapping.grid import OccupancyGrid

SPARSE = 3
"""Of the trail, every so many poses tell where it came from."""


@dataclass(frozen=True, slots=True)
class TrailOptions:
    """The robot has turned back when it is within `same_place_m` of where it was `turned_s` to `memory_s` seconds ago,
    with nothing `occupied` (log-odds) in between, and looks the other way by more than `turned_rad`. `newest_s`: what
    is newer is where it is, and not where it came from. The memory is short, for the path drifts; where it came along
    is known for `kept_s`, as long as a remembered way that is not seen again. The way it came is that of its last
    `way_m`.
    """

    newest_s: float = 1.0
    turned_s: float = 2.0
    memory_s: float = 20.0
    kept_s: float = 25.0
    occupied: float = 0.4
    same_place_m: float = 1.0
    turned_rad: float = math.radians(120)
    way_m: float = 0.8


class Trail:
    """The poses of the last seconds."""

    def __init__(self, options: TrailOptions = TrailOptions()) -> None:
        self.options = options
        self._poses: list[tuple[float, Pose]] = []

    def __len__(self) -> int:
        return len(self._poses)

    def add(self, pose: Pose, time_s: float) -> None:
        """Add a pose and forget what is too old to matter, a few at a time so that every SPARSE-th stays one."""
        self._poses.append((time_s, pose))
        while len(self._poses) > SPARSE and time_s - self._poses[SPARSE - 1][0] > self.options.kept_s:
            del self._poses[:SPARSE]

    def correct(self, by: Pose) -> None:
        """What was at a place of the map is at `by.to_world(place)` now."""
        self._poses = [(then, by.then(pose)) for then, pose in self._poses]

    def visited(self, time_s: float) -> NDArray[np.float64]:
        """(n, 3) x, y and heading of where it was."""
        return self._from(time_s - self.options.memory_s, time_s)

    def driven(self, time_s: float) -> Points:
        """(n, 2) where it was in the last `kept_s`."""
        return self._from(time_s - self.options.kept_s, time_s)[:, :2]

    def _from(self, oldest: float, time_s: float) -> NDArray[np.float64]:
        newest = time_s - self.options.newest_s
        places = [(p.x_m, p.y_m, p.yaw_rad) for then, p in self._poses[::SPARSE] if oldest <= then <= newest]
        return np.array(places).reshape(-1, 3)

    def travel_rad(self, pose: Pose) -> float:
        """The heading of its last `way_m`, however it turned on the spot since; its heading where it drove less."""
        for _, before in reversed(self._poses):
            ahead, left = pose.x_m - before.x_m, pose.y_m - before.y_m
            if math.hypot(ahead, left) > self.options.way_m:
                return math.atan2(left, ahead)
        return pose.yaw_rad

    def heading_before(self, grid: OccupancyGrid, pose: Pose, time_s: float) -> float | None:
        """The heading that the robot had here before, where it was the opposite one."""
        options = self.options
        poses = [
            (before.x_m, before.y_m, before.yaw_rad)
            for then, before in self._poses
            if options.turned_s <= time_s - then <= options.memory_s
            and math.hypot(before.x_m - pose.x_m, before.y_m - pose.y_m) < options.same_place_m
        ]
        near = np.array(poses).reshape(-1, 3)
        headings = near[~self._parted(grid, near[:, :2], pose), 2]
        if not len(headings):
            return None
        heading = math.atan2(float(np.sin(headings).sum()), float(np.cos(headings).sum()))
        return heading if abs(math.remainder(heading - pose.yaw_rad, math.tau)) > options.turned_rad else None

    def _parted(self, grid: OccupancyGrid, places: Points, pose: Pose) -> NDArray[np.bool_]:
        """(n,) True where something stands between a place and `pose`, such as the wall between two corridors."""
        if not grid.log_odds.size:
            return np.zeros(len(places), bool)
        between = np.linspace(places, np.array([pose.x_m, pose.y_m]), 21).reshape(-1, 2)
        cells = np.clip(grid.cell(between), 0, np.array(grid.log_odds.shape) - 1)
        stands = grid.log_odds[cells[:, 0], cells[:, 1]] > self.options.occupied
        return np.asarray(stands.reshape(21, -1).any(axis=0))
