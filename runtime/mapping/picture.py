"""A picture of the map for people; `mapfile.py` writes the one for machines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import need
from ..results import Image
from .geometry import Points, Pose
from .grid import OccupancyGrid
from .mapfile import UNKNOWN, trinary

PATH_BGR = (219, 112, 31)
MARGIN_M = 0.3
"""Around the path, so that it is seen where it begins and ends."""
ROBOT_BGR = (40, 60, 220)
ROBOT_OUTLINE = np.array([[1.0, 0.0], [-0.6, 0.5], [-0.6, -0.5]])
SCALE_BGR, BEHIND_SCALE_BGR = (245, 245, 245), (30, 30, 30)
SCALE_METRES = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
SCALE_PX = 20
"""The least length of the scale's line: that of its text."""


def draw_map(grid: OccupancyGrid, trajectory: Sequence[Pose], size: int) -> Image:
    """What is known of the grid as `size` x `size` x 3 uint8 BGR, x to the right, y up.

    The path is a line from a dot, the robot a triangle at its end that is drawn large enough to be seen; both are in
    the picture also where nothing was seen. A scale is in its lower left corner.
    """
    cv2 = need("cv2", "cpu")
    poses = list(trajectory) or [Pose()]
    way = np.array([(pose.x_m, pose.y_m) for pose in poses])
    cells, corner = _around(way, *trinary(grid), grid.options.resolution_m)
    scale = size / max(cells.shape)
    height, width = (max(1, round(cells_along * scale)) for cells_along in cells.shape)
    top, left = (size - height) // 2, (size - width) // 2
    shown = cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST if scale > 1 else cv2.INTER_AREA)
    picture = np.full((size, size, 3), UNKNOWN, np.uint8)
    picture[top : top + height, left : left + width] = shown[:, :, None]
    per_metre = scale / grid.options.resolution_m

    def place(points: Points) -> NDArray[np.int32]:
        offset = (points - corner) * per_metre
        pixels = np.stack([left + offset[:, 0], top + height - offset[:, 1]], axis=1)
        return np.asarray(np.rint(pixels), np.int32)

    cv2.polylines(picture, [place(way)], False, PATH_BGR, max(1, size // 250), cv2.LINE_AA)
    cv2.circle(picture, place(way[:1])[0].tolist(), max(2, size // 90), PATH_BGR, cv2.FILLED, cv2.LINE_AA)
    robot_m = max(0.2, size / 40 / per_metre)
    cv2.fillPoly(picture, [place(poses[-1].to_world(ROBOT_OUTLINE * robot_m))], ROBOT_BGR, cv2.LINE_AA)
    draw_scale(picture, per_metre)
    return picture


def draw_scale(picture: Image, per_metre: float) -> None:
    """Draw a line of ... 1, 2, 5, 10 ... metres, white on dark, in the lower left corner of `picture`, in place.

    `per_metre` is in pixels.
    """
    cv2 = need("cv2", "cpu")
    metres = next((m for m in SCALE_METRES if m * per_metre >= SCALE_PX), SCALE_METRES[-1])
    text, font = f"{metres:g} m", cv2.FONT_HERSHEY_SIMPLEX
    left, bottom, long = 6, len(picture) - 7, round(metres * per_metre)
    (wide, _), _ = cv2.getTextSize(text, font, 0.35, 1)
    cv2.rectangle(picture, (left - 3, bottom - 17), (left + max(long, wide) + 3, bottom + 3), BEHIND_SCALE_BGR, -1)
    cv2.rectangle(picture, (left, bottom - 1), (left + long - 1, bottom), SCALE_BGR, -1)
    cv2.putText(picture, text, (left, bottom - 5), font, 0.35, SCALE_BGR, 1, cv2.LINE_AA)


def _around(
    way: Points, cells: NDArray[np.uint8], corner: Sequence[float], step: float
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Cells and their lower left corner in metres, with unknown ones around them as far as the `way` (n, 2) needs."""
    low = np.asarray(corner, np.float64)
    high = low + np.array(cells.shape[::-1]) * step
    before = np.ceil(np.maximum(0, low - way.min(0) + MARGIN_M) / step).astype(int)
    after = np.ceil(np.maximum(0, way.max(0) - high + MARGIN_M) / step).astype(int)
    # Row 0 is the largest y.
    padded = np.pad(cells, ((after[1], before[1]), (before[0], after[0])), constant_values=UNKNOWN)
    return padded, low - before * step
