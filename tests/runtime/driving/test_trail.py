"""Where the robot was, on grids that are drawn here."""

from __future__ import annotations

import math

import pytest

from helmsight.runtime.driving.trail import Trail
from helmsight.runtime.driving.way import WayOptions
from helmsight.runtime.mapping.geometry import Pose

from .test_local import grid_with


def driven(seconds: float) -> Trail:
    """Along x, half a metre a second, from the origin."""
    trail = Trail()
    for step in range(round(seconds * 10)):
        trail.add(Pose(0.05 * step), step / 10)
    return trail


def test_it_does_not_grow_with_the_drive() -> None:
    assert 250 <= len(driven(200)) <= 255
    assert driven(200).visited(200)[0, 0] == pytest.approx(90, abs=0.5)


def test_where_it_came_along_is_known_for_as_long_as_the_way_is_remembered() -> None:
    forgotten_s = WayOptions().forget_s * math.log(WayOptions().most / WayOptions().way)
    assert 200 - driven(200).driven(200)[0, 0] / 0.5 > forgotten_s


def test_where_it_is_now_is_not_where_it_came_from() -> None:
    assert driven(4).visited(4.0)[:, 0].max() == pytest.approx(1.5, abs=0.1)


def test_the_way_so_far_is_that_whatever_it_turned_on_the_spot() -> None:
    trail = driven(4)
    for step in range(20):
        trail.add(Pose(2.0, 0.0, 0.16 * step), 4 + step / 10)
    assert trail.travel_rad(Pose(2.0, 0.0, 3.0)) == pytest.approx(0)
    assert Trail().travel_rad(Pose(0.0, 0.0, 1.0)) == 1.0


def test_turned_back_the_heading_before_is_told() -> None:
    trail = driven(4)
    assert trail.heading_before(grid_with(), Pose(1.2, 0.1, math.pi), 5.0) == pytest.approx(0)
    assert trail.heading_before(grid_with(), Pose(1.2, 0.1, 1.0), 5.0) is None
    assert trail.heading_before(grid_with(), Pose(1.2, 0.1, math.pi), 60.0) is None, "too long ago"


def test_the_other_side_of_a_wall_is_another_place() -> None:
    trail = driven(4)
    there = Pose(1.2, 0.8, math.pi)
    assert trail.heading_before(grid_with((-3, 0.35, 3, 0.45)), there, 5.0) is None
    assert trail.heading_before(grid_with((-3, 2.8, 3, 2.9)), there, 5.0) == pytest.approx(0)
