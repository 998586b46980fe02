"""Where the way goes on, on grids that are drawn here."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("cv2", reason="opencv-python is not installed")

from helmsight.runtime.driving.outlook import Outlook
from helmsight.runtime.mapping.geometry import Points, Pose
from helmsight.runtime.mapping.grid import OccupancyGrid

from .test_local import grid_with

ROOM = ((0.9, -1.5, 1.1, 1.5), (-1.5, 1.2, 1.1, 1.4), (-1.5, -1.4, -0.4, -1.2), (0.4, -1.4, 1.1, -1.2))
"""Walls ahead and to the left, one to the right with a door from x -0.4 to 0.4; open behind."""


def nowhere() -> Points:
    return np.empty((0, 2))


def test_rays_end_at_what_stands_and_at_their_reach() -> None:
    outlook = Outlook()
    open_m = dict(
        zip(np.degrees(outlook.bearings).round().astype(int), outlook.open_m(grid_with(*ROOM), Pose()), strict=True)
    )
    assert open_m[0] == pytest.approx(0.9 - outlook.options.grow_m, abs=0.08)
    assert open_m[90] == pytest.approx(1.2 - outlook.options.grow_m, abs=0.08)
    assert open_m[-90] == outlook.options.reach_m
    assert open_m[-180] == outlook.options.reach_m


def test_what_was_not_seen_and_what_lies_beyond_the_map_is_open() -> None:
    outlook = Outlook()
    for grid, pose in (
        (OccupancyGrid(), Pose()),
        (grid_with(), Pose(50.0, 50.0, 1.0)),
        (grid_with(), Pose(2.9, 2.9, 0.5)),
    ):
        assert (outlook.open_m(grid, pose) == outlook.options.reach_m).all()


def test_a_way_ahead_needs_no_other() -> None:
    assert Outlook().way_on(grid_with(), Pose(), nowhere) is None
    assert Outlook().way_on(grid_with((0.8, -0.2, 1.0, 0.2)), Pose(), nowhere) is None, "a box that one can pass"


@pytest.mark.parametrize("yaw", [0.0, 2.0])
def test_where_it_ends_the_door_is_the_way(yaw: float) -> None:
    """Whichever way the room is turned: bearings are relative to the robot."""
    bearing = Outlook().way_on(grid_with(*ROOM), Pose(), nowhere)
    assert bearing is not None
    assert math.radians(-110) < bearing < math.radians(-70)
    turned = Outlook().way_on(grid_with(*ROOM), Pose(yaw_rad=yaw), nowhere)
    assert (turned is None) is (yaw == 2.0)


def test_the_way_that_it_came_is_no_way_on() -> None:
    came = np.array([[0.0, -0.8], [0.0, -1.5], [0.05, -2.0]])
    sides = ((0.75, -0.8, 0.85, 0.8), (-0.85, 0.75, 0.85, 0.85), (-0.85, -0.8, -0.75, 0.8))
    box = (*sides, (-0.85, -0.85, -0.3, -0.75), (0.3, -0.85, 0.85, -0.75))
    assert Outlook().way_on(grid_with(*box), Pose(), nowhere) == pytest.approx(-math.pi / 2, abs=0.3)
    assert Outlook().way_on(grid_with(*box), Pose(), lambda: came) is None
