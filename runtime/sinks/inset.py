"""The map in a corner of the picture: what is free, occupied and unknown around the robot, its path, plan and goal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..mapping.geometry import Points
from ..mapping.mapfile import FREE, OCCUPIED, UNKNOWN
from ..mapping.picture import draw_scale
from ..mapping.view import MapView
from ..results import Image

SHARE = 0.375
"""Of the picture's height: 180 pixels of 480, where a metre has 22 and the robot 8."""
LEAST_PX = 60
"""In a picture too small for that the map would hide all and show nothing."""
TOP_PX, BOTTOM_PX, RIGHT_PX = 54, 32, 10
"""Between the lines of text, over the floor beside the robot: faces and the way ahead are farther up."""
FREE_BGR, OCCUPIED_BGR, UNKNOWN_BGR = (236, 236, 236), (30, 30, 30), (150, 140, 130)
PATH_BGR, PLAN_BGR, ROBOT_BGR, GOAL_BGR = (219, 112, 31), (40, 160, 40), (40, 60, 220), (200, 40, 180)
FRAME_BGR, EDGE_BGR = (245, 245, 245), (30, 30, 30)
ROBOT_OUTLINE = np.array([[1.0, 0.0], [-0.7, 0.65], [-0.35, 0.0], [-0.7, -0.65]])
SHIFT = 4
"""Bits of a fraction of a pixel: what moves does so smoothly."""

COLOURS = np.zeros((1, 256, 3), np.uint8)
for _cell, _bgr in ((FREE, FREE_BGR), (OCCUPIED, OCCUPIED_BGR), (UNKNOWN, UNKNOWN_BGR)):
    COLOURS[0, _cell] = _bgr


def draw_map_inset(image: Image, view: MapView) -> None:
    """Draw `view` into the lower right corner of `image`, in place.

    Right is where the robot looked at its start, as in the map's file. A picture that is too small has no map.
    """
    import cv2

    height, width = image.shape[:2]
    side = min(round(SHARE * height), height - TOP_PX - BOTTOM_PX, width // 2)
    if side < LEAST_PX:
        return
    left, top = width - RIGHT_PX - side, height - BOTTOM_PX - side
    image[top : top + side, left : left + side] = draw_map_view(view, side)
    for outside, colour in ((2, EDGE_BGR), (1, FRAME_BGR)):  # stands out of dark and of light pictures
        corner = (left + side - 1 + outside, top + side - 1 + outside)
        cv2.rectangle(image, (left - outside, top - outside), corner, colour, 1)


def draw_map_view(view: MapView, side: int) -> Image:
    """`view` as a picture of `side` x `side` x 3 uint8 BGR."""
    area = np.empty((side, side, 3), np.uint8)
    _fill(area, view, side)
    draw_scale(area, side / view.side_m)
    _mark(area, view, side)
    return area


def _fill(area: Image, view: MapView, side: int) -> None:
    import cv2

    cells = cv2.LUT(cv2.cvtColor(np.ascontiguousarray(view.cells), cv2.COLOR_GRAY2BGR), COLOURS)
    cv2.resize(cells, (side, side), dst=area, interpolation=cv2.INTER_LINEAR)


def _mark(area: Image, view: MapView, side: int) -> None:
    """Path, plan, goal and robot."""
    import cv2

    per_metre = side / view.side_m

    def place(points: Points) -> NDArray[np.int32]:
        x, y = ((points - view.corner) * per_metre).T
        pixels = np.clip(np.stack([x, side - y], axis=1), -side, 2 * side)
        return np.asarray(np.rint(pixels * (1 << SHIFT)), np.int32)

    thick = max(1, side // 90)
    cv2.polylines(area, [place(view.path)], False, PATH_BGR, thick, cv2.LINE_AA, SHIFT)
    here = np.array([[view.pose.x_m, view.pose.y_m]])
    if view.arc is not None:
        cv2.polylines(area, [place(np.vstack([here, view.arc]))], False, PLAN_BGR, thick + 1, cv2.LINE_AA, SHIFT)
    if view.goal is not None:
        _goal(area, place(np.array([view.goal]))[0] / (1 << SHIFT), side)
    robot = view.pose.to_world(ROBOT_OUTLINE * max(0.2, 8 / per_metre))
    cv2.fillPoly(area, [place(robot)], ROBOT_BGR, cv2.LINE_AA, SHIFT)


def _goal(area: Image, at: NDArray[np.float64], side: int) -> None:
    """A ring at the goal; a disc at the edge, towards a goal that is out of sight."""
    import cv2

    radius = max(4, side // 30)
    shown = np.clip(at, radius, side - 1 - radius)
    middle = (round(float(shown[0])), round(float(shown[1])))
    inside = bool((shown == at).all())
    cv2.circle(area, middle, radius, GOAL_BGR, 2 if inside else -1, cv2.LINE_AA)
    if inside:
        cv2.circle(area, middle, 1, GOAL_BGR, -1, cv2.LINE_AA)
