import math

import numpy as np
import pytest

from helmsight.runtime.mapping.geometry import FloorView, Pose
from helmsight.runtime.mapping.grid import GridOptions, OccupancyGrid, floor_edge
from helmsight.runtime.sources import CameraGeometry

VIEW = FloorView(CameraGeometry(75.0, 0.4, 10.0), (240, 320), (36, 48))


def wall_ahead(depth_m):
    """The free space before a wall across the whole view: exact, the row at its foot by its share."""
    foot = VIEW.to_pixels(np.array([[depth_m, 0.0]]))[0, 1] + 0.5
    share = np.clip(np.arange(1, 37) - foot, 0, 1)
    return np.repeat(share[:, None], 48, axis=1).astype(np.float32)


def odds_at(grid, x, y):
    (row, column), *_ = grid.cell(np.array([[x, y]]))
    return grid.log_odds[row, column]


def centres(grid):
    rows, columns = np.indices(grid.log_odds.shape)
    cells = np.stack([columns.ravel(), rows.ravel()], axis=1)
    return (cells + 0.5) * grid.options.resolution_m + grid.origin


@pytest.mark.parametrize("depth_m", [0.8, 1.0, 1.5, 2.0])
def test_edge_lies_between_rows(depth_m):
    edge = floor_edge(wall_ahead(depth_m), VIEW, 0.25)
    assert edge.hit.all()
    assert edge.depth_m == pytest.approx(depth_m, abs=float(edge.blur_m[0]))
    assert edge.blur_m[0] < 0.25 * depth_m


def test_a_column_without_floor_says_nothing():
    free_space = wall_ahead(1.5)
    free_space[:, 20:28] = 0.0
    edge = floor_edge(free_space, VIEW, 0.25)
    assert not edge.hit[20:28].any()
    assert (edge.depth_m[20:28] == 0).all()
    grid = OccupancyGrid()
    grid.update(Pose(), free_space, VIEW)
    assert odds_at(grid, 1.0, 0.0) == 0


def test_floor_to_the_horizon_is_free_to_the_range_and_nothing_is_hit():
    grid = OccupancyGrid(GridOptions(range_m=2.0))
    grid.update(Pose(), np.ones((36, 48), np.float32), VIEW)
    assert odds_at(grid, 1.9, 0.0) < 0
    assert odds_at(grid, 2.1, 0.0) == 0
    assert grid.log_odds.max() == 0


@pytest.mark.parametrize("yaw_deg", [0, 37, 90, -135])
def test_free_before_the_wall_occupied_at_it_unknown_behind(yaw_deg):
    grid = OccupancyGrid()
    pose = Pose(3.0, -2.0, math.radians(yaw_deg))
    for _ in range(5):
        grid.update(pose, wall_ahead(1.5), VIEW)
    depths = np.arange(0.8, 2.4, 0.02)
    odds = np.array([odds_at(grid, *point) for point in pose.to_world(np.stack([depths, 0 * depths + 0.1], axis=1))])
    assert (odds[depths < 1.4] < -1.4).all()
    assert (odds[(depths > 1.4) & (depths < 1.7)] > 0.6).any()
    assert (odds[depths > 1.8] == 0).all()
    behind = pose.to_world(np.array([[-0.5, 0.0]]))[0]
    assert odds_at(grid, *behind) == 0


def test_growing_keeps_what_was_known():
    grid = OccupancyGrid()
    grid.update(Pose(), wall_ahead(1.5), VIEW)
    before = odds_at(grid, 1.0, 0.0)
    size = grid.log_odds.size
    for pose in (Pose(12.0, 0.0, 0.0), Pose(-9.0, -9.0, math.pi)):
        grid.update(pose, wall_ahead(1.5), VIEW)
    assert grid.log_odds.size > size
    assert odds_at(grid, 1.0, 0.0) == before < 0
    assert odds_at(grid, 13.0, 0.0) == pytest.approx(before, rel=0.1)  # another part of its cell lies 1 m ahead
    assert odds_at(grid, -10.0, -9.0) == pytest.approx(before, rel=0.1)


def test_log_odds_stay_within_their_limit_and_turn_back():
    grid = OccupancyGrid()
    for _ in range(50):
        grid.update(Pose(), wall_ahead(1.0), VIEW)
    assert np.abs(grid.log_odds).max() <= grid.options.limit
    assert grid.probability.max() < 1
    for _ in range(30):
        grid.update(Pose(), wall_ahead(2.0), VIEW)  # what stood there has gone
    assert odds_at(grid, 1.025, 0.0) < 0


def test_a_near_look_counts_for_more():
    """What looked like a wall from 1.9 m on, and is a seam in the floor, is free by when the robot is there."""
    grid = OccupancyGrid()
    for x in np.arange(0.0, 1.0, 0.08):
        grid.update(Pose(x), wall_ahead(1.9 - x), VIEW)
    assert odds_at(grid, 1.925, 0.0) > 1
    for x in np.arange(1.0, 1.4, 0.08):
        grid.update(Pose(x), wall_ahead(3.5 - x), VIEW)
    assert odds_at(grid, 1.925, 0.0) < -0.3
    near, far = OccupancyGrid(), OccupancyGrid()
    near.update(Pose(), wall_ahead(0.6), VIEW)
    far.update(Pose(), wall_ahead(2.4), VIEW)
    assert near.log_odds.max() > 3 * far.log_odds.max() > 0


@pytest.mark.parametrize(("rows", "stands"), [(1, False), (5, True)])
def test_a_thin_band_with_floor_beyond_is_a_mark_on_the_floor(rows, stands):
    free_space = wall_ahead(3.0)
    foot = round(VIEW.to_pixels(np.array([[0.8, 0.0]]))[0, 1])
    free_space[foot - rows + 1 : foot + 1] = 0
    edge = floor_edge(free_space, VIEW, 0.25)
    assert edge.hit.all()
    assert edge.depth_m == pytest.approx(0.8 if stands else 3.0, rel=0.1)


def thing(depth_m, height_m, end_m=3.0):
    """The free space with a thing of this height across the view, by the share of each row, and a wall at `end_m`."""
    foot, top = (VIEW.to_pixels(np.array([[at, 0.0]]))[0, 1] + 0.5 for at in (depth_m, depth_m / (1 - height_m / 0.4)))
    rows = np.arange(37)
    hidden = np.diff(np.clip(rows, top, foot))
    return wall_ahead(end_m) * (1 - hidden[:, None]).astype(np.float32)


@pytest.mark.parametrize("depth_m", [0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2])
def test_a_thing_as_high_as_a_shoe_is_no_mark(depth_m):
    edge = floor_edge(thing(depth_m, 0.1), VIEW, 0.25)
    assert edge.depth_m == pytest.approx(depth_m, rel=0.15)


def test_what_stands_near_is_told_what_the_pictures_edge_cuts_off_too():
    free_space = wall_ahead(1.0)
    free_space[:, :5] = 0.0
    edge = floor_edge(free_space, VIEW, 0.25)
    seen = edge.stands(VIEW, 1.2)
    nearest = float(VIEW.row_depth_m(np.array([35.5]))[0])
    assert sorted({round(x, 2) for x in seen[:, 0].tolist()}) == pytest.approx([0.75 * nearest, nearest, 1.0], abs=0.05)
    assert (seen[seen[:, 0] < 0.9, 1] > 0).all(), "to the left"
    assert len(edge.stands(VIEW, 0.8)) == 10


def test_the_map_around_a_pose_is_a_part_of_it():
    grid = OccupancyGrid()
    grid.update(Pose(), wall_ahead(1.5), VIEW)
    part = grid.around(Pose(1.0, 0.2), 0.8)
    assert part.log_odds.shape == (33, 33)
    for x, y in ((0.525, 0.025), (1.525, 0.325), (1.025, 0.225)):
        assert odds_at(part, x, y) == odds_at(grid, x, y)
    assert not grid.around(Pose(50.0, 0.0), 1.0).log_odds.any()
    assert not OccupancyGrid().around(Pose(), 1.0).log_odds.any()


def test_the_map_of_a_lap_is_right(lap):
    grid = lap.mapper.grid
    truly_free = lap.world.floor_at(centres(grid)).reshape(grid.log_odds.shape)
    free, occupied = grid.log_odds < -1.41, grid.log_odds > 0.62
    assert (free & truly_free).sum() / (free | truly_free).sum() > 0.9
    assert (free & truly_free).sum() / free.sum() > 0.99
    assert (occupied & truly_free).sum() / occupied.sum() < 0.3  # a wall's face is as thick as the edge is blurred


def test_what_comes_to_stand_on_floor_seen_often_is_soon_occupied():
    grid = OccupancyGrid()
    for _ in range(50):
        grid.update(Pose(), wall_ahead(3.0), VIEW)
    assert odds_at(grid, 1.0, 0.0) < -1
    for _ in range(3):
        grid.update(Pose(), wall_ahead(1.0), VIEW)
    assert odds_at(grid, 1.02, 0.0) > 0
