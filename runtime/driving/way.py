"""The way on as the network saw it in the last seconds, remembered on the floor around the robot.

A door at the side of a room leaves the camera's view before the robot turns to it, and no single look tells of it any
more. So each look's word on where the way leads is laid on the floor, and the robot follows the strip that they make.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import need
from ..mapping.geometry import FloorView, Points, Pose
from ..results import Floats
from .waves import spread

Cells = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class WayOptions:
    """What is remembered is a square of cells of `cell_m` that reaches `reach_m` from the robot. A look from `sure_m`
    adds up to `gain` log-odds to a cell, farther ones less, nothing from `range_m` on; their sum stays between `least`
    and `most`, and falls by a factor of e in `forget_s`.

    Cells above `way` are way. A strip of them leads on where `fewest` in one piece are farther than `apart_m` from
    where the robot came, but for the last `recent_m`, and it is followed where its nearest cell is within `near_m` and
    the piece reaches `end_m` from the robot. The robot goes to the farthest cell of the largest piece. Where it goes
    stays its end for `steady_s`, until it is there: a piece within `same_m` of that comes before all others, and each
    cell's way there counts less by `steady` times what the cell is from that. It steers to what is `ahead_m` along that
    way, to the middle of the strip within `middle_m` of there.
    """

    cell_m: float = 0.1
    reach_m: float = 4.0
    range_m: float = 3.5
    sure_m: float = 1.0
    gain: float = 0.2
    least: float = -0.25
    most: float = 1.2
    forget_s: float = 15.0
    way: float = 0.25
    fewest: int = 14
    apart_m: float = 0.6
    recent_m: float = 0.5
    near_m: float = 1.5
    end_m: float = 0.35
    same_m: float = 0.6
    steady: float = 0.5
    steady_s: float = 2.0
    ahead_m: float = 0.7
    middle_m: float = 0.3


class Way:
    """What is remembered of the way on. `path` (n, 2) on the map is how it was followed last, from the robot on."""

    def __init__(self, options: WayOptions = WayOptions()) -> None:
        self._cv2: Any = need("cv2", "cpu")
        self.options = options
        self.path: Points = np.empty((0, 2))
        self._size = 2 * round(options.reach_m / options.cell_m) + 1
        self._evidence: Floats = np.zeros((self._size, self._size), np.float32)
        self._corner = (0, 0)  # the row and the column of its first cell, counted from the map's origin
        self._time_s = -math.inf
        self._end: tuple[Points, float] | None = None

    def add(self, way: Floats, free_space: Floats, view: FloorView, pose: Pose, time_s: float) -> None:
        """Add one look, both rasters as in `Drive`; `view` is how they see the floor."""
        options = self.options
        self._move(pose)
        self._evidence *= np.float32(math.exp(-max(0.0, time_s - self._time_s) / options.forget_s))
        self._time_s = time_s
        self._evidence += self._laid(way, free_space, view, pose)
        np.clip(self._evidence, options.least, options.most, out=self._evidence)

    def correct(self, by: Pose) -> None:
        """What was at a place of the map is at `by.to_world(place)` now."""
        back, before, half = by.inverse(), self._to_map(), self._size // 2
        ((row, column),) = np.floor(by.to_world(self._places(np.array([[half, half]])))[:, ::-1] / self.options.cell_m)
        self._corner = int(row) - half, int(column) - half
        cos, sin = math.cos(back.yaw_rad), math.sin(back.yaw_rad)
        to_before = np.array([[cos, -sin, back.x_m], [sin, cos, back.y_m], [0, 0, 1]])
        to_cell = (np.linalg.inv(before) @ to_before @ self._to_map())[:2]
        how = self._cv2.INTER_LINEAR | self._cv2.WARP_INVERSE_MAP
        self._evidence = self._cv2.warpAffine(self._evidence, to_cell, (self._size, self._size), flags=how)
        if self._end is not None:
            self._end = by.to_world(self._end[0][None])[0], self._end[1]

    def aim(self, pose: Pose, driven: Points) -> tuple[float, float] | None:
        """The point to steer to, in the robot's frame; None where nothing is known. `driven` (n, 2): where it was."""
        options, step = self.options, self.options.cell_m
        here = np.array([pose.x_m, pose.y_m])
        self.path = np.empty((0, 2))
        behind = self._behind(here, driven)
        last = self._last_end(here, behind)
        found = self._strip(here, behind, last)
        if found is None:
            return None
        strip, ahead, start = found
        steps = spread(self._cv2, strip, start)
        ends = np.argwhere(ahead)
        worth = step * steps[ends[:, 0], ends[:, 1]]
        if last is not None:
            worth = worth - options.steady * np.hypot(*(self._places(ends) - last).T)
        row, column = ends[worth.argmax()].tolist()
        path = self._places(np.array(_back(steps, (row, column))[::-1]))
        if math.dist(path[-1], here) < options.end_m:
            return None
        along = math.dist(path[0], here) + step * np.arange(len(path))
        self.path, self._end = np.vstack([here, path]), (path[-1], self._time_s)
        point = path[min(int(np.searchsorted(along, options.ahead_m)), len(path) - 1)]
        strip_at = self._places(np.argwhere(strip))
        for _ in range(3):  # a wave's way runs along one edge: each mean is nearer to the middle
            point = strip_at[np.hypot(*(strip_at - point).T) < options.middle_m].mean(0)
        ((x, y),) = pose.inverse().to_world(point[None]).tolist()
        return x, y

    def _behind(self, here: Points, driven: Points) -> Cells:
        """The cells along which it came, and which lead nowhere new."""
        options, behind = self.options, np.zeros(self._evidence.shape, np.uint8)
        old = np.hypot(*(driven - here).T) > options.recent_m
        spots = self._cells(driven[old])[:, ::-1]
        for column, row in spots[(np.abs(spots - self._size / 2) < self._size).all(1)].tolist():
            self._cv2.circle(behind, (column, row), round(options.apart_m / options.cell_m), 1, -1)
        return behind

    def _last_end(self, here: Points, behind: Cells) -> Points | None:
        """Where it went the last time, while that lies before it."""
        if self._end is None or self._time_s - self._end[1] > self.options.steady_s:
            return None
        end = self._end[0]
        ((row, column),) = self._cells(end[None]).tolist()
        inside = 0 <= row < self._size and 0 <= column < self._size
        passed = math.dist(end, here) < self.options.recent_m or (inside and behind[row, column])
        return None if passed or not inside else end

    def _strip(self, here: Points, behind: Cells, last: Points | None) -> tuple[Cells, Cells, tuple[int, int]] | None:
        """The cells of the strip to follow, those of them that lead on, and the cell at which it begins."""
        options = self.options
        way = (self._evidence > options.way).astype(np.uint8)
        _, strips = self._cv2.connectedComponents(way, connectivity=8)
        count, pieces = self._cv2.connectedComponents(way & (1 - behind), connectivity=8)
        found: list[tuple[bool, int, int, int, tuple[int, int]]] = []
        for piece in range(1, count):
            cells = np.argwhere(pieces == piece)
            places = self._places(cells)
            if len(cells) < options.fewest or np.hypot(*(places - here).T).max() < options.end_m:
                continue
            strip = int(strips[tuple(cells[0])])
            whole = np.argwhere(strips == strip)
            away = np.hypot(*(self._places(whole) - here).T)
            if away.min() < options.near_m:
                same = last is not None and bool((np.hypot(*(places - last).T) < options.same_m).any())
                row, column = whole[away.argmin()].tolist()
                found.append((same, len(cells), strip, piece, (row, column)))
        if not found:
            return None
        _, _, strip, piece, start = max(found)
        return (strips == strip).astype(np.uint8), (pieces == piece).astype(np.uint8), start

    def _laid(self, way: Floats, free_space: Floats, view: FloorView, pose: Pose) -> Floats:
        """The log-odds that a look adds to each cell."""
        cv2, options = self._cv2, self.options
        height, _ = view.raster_hw
        depth = view.row_depth_m(np.arange(height, dtype=np.float64))
        sure = np.where(depth < options.range_m, np.minimum(1, options.sure_m / np.maximum(depth, 0.1)), 0)
        change = ((2 * way - 1) * (free_space > 0.5) * (options.gain * sure[:, None])).astype(np.float32)
        cos, sin = math.cos(pose.yaw_rad), math.sin(pose.yaw_rad)
        back = pose.inverse()
        to_robot = np.array([[cos, sin, back.x_m], [-sin, cos, back.y_m], [0, 0, 1]])
        to_pixel = view.floor_to_image @ to_robot @ self._to_map()
        size = (self._size, self._size)
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        laid: Floats = cv2.warpPerspective(change, to_pixel, size, flags=how)
        along = np.arange(self._size)
        # A homography mirrors what lies behind the camera into the picture.
        laid[to_pixel[2, 0] * along + to_pixel[2, 1] * along[:, None] + to_pixel[2, 2] <= 0] = 0
        return laid

    def _to_map(self) -> Floats:
        """(3, 3) from the column and the row of a cell to x and y of its middle."""
        step, (row, column) = self.options.cell_m, self._corner
        return np.array([[step, 0, (column + 0.5) * step], [0, step, (row + 0.5) * step], [0, 0, 1]])

    def _move(self, pose: Pose) -> None:
        """Keep the robot in the middle: what gets out of the square is forgotten."""
        half = self._size // 2
        ((row, column),) = np.floor(np.array([[pose.y_m, pose.x_m]]) / self.options.cell_m).astype(int).tolist()
        down, right = row - half - self._corner[0], column - half - self._corner[1]
        self._corner = row - half, column - half
        if not (down or right):
            return
        moved, size = np.zeros_like(self._evidence), self._size
        if abs(down) < size and abs(right) < size:
            to = slice(max(0, -down), size - max(0, down)), slice(max(0, -right), size - max(0, right))
            of = slice(max(0, down), size - max(0, -down)), slice(max(0, right), size - max(0, -right))
            moved[to] = self._evidence[of]
        self._evidence = moved

    def _cells(self, points: Points) -> NDArray[np.intp]:
        return np.floor(points[:, ::-1] / self.options.cell_m).astype(np.intp) - self._corner

    def _places(self, cells: NDArray[np.intp]) -> Points:
        return np.asarray((cells + self._corner + 0.5)[:, ::-1] * self.options.cell_m)


def _back(steps: Floats, cell: tuple[int, int]) -> list[tuple[int, int]]:
    """The cells from `cell` down to where the wave began."""
    cells = [cell]
    padded = np.pad(steps, 1, constant_values=np.inf)
    while padded[cell[0] + 1, cell[1] + 1] > 0:
        around = padded[cell[0] : cell[0] + 3, cell[1] : cell[1] + 3]
        row, column = divmod(int(around.argmin()), 3)
        if (row, column) == (1, 1):
            break
        cell = cell[0] + row - 1, cell[1] + column - 1
        cells.append(cell)
    return cells
