"""The map in the corner of the picture: what it shows, where, and that it stays as it was when it was looked at."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("cv2", reason="opencv-python is not installed")

from helmsight.runtime.driving.local import Plan
from helmsight.runtime.driving.pilot import Pilot
from helmsight.runtime.driving.route import Route
from helmsight.runtime.mapping.geometry import Pose
from helmsight.runtime.mapping.mapfile import FREE, OCCUPIED, UNKNOWN
from helmsight.runtime.mapping.mapper import Mapper
from helmsight.runtime.mapping.view import SIDE_M, MapView, view_of
from helmsight.runtime.results import Command, Frame, Result, Stop
from helmsight.runtime.sinks.inset import FREE_BGR, GOAL_BGR, OCCUPIED_BGR, PLAN_BGR, ROBOT_BGR, UNKNOWN_BGR
from helmsight.runtime.sinks.inset import draw_map_inset as draw
from helmsight.runtime.sinks.overlay import Overlay
from helmsight.runtime.sinks.shown import ShownMap
from helmsight.runtime.sources import CameraGeometry

from .driving.test_local import grid_with

SIDE, LEFT, TOP = 180, 450, 268
"""Of the map in a picture of 640 x 480."""


def mapper_at(x_m: float, y_m: float, *walls: tuple[float, float, float, float]) -> Mapper:
    """Free floor with walls (x0, y0, x1, y1), and a robot that has driven straight there."""
    mapper = Mapper(CameraGeometry(60, 0.3, 5))
    mapper._drawn.grid = grid_with(*walls)
    steps = 40
    for _ in range(steps):
        mapper._frames.append(mapper.loops.advance(Pose(x_m / steps, y_m / steps, 0.0), 1e-4, 1e-4))
    return mapper


def pixel(image: np.ndarray, view: MapView, x_m: float, y_m: float) -> tuple[int, ...]:
    per_metre = SIDE / SIDE_M
    column, row = (x_m - view.corner[0]) * per_metre, SIDE - (y_m - view.corner[1]) * per_metre
    return tuple(image[TOP + round(row), LEFT + round(column)].tolist())


def near(colour: tuple[int, ...], expected: tuple[int, int, int]) -> bool:
    return max(abs(a - b) for a, b in zip(colour, expected, strict=True)) < 40


def test_a_view_is_the_map_around_the_robot_and_does_not_change_with_it() -> None:
    mapper = mapper_at(1.0, 0.5, (2, -0.5, 2.2, 0.5))
    view = view_of(mapper, (2.0, 1.0), np.array([[0.5, 0.0]]))
    assert view.cells.shape == (160, 160)
    assert view.side_m == pytest.approx(SIDE_M)
    np.testing.assert_allclose(view.corner, (1.0 - SIDE_M / 2, 0.5 - SIDE_M / 2), atol=0.06)
    np.testing.assert_allclose(view.path[-1], (1.0, 0.5), atol=1e-9)
    np.testing.assert_allclose(view.arc, [[1.5, 0.5]], atol=1e-9)
    row, column = round((SIDE_M / 2 + 0.5) / 0.05), round((2.1 - view.corner[0]) / 0.05)
    assert view.cells[row, column] == OCCUPIED
    before = view.cells.copy()
    mapper.grid.log_odds[:] = 3
    assert (view.cells == before).all()


@pytest.mark.parametrize("at", [(50.0, 0.0), (-50.0, 50.0), (3.9, 2.9)])
def test_where_the_map_ends_nothing_is_known(at: tuple[float, float]) -> None:
    cells = view_of(mapper_at(*at)).cells
    assert set(np.unique(cells)) <= {FREE, UNKNOWN}
    assert cells[0, -1] == UNKNOWN


@pytest.mark.parametrize("grey", [0, 128, 255], ids=["dark", "medium", "light"])
def test_it_shows_what_is_known_the_robot_the_plan_and_the_goal(grey: int) -> None:
    image = np.full((480, 640, 3), grey, np.uint8)
    plan = np.stack([np.linspace(0, 1.2, 20), np.zeros(20)], axis=1)
    view = view_of(mapper_at(1.0, 0.0, (2.6, -2, 3.0, 2)), (1.0, 1.5), plan)
    draw(image, view)
    assert near(pixel(image, view, 0.5, -1.2), FREE_BGR)
    assert near(pixel(image, view, 2.8, 1.0), OCCUPIED_BGR)
    assert near(pixel(image, view, 1.0, 3.9), UNKNOWN_BGR)
    assert near(pixel(image, view, 1.05, 0.0), ROBOT_BGR)
    assert near(pixel(image, view, 2.0, 0.0), PLAN_BGR)
    assert near(pixel(image, view, 1.0, 1.5), GOAL_BGR)
    assert (image[: TOP - 2] == grey).all()
    assert (image[:, : LEFT - 2] == grey).all()
    assert image[TOP - 1, LEFT : LEFT + SIDE].min() > 200
    assert image[TOP - 2, LEFT : LEFT + SIDE].max() < 60


def test_a_goal_out_of_sight_is_a_disc_at_the_edge_towards_it() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    draw(image, view_of(mapper_at(0.0, 0.0), (29.0, 0.0)))
    assert near(tuple(image[TOP + SIDE // 2, LEFT + SIDE - 8].tolist()), GOAL_BGR)


@pytest.mark.parametrize("hw", [(48, 64), (100, 800), (480, 100), (120, 160)])
def test_a_picture_that_is_too_small_has_no_map(hw: tuple[int, int]) -> None:
    image = np.full((*hw, 3), 7, np.uint8)
    draw(image, view_of(mapper_at(0.0, 0.0)))
    assert (image == 7).all()


def test_sinks_that_draw_get_the_map_with_what_the_pilot_means_to_do() -> None:
    mapper, got = mapper_at(0.0, 0.0), []
    pilot = Pilot(mapper, Route((2.0, 1.0)))
    sink = ShownMap(mapper, pilot, [got.append])
    result = Result(Frame(np.zeros((480, 640, 3), np.uint8), 0, 1), {}, Command(0.0, 1.0))
    sink(result)
    pilot.plan = Plan(Command(0.0, 1.0), 0.5, np.array([[0.5, 0.0]]))
    sink(result)
    for other in (Command(1.0, 0.0), Stop("why")):
        sink(replace(result, command=other))
    assert [one.map.goal for one in got] == [(2.0, 1.0)] * 4
    assert [one.map.arc is None for one in got] == [True, False, True, True]
    assert (Overlay([])(got[1]) != Overlay([])(result)).any()


def test_the_robot_looks_where_it_is_shown_to() -> None:
    mapper = mapper_at(0.0, 0.0)
    mapper._frames.append((0, Pose(0.0, 0.0, math.pi / 2)))
    image = np.zeros((480, 640, 3), np.uint8)
    view = view_of(mapper)
    draw(image, view)
    assert near(pixel(image, view, 0.0, 0.2), ROBOT_BGR)
    assert not near(pixel(image, view, 0.0, -0.25), ROBOT_BGR)
