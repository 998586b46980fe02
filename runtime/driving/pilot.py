"""The pilot: maps what the network sees while it drives, and chooses each command on that map.

The network alone steers by one frame; the pilot remembers what has left the picture, keeps the robot's width clear of
it, follows the way on where that was seen, does not turn back the way it came, and, with a goal, follows the shortest
known way there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..mapping.geometry import Points, Pose, pursuit_curvature
from ..mapping.mapper import Mapper
from ..mapping.motion import Motion
from ..results import Command, Drive, Stop
from .explorer import Explorer, Worth, steepest
from .glance import Glance
from .lately import Lately, Patience
from .local import Array, LocalPlanner, Plan, RobotShape, Wanted
from .route import Route
from .trail import Trail
from .way import Way


@dataclass(frozen=True, slots=True)
class PilotOptions:
    """`slow_from`: collision probability from which the network's word slows the robot down, to `slowest` at 1. It is a
    word about straight on, and about where a thing that moves may be soon: the map says whether to stand still.

    To an aim that lies farther than `turn_rad` to a side it turns on the spot. Where it drives back on its own path it
    turns again, to within `straight_rad` of how it went, but once in `patience_s`. From where it had to turn, for no
    arc was free, it drives `leave_s` before it turns to an aim. Along the remembered way the network's steering counts
    where it is within `agreed` of that to the way, which is only as fine as its cells; it looks `beyond_m` farther than
    it steers to, for that way bends and the arc there does not go on. A command is `obeyed` to within this share
    (standard deviation), and nothing is known from one that is older than `longest_s`.
    """

    slow_from: float = 0.5
    slowest: float = 0.3
    turn_rad: float = math.radians(50)
    straight_rad: float = math.radians(35)
    patience_s: float = 20.0
    leave_s: float = 0.8
    agreed: float = 0.5
    beyond_m: float = 0.2
    obeyed: float = 0.2
    longest_s: float = 0.5


class Pilot:
    """One drive. Give it each frame's reading once, in order, after `mapper` was updated with it."""

    def __init__(
        self,
        mapper: Mapper,
        route: Route | None = None,
        robot: RobotShape | None = None,
        options: PilotOptions = PilotOptions(),
    ) -> None:
        self.mapper, self.route, self.options = mapper, route, options
        robot = robot or RobotShape()
        self.planner = LocalPlanner(robot)
        self.plan: Plan | None = None
        self.arrived = False
        self._trail = Trail()
        self._lately, self._patience = Lately(), Patience()
        self._explorer = Explorer(robot.radius_m)
        self.way, self._glance = Way(), Glance()
        self._back_to: float | None = None
        self._corrections = len(mapper.corrections)
        self._last: tuple[Command | None, float] = (None, 0.0)
        self._ignored_until = self._leaving_until = -math.inf

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
        self._patience.leave()
        self._glance.leave(time_s)
        self._told(command, time_s)

    def _told(self, command: Command | Stop | None, time_s: float) -> None:
        self._last = (command if isinstance(command, Command) else None, time_s)

    def command(self, drive: Drive, time_s: float) -> Command | Stop:
        """What to do now, at `time_s` seconds of the drive, after the network said `drive` of the newest frame.

        A Stop at the goal, and where the map says that there is no way to it.
        """
        command = self._choose(drive, time_s)
        self._told(command, time_s)
        return command

    def _choose(self, drive: Drive, time_s: float) -> Command | Stop:
        self._correct()
        pose, grid, route, options = self.mapper.pose, self.mapper.grid, self.route, self.options
        stood = self._lately.add(grid, self.mapper.stands, pose, time_s)
        if not self._glance.looking:  # where it looks to is not how it came
            self._trail.add(pose, time_s)
        visited = self._trail.visited(time_s)
        turn: Command | None = None
        if route:
            if route.reached(pose):
                self.arrived = True
                return Stop(f"goal {route} reached")
            wanted = self._by_worth(route.worth(grid, pose), pose)[1]
            if route.unreachable:
                taken = "something stands there, or too near to it"
                why = taken if route.taken else "what stands around it or the robot leaves no way"
                return Stop(f"goal {route}: {why}; choose another one")
        else:
            aim = self._along_way(pose, self._trail.driven(time_s), time_s)
            side = self._looks_aside(aim, drive, pose, time_s)
            if side is not None:
                self._patience.leave()
                self.planner.stood_still()
                return Command(side, 0.0)
            bearing, wanted = self._by_way(aim, visited, drive, pose, time_s)
            turn = self._turned(bearing, pose, time_s)
        if turn is not None:
            self._patience.leave()
            return turn
        self.plan = self.planner.plan(grid, pose, replace(wanted, stood=stood))
        chosen = self.plan.command
        if self._patience.waits(len(stood) > 0 and chosen.speed == 0, self.mapper.edge, time_s):
            self.planner.stood_still()
            return Command(0.0, 0.0)
        if self.planner.turning:
            self._leaving_until = time_s + self.options.leave_s
        share = (1 - drive.collision_probability) / (1 - options.slow_from)
        return Command(chosen.steer, chosen.speed * min(1.0, max(options.slowest, share)))

    def _correct(self) -> None:
        """Move what is remembered along with the map."""
        for by in self.mapper.corrections[self._corrections :]:
            for memory in (self._trail, self._lately, self._explorer, self.way, self._glance):
                memory.correct(by)
            if self._back_to is not None:
                self._back_to += by.yaw_rad
            if self.route:
                self.route.renew()
        self._corrections = len(self.mapper.corrections)

    def _by_worth(self, worth: Worth, pose: Pose) -> tuple[float, Wanted]:
        """The bearing along which the floor is worth more, and what is wanted then."""
        bearing = steepest(worth, pose)
        return bearing, Wanted(float(np.clip(2 * bearing, -1, 1)), worth)

    def _by_way(
        self, aim: tuple[float, float] | None, visited: Array, drive: Drive, pose: Pose, time_s: float
    ) -> tuple[float, Wanted]:
        """The bearing of the aim on the remembered way, else of the explorer's, else 0, and what is wanted then."""
        if aim is None:
            worth = self._way_on(drive, pose, time_s)
            return (0.0, Wanted(drive.steer, visited=visited)) if worth is None else self._by_worth(worth, pose)
        steer = self._pursuit(aim)
        if abs(drive.steer - steer) < self.options.agreed:
            steer = drive.steer
        return math.atan2(aim[1], aim[0]), Wanted(steer, reach_m=math.hypot(*aim) + self.options.beyond_m)

    def _along_way(self, pose: Pose, driven: Points, time_s: float) -> tuple[float, float] | None:
        """The point of the remembered way to steer to, in the robot's frame; None where none is known."""
        seen, view = self.mapper.drive, self.mapper.view
        if seen is None or seen.way is None or view is None:
            return None
        if not self.mapper.motion.lost:
            self.way.add(seen.way, seen.free_space, view, pose, time_s)
        aim = self.way.aim(pose, driven)
        if aim is not None and self._back_to is not None:
            self._back_to, self._ignored_until = None, time_s + self.options.patience_s
        return aim

    def _looks_aside(self, aim: tuple[float, float] | None, drive: Drive, pose: Pose, time_s: float) -> float | None:
        """The side to turn to where no way is known that a network tells; None to drive on."""
        glance, explorer, grid = self._glance, self._explorer, self.mapper.grid
        seen = self.mapper.drive
        if seen is None or seen.way is None:
            return None
        glance.add(seen)
        if aim is not None or self._patience.waiting or self._back_to is not None or explorer.seeking:
            glance.leave(time_s)
            return None
        went_rad, open_m = self._trail.travel_rad(pose), explorer.open_ahead(grid, pose)

        def first() -> float:
            return explorer.side(grid, pose, self._trail, drive.steer, time_s)

        return glance.side(pose.yaw_rad, went_rad, open_m, first, time_s)

    def _pursuit(self, aim: tuple[float, float]) -> float:
        """The steering to `aim` along a circle."""
        curvature = pursuit_curvature(math.atan2(aim[1], aim[0]), math.hypot(*aim))
        robot = self.planner.robot
        return float(np.clip(curvature * robot.max_speed_mps / robot.max_yaw_rate_rps, -1, 1))

    def _way_on(self, drive: Drive, pose: Pose, time_s: float) -> Worth | None:
        """What floor points are worth where the way ends ahead; None where it goes on.

        One that drives back on its own path turns again first, unless a way is seen there. Where that was of no use,
        the way ended there. With a network that tells the way, an aim is sought where looks to both sides failed.
        """
        explorer, grid = self._explorer, self.mapper.grid
        worth = explorer.worth(grid, pose, time_s)
        if worth is not None or self._back_to is not None or self._patience.waiting or explorer.rests(time_s):
            return worth
        before = self._trail.heading_before(grid, pose, time_s)
        if before is not None and time_s > self._ignored_until and not self._glance.sees:
            self._back_to = before
        elif (drive.way is None or self._glance.failed(time_s)) and (before is not None or explorer.ended(grid, pose)):
            explorer.seek(grid, pose, self._trail, drive.steer, time_s)
        return explorer.worth(grid, pose, time_s)

    def _turned(self, bearing: float, pose: Pose, time_s: float) -> Command | None:
        """The command to turn on the spot, to an aim at `bearing` or back to how the robot went; None for neither."""
        if self._back_to is None:
            # A turn of the planner's goes on until there is an arc: both in turns would turn it to and fro for ever.
            if abs(bearing) < self.options.turn_rad or self.planner.turning or time_s < self._leaving_until:
                return None
            self.planner.stood_still()
            return Command(math.copysign(1.0, bearing), 0.0)
        off = math.remainder(self._back_to - pose.yaw_rad, math.tau)
        if abs(off) > self.options.straight_rad:
            return Command(math.copysign(1.0, off), 0.0)
        self._back_to, self._ignored_until = None, time_s + self.options.patience_s
        return None
