"""What came to stand near the robot where the map had floor, kept for a few seconds whatever later looks say.

On the map a place is free as soon as it is seen free, and what left the picture stays as it was seen last. What moves
is neither: it comes into places that were free and goes on beside the picture, where nobody looks. So such hits are
kept here a while, as an obstacle layer of their own (Lu, Hershberger and Smart 2014, Layered costmaps).
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import need
from ..mapping.geometry import Points, Pose
from ..mapping.grid import FloorEdge, OccupancyGrid

WINDOW_M = 2.0
"""How far around the robot."""
MOVED_M, MOVED_SHARE = 0.15, 0.08
"""Something moves where the floor's edge does by so much from one look to the next, in this share of the columns."""


class Lately:
    """Places on the map where something stood in the last `keep_s` seconds, and the look before had floor there.

    That is a cell below `free` log-odds before, with none above `occupied` within `near_m` but what is kept here.
    """

    def __init__(self, keep_s: float = 2.5, free: float = -0.5, occupied: float = 0.2, near_m: float = 0.15) -> None:
        self._cv2: Any = need("cv2", "cpu")
        self.keep_s, self.free, self.occupied, self.near_m = keep_s, free, occupied, near_m
        self._looks: deque[tuple[float, Points]] = deque()
        self._before: OccupancyGrid | None = None

    def add(self, grid: OccupancyGrid, stands: Points, pose: Pose, time_s: float) -> Points:
        """Add what is seen to stand, (n, 2) in the robot's frame at `pose`; (m, 2) on the map, all that is kept."""
        points = pose.to_world(stands)
        while self._looks and time_s - self._looks[0][0] > self.keep_s:
            self._looks.popleft()
        kept = np.concatenate([np.empty((0, 2)), *(points for _, points in self._looks)])
        if self._before is not None and len(points):
            new = points[self._came(self._before, points, kept)]
            self._looks.append((time_s, new))
            kept = np.concatenate([kept, new])
        self._before = grid.around(pose, WINDOW_M)
        return kept

    def correct(self, by: Pose) -> None:
        """What was at a place of the map is at `by.to_world(place)` now; the next look has none before it."""
        self._looks = deque((then, by.to_world(points)) for then, points in self._looks)
        self._before = None

    def _came(self, grid: OccupancyGrid, points: Points, kept: Points) -> NDArray[np.bool_]:
        """(n,) True where one of the points was floor on `grid`, and nothing known stood beside it."""
        cv2, last = self._cv2, np.array(grid.log_odds.shape) - 1
        reach = round(self.near_m / grid.options.resolution_m)
        known = (grid.log_odds > self.occupied).astype(np.uint8)
        for row, column in np.clip(grid.cell(kept), 0, last).tolist():
            cv2.circle(known, (column, row), reach, 0, -1)
        known = cv2.dilate(known, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
        cells = np.clip(grid.cell(points), 0, last)
        rows, columns = cells[:, 0], cells[:, 1]
        return np.asarray((grid.log_odds[rows, columns] < self.free) & (known[rows, columns] == 0))


class Patience:
    """Waits before what came into the way as long as it moves, but not for ever, and then not again for `rest_s`."""

    def __init__(self, longest_s: float = 3.5, still_s: float = 0.35, rest_s: float = 3.0, near_m: float = 1.2) -> None:
        self.longest_s, self.still_s, self.rest_s, self.near_m = longest_s, still_s, rest_s, near_m
        self._since: tuple[float, float, NDArray[np.float64]] | None = None
        self._rests_until = -np.inf

    @property
    def waiting(self) -> bool:
        """True while it waits."""
        return self._since is not None

    def leave(self) -> None:
        """Say that it does something else now: what comes later is waited for anew."""
        self._since = None

    def waits(self, held: bool, edge: FloorEdge | None, time_s: float) -> bool:
        """Whether to stand still, where the robot is `held` up and sees the floor end at `edge`."""
        if not held or edge is None or time_s < self._rests_until:
            self._since = None
            return False
        depth = np.minimum(np.where(edge.hit | (edge.depth_m == 0), edge.depth_m, np.inf), self.near_m)
        since_s, moved_s, before = self._since or (time_s, time_s, depth)
        if (np.abs(depth - before) > MOVED_M).mean() > MOVED_SHARE:
            moved_s = time_s
        self._since = since_s, moved_s, depth
        if time_s - moved_s < self.still_s and time_s - since_s < self.longest_s:
            return True
        self._since, self._rests_until = None, time_s + self.rest_s
        return False
