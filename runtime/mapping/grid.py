"""A log-odds occupancy grid, filled from where a network sees the floor, and its file as ROS reads it.

Log-odds update: Thrun, Burgard and Fox, Probabilistic Robotics (2005), table 9.1; the inverse sensor model follows its
table 9.2, with the floor's far edge in an image column in place of a range finder's beam. Moravec and Elfes (1985)
introduced such grids.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..results import Floats
from .geometry import FloorView, Points, Pose


@dataclass(frozen=True, slots=True)
class GridOptions:
    """`hit` and `miss` are the log-odds that one frame adds to a cell, `limit` and `free_limit` the bounds of their sum
    (Probabilistic Robotics, section 9.2, leaves them to be tuned). What was free must soon be taken for occupied when
    something comes to stand there, so two looks outweigh any number that saw floor; and what was taken for standing
    from afar, such as a seam between two floors, must be free again by when the robot is there. Both are those of a
    look from `sure_m`: nearer looks count more, farther ones less. `edge_rows` is how well the network's edge is
    known, in rows.
    """

    resolution_m: float = 0.05
    range_m: float = 4.0
    hit: float = 0.85
    miss: float = 0.4
    limit: float = 2.0
    free_limit: float = 1.5
    edge_rows: float = 0.25
    sure_m: float = 1.0


@dataclass(frozen=True, slots=True)
class FloorEdge:
    """Where the floor ends in each column of the network's raster, seen from the bottom upwards.

    `row` (w,) is that in the raster, between rows. `depth_m` (w,) is the forward distance up to which floor is seen, 0
    where none is. `blur_m` (w,) is how far that may be off. `hit` (w,) bool tells where something stands there;
    elsewhere the floor goes on to the horizon.
    """

    row: NDArray[np.float64]
    depth_m: NDArray[np.float64]
    blur_m: NDArray[np.float64]
    hit: NDArray[np.bool_]

    def stands(self, view: FloorView, range_m: float) -> Points:
        """(n, 2) floor points in the robot's frame where something stands, up to `range_m` ahead.

        Where the picture's lower edge cuts off what stands there, it is taken to reach from there a quarter of the way
        back.
        """
        height, width = view.raster_hw
        columns = np.arange(width, dtype=np.float64)
        near = self.hit & (self.depth_m < range_m)
        nearest = float(view.row_depth_m(np.array([height - 0.5]))[0])
        cut = columns[self.depth_m == 0]
        parts = [view.at_depth(self.depth_m[near], columns[near])]
        parts += [view.at_depth(np.full(len(cut), share * nearest), cut) for share in (1.0, 0.75)]
        return np.concatenate(parts)


def floor_edge(free_space: Floats, view: FloorView, edge_rows: float) -> FloorEdge:
    """Find the edge in `free_space` (h, w), probabilities, between rows where they cross one half.

    A column whose bottom row is no floor says nothing: what stands there begins out of view.
    """
    height, width = free_space.shape
    upwards = free_space[::-1]
    blocked = _without_marks(upwards < 0.5, view)
    first = np.where(blocked.any(axis=0), blocked.argmax(axis=0), height)
    columns = np.arange(width)
    inside = (first > 0) & (first < height)
    below = upwards[np.clip(first - 1, 0, height - 1), columns]
    above = upwards[np.clip(first, 0, height - 1), columns]
    drop = np.where(inside, below - above, 1.0)
    row = height - first - np.where(inside, (below - 0.5) / drop, 0.0)
    depth = view.row_depth_m(row)
    nearer, farther = view.row_depth_m(row + edge_rows), view.row_depth_m(row - edge_rows)
    hit = inside & np.isfinite(farther)
    with np.errstate(invalid="ignore"):  # both may be infinite, above the horizon, where there is no hit
        blur = np.where(hit, (farther - nearer) / 2, 0.0)
    return FloorEdge(row, np.where(first > 0, depth, 0.0), blur, hit)


MARK_M = 0.08
"""What is less high is a mark on the floor, such as the seam between two floors, and no obstacle."""


def _without_marks(blocked: NDArray[np.bool_], view: FloorView) -> NDArray[np.bool_]:
    """`blocked` (h, w), its rows upwards, without the lowest band of a column that is floor again above it after fewer
    rows than a thing of `MARK_M` would hide."""
    height = len(blocked)
    rows = np.arange(height)[:, None]
    first = np.where(blocked.any(axis=0), blocked.argmax(axis=0), height)
    above = ~blocked & (rows > first)
    again = np.where(above.any(axis=0), above.argmax(axis=0), 2 * height)
    depth = view.row_depth_m(height - first - 0.5)
    # At either end a thing may hide nearly half of a row more, which counts as floor.
    hidden = view.focal_y_px * MARK_M / depth - 1
    mark = (rows >= first) & (rows < again) & (again - first < hidden) & (first > 0)
    return np.asarray(blocked & ~mark)


class OccupancyGrid:
    """Cells of `resolution_m`, rows along y and columns along x, that grow to hold what is seen.

    `log_odds` (rows, columns) float32 is 0 where nothing is known, positive where something stands. `origin` is the
    (x, y) in metres of the outer corner of cell (0, 0).
    """

    def __init__(self, options: GridOptions = GridOptions()) -> None:
        self.options = options
        self.log_odds: Floats = np.zeros((0, 0), np.float32)
        self.origin = (0.0, 0.0)

    @property
    def probability(self) -> Floats:
        """Probability of occupancy in each cell, float32; 0.5 where nothing is known."""
        return np.asarray(1 / (1 + np.exp(-self.log_odds)), np.float32)

    def cell(self, points: Points) -> NDArray[np.intp]:
        """(N, 2) row and column of points (N, 2), which may lie outside of the grid."""
        return np.floor((points[:, ::-1] - self.origin[::-1]) / self.options.resolution_m).astype(np.intp)

    def around(self, pose: Pose, reach_m: float) -> OccupancyGrid:
        """A copy of the square of cells up to `reach_m` from `pose`; what lies beyond this grid is not known there."""
        step, half = self.options.resolution_m, round(reach_m / self.options.resolution_m)
        ((row, column),) = self.cell(np.array([[pose.x_m, pose.y_m]])).tolist()
        top, left = row - half, column - half
        part = OccupancyGrid(self.options)
        part.origin = (self.origin[0] + left * step, self.origin[1] + top * step)
        part.log_odds = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
        rows = slice(max(top, 0), max(top + 2 * half + 1, 0))
        columns = slice(max(left, 0), max(left + 2 * half + 1, 0))
        known = self.log_odds[rows, columns]
        if known.size:
            at = rows.start - top, columns.start - left
            part.log_odds[at[0] : at[0] + known.shape[0], at[1] : at[1] + known.shape[1]] = known
        return part

    def update(self, pose: Pose, free_space: Floats, view: FloorView) -> None:
        """Add what one frame shows, taken at `pose`. `free_space` is (h, w) and `view` describes a raster of h x w."""
        self.insert(pose, floor_edge(free_space, view, self.options.edge_rows), view)

    def insert(self, pose: Pose, edge: FloorEdge, view: FloorView) -> None:
        """Add a floor edge that was seen from `pose` in a raster that `view` describes."""
        rows, columns, centres = self._window(pose, view)
        seen = pose.inverse().to_world(centres)
        pixels = view.to_pixels(seen)
        height, width = view.raster_hw
        with np.errstate(invalid="ignore"):
            visible = (
                (np.abs(pixels[:, 0] - (width - 1) / 2) < width / 2)
                & (pixels[:, 1] < height - 0.5)
                & (np.hypot(seen[:, 0], seen[:, 1]) < self.options.range_m)
            )
        at = np.flatnonzero(visible)
        column = np.rint(pixels[at, 0]).astype(np.intp).clip(0, width - 1)
        change = self._evidence(seen[at, 0], edge, column)
        window = self.log_odds[rows, columns]
        flat = np.zeros(window.size, np.float32)
        flat[at] = change
        low, high = -self.options.free_limit, self.options.limit
        np.clip(window + flat.reshape(window.shape), low, high, out=window)

    def _evidence(self, depth_m: NDArray[np.float64], edge: FloorEdge, column: NDArray[np.intp]) -> NDArray[np.float64]:
        """The log-odds for cells at `depth_m` in the raster's `column`: free before the edge, occupied at it."""
        options = self.options
        beyond = depth_m - edge.depth_m[column]
        blur = edge.blur_m[column]
        thickness = np.maximum(options.resolution_m, blur)
        at_edge = edge.hit[column] & (beyond >= -blur / 2) & (beyond < thickness)
        # A far edge is spread over more cells, so each of them gets less of it.
        hit = options.hit * options.resolution_m / thickness
        change = np.where(at_edge, hit, np.where(beyond < -blur / 2, -options.miss, 0.0))
        return change * np.clip(options.sure_m / depth_m, 0.5, 3.0)

    def _window(self, pose: Pose, view: FloorView) -> tuple[slice, slice, Points]:
        """The part of the grid that may be seen from `pose`, and the centres (N, 2) of its cells."""
        reach, step = self.options.range_m, self.options.resolution_m
        half = _half_angle(view)
        angles = pose.yaw_rad + np.linspace(-half, half, 9)
        # The arc's chord of 1/8 lies inside of it by less than this.
        outer = reach / math.cos(half / 8)
        x = np.append(pose.x_m + outer * np.cos(angles), pose.x_m)
        y = np.append(pose.y_m + outer * np.sin(angles), pose.y_m)
        self._cover(float(x.min()), float(y.min()), float(x.max()), float(y.max()))
        (top, left), (bottom, right) = self.cell(np.array([[x.min(), y.min()], [x.max(), y.max()]]))
        rows, columns = slice(top, bottom + 1), slice(left, right + 1)
        xs = self.origin[0] + (np.arange(left, right + 1) + 0.5) * step
        ys = self.origin[1] + (np.arange(top, bottom + 1) + 0.5) * step
        grid_x, grid_y = np.meshgrid(xs, ys)
        return rows, columns, np.stack([grid_x.ravel(), grid_y.ravel()], axis=1)

    def _cover(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """Grow so that the rectangle lies inside, with a margin that keeps growing rare."""
        step = self.options.resolution_m
        margin = self.options.range_m
        if self.log_odds.size == 0:
            self.origin = (math.floor(x0 / step) * step, math.floor(y0 / step) * step)
        (row0, column0), (row1, column1) = self.cell(np.array([[x0, y0], [x1, y1]]))
        rows, columns = self.log_odds.shape
        extra = round(margin / step)
        grow = [
            extra - int(row0) if row0 < 0 else 0,
            int(row1) + 1 - rows + extra if row1 >= rows else 0,
            extra - int(column0) if column0 < 0 else 0,
            int(column1) + 1 - columns + extra if column1 >= columns else 0,
        ]
        if any(grow):
            self.log_odds = np.pad(self.log_odds, ((grow[0], grow[1]), (grow[2], grow[3])))
            self.origin = (self.origin[0] - grow[2] * step, self.origin[1] - grow[0] * step)


def _half_angle(view: FloorView) -> float:
    """The widest bearing in radians, from straight ahead, at which the raster sees the floor."""
    bottom = view.raster_hw[0] - 0.5
    top = max(-0.5, view.horizon_row + 1e-3 * (bottom - view.horizon_row))
    x, y = view.to_floor(np.array([[-0.5, bottom], [-0.5, top]])).T
    return float(np.arctan2(y, x).max())
