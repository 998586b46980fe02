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
ROBOT_BGR = (40, 60, 220)
ROBOT_OUTLINE = np.array([[1.0, 0.0], [-0.6, 0.5], [-0.6, -0.5]])


def draw_map(grid: OccupancyGrid, trajectory: Sequence[Pose], size: int) -> Image:
    """What is known of the grid as `size` x `size` x 3 uint8 BGR, x to the right, y up.

    The path is a line, the robot a triangle at its end that is drawn large enough to be seen.
    """
    cv2 = need("cv2", "cpu")
    cells, corner = trinary(grid)
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

    poses = list(trajectory) or [Pose()]
    path = place(np.array([(pose.x_m, pose.y_m) for pose in poses]))
    cv2.polylines(picture, [path], False, PATH_BGR, max(1, size // 250), cv2.LINE_AA)
    robot_m = max(0.2, size / 40 / per_metre)
    cv2.fillPoly(picture, [place(poses[-1].to_world(ROBOT_OUTLINE * robot_m))], ROBOT_BGR, cv2.LINE_AA)
    return picture
