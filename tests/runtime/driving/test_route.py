"""Routes to a goal on grids that are drawn here."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("cv2", reason="opencv-python is not installed")

from helmsight.devices.errors import UsageError
from helmsight.runtime.driving.route import Route, check_goal
from helmsight.runtime.mapping.geometry import Pose
from helmsight.runtime.mapping.grid import OccupancyGrid

from .test_local import grid_with

HERE = Pose()


def gain(route: Route, grid: OccupancyGrid, x: float, y: float) -> float:
    return float(route.worth(grid, HERE)(np.array([[x, y]]))[0])


def test_nearer_to_the_goal_is_worth_more() -> None:
    route, grid = Route((2.0, 0.0)), grid_with()
    assert gain(route, grid, 1.0, 0.0) == pytest.approx(3.0, rel=0.1)
    assert gain(route, grid, -0.5, 0.0) < 0
    assert not route.unreachable


def test_the_way_leads_around_a_wall_through_its_gap() -> None:
    grid = grid_with((1, -3, 1.1, 1.5), (1, 2.2, 1.1, 3))
    route = Route((2.0, 0.0))
    assert gain(route, grid, 0.0, 1.0) > 1, "towards the gap"
    assert gain(route, grid, 0.6, -1.0) < 0, "along the wall, away from it"
    through_gap = 2 * math.hypot(1, 1.85)
    assert gain(route, grid, 2.0, 0.0) / 3 == pytest.approx(through_gap, rel=0.15), "waves are octagons, not circles"


def test_a_gap_too_narrow_for_the_robot_is_none() -> None:
    route = Route((0.9, 0.0))
    gain(route, grid_with((0.5, -0.6, 0.6, -0.12), (0.5, 0.12, 0.6, 0.6), *box_around(0.9)), 0.1, 0.0)
    assert route.unreachable


def test_a_goal_in_a_wall_or_walled_off_is_unreachable() -> None:
    route = Route((1.0, 0.0))
    gain(route, grid_with((0.8, -0.2, 1.2, 0.2)), 0.1, 0.0)
    assert route.unreachable
    assert route.taken
    route = Route((1.2, 0.0))
    gain(route, grid_with((0.5, -0.7, 0.6, 0.7), *box_around(1.2)), 0.1, 0.0)
    assert route.unreachable
    assert not route.taken


def test_what_nobody_has_seen_may_be_crossed_and_a_goal_is_reached_within_a_quarter_metre() -> None:
    route = Route((4.0, 1.0))
    assert gain(route, OccupancyGrid(), 0.5, 0.0) > 0
    assert not route.unreachable
    assert route.reached(Pose(3.9, 1.1))
    assert not route.reached(Pose(3.5, 1.0))
    with pytest.raises(UsageError, match=r"--goal nan,1\.0: expected two numbers"):
        check_goal((math.nan, 1.0))
    with pytest.raises(UsageError, match="at most 30 m away"):
        check_goal((30.0, 1.0))
    assert check_goal((3.0, -1.0)) == (3.0, -1.0)


def box_around(x: float) -> tuple[tuple[float, float, float, float], ...]:
    """Three walls that, with one at x = 0.5 to 0.6, close a space around (x, 0)."""
    return (0.5, 0.6, x + 0.7, 0.7), (0.5, -0.7, x + 0.7, -0.6), (x + 0.6, -0.7, x + 0.7, 0.7)
