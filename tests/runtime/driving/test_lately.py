"""What comes into the way, on grids that are drawn here."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2", reason="opencv-python is not installed")

from helmsight.runtime.driving.lately import Lately, Patience
from helmsight.runtime.mapping.geometry import Points, Pose
from helmsight.runtime.mapping.grid import FloorEdge

from .test_local import grid_with

NOTHING: Points = np.empty((0, 2))
BOX = np.array([[0.8, 0.0], [0.8, 0.05]])


def test_what_comes_onto_free_floor_is_kept_for_a_while_and_where_it_is_on_the_map() -> None:
    lately, grid = Lately(keep_s=2.0), grid_with()
    lately.add(grid, NOTHING, Pose(), 0.0)
    assert lately.add(grid, BOX, Pose(), 0.1) == pytest.approx(BOX)
    assert lately.add(grid, NOTHING, Pose(0.5, 0.0, 1.0), 1.0) == pytest.approx(BOX), "out of sight"
    assert len(lately.add(grid, NOTHING, Pose(), 2.3)) == 0


def test_what_stood_there_before_is_the_maps_and_so_is_what_is_beside_it() -> None:
    grid = grid_with((0.75, -0.2, 0.9, 0.2))
    lately = Lately()
    lately.add(grid, NOTHING, Pose(), 0.0)
    assert len(lately.add(grid, np.array([[0.8, 0.0], [0.65, 0.0]]), Pose(), 0.1)) == 0, "an edge that is seen nearer"
    assert len(lately.add(grid, np.array([[0.4, 0.0]]), Pose(), 0.2)) == 1


def test_what_moves_on_is_followed() -> None:
    """Its last place is on the map by then; without what is kept that would make it a known thing's edge."""
    lately = Lately()
    lately.add(grid_with(), NOTHING, Pose(), 0.0)
    lately.add(grid_with((0.8, 0.3, 0.85, 0.35)), np.array([[0.82, 0.32]]), Pose(), 0.1)
    assert len(lately.add(grid_with(), np.array([[0.82, 0.24]]), Pose(), 0.2)) == 2


def edge(*depth_m: float) -> FloorEdge:
    depth = np.array(depth_m)
    return FloorEdge(depth, depth, np.zeros(len(depth)), np.ones(len(depth), bool))


def test_it_waits_while_something_moves_and_not_before_what_stands() -> None:
    patience = Patience(longest_s=2.0, still_s=0.35, rest_s=1.0)
    standing = [patience.waits(True, edge(0.5, 2, 2, 2), time / 10) for time in range(10)]
    assert standing == [True] * 4 + [False] * 6, "it goes on, and does not wait again so soon"
    assert not patience.waiting
    passing = [patience.waits(True, edge(*np.roll((0.5, 2, 2, 2), time)), 5 + time / 10) for time in range(25)]
    assert passing == [True] * 20 + [False] * 5, "not for ever"
    assert patience.waits(True, edge(0.5, 2, 2, 2), 9.0)
    assert patience.waiting
    assert not patience.waits(False, edge(0.5, 2, 2, 2), 9.1)
    assert not patience.waiting


def test_what_comes_after_something_else_was_done_is_waited_for_anew() -> None:
    patience = Patience(longest_s=2.0, still_s=0.35, rest_s=1.0)
    assert patience.waits(True, edge(0.5, 2, 2, 2), 0.0)
    patience.leave()
    assert patience.waits(True, edge(2, 0.5, 2, 2), 10.0)
