"""Whether a driver minds what it could not foresee: a box that drops into its way while it drives, closed loop."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...devices.errors import UsageError
from ...runtime.bundle import Manifest
from ...runtime.sim.course import Course, make_course
from ...runtime.sim.layout import LINE_STEP_M
from ...runtime.sim.motion import Motion
from ...runtime.sim.robot import MAX_SPEED_MPS, RADIUS_M, wrap
from ...runtime.sim.simulator import Simulator, SimulatorOptions
from ...runtime.sim.world import free_ahead_m
from .collect import PERIOD_S
from .drive import Conditions, DriveTest, MakeDriver, Wheel, by_network, by_pilot, laps_from
from .evaluate import Run

BOX_M = 1.0
"""From the robot's middle to the near face of the box."""
FREE_M = 1.6
"""How far the way must be free where the box drops."""
BEFORE_S, AFTER_S = 2.0, 6.0
STRAIGHT_RAD = math.radians(12)
"""How far the line may turn from where the robot begins to where the box stands."""
A_COURSE = 5
"""Places of one course."""
COURSES = 100
"""The most courses that are looked at: those of a split."""
USUAL = Conditions()


def stops(make: MakeDriver, count: int, seed: int | None = None, conditions: Conditions = USUAL) -> int:
    """Of `count` boxes, before how many the driver touched nothing for 6 s; it may stop or go around.

    It begins on the line of a course, from `seed` on (None: the first of the test split), where the line goes nearly
    straight on, drives for 2 s, and 1 m ahead of it a box drops. A place where by then the way is not free for 1.6 m,
    or where it touched something already, is no test of that: the next one is taken. Raises UsageError when there are
    not enough places.
    """
    tried = avoided = 0
    for name, course_seed in laps_from(seed, COURSES):
        if tried >= count:
            break
        for avoids in _on_course(make, name, course_seed, conditions):
            tried, avoided = tried + 1, avoided + avoids
            if tried >= count:
                break
    if tried < count:
        raise UsageError(f"--boxes {count}: only {tried} of {COURSES} courses' places serve; ask for fewer")
    return avoided


def evaluate(run: Run, manifest: Manifest, test: DriveTest, count: int) -> dict[str, dict[str, Any]]:
    """`stops` as a metric with what it was measured on, by the driver of `test`; none when `count` is 0."""
    if not count:
        return {}
    make = by_pilot(run, manifest) if test.pilot else by_network(run, manifest)
    value = float(stops(make, count, test.seed, test.conditions))
    data = f"simulator, boxes dropped {BOX_M:g} m ahead of the moving robot on unseen courses"
    return {"stops_before_a_box": {"value": value, "data": data, "n": count}}


def _on_course(make: MakeDriver, name: str, seed: int, conditions: Conditions) -> Iterator[bool]:
    """For each box that could be dropped on this course, whether the driver touched nothing."""
    course = make_course(name, seed)
    options = SimulatorOptions(pitch_offset_deg=conditions.pitch_offset_deg, light=conditions.light)
    with Simulator(course, seed, options) as robot:
        for index in _places(course, robot, seed):
            robot.reset()
            robot.place(robot.pose_on_line(index))
            wheel = Wheel(make(robot), conditions)
            if _drive(robot, wheel, BEFORE_S) and _free_m(robot) >= FREE_M:
                robot.drop(BOX_M)
                yield _drive(robot, wheel, AFTER_S)


def _places(course: Course, robot: Motion, seed: int) -> list[int]:
    """Up to `A_COURSE` points of the line from where it goes nearly straight on and the way is free, in any order."""
    reach_m = MAX_SPEED_MPS * BEFORE_S + FREE_M
    steps = round(reach_m / LINE_STEP_M)
    found: list[int] = []
    for index in np.random.default_rng((seed, 83)).permutation(len(course.line)):
        start = robot.pose_on_line(int(index))
        later = [robot.pose_on_line(int(index) + step) for step in range(0, steps, 4)]
        if max(abs(wrap(pose.heading_rad - start.heading_rad)) for pose in later) > STRAIGHT_RAD:
            continue
        robot.place(start)
        if not robot.collided and _free_m(robot, reach_m) >= reach_m:
            found.append(int(index))
        if len(found) == A_COURSE:
            break
    return found


def _free_m(robot: Motion, limit_m: float = FREE_M) -> float:
    """Metres straight ahead that are free for the robot's width."""
    pose = robot.pose
    return free_ahead_m(np.array([pose.x, pose.y]), pose.heading_rad, RADIUS_M, robot.course.solids, limit_m)


def _drive(robot: Motion, wheel: Wheel, seconds: float) -> bool:
    """Drive so long; False as soon as it touches something."""
    for _ in range(round(seconds / PERIOD_S)):
        wheel.step(robot)
        if robot.collided:
            return False
    return True
