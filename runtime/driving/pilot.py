"""The pilot: maps what the network sees while it drives, and chooses each command on that map.

The network alone steers by one frame; the pilot remembers what has left the picture, keeps the robot's width clear of
it, does not turn back the way it came, and, with a goal, follows the shortest known way there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..mapping.geometry import Pose
from ..mapping.mapper import Mapper
from ..mapping.motion import Motion
from ..results import Command, Drive, Stop
from .local import LocalPlanner, Plan
from .outlook import Outlook
from .route import Route

SPARSE = 3
"""Of the trail, every so many poses tell where it came from."""


@dataclass(frozen=True, slots=True)
class PilotOptions:
    """`slow_from`: collision probability from which the network's word slows the robot down, to `slowest` at 1. It is a
    word about straight on, and about where a thing that moves may be soon: the map says whether to stand still.

    The robot has turned back when it is within `same_place_m` of where it was `memory_s[0]` to `memory_s[1]` seconds
    ago, with nothing `occupied` (log-odds) in between, and looks the other way by more than `turned_rad`. Where the way
    ends ahead and the network steers by less than `unsure`, it turns, to within `facing_rad`, to where the map leaves a
    way, other than that to where it was within `came_m`; for `look_s` that is no turning back. A command is `obeyed` to
    within this share (standard deviation), and nothing is known from one that is older than `longest_s`.
    """

    slow_from: float = 0.5
    slowest: float = 0.3
    occupied: float = 0.4
    same_place_m: float = 1.0
    memory_s: tuple[float, float] = (2.0, 60.0)
    turned_rad: float = math.radians(120)
    straight_rad: float = math.radians(35)
    patience_s: float = 20.0
    look_s: float = 6.0
    unsure: float = 0.4
    facing_rad: float = math.radians(15)
    came_m: tuple[float, float] = (0.6, 3.0)
    obeyed: float = 0.2
    longest_s: float = 0.5


class Pilot:
    """One drive. Give it each frame's reading once, in order, after `mapper` was updated with it."""

    def __init__(self, mapper: Mapper, route: Route | None = None, options: PilotOptions = PilotOptions()) -> None:
        self.mapper, self.route, self.options = mapper, route, options
        self.planner = LocalPlanner()
        self.plan: Plan | None = None
        self.arrived = False
        self._trail: list[tuple[float, Pose]] = []
        self._outlook = Outlook()
        self._look_to: float | None = None
        self._back_to: float | None = None
        self._last: tuple[Command | None, float] = (None, 0.0)
        self._ignored_until = -math.inf

    def expected(self, time_s: float) -> Motion | None:
        """The motion up to `time_s` by its last command: what bridges frames in which the eye is lost."""
        last, since = self._last
        passed_s = time_s - since
        if last is None or not 0 < passed_s <= self.options.longest_s:
            return None
        robot = self.planner.robot
        way, turn = last.speed * robot.max_speed_mps * passed_s, last.steer * robot.max_yaw_rate_rps * passed_s
        chord = way * float(np.sinc(turn / 2 / math.pi))
        ahead, left = chord * math.cos(turn / 2), chord * math.sin(turn / 2)
        return Motion(ahead, left, turn, self.options.obeyed * way + 0.005, self.options.obeyed * abs(turn) + 0.01)

    def overruled(self, command: Command | Stop | None, time_s: float) -> None:
        """Say what the robot was told in place of what the pilot would have."""
        self._last = (command if isinstance(command, Command) else None, time_s)

    def command(self, drive: Drive, time_s: float) -> Command | Stop:
        """What to do now, at `time_s` seconds of the drive, after the network said `drive` of the newest frame.

        A Stop at the goal, and where the map says that there is no way to it.
        """
        command = self._choose(drive, time_s)
        self.overruled(command, time_s)
        return command

    def _choose(self, drive: Drive, time_s: float) -> Command | Stop:
        pose, route = self.mapper.pose, self.route
        if route and route.reached(pose):
            self.arrived = True
            return Stop(f"goal {route} reached")
        turn = self._turn_again(pose, time_s) or self._look_around(drive, pose, time_s)
        self._remember(pose, time_s)
        if turn is not None:
            return turn
        worth = route.worth(self.mapper.grid, pose) if route else None
        if route and route.unreachable:
            return Stop(f"goal {route}: what stands around it or the robot leaves no way; choose another one")
        self.plan = self.planner.plan(self.mapper.grid, pose, drive.steer, worth)
        chosen = self.plan.command
        options = self.options
        share = (1 - drive.collision_probability) / (1 - options.slow_from)
        return Command(chosen.steer, chosen.speed * min(1.0, max(options.slowest, share)))

    def _turn_again(self, pose: Pose, time_s: float) -> Command | None:
        """The command to turn round where the robot drives back on its own path; None where it does not.

        One that finds no way forward there either is left to go back, for a while.
        """
        options = self.options
        if self._back_to is None and self.route is None and time_s > self._ignored_until:
            self._back_to = self._heading_before(pose, time_s)
        if self._back_to is None:
            return None
        off = math.remainder(self._back_to - pose.yaw_rad, math.tau)
        if abs(off) > options.straight_rad:
            return Command(math.copysign(1.0, off), 0.0)
        self._back_to = None
        self._ignored_until = time_s + options.patience_s
        return None

    def _heading_before(self, pose: Pose, time_s: float) -> float | None:
        """The heading that the robot had here before, where it was the opposite one."""
        options = self.options
        near = [before.yaw_rad for before in self._was(self._trail, pose, time_s, (-1.0, options.same_place_m))]
        if not near:
            return None
        heading = math.atan2(float(np.sin(near).sum()), float(np.cos(near).sum()))
        return heading if abs(math.remainder(heading - pose.yaw_rad, math.tau)) > options.turned_rad else None

    def _look_around(self, drive: Drive, pose: Pose, time_s: float) -> Command | None:
        """The command to turn to where the way may go on, where it ends ahead and the network is unsure; else None."""
        options = self.options
        if self.route is not None:
            return None
        if self._look_to is None and abs(drive.steer) < options.unsure:
            bearing = self._outlook.way_on(self.mapper.grid, pose, lambda: self._came(pose, time_s))
            if bearing is not None:
                self._look_to = pose.yaw_rad + bearing
                self._ignored_until = time_s + options.look_s  # it turns away from where it looked: on purpose
        if self._look_to is None:
            return None
        off = math.remainder(self._look_to - pose.yaw_rad, math.tau)
        if abs(off) > options.facing_rad:
            return Command(math.copysign(1.0, off), 0.0)
        self._look_to = None
        return None

    def _came(self, pose: Pose, time_s: float) -> NDArray[np.float64]:
        """(n, 2) where the robot was in the last minute, as far as it is near and in sight on the map."""
        near = self._was(self._trail[::SPARSE], pose, time_s, self.options.came_m)
        return np.array([(before.x_m, before.y_m) for before in near]).reshape(-1, 2)

    def _was(
        self, trail: list[tuple[float, Pose]], pose: Pose, time_s: float, between_m: tuple[float, float]
    ) -> list[Pose]:
        """Poses of the `trail` that are remembered, so far from `pose`, and in sight of it on the map."""
        newest, oldest = self.options.memory_s
        nearest, farthest = between_m
        return [
            before
            for then, before in trail
            if newest <= time_s - then <= oldest
            and nearest < math.hypot(before.x_m - pose.x_m, before.y_m - pose.y_m) < farthest
            and not self._parted(before, pose)
        ]

    def _remember(self, pose: Pose, time_s: float) -> None:
        """Add to the trail and forget what is too old to matter, a few at a time so that every SPARSE-th stays one."""
        self._trail.append((time_s, pose))
        while len(self._trail) > SPARSE and time_s - self._trail[SPARSE - 1][0] > self.options.memory_s[1]:
            del self._trail[:SPARSE]

    def _parted(self, one: Pose, other: Pose) -> bool:
        """True where something stands between two places, such as the wall between two corridors."""
        grid = self.mapper.grid
        if not grid.log_odds.size:
            return False
        between = np.linspace((one.x_m, one.y_m), (other.x_m, other.y_m), 21)
        cells = np.clip(grid.cell(between), 0, np.array(grid.log_odds.shape) - 1)
        return bool((grid.log_odds[cells[:, 0], cells[:, 1]] > self.options.occupied).any())
