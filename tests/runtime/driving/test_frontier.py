"""Frontiers, on grids that are drawn here: known floor is free, the rest not seen."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("cv2", reason="opencv-python is not installed")

from helmsight.runtime.driving.explorer import Explorer, steepest
from helmsight.runtime.driving.frontier import Frontiers
from helmsight.runtime.driving.trail import Trail
from helmsight.runtime.mapping.geometry import Pose
from helmsight.runtime.mapping.grid import OccupancyGrid

HERE = Pose()
ROOM = (-1.2, -1.2, 1.2, 1.2)
CAME = np.stack([np.linspace(-2.5, 0.0, 20), np.zeros(20)], 1)


def seen(*floors: tuple[float, float, float, float], wall: bool = True) -> OccupancyGrid:
    """8 x 8 m around the origin: floors x0, y0, x1, y1, with walls around their whole outline but where it is open."""
    grid = OccupancyGrid()
    grid.origin = (-4.0, -4.0)
    grid.log_odds = np.zeros((160, 160), np.float32)
    boxes = [(grid.cell(np.array([[x0, y0]]))[0], grid.cell(np.array([[x1, y1]]))[0]) for x0, y0, x1, y1 in floors]
    for (low, left), (high, right) in boxes[:1] if wall else []:
        grid.log_odds[low - 2 : high + 2, left - 2 : right + 2] = 2
    for (low, left), (high, right) in boxes:
        grid.log_odds[low:high, left:right] = -1
    return grid


def best(grid: OccupancyGrid, pose: Pose = HERE, steer: float = 0.0) -> tuple[float, float] | None:
    return Frontiers(0.17).best(grid, pose, 0.0, CAME, steer)


DOOR_IN, DOOR_LEFT, DOOR_RIGHT = (-2.6, -0.4, -1.0, 0.4), (-0.5, 1.0, 0.5, 2.0), (-0.5, -2.0, 0.5, -1.0)


def test_the_door_that_it_did_not_come_by_is_the_way() -> None:
    there = best(seen(ROOM, DOOR_IN, DOOR_LEFT))
    assert there is not None
    assert there[1] > 1.7
    assert abs(there[0]) < 0.6


@pytest.mark.parametrize("steer", [0.9, -0.9])
def test_of_two_doors_alike_the_networks_is_taken(steer: float) -> None:
    there = best(seen(ROOM, DOOR_IN, DOOR_LEFT, DOOR_RIGHT), steer=steer)
    assert there is not None
    assert there[1] * steer > 0


def test_with_only_the_door_it_came_by_and_where_it_does_not_fit_there_is_none() -> None:
    assert best(seen(ROOM, DOOR_IN)) is None
    assert best(seen(ROOM, DOOR_IN, (-0.15, 1.0, 0.15, 2.0))) is None
    assert best(OccupancyGrid()) is None


def test_straight_on_as_it_came_is_better_than_back_however_it_is_turned() -> None:
    ahead, side = (1.0, -0.4, 2.0, 0.4), (-1.1, -2.0, -0.1, -1.0)
    there = best(seen(ROOM, DOOR_IN, ahead, side), Pose(yaw_rad=-2.0))
    assert there is not None
    assert there[0] > 1.7


def test_the_explorer_seeks_wherever_on_the_map_it_is() -> None:
    grid, explorer, pose = seen(ROOM, DOOR_IN, DOOR_LEFT), Explorer(0.17), Pose(40.45, 0.0)
    grid.origin = (36.0, -4.0)
    trail = Trail()
    for step, x in enumerate(np.linspace(37.5, 40.45, 30).tolist()):
        trail.add(Pose(x), step / 10)
    explorer.seek(grid, pose, trail, 0.0, 4.0)
    assert explorer.worth(grid, pose, 4.0) is not None


def test_the_explorer_leads_there_until_the_way_is_open_and_rests() -> None:
    grid, explorer, trail, pose = seen(ROOM, DOOR_IN, DOOR_LEFT), Explorer(0.17), Trail(), Pose(0.45, 0.0, 0.0)
    for step, x in enumerate(np.linspace(-2.5, 0.45, 30).tolist()):
        trail.add(Pose(x), step / 10)
    assert explorer.ended(grid, pose)
    assert explorer.worth(grid, pose, 3.0) is None
    explorer.seek(grid, pose, trail, 0.0, 4.0)
    worth = explorer.worth(grid, pose, 4.0)
    assert worth is not None
    assert steepest(worth, pose) == pytest.approx(math.pi / 2, abs=0.6)
    turned = Pose(0.1, 0.3, math.pi / 2)
    assert explorer.worth(grid, turned, 5.0) is None
    assert explorer.rests(5.1)
    assert not explorer.rests(8.0)
