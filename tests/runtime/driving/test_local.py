"""The local planner on grids that are drawn here."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2", reason="opencv-python is not installed")

from helmsight.runtime.driving.local import LocalPlanner, RobotShape, Wanted
from helmsight.runtime.mapping.geometry import Pose
from helmsight.runtime.mapping.grid import OccupancyGrid


def grid_with(*boxes: tuple[float, float, float, float]) -> OccupancyGrid:
    """6 x 6 m around the origin, all known to be free but for boxes x0, y0, x1, y1 in metres."""
    grid = OccupancyGrid()
    grid.origin = (-3.0, -3.0)
    grid.log_odds = np.full((120, 120), -2, np.float32)
    for x0, y0, x1, y1 in boxes:
        (low, left), (high, right) = grid.cell(np.array([[x0, y0], [x1, y1]]))
        grid.log_odds[low:high, left:right] = 3
    return grid


def drive(grid: OccupancyGrid, wanted: float, metres: float) -> tuple[list[Pose], float]:
    """Where the planner leads, a pose every tenth of a second, and the least distance to what is occupied."""
    planner, robot, pose, path, gone = LocalPlanner(), RobotShape(), Pose(), [], 0.0
    rows, columns = np.nonzero(grid.log_odds > 0)
    taken = np.stack([columns, rows], 1) * 0.05 + grid.origin + 0.025
    nearest = np.inf
    for _ in range(400):
        command = planner.plan(grid, pose, Wanted(wanted)).command
        ahead, turn = command.speed * robot.max_speed_mps * 0.1, command.steer * robot.max_yaw_rate_rps * 0.1
        pose = pose.then(Pose(ahead * np.cos(turn / 2), ahead * np.sin(turn / 2), turn))
        path.append(pose)
        nearest = min(nearest, float(np.hypot(*(taken - (pose.x_m, pose.y_m)).T).min(initial=np.inf)))
        gone += ahead
        if gone >= metres:
            break
    return path, nearest


def test_with_a_free_way_it_does_what_is_wanted() -> None:
    for wanted in (0.0, 0.5, -1.0):
        plan = LocalPlanner().plan(grid_with(), Pose(), Wanted(wanted))
        assert plan.command.steer == pytest.approx(wanted, abs=0.07)
        assert plan.command.speed == 1
    assert LocalPlanner().plan(OccupancyGrid(), Pose(), Wanted(0.25)).command.steer == pytest.approx(0.25, abs=0.07)


def test_arcs_are_those_that_the_robot_drives() -> None:
    planner = LocalPlanner()
    plan = planner.plan(grid_with(), Pose(), Wanted(1.0))
    radius = 0.6 / 1.6
    assert np.hypot(plan.arc[:, 0], plan.arc[:, 1] - radius) == pytest.approx(radius)


def test_what_lies_farther_than_where_it_steers_to_does_not_matter() -> None:
    """A circle that leads to a place beside the robot ends at the wall that the way itself goes along."""
    grid = grid_with((-3, 0.75, 3, 0.9))
    assert LocalPlanner().plan(grid, Pose(), Wanted(0.75)).command.steer < 0.5
    assert LocalPlanner().plan(grid, Pose(), Wanted(0.75, reach_m=0.6)).command.steer == pytest.approx(0.75, abs=0.07)


@pytest.mark.parametrize("side", [1, -1])
def test_it_goes_around_a_box_in_the_way(side: int) -> None:
    y = -0.1 * side
    path, nearest = drive(grid_with((0.9, y - 0.25, 1.3, y + 0.25)), 0.0, 2.4)
    assert nearest > RobotShape().radius_m
    assert path[-1].x_m > 1.3
    middle = [p.y_m for p in path if 0.9 < p.x_m < 1.3]
    assert np.sign(np.mean(middle)) == side, "around the nearer side"


def test_wanting_into_a_wall_it_follows_the_wall() -> None:
    path, nearest = drive(grid_with((-3, 0.6, 3, 0.8)), 0.4, 2.0)
    assert nearest > RobotShape().radius_m
    assert path[-1].x_m > 1.5


def test_in_a_dead_end_it_turns_on_the_spot_to_one_side_until_it_is_out() -> None:
    grid = grid_with((0.3, -0.5, 0.45, 0.5), (-1, 0.35, 0.5, 0.5), (-1, -0.5, 0.5, -0.35))
    planner = LocalPlanner()
    first = planner.plan(grid, Pose(), Wanted(0.05)).command
    assert first.speed == 0
    assert abs(first.steer) == 1
    assert planner.plan(grid, Pose(), Wanted(-first.steer)).command == first, "it does not waver"
    path, nearest = drive(grid, 0.0, 1.0)
    assert nearest > RobotShape().radius_m
    assert path[-1].x_m < -0.5


def test_a_turn_ends_where_the_way_is_free_as_far_as_it_matters() -> None:
    planner = LocalPlanner()
    assert planner.plan(grid_with((0.25, -3, 0.4, 3)), Pose(), Wanted(0.0)).command.speed == 0
    assert planner.turning
    assert planner.plan(grid_with(), Pose(), Wanted(0.0, reach_m=0.43)).command.speed > 0


def test_too_near_already_it_may_still_leave() -> None:
    plan = LocalPlanner().plan(grid_with((-0.4, 0.2, 0.4, 0.3)), Pose(), Wanted(0.0))
    assert plan.command.speed > 0
    assert plan.command.steer <= 0


def test_it_slows_down_before_what_it_cannot_go_around() -> None:
    speeds = [
        LocalPlanner().plan(grid_with((x, -3, x + 0.2, 3)), Pose(), Wanted(0.0)).command.speed
        for x in (1.6, 0.7, 0.45, 0.3)
    ]
    assert speeds == sorted(speeds, reverse=True)
    assert speeds[0] == 1
    assert speeds[-1] == 0
