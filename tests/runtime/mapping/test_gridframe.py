import math

import numpy as np
import pytest

from helmsight.runtime.mapping.geometry import Pose
from helmsight.runtime.mapping.grid import OccupancyGrid
from helmsight.runtime.mapping.gridframe import GridFrame
from helmsight.runtime.mapping.posegraph import Closure, PoseGraph


@pytest.fixture
def closed():
    """Twelve steps that turn too much, on a grid as they came, and what is told of the last one from the third."""
    graph = PoseGraph()
    frame = GridFrame(OccupancyGrid(), graph)
    for _ in range(12):
        graph.add(Pose(1.0, 0.0, 0.01), 1e-4, 1e-4)
        assert frame.grow()
    before = graph.poses
    assert graph.close(Closure(2, 12, Pose(10.0, 0.0, 0.0), 0.03, 0.01))
    return graph, frame, before


def test_nodes_stay_where_they_came_onto_the_grid(closed):
    graph, frame, before = closed
    assert not frame.grow()
    np.testing.assert_allclose(frame.poses, before, atol=1e-9)
    farthest = np.hypot(*(graph.poses - before)[:, :2].T).max()
    assert farthest > 0.2
    assert farthest <= frame.off_m() < farthest + 0.3


def test_the_robot_is_where_the_known_place_is_on_the_grid(closed):
    graph, frame, before = closed
    frame.localise(2)
    place, here = Pose(*before[2].tolist()), frame.held.then(graph.pose(12))
    seen, told = place.inverse().then(here), graph.pose(2).inverse().then(graph.pose(12))
    assert (seen.x_m, seen.y_m, seen.yaw_rad) == pytest.approx((told.x_m, told.y_m, told.yaw_rad))
    graph.add(Pose(1.0), 1e-4, 1e-4)
    assert frame.grow()
    step = here.inverse().then(Pose(*frame.poses[-1].tolist()))
    assert (step.x_m, step.y_m, step.yaw_rad) == pytest.approx((1, 0, 0), abs=1e-9)


def test_a_whole_turn_is_no_turn(closed):
    graph, _, _ = closed
    frame = GridFrame(OccupancyGrid(), graph)
    frame.poses = graph.poses + np.array([0, 0, math.tau])
    assert frame.off_m() == pytest.approx(0, abs=1e-9)
