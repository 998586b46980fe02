"""The next arc to drive, chosen on the map around the robot: near the network's steering and clear of what stands.

After the dynamic window approach (Fox, Burgard and Thrun 1997): circular arcs of constant curvature are scored by how
far they go, how clear they are of occupied cells, and how well they suit what is wanted. Here the wanted direction is
the network's steering or, with a goal, the way that the distance to it falls fastest along (Brock and Khatib 1999,
Global dynamic window approach). The robot turns on the spot where no arc is free.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import UsageError, need
from ..mapping.geometry import Points, Pose
from ..mapping.grid import OccupancyGrid
from ..results import Command

Array = NDArray[np.float64]
HEADINGS: Array = np.radians([angle for angle in range(-170, 180, 10) if angle])
"""To which the robot may turn on the spot."""


@dataclass(frozen=True, slots=True)
class RobotShape:
    """A disc that turns and rolls: metres, metres per second, radians per second. Those of the simulator's robot.

    Raises UsageError for what no robot has.
    """

    radius_m: float = 0.17
    max_speed_mps: float = 0.6
    max_yaw_rate_rps: float = 1.6

    def __post_init__(self) -> None:
        values = (self.radius_m, self.max_speed_mps, self.max_yaw_rate_rps)
        if not all(0.01 <= value <= most for value, most in zip(values, (1.0, 5.0, 20.0), strict=True)):
            raise UsageError(
                f"--robot-shape {','.join(f'{value:g}' for value in values)}: expected a radius of 0.01 to 1 m, a top "
                "speed of up to 5 m/s and a turn rate of up to 20 rad/s"
            )


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """`arcs` curvatures, `horizon_m` long. Only a cell below `free` log-odds is free: what has left the picture before
    it was told apart, such as the side of a box, is no place to drive. Around where it begins `begin_m` are taken for
    free, for the camera does not see its own feet.

    `margin_m` is kept around the robot, and `moving_m` more from what stood lately; from `clear_m` on more room is
    worth nothing. The weights are per metre of free arc, per metre of mean clearance, and per unit of steering away
    from what is wanted and from the last command. `back_weight` is what an arc loses that ends within `back_m` of where
    the robot was, looking back along its way, `blocked` what one loses that is not free for `stop_m`. The robot turns
    on the spot from where no arc is free for `stop_m` to where one is for `go_m`, or as far as it matters.
    """

    arcs: int = 33
    horizon_m: float = 1.3
    step_m: float = 0.05
    free: float = -0.3
    begin_m: float = 0.65
    margin_m: float = 0.06
    moving_m: float = 0.06
    clear_m: float = 0.5
    free_weight: float = 1.5
    clear_weight: float = 1.0
    wanted_weight: float = 1.5
    steady_weight: float = 0.1
    back_weight: float = 1.5
    back_m: float = 1.2
    stop_m: float = 0.12
    go_m: float = 0.5
    slow_m: float = 0.55
    blocked: float = 3.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The chosen command, how many metres its arc is free, and the arc as floor points (n, 2) in the robot's frame."""

    command: Command
    free_m: float
    arc: Points


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where to go: `steer` -1..1, or the way along which floor points (n, 2) of the map are `worth` more, in metres.

    `stood` (n, 2) is where something stood lately that is not on the map, and `visited` (n, 3) x, y and heading of
    where the robot was: it rather does not go back there. What is farther along an arc than `reach_m` does not
    matter.
    """

    steer: float
    worth: Callable[[Points], Array] | None = None
    stood: Points = field(default_factory=lambda: np.empty((0, 2)))
    visited: Array = field(default_factory=lambda: np.empty((0, 3)))
    reach_m: float = np.inf


class LocalPlanner:
    """Keeps what it chose last, so that it neither wavers nor turns to and fro."""

    def __init__(self, robot: RobotShape = RobotShape(), options: LocalOptions = LocalOptions()) -> None:
        self._cv2: Any = need("cv2", "cpu")
        self.robot, self.options = robot, options
        self._steers: Array = np.linspace(-1, 1, options.arcs)
        self._along: Array = options.step_m * np.arange(1, round(options.horizon_m / options.step_m) + 1, dtype=float)
        curvature: Array = self._steers * robot.max_yaw_rate_rps / robot.max_speed_mps
        self._arcs = _arcs(curvature, self._along)
        # An arc ends where it has turned by three quarters of a half circle: farther on it would come back.
        self._within = np.abs(curvature[:, None] * self._along) < 0.75 * np.pi
        ahead = self._along[: round(options.go_m / options.step_m) + 2]
        self._rays = np.stack([np.cos(HEADINGS)[:, None] * ahead, np.sin(HEADINGS)[:, None] * ahead], axis=-1)
        self._last = 0.0
        self._turning = 0.0
        self._begin: Pose | None = None

    def plan(self, grid: OccupancyGrid, pose: Pose, wanted: Wanted) -> Plan:
        """The plan at `pose`."""
        options = self.options
        points = pose.to_world(self._arcs.reshape(-1, 2))
        room, here = self._rooms(grid, pose, self._arcs, wanted.stood)
        within = self._within & (self._along <= wanted.reach_m)
        count = self._free_steps(room, here, within)
        free = count * options.step_m
        used = np.arange(len(self._along)) < np.maximum(count, 1)[:, None]
        clear = np.where(used, np.minimum(room, options.clear_m), 0).sum(1) / used.sum(1)
        score = options.free_weight * np.where(count >= within.sum(1), options.horizon_m, free)
        score += options.clear_weight * clear - options.steady_weight * np.abs(self._steers - self._last)
        ends = points.reshape(*self._arcs.shape)[np.arange(len(count)), np.maximum(count, 1) - 1]
        if wanted.worth is None:
            score -= options.wanted_weight * np.abs(self._steers - wanted.steer)
        else:
            score += wanted.worth(ends)
        score -= options.blocked * (free < options.stop_m)
        looks = pose.yaw_rad + self._steers * self.robot.max_yaw_rate_rps / self.robot.max_speed_mps * free
        score -= options.back_weight * self._leads_back(ends, looks, wanted.visited)
        best = int(score.argmax())
        far_enough = min(round(options.go_m / options.step_m), int(within[best].sum()))
        if count[best] < far_enough if self._turning else free[best] < options.stop_m:
            return Plan(self._turn(grid, pose, wanted), 0.0, self._arcs[best, :1])
        self._turning, self._last = 0.0, float(self._steers[best])
        speed = float(np.clip((free[best] - options.step_m) / options.slow_m, 0.15, 1))
        return Plan(Command(self._last, speed), float(free[best]), self._arcs[best, : count[best]])

    def _leads_back(self, ends: Points, looks: Array, visited: Array) -> NDArray[np.bool_]:
        """(n,) True where one of `ends` (n, 2), `looks` (n,) being the heading there, is where the robot was, looking
        back."""
        near = np.hypot(*(ends[:, None] - visited[:, :2]).transpose(2, 0, 1)) < self.options.back_m
        return np.asarray((near & (np.cos(looks[:, None] - visited[:, 2]) < -0.5)).any(1))

    @property
    def turning(self) -> bool:
        """True while it turns on the spot, for no arc is free."""
        return self._turning != 0

    def stood_still(self) -> None:
        """Say that the robot was told something else than the plan, so that a turn it was in begins anew."""
        self._turning = 0.0

    def _turn(self, grid: OccupancyGrid, pose: Pose, wanted: Wanted) -> Command:
        """On the spot, always to the same side until there is a way: to the nearest heading that is free to drive, but
        rather not back."""
        if not self._turning:
            options = self.options
            room, here = self._rooms(grid, pose, self._rays, wanted.stood)
            free = self._free_steps(room, here) * options.step_m
            looks = pose.yaw_rad + HEADINGS
            cost = np.abs(HEADINGS) - 0.5 * wanted.steer * np.sign(HEADINGS)
            place = np.tile((pose.x_m, pose.y_m), (len(looks), 1))
            cost += options.back_weight * self._leads_back(place, looks, wanted.visited)
            cost += np.where(free < options.go_m, 10 - free, 0)
            self._turning = 1.0 if HEADINGS[cost.argmin()] > 0 else -1.0
        self._last = self._turning
        return Command(self._turning, 0.0)

    def _free_steps(self, room: Array, here: float, within: NDArray[np.bool_] | None = None) -> NDArray[np.intp]:
        """(n,) how many steps of each way are free, all of them `within`, where `room` (n, steps) is left and the robot
        has `here` now. Where it is too near already, steps away are free too."""
        options = self.options
        needed = self.robot.radius_m + options.margin_m
        leaving = np.diff(room, axis=1, prepend=here) > 0
        blocked = (room < needed) & ~(leaving & (room > self.robot.radius_m * 0.6))
        if within is not None:
            blocked |= ~within
        return np.asarray(np.where(blocked.any(1), blocked.argmax(1), room.shape[1]), np.intp)

    def _rooms(self, grid: OccupancyGrid, pose: Pose, ways: Array, stood: Points) -> tuple[Array, float]:
        """`_room` along `ways` (n, steps, 2) in the robot's frame, (n, steps), and where the robot is."""
        points = pose.to_world(np.vstack([ways.reshape(-1, 2), (0.0, 0.0)]))
        room = self._room(grid, pose, points, stood)
        return room[:-1].reshape(ways.shape[:2]), float(room[-1])

    def _room(self, grid: OccupancyGrid, pose: Pose, points: Points, stood: Points) -> Array:
        """(n,) metres from each point to the nearest cell that is not known to be free."""
        options, step = self.options, grid.options.resolution_m
        reach = round((options.horizon_m + options.clear_m + self.robot.radius_m) / step)
        ((row, column),) = grid.cell(np.array([[pose.x_m, pose.y_m]]))
        top, left = max(0, int(row) - reach), max(0, int(column) - reach)
        window = grid.log_odds[top : max(0, int(row) + reach), left : max(0, int(column) + reach)]
        if not window.size:
            return np.full(len(points), options.clear_m)
        free = (window < options.free).astype(np.uint8)
        self._begin = self._begin or pose
        ((row, column),) = grid.cell(np.array([[self._begin.x_m, self._begin.y_m]])) - (top, left)
        unknown = ((window <= -options.free) & (free == 0)).astype(np.uint8)
        disc = np.zeros_like(free)
        self._cv2.circle(disc, (int(column), int(row)), round(options.begin_m / step), 1, -1)
        free |= unknown & disc
        free[self._taken(grid.cell(stood) - (top, left), window.shape, step)] = 0
        if free.all():
            return np.full(len(points), options.clear_m)
        distance = self._cv2.distanceTransform(free, self._cv2.DIST_L2, 3) * step
        cells = np.clip(grid.cell(points) - (top, left), 0, np.array(window.shape) - 1)
        return np.asarray(distance[cells[:, 0], cells[:, 1]], np.float64)

    def _taken(self, cells: NDArray[np.intp], shape: tuple[int, ...], step: float) -> NDArray[np.bool_]:
        """(rows, columns) of a `shape`, True within `moving_m` of `cells` (n, 2)."""
        taken = np.zeros(shape, np.uint8)
        inside = cells[((cells >= 0) & (cells < shape)).all(1)]
        taken[inside[:, 0], inside[:, 1]] = 1
        size = 2 * round(self.options.moving_m / step) + 1
        disc = self._cv2.getStructuringElement(self._cv2.MORPH_ELLIPSE, (size, size))
        return np.asarray(self._cv2.dilate(taken, disc) > 0)


def _arcs(curvature: Array, along: Array) -> Array:
    """(arcs, steps, 2) x, y of the points `along` metres down circles of `curvature` (1/m) that leave ahead."""
    angle = curvature[:, None] * along
    # sin(a)/k and (1 - cos(a))/k, written so that k may be 0.
    x = along * np.sinc(angle / np.pi)
    y = along * np.sinc(angle / 2 / np.pi) * np.sin(angle / 2)
    return np.stack([x, y], axis=-1)
