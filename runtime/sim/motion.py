"""A robot that moves on a course: what is true about it, without drawing. `simulator.py` adds the camera."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ...devices.errors import UsageError
from . import expert
from .course import Course, course_at
from .layout import LINE_STEP_M
from .movers import Mover
from .robot import RADIUS_M, Pose, advance, wrap
from .things import Obstacle
from .world import clearance_m, close_to, crosses, free_ahead_m

GIVE_WAY_M = 0.1
"""How near to the robot a moving thing stops: as people and animals do, it does not run into it from the side."""


class Motion:
    """One robot that drives one course; the time that has passed is that of its steps.

    What moves waits where its next step would bring it against the robot; the robot has to see to what is ahead.
    """

    def __init__(self, course: Course, seed: int = 0) -> None:
        self._plan = course
        self._start = int(np.random.default_rng((seed, 29)).integers(len(course.line)))
        self.reset()

    def reset(self) -> None:
        """Back to time 0 and to the start that the seed chose, on the line and along it; what was dropped is gone."""
        self._dropped: list[Obstacle] = []
        self._movers = self._plan.movers
        self._set_time(0.0)
        self._put_on_line(self._start)
        self._origin: int = self.nearest

    @property
    def time_s(self) -> float:
        """Simulated seconds since the start."""
        return self._time_s

    @property
    def course(self) -> Course:
        """The course as it stands now: what moves and what was dropped is among its obstacles and solids."""
        return self._now

    def pose_on_line(self, index: int) -> Pose:
        """The pose on the line's point `index`, looking along it."""
        line = self._plan.line
        here, ahead = line[index % len(line)], line[(index + 4) % len(line)]
        return Pose(float(here[0]), float(here[1]), math.atan2(ahead[1] - here[1], ahead[0] - here[0]))

    def place(self, pose: Pose) -> None:
        """Put the robot somewhere; what it has driven so far counts no more."""
        self.pose = pose
        self.nearest: int = expert.nearest_index(self._plan, pose)
        self._origin = self.nearest
        self.progress_m = 0.0
        self.collided = self._touches(pose, pose)

    def put_back(self, progress_m: float) -> None:
        """Help the robot back onto the line, where it has driven `progress_m` of its lap; the lap goes on.

        Where something stands in that place just now it is the next free one.
        """
        origin = self._origin
        moved = self._put_on_line(origin + round(progress_m / LINE_STEP_M))
        self._origin, self.progress_m = origin, progress_m + moved * LINE_STEP_M

    def step(self, steer: float, speed: float, dt_s: float) -> None:
        """Drive `dt_s` seconds: `steer` -1..1 (positive left) and `speed` 0..1, see `robot.advance`.

        A robot that touches something stays where it was, with `collided` true from then on.
        """
        new = advance(self.pose, steer, speed, dt_s)
        self._movers = tuple(self._held_back(mover, dt_s) for mover in self._movers)
        self._set_time(self._time_s + dt_s)
        if self._touches(self.pose, new):
            self.collided = True
            return
        self.pose = new
        self._follow()

    def drop(self, ahead_m: float = 1.0, side_m: float = 0.4, height_m: float = 0.5) -> Obstacle:
        """Drop a box into the way: from now on its near face stands `ahead_m` before the robot's middle.

        Raises UsageError where there is no room for it. `reset` takes it away.
        """
        here, heading = np.array([self.pose.x, self.pose.y]), self.pose.heading_rad
        free_m = free_ahead_m(here, heading, 0.02, self._now.solids, ahead_m + side_m)
        if free_m < ahead_m + side_m:
            raise UsageError(
                f"no room for a box of {side_m:g} m {ahead_m:g} m ahead: something stands there after {free_m:.2f} m; "
                "drop it where the way ahead is free"
            )
        middle = ahead_m + side_m / 2
        x, y = here + middle * np.array([math.cos(heading), math.sin(heading)])
        box = Obstacle("box", float(x), float(y), heading, side_m, side_m, height_m)
        self._dropped.append(box)
        self._set_time(self._time_s)
        return box

    @property
    def lateral_deviation_m(self) -> float:
        """Distance from the line, positive to its left."""
        line = self._plan.line
        here = line[self.nearest]
        along = line[(self.nearest + 1) % len(line)] - here
        dx, dy = self.pose.x - here[0], self.pose.y - here[1]
        return float((along[0] * dy - along[1] * dx) / np.hypot(*along))

    @property
    def lap_done(self) -> bool:
        """True once the robot has been all the way around."""
        return self.progress_m >= self._plan.length_m

    def heading_error_rad(self) -> float:
        """The robot's heading less the line's."""
        return wrap(self.pose.heading_rad - self.pose_on_line(self.nearest).heading_rad)

    def _set_time(self, time_s: float) -> None:
        self._time_s = time_s
        plan = replace(self._plan, movers=self._movers) if self._movers else self._plan
        self._now = course_at(plan, time_s, self._dropped)

    def _held_back(self, mover: Mover, dt_s: float) -> Mover:
        """The mover, later by `dt_s` where it would else come against the robot."""
        here = np.array([[self.pose.x, self.pose.y]] * 2)
        now, then = mover.distance_m(here, np.array([self._time_s, self._time_s + dt_s]))
        comes = then < now and then < RADIUS_M + GIVE_WAY_M
        return replace(mover, phase_s=mover.phase_s - dt_s) if comes else mover

    def _put_on_line(self, index: int) -> int:
        """Place the robot on the line's point `index`, or the next where nothing stands; how many points farther."""
        for farther in range(0, len(self._plan.line), 5):
            self.place(self.pose_on_line(index + farther))
            if not self.collided:
                return farther
        return 0

    def _touches(self, old: Pose, new: Pose) -> bool:
        start, end = np.array([old.x, old.y]), np.array([new.x, new.y])
        if any(thing.holds(new.x, new.y) for thing in self._now.obstacles[len(self._plan.obstacles) :]):
            return True  # a thing that is wider than the robot and came over it: its outline is out of reach
        near = close_to(np.stack([start, end]), self._now.solids, RADIUS_M)
        if not len(near):
            return False
        return bool(clearance_m(end[None], near)[0] < RADIUS_M) or crosses(start, end, near)

    def _follow(self) -> None:
        """Move `nearest` along the line, looking only close by: the next corridor may be nearer through a wall."""
        line = self._plan.line
        window = (self.nearest + np.arange(-20, 21)) % len(line)
        moved = int(((line[window] - (self.pose.x, self.pose.y)) ** 2).sum(1).argmin()) - 20
        self.nearest = (self.nearest + moved) % len(line)
        self.progress_m += moved * LINE_STEP_M
