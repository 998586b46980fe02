"""What moves: the robot among moving things and before what is dropped, and the expert's laps. No OpenGL."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helmsight.devices.errors import UsageError
from helmsight.runtime.sim import expert
from helmsight.runtime.sim.check_courses import drive_lap
from helmsight.runtime.sim.course import course_at
from helmsight.runtime.sim.motion import Motion
from helmsight.runtime.sim.movers import WAY_M, Mover
from helmsight.runtime.sim.robot import RADIUS_M, Pose
from helmsight.runtime.sim.things import Obstacle
from helmsight.runtime.sim.world import clearance_m, polygon_segments

from .courses import course_of

BOX = Obstacle("box", 1.0, 0.0, 0.0, 0.4, 0.4, 0.5)
MOVER = Mover(BOX, way=(0.0, 2.0), speed_mps=0.5, wait_s=1.0, phase_s=0.0)


@pytest.fixture(scope="module")
def corridor():
    return course_of("corridor", 1)


@pytest.mark.parametrize(
    ("time_s", "y"), [(0, 0), (1, 0), (2, 0.5), (5, 2), (6, 2), (8, 1), (10, 0), (11.5, 0.25), (-8, 0.5)]
)
def test_a_mover_waits_goes_waits_and_comes_back(time_s, y):
    assert MOVER.at(time_s) == replace(BOX, y=pytest.approx(y))


def test_the_distance_to_a_mover_is_that_to_its_footprint_then():
    times = np.array([0.0, 3.0, 3.0])
    points = np.array([[2.0, 0.0], [2.0, 1.5], [1.1, 1.1]])
    assert MOVER.distance_m(points, times) == pytest.approx([0.8, np.hypot(0.8, 0.3), 0.0])


@pytest.mark.parametrize("seed", range(4000, 4008))
def test_moving_things_keep_off_what_stands_and_leave_the_way(seed):
    course = course_of(("office", "corridor")[seed % 2], seed)
    for mover in course.movers:
        assert 0.1 <= mover.speed_mps <= 0.4
        for time_s in np.arange(0, 40, 1.0):
            assert clearance_m(mover.at(time_s).corners, course.solids).min() > 0.01
        resting = mover.at(-mover.phase_s)
        assert clearance_m(course.line, polygon_segments(resting.corners)).min() > WAY_M - 0.05


def test_some_test_courses_move_and_some_do_not():
    moving = [bool(course_of("office", seed).movers) for seed in range(4000, 4012)]
    assert 2 < sum(moving) < 10


def test_a_course_at_a_time_has_what_moves_among_its_solids(corridor):
    assert course_at(corridor, 3.0) is corridor
    moving = replace(corridor, movers=(MOVER,))
    now = course_at(moving, 3.0)
    assert now.obstacles == (*corridor.obstacles, MOVER.at(3.0))
    assert len(now.solids) == len(corridor.solids) + 4
    assert now.wall_count == corridor.wall_count


def test_a_box_drops_a_metre_ahead_and_stops_the_expert(corridor):
    robot = Motion(corridor)
    robot.place(robot.pose_on_line(_straight(corridor)))
    assert expert.speed(robot.course, robot.pose) == 1
    box = robot.drop()
    ahead = np.array([np.cos(robot.pose.heading_rad), np.sin(robot.pose.heading_rad)])
    front = clearance_m(np.array([[robot.pose.x, robot.pose.y]]), polygon_segments(box.corners))[0]
    assert front == pytest.approx(1.0)
    assert ahead @ (box.x - robot.pose.x, box.y - robot.pose.y) == pytest.approx(1.2)
    for _ in range(100):
        robot.step(0.0, expert.speed(robot.course, robot.pose), 0.1)
    assert not robot.collided
    assert expert.collision_ahead(robot.course, robot.pose)
    with pytest.raises(UsageError, match="no room for a box"):
        robot.drop()
    for _ in range(20):
        robot.step(0.0, 1.0, 0.1)
    assert robot.collided
    robot.reset()
    assert robot.course is corridor
    assert robot.time_s == 0


def test_the_expert_slows_for_what_crosses_and_then_goes_on(corridor):
    at = _straight(corridor)
    line, robot = corridor.line, Motion(corridor)
    base = robot.pose_on_line(at)
    ahead = np.array([np.cos(base.heading_rad), np.sin(base.heading_rad)])
    left = np.array([-ahead[1], ahead[0]])
    x, y = line[at] + ahead * 1.0 - left * 0.9
    crossing = Mover(replace(BOX, x=x, y=y), (1.8 * left[0], 1.8 * left[1]), speed_mps=0.3, wait_s=4.0, phase_s=5.4)
    robot = Motion(replace(corridor, movers=(crossing,)))
    robot.place(base)
    speeds = []
    while robot.progress_m < 2.0 and robot.time_s < 30:
        speeds.append(expert.speed(robot.course, robot.pose))
        robot.step(expert.steer(corridor, robot.pose, robot.nearest), speeds[-1], 0.1)
    assert not robot.collided
    assert min(speeds) <= 0.25
    assert robot.progress_m >= 2.0


def _toward(corridor):
    """A robot on the line, and a box that comes to where it stands, from 0.7 m to its right after a wait of 1 s."""
    robot = Motion(corridor)
    base = robot.pose_on_line(100)
    left = np.array([-np.sin(base.heading_rad), np.cos(base.heading_rad)])
    start = np.array([base.x, base.y]) - 0.7 * left
    toward = Mover(replace(BOX, x=start[0], y=start[1]), (0.7 * left[0], 0.7 * left[1]), 0.4, 1.0, 0.0)
    robot = Motion(replace(corridor, movers=(toward,)))
    robot.place(base)
    return robot, toward, base


def test_a_moving_thing_waits_for_a_robot_in_its_way_and_then_goes_on(corridor):
    robot, toward, base = _toward(corridor)
    for _ in range(60):
        robot.step(0.0, 0.0, 0.1)
    assert not robot.collided
    waits = robot.course.obstacles[-1]
    assert np.hypot(waits.x - toward.thing.x, waits.y - toward.thing.y) > 0.1, "it came nearer"
    assert np.hypot(waits.x - base.x, waits.y - base.y) > RADIUS_M
    robot.place(robot.pose_on_line(160))
    for _ in range(20):
        robot.step(0.0, 0.0, 0.1)
    assert np.hypot(robot.course.obstacles[-1].x - base.x, robot.course.obstacles[-1].y - base.y) < 0.01
    robot.reset()
    assert robot.course.obstacles[-1] == toward.at(0.0)


def test_help_comes_where_it_is_free(corridor):
    robot, _, base = _toward(corridor)
    robot.place(robot.pose_on_line(160))
    for _ in range(30):
        robot.step(0.0, 0.0, 0.1)
    robot.place(base)
    assert robot.collided, "put where the box is now"
    robot.put_back(0.0)
    assert not robot.collided
    assert 0 < robot.progress_m < 1
    assert clearance_m(np.array([[robot.pose.x, robot.pose.y]]), robot.course.solids)[0] >= RADIUS_M


@pytest.mark.parametrize(("name", "seed"), [("office", 1002), ("corridor", 1005)])
def test_the_expert_drives_a_lap_among_moving_things(name, seed):
    assert course_of(name, seed).movers or seed == 1002
    lap = drive_lap(name, seed)
    assert lap.done
    assert not lap.collided
    assert lap == drive_lap(name, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2000, 2001, 4000, 4001, 4002, 4005])
def test_the_expert_drives_long_laps(seed):
    lap = drive_lap(("office", "corridor")[seed % 2], seed)
    assert lap.done
    assert lap.waited_s < 8


def _straight(course):
    """A point of the line with a straight and free way of 2.5 m ahead."""
    robot = Motion(course)
    for at in range(len(course.line)):
        pose: Pose = robot.pose_on_line(at)
        ahead = np.array([np.cos(pose.heading_rad), np.sin(pose.heading_rad)])
        points = np.array([pose.x, pose.y]) + np.arange(0, 2.6, 0.1)[:, None] * ahead
        if clearance_m(points, course.solids).min() > 0.45:
            return at
    raise AssertionError("this course has no straight")
