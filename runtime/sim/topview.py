"""A course from above: the truth for maps, and a picture of a drive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..results import Image
from .course import Course
from .layout import Points
from .robot import RADIUS_M, Pose

UNKNOWN, FREE, OCCUPIED = 0, 1, 2
_COLOURS = np.array([[70, 70, 70], [235, 240, 240], [90, 60, 30]], np.uint8)


@dataclass(frozen=True, slots=True)
class Occupancy:
    """`cells` (rows, columns) uint8 of UNKNOWN, FREE, OCCUPIED; cell (row, column) has its middle at
    `origin` + (column + 0.5, row + 0.5) * `resolution_m`, so x grows with columns and y with rows."""

    cells: NDArray[np.uint8]
    origin: tuple[float, float]
    resolution_m: float

    def pixels(self, points: Points) -> NDArray[np.int32]:
        """Points (N, 2) in metres as (column, row) indices."""
        return np.asarray(np.floor((points - self.origin) / self.resolution_m)).astype(np.int32)


def occupancy(course: Course, resolution_m: float = 0.05) -> Occupancy:
    """What is floor, what is solid, and what lies outside the course, at a robot's height."""
    import cv2

    ends = course.solids.reshape(-1, 2)
    low, high = ends.min(0) - 0.3, ends.max(0) + 0.3
    columns, rows = np.ceil((high - low) / resolution_m).astype(int)
    grid = Occupancy(np.zeros((rows, columns), np.uint8), (float(low[0]), float(low[1])), resolution_m)
    for rect in course.rects:
        (x0, y0), (x1, y1) = grid.pixels(np.array([[rect.x0, rect.y0], [rect.x1, rect.y1]]))
        grid.cells[y0:y1, x0:x1] = FREE
    for thing in course.obstacles:
        cv2.fillPoly(grid.cells, [grid.pixels(thing.corners)], OCCUPIED)
    for wall in course.solids[: course.wall_count]:
        start, end = grid.pixels(wall.reshape(2, 2))
        cv2.line(grid.cells, start.tolist(), end.tolist(), OCCUPIED)
    return grid


def top_view(course: Course, drive: Sequence[Pose] = (), resolution_m: float = 0.02) -> Image:
    """The plan (H, W, 3) uint8 BGR, north (y) up, with the line of the course and the way driven."""
    import cv2

    grid = occupancy(course, resolution_m)
    image: Image = _COLOURS[grid.cells]
    cv2.polylines(image, [grid.pixels(course.line)], True, (190, 200, 120), 1, cv2.LINE_AA)
    if drive:
        way = grid.pixels(np.array([(p.x, p.y) for p in drive]))
        cv2.polylines(image, [way], False, (40, 40, 220), 2, cv2.LINE_AA)
        cv2.circle(image, way[-1].tolist(), max(2, round(RADIUS_M / resolution_m)), (40, 40, 220), 2, cv2.LINE_AA)
    return np.ascontiguousarray(image[::-1])
